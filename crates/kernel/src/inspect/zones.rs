//! Which frames there are, and on which node: what /proc/zoneinfo says.

use std::ops::Range;

use crate::Unavailable;

/// Consecutive frames of a node that one zone spans; holes in them are possible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    /// The NUMA node.
    pub node: u32,
    /// The frames.
    pub frames: Range<u64>,
}

/// The zones of this machine, by their frames.
///
/// # Errors
/// If /proc/zoneinfo cannot be read or names no zone.
pub fn zones() -> Result<Vec<Zone>, Unavailable> {
    let text = std::fs::read_to_string("/proc/zoneinfo").map_err(|error| {
        Unavailable::new(format!("/proc/zoneinfo: {error}"), "mount procfs on /proc, run as root")
    })?;
    let zones = parse(&text);
    if zones.is_empty() {
        return Err(Unavailable::new("/proc/zoneinfo names no frames", "run as root"));
    }
    Ok(zones)
}

fn parse(text: &str) -> Vec<Zone> {
    let mut zones: Vec<Zone> = Vec::new();
    let (mut node, mut spanned) = (0, 0);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Node"), Some(number)) => {
                node = number.trim_end_matches(',').parse().unwrap_or(0);
                spanned = 0;
            }
            (Some("spanned"), Some(number)) => spanned = number.parse().unwrap_or(0),
            (Some("start_pfn:"), Some(number)) => {
                let start: u64 = number.parse().unwrap_or(0);
                if spanned > 0
                    && let Some(end) = start.checked_add(spanned)
                {
                    zones.push(Zone { node, frames: start..end });
                }
            }
            _ => {}
        }
    }
    zones.sort_by_key(|zone| (zone.frames.start, zone.frames.end));
    zones
}

/// The node of a frame: that of the first zone that spans it.
pub(crate) fn node_of(zones: &[Zone], frame: u64) -> Option<u32> {
    zones.iter().find(|zone| zone.frames.contains(&frame)).map(|zone| zone.node)
}

/// The frames of all zones in ranges that do not overlap, each of them of whole `step`s (a power of two).
pub(crate) fn spans(zones: &[Zone], step: u64) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    for zone in zones {
        let start = zone.frames.start & !(step - 1);
        let end = zone.frames.end.next_multiple_of(step);
        match spans.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => spans.push(start..end),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::{node_of, parse, spans};

    const TEXT: &str = "Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 5\n  pages free 3\n        \
        spanned  4095\n        present  3998\n  start_pfn:           1\nNode 0, zone    DMA32\n        spanned  0\n  \
        start_pfn:           0\nNode 1, zone   Normal\n        spanned  1000\n  start_pfn:           8192\n";

    #[test]
    fn zones_are_read_with_their_nodes() {
        let zones = parse(TEXT);
        assert_eq!(zones.len(), 2);
        assert_eq!((zones[0].node, zones[0].frames.clone()), (0, 1..4096));
        assert_eq!((zones[1].node, zones[1].frames.clone()), (1, 8192..9192));
        assert_eq!(node_of(&zones, 8200), Some(1));
        assert_eq!(node_of(&zones, 5000), None);
    }

    #[test]
    fn spans_are_whole_steps_and_do_not_overlap() {
        let zones = parse(TEXT);
        assert_eq!(spans(&zones, 4096), [0..4096, 8192..12288]);
        assert_eq!(spans(&zones, 8192).as_slice(), std::slice::from_ref(&(0..16384)));
    }

    #[test]
    fn nonsense_is_no_zone() {
        assert!(parse("start_pfn: 5\nspanned x\nNode\n").is_empty());
    }
}
