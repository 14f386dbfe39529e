//! What the kernel would say of a folio if it wanted to do something with it now: its references taken apart, and
//! whether it can be split, moved, or written in place, by the rule of the kernel's policy and the capabilities of its
//! scheme.
//!
//! Everything is computed from counters and from what flags say, without page tables, so that it works on a running
//! kernel ([`crate::snapshot`]).

use std::fmt;

use crate::counters::Counters;
use crate::field::Field;
use crate::policy::{LargeReuse, Pin, PmdReuse, Policy, SmallReuse};
use crate::query::{Answer, Query, Tally};
use crate::scheme::{self, Known, PIN_BIAS, Scheme};
use crate::units::{Folio, Kind, Level, Pfn};

/// A folio, its counters, and the kernel whose rules hold for it.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// How its kernel counts.
    pub scheme: &'a dyn Scheme,
    /// What its kernel does.
    pub policy: &'a Policy,
    /// The counters.
    pub counters: &'a dyn Counters,
    /// The folio.
    pub folio: Folio,
    /// What its flags say.
    pub state: State,
}

/// What a folio's flags and its mapping say that no counter holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// It is in the swap cache.
    pub swapcache: bool,
    /// It is in the page cache.
    pub pagecache: bool,
    /// Its file system keeps something with it (PG_private), for which a reference is held.
    pub private: bool,
    /// It is on an LRU list (PG_lru): nobody has isolated it, and no batch holds it.
    pub lru: bool,
    /// It is being written out (PG_writeback).
    pub writeback: bool,
    /// It has changes that are not written out yet (PG_dirty).
    pub dirty: bool,
}

/// References on a folio, by who holds them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct References {
    /// All of them.
    pub all: i64,
    /// Those of page-table entries.
    pub mappings: i64,
    /// Those of the page cache.
    pub pagecache: i64,
    /// Those of the swap cache.
    pub swapcache: i64,
    /// That of a file system's private data.
    pub private: i64,
    /// FOLL_PIN pins. Exact where a field counts them; a small page has none, and a pin takes 1024 references.
    pub pins: Answer<i64>,
    /// The references that those pins hold.
    pub pinned: i64,
    /// What is left: nobody is known who holds these. Negative where a cache or a mapping is being taken away.
    pub rest: i64,
}

impl References {
    /// References that mappings and caches do not explain: pins and the rest.
    pub const fn unexplained(&self) -> i64 {
        self.pinned + self.rest
    }
}

/// Whether the kernel could do something, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Yes or no; `None` where counters cannot tell.
    pub can: Option<bool>,
    /// Why.
    pub why: Reason,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident $key:literal $text:literal),+ $(,)?) => {
        /// Why a verdict is as it is.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Reason { $($(#[doc = $doc])+ $variant),+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),+];

            /// A short stable name, for machines that read.
            pub const fn key(self) -> &'static str {
                match self { $(Reason::$variant => $key),+ }
            }

            /// The same in words.
            pub const fn text(self) -> &'static str {
                match self { $(Reason::$variant => $text),+ }
            }
        }
    };
}

