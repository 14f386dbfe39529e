//! What kernels call their queries: the function that a release asks, or what its callers write where it
//! has no function for it.

use super::Query;
use crate::field::{OPEN, series};
use crate::release::{Release, ReleaseRange};

/// The name of a query in some releases.
#[derive(Debug)]
pub struct QueryName {
    /// The query.
    pub query: Query,
    /// The releases that call it so.
    pub kernels: ReleaseRange,
    /// A function, `total_mapcount()`, or what callers compute in its stead.
    pub text: &'static str,
    /// Where it was read.
    pub source: &'static str,
}

impl QueryName {
    /// The name of the function, without its parentheses; `None` where callers compute the value themselves.
    pub fn function(&self) -> Option<&'static str> {
        self.text.strip_suffix("()")
    }
}

macro_rules! names {
    ($($query:ident { $(($from:expr, $to:expr, $text:literal, $source:literal)),+ $(,)? })+) => {
        /// The names, by query and oldest first. Releases between two rows, or before the first and after the last
        /// one, do not have the query.
        pub static NAMES: &[QueryName] = &[$($(QueryName {
            query: Query::$query,
            kernels: series($from, $to),
            text: $text,
            source: $source,
        }),+),+];
    };
}

names! {
    PageCount {
        (OPEN, OPEN, "page_count()", "include/linux/mm.h (v2.6.39), include/linux/page_ref.h (v4.9, v7.3)"),
    }
    EntireMapcount {
        ((4, 5), (5, 17), "compound_mapcount()", "include/linux/mm.h (v4.5, v5.10)"),
        ((5, 18), OPEN, "folio_entire_mapcount()", "include/linux/mm.h (v6.1, v7.3), Linux commit 74e8ee4708a8 (v5.18)"),
    }
    PageMapcount {
        (OPEN, (6, 10), "page_mapcount()", "include/linux/mm.h (v2.6.39, v4.5, v6.8)"),
        ((6, 11), OPEN, "folio_precise_page_mapcount()", "fs/proc/internal.h (v6.11, v7.3)"),
    }
    FolioMapcount {
        (OPEN, (4, 4), "page_mapcount() of the head", "include/linux/mm.h (v2.6.39, v4.4)"),
        ((4, 5), (6, 8), "total_mapcount()", "mm/huge_memory.c (v4.5, v5.10), include/linux/mm.h (v6.3, v6.8)"),
        ((6, 9), OPEN, "folio_mapcount()", "include/linux/mm.h (v6.9, v6.11, v7.3)"),
    }
    FolioMapped {
        (OPEN, (5, 15), "page_mapped()", "include/linux/mm.h (v2.6.39), mm/util.c (v5.10)"),
        ((5, 16), OPEN, "folio_mapped()", "mm/util.c (v6.1), include/linux/mm.h (v6.3, v7.3), Linux commit dd10ab049beb (v5.16)"),
    }
    TransHugeMapcount {
        ((4, 5), (5, 18), "page_trans_huge_mapcount()", "mm/huge_memory.c (v4.5, v5.10); gone in v5.19"),
    }
    MaybeShared {
        (OPEN, (6, 2), "page_mapcount() of the first page > 1",
            "madvise_free_huge_pmd(), mm/huge_memory.c (v5.10); its likes in older releases"),
        ((6, 3), (6, 8), "folio_estimated_sharers()", "include/linux/mm.h (v6.8), Linux commit fa4e3f5ffa5e (v6.3)"),
        ((6, 9), (6, 14), "folio_likely_mapped_shared()", "include/linux/mm.h (v6.9, v6.11, v6.14)"),
        ((6, 15), OPEN, "folio_maybe_mapped_shared()", "include/linux/mm.h (v6.17, v7.3)"),
    }
    AveragePageMapcount {
        ((6, 15), OPEN, "folio_average_page_mapcount()", "fs/proc/internal.h (v6.17, v7.3)"),
    }
    MaybeDmaPinned {
        ((5, 7), (5, 17), "page_maybe_dma_pinned()", "include/linux/mm.h (v5.10)"),
        ((5, 18), OPEN, "folio_maybe_dma_pinned()", "include/linux/mm.h (v6.1, v7.3), Linux commit 0b90ddae1344 (v5.18)"),
    }
    Kpagecount {
        (OPEN, OPEN, "/proc/kpagecount", "kpagecount_read(), fs/proc/page.c (v2.6.39, v5.10, v7.3)"),
    }
    ExpectedRefcount {
        ((4, 5), (6, 15), "total_mapcount() + references of caches",
            "split_huge_page_to_list(), can_split_huge_page(), mm/huge_memory.c (v4.5, v5.10, v6.8)"),
        ((6, 16), OPEN, "folio_expected_ref_count()", "include/linux/mm.h (v6.17, v7.3), Linux commit 86ebd50224c0 (v6.16)"),
    }
}

