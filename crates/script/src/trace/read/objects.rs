//! The keys of each object of the trace, and what would be absurd in it.

use mapcount_model::field::Field;
use mapcount_model::units::Kind;
use serde::de::{Deserializer, Error, MapAccess};

use super::node::{Context, Node, Object, node, read_object, require, value};
use crate::trace::{FieldValue, FolioRow, Mapping, Refused, Rle, Shape, Step, System, VERSION, shape};

/// No folio is larger than this order: 2^30 pages are 4 TiB.
const MAX_ORDER: u8 = 30;

const KINDS: [Kind; 7] =
    [Kind::Anon, Kind::File, Kind::Shmem, Kind::Hugetlb, Kind::Ksm, Kind::Zero, Kind::Device];

macro_rules! nodes {
    ($($type:ty),+) => {
        $(impl Node for $type {
            fn read<'de, D: Deserializer<'de>>(context: &mut Context, deserializer: D) -> Result<Self, D::Error> {
                read_object(context, deserializer)
            }
        })+
    };
}

nodes!(Step, Mapping, FolioRow, Refused, System);

impl Object for Step {
    const WHAT: &'static str = "a step";
    const PLACE: &'static str = "";

    fn fill<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        context: &mut Context,
    ) -> Result<bool, A::Error> {
        match key {
            "v" => {
                let version: u64 = map.next_value()?;
                if version != VERSION {
                    return Err(context.error(
                        format_args!("version {version} of the format"),
                        format!("this program reads version {VERSION}"),
                    ));
                }
                self.v = Some(version);
            }
            "kernel" => self.kernel = value(map)?,
            "scheme" => self.scheme = value(map)?,
            "scenario" => self.scenario = value(map)?,
            "step" => {
                self.step = map.next_value()?;
                number(self.step, context)?;
            }
            "op" => self.op = map.next_value()?,
            "outcome" => self.outcome = value(map)?,
            "processes" => self.processes = node(map, context)?,
            "folios" => {
                let rows: Vec<FolioRow> = map.next_value_seed(super::NodeSeed::new(context))?;
                places(&rows, context)?;
                self.folios = Some(rows);
            }
            "refused" => self.refused = node(map, context)?,
            "system" => self.system = node(map, context)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check<E: Error>(&self, seen: &[String], context: &mut Context) -> Result<(), E> {
        require(&["step", "op"], "the step", seen, context)
    }
}

/// Whether this is the step that has to come now.
fn number<E: Error>(step: u64, context: &mut Context) -> Result<(), E> {
    let least = context.least_step;
    // What follows is measured by this one, be it right or wrong: one error for one mistake.
    context.least_step = step.saturating_add(1).max(least);
    context.next_step = Some(context.least_step);
    if step < least {
        return Err(context.error(
            format_args!("step {step} behind step {}", least - 1),
            "each step has one line, and steps are counted up; two recordings may have been put together",
        ));
    }
    match context.expected_step {
        Some(next) if step != next => Err(context.error(
            format_args!("step {step} where step {next} has to come"),
            "a step that was not observed has a line too, with `step` and `op`",
        )),
        _ => Ok(()),
    }
}

/// Refuses folios that overlap or go back.
fn places<E: Error>(rows: &[FolioRow], context: &mut Context) -> Result<(), E> {
    match rows.windows(2).find(|pair| pair[1].id < pair[0].end()) {
        None => Ok(()),
        Some(pair) => Err(context.error(
            format_args!(
                "folio {} begins before frame {}, where the one before it ends",
                pair[1].id,
                pair[0].end()
            ),
            "folios stand in the order of their frames and share none",
        )),
    }
}

impl Object for Mapping {
    const WHAT: &'static str = "a mapping";
    const PLACE: &'static str = "processes.P.x.";

    fn fill<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        context: &mut Context,
    ) -> Result<bool, A::Error> {
        match key {
            "vmas" => {
                self.vmas = value(map)?;
                let areas = self.vmas.iter().flatten().map(|(first, pages, _)| (*first, *pages));
                ordered(areas, context)?;
            }
            "map" => {
                self.map = value(map)?;
                ordered(self.map.iter().flatten().map(|run| (run.first, run.pages)), context)?;
            }
            _ => match self.number_mut(key) {
                Some(number) => *number = value(map)?,
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    fn check<E: Error>(&self, _seen: &[String], _context: &mut Context) -> Result<(), E> {
        Ok(())
    }
}

/// Refuses runs of pages that are empty, endless, or overlap.
fn ordered<E: Error>(runs: impl Iterator<Item = (u64, u64)>, context: &mut Context) -> Result<(), E> {
    let mut end = 0;
    for (first, pages) in runs {
        let Some(next) = first.checked_add(pages).filter(|_| pages > 0 && first >= end) else {
            return Err(context.error(
                format_args!(
                    "{pages} pages from page {first} on, where at least one from page {end} on may stand"
                ),
                "runs stand in the order of their pages and share none",
            ));
        };
        end = next;
    }
    Ok(())
}

impl Object for FolioRow {
    const WHAT: &'static str = "a folio";
    const PLACE: &'static str = "folios[].";

    fn fill<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        context: &mut Context,
    ) -> Result<bool, A::Error> {
        match key {
            "id" => self.id = map.next_value()?,
            "count" => self.count = map.next_value()?,
            "order" => self.order = map.next_value()?,
            "kind" => self.kind = Some(kind(&map.next_value::<String>()?, context)?),
            "tail_refcount" => self.tail_refcount = value(map)?,
            "mm_ids" => self.mm_ids = value(map)?,
            "mm_id_mapcount_raw" => self.mm_id_mapcount_raw = value(map)?,
            "swapcache" => self.swapcache = value(map)?,
            "kpagecount" => {
                let counts: Rle<u64> = map.next_value()?;
                self.kpagecount = Some(signed(&counts, context)?);
            }
            "folio_mapcount" => self.folio_mapcount = value(map)?,
            "expected_refcount" => self.expected_refcount = value(map)?,
            _ => {
                let Some((field, shape)) = Field::by_key(key).and_then(|field| Some((field, shape(field)?)))
                else {
                    return Ok(false);
                };
                let value = match shape {
                    Shape::Number => FieldValue::Number(map.next_value()?),
                    Shape::Flag => FieldValue::Flag(map.next_value()?),
                    Shape::Pages => FieldValue::Pages(map.next_value()?),
                };
                self.fields.insert(field, value);
            }
        }
        Ok(true)
    }

    fn check<E: Error>(&self, seen: &[String], context: &mut Context) -> Result<(), E> {
        require(&["id", "count", "order"], "the folio", seen, context)?;
        if self.order > MAX_ORDER {
            return Err(context.error(
                format_args!("a folio of order {}", self.order),
                format!("`order` is the logarithm of the number of pages, at most {MAX_ORDER}"),
            ));
        }
        let size = self.size();
        let pages = self.count.checked_mul(size).filter(|pages| *pages > 0);
        if pages.and_then(|pages| self.id.checked_add(pages)).is_none() {
            return Err(context.error(
                format_args!("{} folios of {size} pages from frame {} on", self.count, self.id),
                "`count` is how many folios the row stands for, at least 1 and no more than there is memory",
            ));
        }
        if !self.id.is_multiple_of(size) {
            return Err(context.error(
                format_args!("a folio of {size} pages at frame {}", self.id),
                "a folio begins at a multiple of its own size",
            ));
        }
        self.check_lengths(size, context)
    }
}

impl FolioRow {
    /// Refuses lists that do not have a value for each page.
    fn check_lengths<E: Error>(&self, size: u64, context: &mut Context) -> Result<(), E> {
        for (key, cell) in self.cells() {
            let crate::trace::Cell::Pages(list) = cell else { continue };
            let expected = if key == "tail_refcount" { size - 1 } else { size };
            if list.len() != expected {
                return Err(context.error(
                    format_args!("`{key}` is of {} pages in a folio of order {}", list.len(), self.order),
                    format!("it is a list over {expected} pages, in runs [pages, value]"),
                ));
            }
        }
        Ok(())
    }
}

fn kind<E: Error>(name: &str, context: &mut Context) -> Result<Kind, E> {
    KINDS.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name()).collect();
        context.error(
            format_args!("{name:?} is no kind of folio"),
            format!("the kinds are {}", names.join(", ")),
        )
    })
}

