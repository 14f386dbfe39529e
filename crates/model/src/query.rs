//! Questions that the kernel asks its counters, and answers that say how sure they are.

mod names;

use std::fmt;

use crate::field::Field;
use crate::release::Release;
use crate::units::{PageRange, Pfn};

pub use names::{NAMES, QueryName};

/// An answer computed from counters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer<T> {
    /// Equal to the truth whenever nobody is in the middle of an operation.
    Exact(T),
    /// Near the truth; the scheme does not keep what an exact answer needs.
    Estimate(T),
    /// The scheme cannot say, or the question does not arise under it.
    Unknown,
}

impl<T> Answer<T> {
    /// The value, sure or not.
    pub fn value(self) -> Option<T> {
        match self {
            Answer::Exact(value) | Answer::Estimate(value) => Some(value),
            Answer::Unknown => None,
        }
    }

    /// The same certainty with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Answer::Exact(value) => Answer::Exact(f(value)),
            Answer::Estimate(value) => Answer::Estimate(f(value)),
            Answer::Unknown => Answer::Unknown,
        }
    }
}

macro_rules! queries {
    ($($(#[doc = $doc:literal])+ $variant:ident { $key:literal, $per_page:literal }),+ $(,)?) => {
        /// A question of accounting: each kernel computes it by a formula of its own.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Query { $($(#[doc = $doc])+ $variant),+ }

        impl Query {
            /// Every query.
            pub const ALL: &'static [Query] = &[$(Query::$variant),+];

            /// The name in `expect` and on the command line.
            pub const fn key(self) -> &'static str {
                match self { $(Query::$variant => $key),+ }
            }

            /// What it asks, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Query::$variant => concat!($($doc),+)),+ }
            }

            /// Whether it asks of one page rather than of a folio.
            pub const fn is_per_page(self) -> bool {
                match self { $(Query::$variant => $per_page),+ }
            }
        }
    };
}

queries! {
    /// The references on the folio, as `page_count()` returns them.
    PageCount { "page_count", true },
    /// The entries that map the folio as a whole.
    EntireMapcount { "entire_mapcount", false },
    /// The page-table entries that map this page, by itself or as part of the whole.
    PageMapcount { "page_mapcount", true },
    /// All page-table entries that map any part of the folio (`total_mapcount()`, later `folio_mapcount()`).
    FolioMapcount { "folio_mapcount", false },
    /// Whether any entry maps the folio: 0 or 1.
    FolioMapped { "folio_mapped", false },
    /// The greatest map count of any page, which decided about reuse on a write fault up to 5.18.
    TransHugeMapcount { "trans_huge_mapcount", false },
    /// Whether more than one address space seems to map the folio: 0 or 1.
    MaybeShared { "maybe_mapped_shared", false },
    /// The folio's map count spread over its pages, which kernels without page map counts show instead.
    AveragePageMapcount { "average_page_mapcount", false },
    /// Whether the folio looks pinned for DMA: 0 or 1.
    MaybeDmaPinned { "maybe_dma_pinned", false },
    /// What `/proc/kpagecount` prints for this page.
    Kpagecount { "kpagecount", true },
    /// The references that mappings and caches account for; more than these is a pin.
    ExpectedRefcount { "expected_refcount", false },
}

impl Query {
    /// Whether its value is 0 or 1, for no and yes.
    pub const fn is_yes_or_no(self) -> bool {
        matches!(self, Query::FolioMapped | Query::MaybeShared | Query::MaybeDmaPinned)
    }

    /// The query with this key.
    pub fn by_key(key: &str) -> Option<Query> {
        Query::ALL.iter().copied().find(|query| query.key() == key)
    }
}

/// What a term of a formula was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A raw counter of a page, or of a folio at its first page.
    Counter(Field, Pfn),
    /// The raw counters of several pages, summed up or their maximum.
    Counters(Field, PageRange),
    /// No counter: a constant, the folio's size, what a caller knows.
    Known,
}

/// One line of an explained formula.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Term {
    /// The term as the formula writes it, `{} + 1`: `{}` stands for the kernel's name of the field that was
    /// read. A term that is subtracted begins with `− `.
    pub text: &'static str,
    /// Its value in this state, with its sign.
    pub value: i64,
    /// Where it was read.
    pub source: Source,
    /// Whether it is added up; a term that only decides (a condition) is not.
    pub counts: bool,
}

impl Term {
    /// The text with the names that `release` has for the field.
    pub fn text_in(&self, release: Release) -> String {
        match self.source {
            Source::Counter(field, _) | Source::Counters(field, _) => {
                self.text.replace("{}", field.kernel_name(release))
            }
            Source::Known => self.text.to_owned(),
        }
    }
}

/// Collects the terms of a formula while it is computed; without one nothing is kept.
#[derive(Default)]
pub struct Tally {
    terms: Option<Vec<Term>>,
}

impl Tally {
    /// A tally that keeps nothing, for those who want the value alone.
    pub const fn off() -> Tally {
        Tally { terms: None }
    }

    /// A tally that keeps each term.
    pub const fn on() -> Tally {
        Tally { terms: Some(Vec::new()) }
    }

    /// A term that is added up; returns its value.
    pub fn term(&mut self, text: &'static str, value: i64, source: Source) -> i64 {
        self.push(Term { text, value, source, counts: true });
        value
    }

    /// A value that only decides which way the formula goes; returns it.
    pub fn fact(&mut self, text: &'static str, value: i64, source: Source) -> i64 {
        self.push(Term { text, value, source, counts: false });
        value
    }

    /// Runs a formula whose value only decides in this one: none of its terms is added up here.
    pub fn decide<T>(&mut self, formula: impl FnOnce(&mut Tally) -> T) -> T {
        let before = self.terms.as_ref().map_or(0, Vec::len);
        let value = formula(self);
        if let Some(terms) = &mut self.terms {
            for term in &mut terms[before..] {
                term.counts = false;
            }
        }
        value
    }

    fn push(&mut self, term: Term) {
        if let Some(terms) = &mut self.terms {
            terms.push(term);
        }
    }

    /// The terms so far.
    pub fn into_terms(self) -> Vec<Term> {
        self.terms.unwrap_or_default()
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}
