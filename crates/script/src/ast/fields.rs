//! The names that an expectation may ask for. Kernel fields come from the model's field table; what
//! is here besides are answers, properties of folios, and what the kernel prints of its own accord.

use mapcount_model::field::TABLE;
use mapcount_model::query::Query;
use mapcount_model::stats::Stat;

/// A name that an expectation may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldWord {
    /// The name.
    pub name: &'static str,
    /// How many elements it has, if it is a list.
    pub elements: Option<u32>,
}

const fn one(name: &'static str) -> FieldWord {
    FieldWord { name, elements: None }
}

/// Of a page or its folio, besides the model's field table.
const PAGE_EXTRA: &[FieldWord] = &[
    one("id"),
    one("order"),
    one("kind"),
    one("tail_refcount"),
    FieldWord { name: "mm_ids", elements: Some(2) },
    FieldWord { name: "mm_id_mapcount_raw", elements: Some(2) },
    one("swapcache"),
];

/// Of a mapping or of all mappings of a process.
pub const SMAPS: &[FieldWord] = &[
    one("rss_kb"),
    one("pss_kb"),
    one("shared_kb"),
    one("private_kb"),
    one("anon_huge_kb"),
    one("shmem_pmd_kb"),
    one("file_pmd_kb"),
];

/// Of the system: the model's statistics.
pub fn system() -> impl Iterator<Item = FieldWord> {
    Stat::ALL.iter().map(|stat| one(stat.key()))
}

/// Of a page, or of the folio that it belongs to.
pub fn page() -> impl Iterator<Item = FieldWord> {
    let queries = Query::ALL.iter().map(|query| one(query.key()));
    TABLE.iter().map(|row| one(row.key)).chain(PAGE_EXTRA.iter().copied()).chain(queries)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_page_field_is_named_twice() {
        let mut names: Vec<_> = super::page().map(|field| field.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
