//! Where differences are collected, with the words that they are told in.

use std::fmt;

use super::overlay::{Span, overlay};
use super::{Difference, Kind, Options};
use crate::trace::{Rle, plain};

/// Values are quoted up to this length.
const MAX_QUOTE: usize = 160;

/// What a value belongs to.
pub(super) enum Place<'a> {
    Step,
    Process(&'a str),
    Mapping(&'a str, &'a str),
    /// Folios of one order in a range of frames.
    Folios {
        start: u64,
        end: u64,
        order: u8,
    },
    System,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Step => Ok(()),
            Place::Process(name) => write!(f, "process {name}"),
            Place::Mapping(process, name) => write!(f, "{process}.{name}"),
            Place::Folios { start, end, order } => {
                if end.saturating_sub(*start) <= 1_u64.checked_shl(u32::from(*order)).unwrap_or(u64::MAX) {
                    write!(f, "folio {start} (order {order})")
                } else {
                    write!(f, "folios {start}..{end} (order {order})")
                }
            }
            Place::System => f.write_str("system"),
        }
    }
}

/// Collects the differences of one step.
pub(super) struct Sink<'a> {
    step: u64,
    op: &'a str,
    options: &'a Options,
    out: &'a mut Vec<Difference>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(
        step: u64,
        op: &'a str,
        options: &'a Options,
        out: &'a mut Vec<Difference>,
    ) -> Sink<'a> {
        Sink { step, op, options, out }
    }

    /// Whether `field` is not to be compared.
    pub(super) fn skips(&self, field: &str) -> bool {
        self.options.ignore.iter().any(|key| key == field)
    }

    pub(super) fn push(
        &mut self,
        kind: Kind,
        field: &'static str,
        place: &Place<'_>,
        pages: Option<(u64, String)>,
        model: &dyn fmt::Display,
        recording: &dyn fmt::Display,
    ) {
        if self.skips(field) {
            return;
        }
        let text = |value: &dyn fmt::Display| plain(&value.to_string(), MAX_QUOTE);
        let first = pages.as_ref().map_or(0, |(first, _)| *first);
        let frame = match place {
            Place::Folios { start, .. } => Some(start.saturating_add(first)),
            _ => None,
        };
        let place = text(place);
        // A process, a mapping or a folio that one side lacks is named by its place alone.
        let path = match (place.is_empty(), field) {
            (true, _) => field.to_owned(),
            (false, "processes" | "mappings" | "folios") => place,
            (false, _) => format!("{place} {field}"),
        };
        self.out.push(Difference {
            step: self.step,
            op: text(&self.op),
            kind,
            field,
            path,
            frame,
            pages: pages.map(|(_, text)| text),
            model: text(model),
            recording: text(recording),
        });
    }

    /// Compares what the recording has.
    pub(super) fn value<T: PartialEq + fmt::Display>(
        &mut self,
        field: &'static str,
        place: &Place<'_>,
        model: Option<&T>,
        recording: Option<&T>,
    ) {
        match (model, recording) {
            (_, None) => {}
            (None, Some(theirs)) => self.push(Kind::NoModelValue, field, place, None, &"", theirs),
            (Some(ours), Some(theirs)) if ours == theirs => {}
            (Some(ours), Some(theirs)) => self.push(Kind::Value, field, place, None, ours, theirs),
        }
    }

    /// For the ranges in which a list differs, told up to the limit of the options.
    pub(super) fn new_ranges(&self) -> Ranges {
        Ranges::new(self.options.ranges)
    }

    /// Compares lists over pages, the first of which is page `first`.
    pub(super) fn pages(
        &mut self,
        field: &'static str,
        place: &Place<'_>,
        first: u64,
        model: &Rle<i64>,
        recording: &Rle<i64>,
    ) {
        if model == recording {
            return;
        }
        let mut ranges = self.new_ranges();
        overlay(spans(model, first), spans(recording, first), |start, end, ours, theirs| {
            let (ours, theirs) = (ours.map(|span| *span.item), theirs.map(|span| *span.item));
            if ours != theirs {
                let text = |value: Option<i64>| {
                    value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
                };
                ranges.add(start, end, || (text(ours), text(theirs)));
            }
        });
        self.ranges(field, place, ranges);
    }

    /// Tells the ranges in which two lists differ.
    pub(super) fn ranges(&mut self, field: &'static str, place: &Place<'_>, ranges: Ranges) {
        let Ranges { told, more, .. } = ranges;
        let last = told.len().saturating_sub(1);
        for (index, (start, end, model, recording)) in told.into_iter().enumerate() {
            let mut pages = format!("pages {start}..{end}");
            if index == last && more > 0 {
                pages.push_str(&format!(" and {more} more range{}", if more == 1 { "" } else { "s" }));
            }
            self.push(Kind::Value, field, place, Some((start, pages)), &model, &recording);
        }
    }
}

/// Ranges of pages that differ, told up to a limit.
pub(super) struct Ranges {
    limit: usize,
    told: Vec<(u64, u64, String, String)>,
    more: usize,
}

impl Ranges {
    fn new(limit: usize) -> Ranges {
        Ranges { limit: limit.max(1), told: Vec::new(), more: 0 }
    }

    pub(super) fn add(&mut self, start: u64, end: u64, texts: impl FnOnce() -> (String, String)) {
        if self.told.len() == self.limit {
            self.more += 1;
            return;
        }
        let (model, recording) = texts();
        self.told.push((start, end, model, recording));
    }
}

fn spans(list: &Rle<i64>, first: u64) -> Vec<Span<&i64>> {
    let mut start = first;
    list.runs()
        .iter()
        .map(|(pages, item)| {
            let end = start.saturating_add(*pages);
            let span = Span { start, end, item };
            start = end;
            span
        })
        .collect()
}
