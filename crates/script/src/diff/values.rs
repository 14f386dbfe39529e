//! How much a recording says.

use crate::trace::{FieldValue, FolioRow, Mapping, Rle, Step, System};

/// How many values the steps of a recording have: those that are compared with the model. A list over pages
/// has a value for each page, a row for several folios those of each.
pub fn values(recording: &[Step]) -> u64 {
    recording.iter().map(of_step).sum()
}

fn of_step(step: &Step) -> u64 {
    let mappings = step.processes.iter().flat_map(|all| all.values()).flat_map(|all| all.values());
    let folios = step.folios.iter().flatten();
    let system = step.system.iter().flat_map(System::numbers).filter(|(_, value)| value.is_some());
    u64::from(step.outcome.is_some())
        + mappings.map(of_mapping).sum::<u64>()
        + folios.map(|row| of_folio(row).saturating_mul(row.count)).sum::<u64>()
        + system.count() as u64
}

fn of_mapping(mapping: &Mapping) -> u64 {
    let areas = mapping.vmas.as_ref().map_or(0, Vec::len) as u64;
    let pages = mapping.map.iter().flatten().map(|run| run.pages).sum::<u64>();
    areas + pages + mapping.numbers().iter().filter(|(_, value)| value.is_some()).count() as u64
}

fn of_folio(row: &FolioRow) -> u64 {
    let fields = row.fields.values().map(|value| match value {
        FieldValue::Number(_) | FieldValue::Flag(_) => 1,
        FieldValue::Pages(list) => length(list),
    });
    let lists = [&row.tail_refcount, &row.kpagecount].into_iter().flatten().map(length);
    let single = [row.kind.is_some(), row.swapcache.is_some(), row.folio_mapcount.is_some()];
    let pairs = [row.mm_ids.is_some(), row.mm_id_mapcount_raw.is_some()];
    fields.sum::<u64>()
        + lists.sum::<u64>()
        + single.into_iter().map(u64::from).sum::<u64>()
        + pairs.into_iter().map(|there| 2 * u64::from(there)).sum::<u64>()
        + u64::from(row.expected_refcount.is_some())
}

fn length(list: &Rle<i64>) -> u64 {
    list.runs().iter().map(|(pages, _)| pages).sum()
}