impl Query {
    /// Its names, oldest first.
    pub fn names(self) -> impl Iterator<Item = &'static QueryName> {
        NAMES.iter().filter(move |name| name.query == self)
    }

    /// What `release` calls it; `None` if it has no such query.
    pub fn name_in(self, release: Release) -> Option<&'static QueryName> {
        self.names().find(|name| name.kernels.contains(release))
    }

    /// The query that people mean by `word`: a key, or the name of a function with or without its parentheses.
    /// A function that stood for two queries in its time means the one that has it as its key.
    pub fn by_word(word: &str) -> Option<Query> {
        let word = word.strip_suffix("()").unwrap_or(word);
        let named = || NAMES.iter().find(|name| name.function() == Some(word)).map(|name| name.query);
        Query::by_key(word).or_else(named)
    }

    /// All words that [`Query::by_word`] knows.
    pub fn words() -> impl Iterator<Item = &'static str> {
        let keys = Query::ALL.iter().map(|query| query.key());
        keys.chain(NAMES.iter().filter_map(QueryName::function))
    }
}

#[cfg(test)]
mod tests {
    use super::NAMES;
    use crate::profile::RELEASES;
    use crate::query::Query;
    use crate::release::Release;

    #[test]
    fn a_query_has_one_name_in_a_release() {
        for query in Query::ALL {
            assert!(query.names().next().is_some(), "{query}");
            for release in RELEASES {
                let names = query.names().filter(|name| name.kernels.contains(*release));
                assert!(names.count() <= 1, "{query} in {release}");
            }
        }
    }

    #[test]
    fn words_of_any_time_are_known() {
        for (word, query) in [
            ("total_mapcount", Query::FolioMapcount),
            ("total_mapcount()", Query::FolioMapcount),
            ("folio_mapcount", Query::FolioMapcount),
            ("page_mapcount", Query::PageMapcount),
            ("folio_precise_page_mapcount", Query::PageMapcount),
            ("folio_estimated_sharers", Query::MaybeShared),
            ("page_trans_huge_mapcount", Query::TransHugeMapcount),
            ("compound_mapcount", Query::EntireMapcount),
            ("page_maybe_dma_pinned", Query::MaybeDmaPinned),
        ] {
            assert_eq!(Query::by_word(word), Some(query), "{word}");
        }
        assert_eq!(Query::by_word("mapcount"), None);
        assert!(Query::words().all(|word| Query::by_word(word).is_some()));
    }

    #[test]
    fn functions_mean_one_query() {
        for name in NAMES {
            if let Some(function) = name.function() {
                assert_eq!(Query::by_word(function), Some(name.query), "{function}");
            }
        }
    }

    #[test]
    fn what_a_release_does_not_have_has_no_name() {
        assert!(Query::TransHugeMapcount.name_in(Release::new(5, 19, 0)).is_none());
        assert!(Query::TransHugeMapcount.name_in(Release::new(4, 4, 0)).is_none());
        assert!(Query::MaybeDmaPinned.name_in(Release::new(5, 6, 0)).is_none());
        let name = Query::FolioMapcount.name_in(Release::new(6, 8, 12)).map(|name| name.text);
        assert_eq!(name, Some("total_mapcount()"));
    }
}
