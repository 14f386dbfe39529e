//! What page tables and holders say about a query, in words.

use mapcount_model::query::Query;
use mapcount_model::units::{Folio, Kind};

use super::Facts;
use crate::report::text::{count, plural};

/// The facts that answer `query`, whatever the counters say.
pub(super) fn of(query: Query, facts: &Facts, folio: Folio) -> String {
    if folio.kind == Kind::Zero {
        return "whoever maps it owns no reference".to_owned();
    }
    let (pmds, ptes) = (i64::from(facts.folio.pmds), facts.folio.ptes as i64);
    let entries = if folio.is_large() {
        let all = plural(pmds + ptes, "entry", "entries");
        format!("{} + {} = {all}", count(pmds, "PMD"), count(ptes, "PTE"))
    } else {
        count(ptes, "PTE")
    };
    let processes = plural(i64::from(facts.folio.mms), "process", "processes");
    match query {
        Query::EntireMapcount => format!("{} the whole", maps(pmds, "PMD")),
        Query::PageMapcount | Query::Kpagecount => {
            let own = i64::from(facts.page.ptes);
            if folio.is_large() {
                format!("{} of this page + {} of the folio", count(own, "PTE"), count(pmds, "PMD"))
            } else {
                format!("{} it", maps(own, "PTE"))
            }
        }
        Query::FolioMapcount | Query::FolioMapped => format!("{entries}, in {processes}"),
        Query::TransHugeMapcount => {
            format!("greatest number of PTEs of any page + {}", count(pmds, "PMD"))
        }
        Query::MaybeShared => format!("{entries}, in {processes}"),
        Query::AveragePageMapcount => {
            format!("{entries}; the average page has {}", average(pmds, ptes, folio))
        }
        Query::MaybeDmaPinned => format!("{} held", count(facts.folio.pins as i64, "FOLL_PIN")),
        Query::PageCount => {
            format!("{entries}; {}", holders(facts))
        }
        Query::ExpectedRefcount => {
            let areas = if facts.references_of_areas {
                format!(" in {}, a reference for each", count(i64::from(facts.folio.vmas), "VMA"))
            } else {
                String::new()
            };
            format!("{entries}{areas}; the count is {}: {}", facts.references, holders(facts))
        }
    }
}

/// Who else has references.
fn holders(facts: &Facts) -> String {
    let held = |held| format!("{held} held by gets, pins, batches or lists");
    match (facts.folio.cached, facts.folio.held) {
        (0, 0) => "nobody else holds a reference".to_owned(),
        (0, others) => held(others),
        (cached, 0) => format!("{cached} held by the swap cache"),
        (cached, others) => format!("{cached} held by the swap cache, {}", held(others)),
    }
}

/// `1 PMD maps`, `2 PMDs map`.
fn maps(number: i64, what: &str) -> String {
    format!("{} map{}", count(number, what), if number == 1 { "s" } else { "" })
}

/// The entries of an average page, to two places: each PMD maps every page.
fn average(pmds: i64, ptes: i64, folio: Folio) -> String {
    let hundredths = (ptes * 100 + i64::from(folio.pages()) / 2) / i64::from(folio.pages());
    format!("{}.{:02}", pmds + hundredths / 100, hundredths % 100)
}
