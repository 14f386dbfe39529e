//! Folios and who maps them, in words.

use std::rc::Rc;

use mapcount_model::units::{Folio, Kind, Level};

use crate::report::scene::{Claim, Holds};

/// `[3]` or `[0..16]`.
pub(super) fn range(first: u64, pages: u64) -> String {
    if pages == 1 { format!("[{first}]") } else { format!("[{first}..{}]", first + pages) }
}

/// `[0..16,17]`.
pub(super) fn ranges(runs: &[(u64, u64)]) -> String {
    let text: Vec<String> =
        runs.iter().map(|(first, pages)| range(*first, *pages).trim_matches(['[', ']']).to_owned()).collect();
    format!("[{}]", text.join(","))
}

/// `512 pages`, `folio of order 9`, `zero page`.
pub(in crate::report) fn description(folio: Folio, count: u64) -> String {
    let kind = if folio.kind == Kind::Anon { String::new() } else { format!("{} ", folio.kind.name()) };
    let plural = if count == 1 { "" } else { "s" };
    let number = if count == 1 { String::new() } else { format!("{count} ") };
    if folio.is_large() {
        format!("{number}{kind}folio{plural} of order {}", folio.order.0)
    } else {
        format!("{number}{kind}page{plural}")
    }
}

/// How a mapping maps each folio of a group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Mapper {
    pub(super) name: Rc<str>,
    pub(super) puds: u64,
    pub(super) pmds: u64,
    pub(super) ptes: u64,
}

/// How a folio of a segment of `count` folios is mapped, a mapping each.
pub(super) fn mappers(claims: &[Claim], folio: Folio, count: u64) -> Vec<Mapper> {
    // Of a device up to 5.16 one entry maps many folios, a page each.
    let pages = count * u64::from(folio.pages());
    let mut mappers: Vec<Mapper> = Vec::new();
    for claim in claims {
        let index = match mappers.iter().position(|mapper| mapper.name == claim.name) {
            Some(index) => index,
            None => {
                mappers.push(Mapper { name: Rc::clone(&claim.name), puds: 0, pmds: 0, ptes: 0 });
                mappers.len() - 1
            }
        };
        let mapper = &mut mappers[index];
        match claim.level {
            Level::Pud => mapper.puds += claim.pages.min(pages),
            Level::Pmd => mapper.pmds += claim.pages.min(pages),
            Level::Pte => mapper.ptes += claim.pages,
        }
    }
    for mapper in &mut mappers {
        mapper.puds /= pages;
        mapper.pmds /= pages;
        mapper.ptes /= count;
    }
    mappers.sort();
    mappers
}

/// `mapped by 514 entries: A.x 512 PTEs; B.x, C.x PMD`.
pub(super) fn mapped(mappers: &[Mapper], claims: &[Claim], folio: Folio, count: u64) -> String {
    if mappers.is_empty() {
        return "not mapped".to_owned();
    }
    let mut said: Vec<(Vec<String>, String)> = Vec::new();
    for mapper in mappers {
        let name = format!("{}{}", mapper.name, places(&mapper.name, claims));
        let how = entries(mapper, folio);
        match said.iter_mut().find(|(_, known)| *known == how) {
            Some((names, _)) => names.push(name),
            None => said.push((vec![name], how)),
        }
    }
    let said: Vec<String> =
        said.into_iter().map(|(names, how)| format!("{} {how}", names.join(", "))).collect();
    let each = if count > 1 { "each " } else { "" };
    match mappers.iter().map(|mapper| mapper.puds + mapper.pmds + mapper.ptes).sum::<u64>() {
        1 => format!("{each}mapped by {}", said.join("; ")),
        entries => format!("{each}mapped by {entries} entries: {}", said.join("; ")),
    }
}

fn entries(mapper: &Mapper, folio: Folio) -> String {
    let mut parts = Vec::new();
    for (entries, level) in [(mapper.puds, "PUD"), (mapper.pmds, "PMD")] {
        match entries {
            0 => {}
            1 => parts.push(level.to_owned()),
            entries => parts.push(format!("{entries} {level}s")),
        }
    }
    match mapper.ptes {
        0 => {}
        1 if folio.is_large() => parts.push("1 PTE".to_owned()),
        1 => parts.push("PTE".to_owned()),
        ptes => parts.push(format!("{ptes} PTEs")),
    }
    parts.join(" + ")
}

/// Which pages of the mapping, unless all of them.
fn places(name: &Rc<str>, claims: &[Claim]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let mut size = 0;
    let mut mine: Vec<&Claim> = claims.iter().filter(|claim| claim.name == *name).collect();
    mine.sort_by_key(|claim| claim.page);
    for claim in mine {
        size = claim.size;
        match runs.last_mut().filter(|(first, pages)| first + pages >= claim.page) {
            Some((first, pages)) => *pages = (*pages).max(claim.page + claim.pages - *first),
            None => runs.push((claim.page, claim.pages)),
        }
    }
    if runs == [(0, size)] {
        return String::new();
    }
    let shown = if runs.len() > 4 { 3 } else { runs.len() };
    let text = ranges(&runs[..shown]);
    if shown == runs.len() {
        return text;
    }
    let rest: u64 = runs[shown..].iter().map(|(_, pages)| pages).sum();
    format!("{},…{rest} more]", text.trim_end_matches(']'))
}

/// `held by 2 gets, the LRU batch`.
pub(super) fn held(holds: Holds) -> String {
    let mut parts = Vec::new();
    for (count, one, many) in [(holds.gets, "get", "gets"), (holds.pins, "pin", "pins")] {
        match count {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            _ => parts.push(format!("{count} {many}")),
        }
    }
    if holds.batch > 0 {
        parts.push("an LRU batch".to_owned());
    }
    if holds.list > 0 {
        parts.push("the splitter's list".to_owned());
    }
    if holds.cached {
        parts.push("the swap cache".to_owned());
    }
    if parts.is_empty() { String::new() } else { format!(", held by {}", parts.join(", ")) }
}