reasons! {
    /// Mappings and caches explain every reference.
    Explained "explained" "every reference is explained",
    /// It is explained but for what the file system keeps, which has to let go first.
    IfReleased "private-data" "every reference is explained, if the file system releases its private data",
    /// A single page has no parts.
    Single "single-page" "it is a single page",
    /// Up to 4.4 references do not hinder a split: they move to the pages that they were taken on.
    NoHindrance "pins-move" "references do not hinder a split in this kernel",
    /// FOLL_PIN pins hold references.
    Pinned "pinned" "it is pinned",
    /// Nobody is known who holds the references that are left.
    Held "held" "somebody holds a reference that no mapping or cache explains",
    /// It is being written out.
    Writeback "writeback" "it is being written out",
    /// Its file system has something to write that it keeps with the folio.
    Dirty "dirty" "its file system has something to write that it keeps with the folio",
    /// It belongs to no file any more.
    Truncated "truncated" "it belongs to no file any more",
    /// hugetlb folios are never split.
    Hugetlb "hugetlb" "hugetlb folios are not split",
    /// The zero page belongs to everybody.
    Zero "zero" "it is the shared zero page or folio",
    /// It is in the swap cache and nothing maps it.
    Unmapped "unmapped" "it is in the swap cache and nothing maps it",
    /// It is on no LRU list: in a batch, or somebody has isolated it.
    Isolated "not-on-lru" "it is on no LRU list: in a per-CPU batch, or isolated by somebody",
    /// This kernel does not move KSM pages.
    KsmStays "ksm" "this kernel does not move KSM pages",
    /// It is split into pages first, and those move.
    SplitFirst "split-first" "it is split first, and its pages are moved",
    /// The page is marked as belonging to one process.
    Exclusive "exclusive" "the page is marked exclusive (PG_anon_exclusive)",
    /// Nobody else holds a reference.
    OnlyReference "only-reference" "the mapping has the only reference",
    /// One entry maps it.
    MappedOnce "mapped-once" "no page of it is mapped more than once",
    /// One address space owns every mapping, and there is no other reference.
    Owned "owned" "one address space owns every mapping, and nobody else a reference",
    /// Others map it too, or seem to.
    Shared "shared" "others map it too, or seem to",
    /// It is not marked, and other references exist.
    OtherReferences "other-references" "it is not marked exclusive and somebody else holds a reference",
    /// Nothing but the exclusive mark decides, and it is not set.
    NotExclusive "not-exclusive" "it is not marked exclusive, and this kernel looks at nothing else",
    /// What swap slots are used for decides, and counters do not tell.
    SwapSlots "swap-slots" "it is in the swap cache: the use of its swap slots decides",
    /// Pages of files are copied where a mapping is private; shared mappings write to them.
    FilePage "file-page" "a private mapping copies the pages of a file; a shared one writes to them",
    /// Merged pages are always copied.
    Merged "merged" "pages that KSM merged are copied",
    /// Nothing maps it, so that nobody can write to it.
    NotMapped "not-mapped" "nothing maps it",
    /// The scheme does not keep what the answer needs.
    Unknown "unknown" "this kernel does not count what the answer needs",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

const fn yes(why: Reason) -> Verdict {
    Verdict { can: Some(true), why }
}

const fn no(why: Reason) -> Verdict {
    Verdict { can: Some(false), why }
}

const fn unsure(why: Reason) -> Verdict {
    Verdict { can: None, why }
}

impl Subject<'_> {
    /// What queries have to know besides the counters.
    pub fn known(&self) -> Known {
        let (pins_exist, has_pincount) = match self.policy.pin {
            Pin::Absent | Pin::Reference => (false, false),
            Pin::Counted { from_order } => (true, self.folio.is_large() && self.folio.order.0 >= from_order),
        };
        let State { swapcache, pagecache, private, .. } = self.state;
        let pagecache_owns_one =
            self.folio.kind == Kind::Hugetlb && pagecache && !self.policy.hugetlb_cached_by_page;
        let device = self.folio.kind == Kind::Device;
        Known { swapcache, pagecache, pagecache_owns_one, private, device, has_pincount, pins_exist }
    }

    /// What the kernel's own function would return.
    pub fn ask(&self, query: Query, page: Pfn) -> Answer<i64> {
        scheme::ask(self.scheme, self.counters, query, (self.folio, page), self.known(), &mut Tally::off())
    }

    fn refcount(&self) -> i64 {
        i64::from(self.counters.read(Field::Refcount, self.folio.head))
    }

    /// Its references, by who holds them; `None` where the scheme cannot say what its mappings own.
    pub fn references(&self) -> Option<References> {
        let all = self.refcount();
        let expected = self.ask(Query::ExpectedRefcount, self.folio.head).value()?;
        let known = self.known();
        let pagecache = known.pagecache_references(self.folio);
        let swapcache = if known.swapcache { i64::from(self.folio.pages()) } else { 0 };
        let private = i64::from(known.private);
        let left = all - expected;
        let (pins, pinned) = if !known.pins_exist {
            (Answer::Unknown, 0)
        } else if known.has_pincount {
            let pins = i64::from(self.counters.read(Field::Pincount, self.folio.head));
            (Answer::Exact(pins), pins)
        } else {
            let pins = left.max(0) / i64::from(PIN_BIAS);
            // A thousand other references would look the same; none at all is sure.
            let answer = if pins == 0 { Answer::Exact(0) } else { Answer::Estimate(pins) };
            (answer, pins * i64::from(PIN_BIAS))
        };
        Some(References {
            all,
            mappings: expected - pagecache - swapcache - private,
            pagecache,
            swapcache,
            private,
            pins,
            pinned,
            rest: left - pinned,
        })
    }

    /// Pages of the folio that any entry maps, of an average where pages have no counts of their own.
    pub fn mapped_pages(&self) -> Answer<u32> {
        let Folio { head, kind, .. } = self.folio;
        let pages = self.folio.pages();
        let info = self.scheme.info();
        let entire = self.ask(Query::EntireMapcount, head).value().unwrap_or(0);
        if entire > 0 {
            return Answer::Exact(pages);
        }
        let answer = self.ask(Query::FolioMapcount, head);
        let Some(entries) = answer.value() else { return Answer::Unknown };
        if entries <= 0 {
            return Answer::Exact(0);
        }
        if !self.folio.is_large() || kind == Kind::Hugetlb || info.capabilities.pmd_split_splits_folio {
            return Answer::Exact(pages);
        }
        if !info.capabilities.page_mapcounts {
            let most = pages.min(u32::try_from(entries).unwrap_or(u32::MAX));
            // One entry of a part maps one page, where entries are what is counted.
            let one = most == 1 && matches!(answer, Answer::Exact(_));
            return if one { Answer::Exact(1) } else { Answer::Estimate(most) };
        }
        let kept = info.fields.contains(&Field::NrPagesMapped);
        let counted = self.counters.read(Field::NrPagesMapped, head);
        if kept && (1..=pages as i32).contains(&counted) {
            return Answer::Exact(counted as u32);
        }
        let answers = || self.folio.range().iter().map(|page| self.ask(Query::PageMapcount, page));
        let mapped = answers().filter(|answer| answer.value().is_some_and(|count| count > 0)).count() as u32;
        // It is as sure as what is said of the pages.
        let sure = answers().all(|answer| matches!(answer, Answer::Exact(_)));
        if sure { Answer::Exact(mapped) } else { Answer::Estimate(mapped) }
    }

    /// Whether no counter contradicts another one. While the kernel changes a folio, and in a copy that was taken
    /// in pieces, one may: then it has to be read again.
    pub fn is_consistent(&self) -> bool {
        let head = self.folio.head;
        let references = self.refcount();
        let Some(entries) = self.ask(Query::FolioMapcount, head).value() else { return references >= 0 };
        let owned = self.ask(Query::ExpectedRefcount, head).value().unwrap_or(0);
        let cached =
            if self.state.swapcache || self.state.pagecache { i64::from(self.folio.pages()) } else { 0 };
        let mappings = owned - cached - i64::from(self.state.private);
        if references < mappings || entries < 0 {
            return false;
        }
        let fields = self.scheme.info().fields;
        if !self.folio.is_large()
            || self.folio.kind == Kind::Hugetlb
            || !fields.contains(&Field::NrPagesMapped)
        {
            return true;
        }
        let entire = self.ask(Query::EntireMapcount, head).value().unwrap_or(0);
        let counted = self.counters.read(Field::NrPagesMapped, head);
        let whole = scheme::ENTIRELY_MAPPED;
        let by_pte = i64::from(counted % whole);
        let fits =
            (0..=i64::from(self.folio.pages())).contains(&by_pte) && (counted >= whole) == (entire > 0);
        fits && entries >= entire + by_pte && (by_pte > 0 || entries == entire)
    }

    /// Whether a split into pages would succeed (`split_huge_page_to_list()`, mm/huge_memory.c, v4.5 to v6.17;
    /// `__folio_split()`, v6.19). The caller's own reference and the folio lock come on top and are his business.
    pub fn can_split(&self) -> Verdict {
        if self.scheme.info().capabilities.pmd_split_splits_folio {
            return if self.folio.is_large() { yes(Reason::NoHindrance) } else { no(Reason::Single) };
        }
        match self.folio.kind {
            Kind::Hugetlb => return no(Reason::Hugetlb),
            Kind::Zero => return no(Reason::Zero),
            // Nobody asks for it: areas of devices are passed over.
            Kind::Device => return unsure(Reason::Unknown),
            _ if !self.folio.is_large() => return no(Reason::Single),
            _ if self.state.writeback => return no(Reason::Writeback),
            Kind::File | Kind::Shmem if !self.state.pagecache => return no(Reason::Truncated),
            Kind::File if self.state.private && self.state.dirty => return no(Reason::Dirty),
            _ => {}
        }
        let Some(references) = self.references() else { return unsure(Reason::Unknown) };
        if self.state.swapcache && references.mappings == 0 {
            return no(Reason::Unmapped);
        }
        self.held(&references)
    }

    /// Whether migration would move it (`migrate_folio_unmap()`, `folio_migrate_mapping()`, mm/migrate.c, v5.10 to
    /// v7.3): it has to be isolated from the LRU first, and nobody but its mappings and caches may hold it.
    pub fn can_migrate(&self) -> Verdict {
        match self.folio.kind {
            Kind::Zero => return no(Reason::Zero),
            Kind::Device => return unsure(Reason::Unknown),
            Kind::Ksm if !self.policy.ksm_migrates => return no(Reason::KsmStays),
            _ => {}
        }
        let Some(references) = self.references() else { return unsure(Reason::Unknown) };
        let held = self.held(&references);
        if held.can == Some(false) && references.rest == 1 && references.pinned == 0 && !self.state.lru {
            return no(Reason::Isolated);
        }
        if held.can == Some(true) && self.policy.move_pages_splits && self.folio.is_large() {
            return yes(Reason::SplitFirst);
        }
        held
    }

    fn held(&self, references: &References) -> Verdict {
        if references.pinned > 0 {
            return no(Reason::Pinned);
        }
        match references.unexplained() {
            0 if references.private > 0 => yes(Reason::IfReleased),
            0 => yes(Reason::Explained),
            _ => no(Reason::Held),
        }
    }

    /// Whether a write fault on `page`, mapped read-only by an entry of `level` although its area is writable, would
    /// write in place instead of copying (`do_wp_page()`, mm/memory.c; `do_huge_pmd_wp_page()`, mm/huge_memory.c).
    pub fn may_reuse(&self, page: Pfn, level: Level) -> Verdict {
        if self.ask(Query::FolioMapcount, self.folio.head) == Answer::Exact(0)
            && self.folio.kind != Kind::Zero
        {
            return no(Reason::NotMapped);
        }
        match self.folio.kind {
            Kind::Zero => no(Reason::Zero),
            Kind::File | Kind::Shmem | Kind::Device => no(Reason::FilePage),
            Kind::Ksm if self.policy.ksm_reuse && self.refcount() == 1 => yes(Reason::OnlyReference),
            Kind::Ksm => no(Reason::Merged),
            // hugetlb_wp() (mm/hugetlb.c, v5.10 to v7.3) asks for the mark, or for the only mapping.
            Kind::Hugetlb => self.by_mapcount(Query::FolioMapcount),
            Kind::Anon if level != Level::Pte => self.pmd_reuse(),
            Kind::Anon if self.folio.is_large() => self.large_reuse(page),
            Kind::Anon => self.small_reuse(page),
        }
    }

    fn is_exclusive(&self, page: Pfn) -> bool {
        self.policy.anon_exclusive && self.counters.read(Field::AnonExclusive, page) != 0
    }

    fn by_mapcount(&self, query: Query) -> Verdict {
        match self.ask(query, self.folio.head).value() {
            Some(count) if count <= 1 => yes(Reason::MappedOnce),
            Some(_) => no(Reason::Shared),
            None => unsure(Reason::Unknown),
        }
    }

    fn small_reuse(&self, page: Pfn) -> Verdict {
        match self.policy.small_reuse {
            SmallReuse::Mapcount if self.state.swapcache => unsure(Reason::SwapSlots),
            SmallReuse::Mapcount => self.by_mapcount(Query::FolioMapcount),
            SmallReuse::MapcountAndReferences if self.refcount() > 1 => no(Reason::OtherReferences),
            SmallReuse::MapcountAndReferences => self.by_mapcount(Query::FolioMapcount),
            SmallReuse::ExclusiveOrReferences if self.is_exclusive(page) => yes(Reason::Exclusive),
            SmallReuse::ExclusiveOrReferences => self.only_reference(),
        }
    }

    /// The kernel drains a batch and drops a swap cache that may hold the second reference, before it gives up.
    fn only_reference(&self) -> Verdict {
        match self.refcount() - i64::from(self.state.swapcache) {
            1 if self.state.swapcache => unsure(Reason::SwapSlots),
            1 => yes(Reason::OnlyReference),
            2 if !self.state.lru => unsure(Reason::Isolated),
            _ => no(Reason::OtherReferences),
        }
    }

    fn large_reuse(&self, page: Pfn) -> Verdict {
        let only = || {
            if self.refcount() == 1 { yes(Reason::OnlyReference) } else { no(Reason::OtherReferences) }
        };
        match self.policy.large_reuse {
            LargeReuse::Never => no(Reason::Unknown),
            LargeReuse::GreatestMapcount if self.state.swapcache => unsure(Reason::SwapSlots),
            LargeReuse::GreatestMapcount => self.by_mapcount(Query::TransHugeMapcount),
            LargeReuse::OnlyReference => only(),
            LargeReuse::ExclusiveOrOnlyReference | LargeReuse::Exclusive | LargeReuse::ExclusiveOrOwned
                if self.is_exclusive(page) =>
            {
                yes(Reason::Exclusive)
            }
            LargeReuse::ExclusiveOrOnlyReference => only(),
            LargeReuse::Exclusive => no(Reason::NotExclusive),
            LargeReuse::ExclusiveOrOwned => self.owned(),
        }
    }

    /// `__wp_can_reuse_large_anon_folio()` (mm/memory.c, v6.17). A single entry is left to the copy, which frees
    /// the folio.
    fn owned(&self) -> Verdict {
        let Some(references) = self.references() else { return unsure(Reason::Unknown) };
        match self.ask(Query::MaybeShared, self.folio.head).value() {
            None => unsure(Reason::Unknown),
            Some(1) => no(Reason::Shared),
            Some(_) if references.mappings < 2 => no(Reason::NotExclusive),
            Some(_) if references.all == references.mappings => yes(Reason::Owned),
            Some(_) if references.all == references.mappings + references.swapcache => {
                unsure(Reason::SwapSlots)
            }
            Some(_) => no(Reason::OtherReferences),
        }
    }

    fn pmd_reuse(&self) -> Verdict {
        match self.policy.pmd_reuse {
            PmdReuse::GreatestMapcount => {
                let query = if self.scheme.info().capabilities.pmd_split_splits_folio {
                    Query::FolioMapcount
                } else {
                    Query::TransHugeMapcount
                };
                self.by_mapcount(query)
            }
            PmdReuse::ExclusiveOrReferences if self.is_exclusive(self.folio.head) => yes(Reason::Exclusive),
            PmdReuse::ExclusiveOrReferences if self.state.swapcache => unsure(Reason::SwapSlots),
            PmdReuse::ExclusiveOrReferences if self.refcount() == 1 => yes(Reason::OnlyReference),
            PmdReuse::ExclusiveOrReferences => no(Reason::OtherReferences),
        }
    }
}