fn signed<E: Error>(counts: &Rle<u64>, context: &mut Context) -> Result<Rle<i64>, E> {
    counts
        .runs()
        .iter()
        .map(|(pages, count)| i64::try_from(*count).map(|count| (*pages, count)))
        .collect::<Result<Rle<i64>, _>>()
        .map_err(|_| {
            context.error("a count beyond all counts", "the numbers of /proc/kpagecount belong here")
        })
}

impl Object for Refused {
    const WHAT: &'static str = "a refused folio";
    const PLACE: &'static str = "refused[].";

    fn fill<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        _context: &mut Context,
    ) -> Result<bool, A::Error> {
        match key {
            "id" => self.id = map.next_value()?,
            "why" => self.why = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check<E: Error>(&self, seen: &[String], context: &mut Context) -> Result<(), E> {
        require(&["id", "why"], Self::WHAT, seen, context)
    }
}

impl Object for System {
    const WHAT: &'static str = "the system's statistics";
    const PLACE: &'static str = "system.";

    fn fill<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        _context: &mut Context,
    ) -> Result<bool, A::Error> {
        match self.number_mut(key) {
            Some(number) => *number = value(map)?,
            None => return Ok(false),
        }
        Ok(true)
    }

    fn check<E: Error>(&self, _seen: &[String], _context: &mut Context) -> Result<(), E> {
        Ok(())
    }
}
