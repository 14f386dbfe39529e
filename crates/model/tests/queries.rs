//! The formulas on folios of every kind, without a machine: entries are added to counters, and a sure answer has to
//! be the number that was added.

use mapcount_model::counters::{CounterMemory, Counters, Plain};
use mapcount_model::field::Field;
use mapcount_model::query::{Answer, Query, Tally};
use mapcount_model::scheme::{ALL, Known, Mapper, Scheme, ask, by_id};
use mapcount_model::units::{Folio, Kind, Level, MmId, Order, PageRange, Pfn};

/// A folio with `pmds` PMDs, of one process each, and in one more process PTEs of its pages `ptes`.
struct State {
    folio: Folio,
    pmds: u32,
    ptes: PageRange,
}

impl State {
    fn new(order: u8, kind: Kind, pmds: u32, ptes: (u32, u32)) -> State {
        let folio = Folio { head: Pfn(8), order: Order(order), kind };
        State { folio, pmds, ptes: PageRange::new(folio.head.add(ptes.0), ptes.1) }
    }

    fn counters(&self, scheme: &dyn Scheme) -> Plain {
        let counters = Plain::new(16);
        scheme.prep_folio(&counters, self.folio);
        for number in 0..self.pmds {
            let by = Mapper::new(MmId(number + 1));
            if self.folio.kind == Kind::Hugetlb {
                scheme.hugetlb_add(&counters, self.folio, &by);
            } else {
                scheme.add_rmap(&counters, self.folio, self.folio.range(), Level::Pmd, &by);
            }
        }
        if self.ptes.len > 0 {
            let by = Mapper::new(MmId(self.pmds + 1));
            scheme.add_rmap(&counters, self.folio, self.ptes, Level::Pte, &by);
        }
        counters
    }

    fn truth(&self, query: Query, page: Pfn) -> Option<i64> {
        let pmds = i64::from(self.pmds);
        let of_page = pmds + i64::from(self.ptes.contains(page));
        let entries = pmds + i64::from(self.ptes.len);
        let mms = pmds + i64::from(self.ptes.len > 0);
        Some(match query {
            Query::EntireMapcount => pmds,
            Query::PageMapcount | Query::Kpagecount => of_page,
            Query::FolioMapcount | Query::ExpectedRefcount => entries,
            Query::FolioMapped => i64::from(entries > 0),
            Query::TransHugeMapcount => mms,
            Query::MaybeShared => i64::from(mms > 1),
            Query::MaybeDmaPinned => 0,
            Query::PageCount | Query::AveragePageMapcount => return None,
        })
    }

    fn check(&self, scheme: &dyn Scheme, query: Query, page: Pfn, counters: &dyn CounterMemory) {
        let known = Known { pins_exist: true, ..Known::default() };
        let mut tally = Tally::on();
        let answer = ask(scheme, counters, query, (self.folio, page), known, &mut tally);
        let (kind, order) = (self.folio.kind.name(), self.folio.order.0);
        let number = page.0 - self.folio.head.0;
        let place =
            format!("{} {query} of page {number} of a {kind} folio of order {order}", scheme.info().id);
        let place = format!("{place}, {} PMDs and PTEs {:?}", self.pmds, self.ptes);
        if let (Answer::Exact(value), Some(truth)) = (answer, self.truth(query, page)) {
            assert_eq!(value, truth, "{place}");
        }
        if let Some(value) = answer.value().filter(|_| !query.is_yes_or_no()) {
            let terms = tally.into_terms();
            let sum: i64 = terms.iter().filter(|term| term.counts).map(|term| term.value).sum();
            assert_eq!(sum, value, "{place}: {terms:?}");
        }
    }
}

/// The states that a scheme can bring a folio of this kind into.
fn states(scheme: &dyn Scheme, kind: Kind) -> Vec<State> {
    let whole_only = scheme.info().capabilities.pmd_split_splits_folio || kind == Kind::Hugetlb;
    let mut states = Vec::new();
    for pmds in 0..3 {
        states.push(State::new(2, kind, pmds, (0, 0)));
        if !whole_only {
            states.extend([(0, 1), (1, 2), (0, 4)].map(|ptes| State::new(2, kind, pmds, ptes)));
        }
    }
    if kind != Kind::Hugetlb {
        states.extend([(0, 0), (0, 1)].map(|ptes| State::new(0, kind, 0, ptes)));
    }
    states
}

#[test]
fn sure_answers_count_the_entries_of_folios_of_every_kind() {
    // Areas are not part of these states.
    for scheme in ALL.iter().filter(|scheme| !scheme.info().capabilities.needs_vma_pages) {
        for kind in [Kind::Anon, Kind::Shmem, Kind::File, Kind::Hugetlb] {
            for state in states(*scheme, kind) {
                let counters = state.counters(*scheme);
                for page in state.folio.range().iter() {
                    for query in Query::ALL {
                        state.check(*scheme, *query, page, &counters);
                    }
                }
            }
        }
    }
}

/// The head of a hugetlb folio has its type where others have their map count (6.11 and later).
#[test]
fn the_type_word_of_hugetlb_is_not_read() {
    const HUGETLB_TYPE: i32 = -201_326_592;
    for id in ["pages-mapped", "large-mapcount", "mm-id", "no-page-mapcount"] {
        let scheme = by_id(id).expect("listed");
        let state = State::new(2, Kind::Hugetlb, 2, (0, 0));
        let counters = state.counters(scheme);
        counters.set(Field::Mapcount, state.folio.head, HUGETLB_TYPE);
        for query in [Query::PageMapcount, Query::Kpagecount, Query::FolioMapcount, Query::MaybeShared] {
            let place = (state.folio, state.folio.head);
            let answer = ask(scheme, &counters, query, place, Known::default(), &mut Tally::off());
            let expected = if query == Query::MaybeShared { 1 } else { 2 };
            assert!(answer.value().is_none_or(|value| value == expected), "{id} {query}: {answer:?}");
        }
    }
}
