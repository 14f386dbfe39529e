//! tools/mm/thpmaps of the kernel's source, a program of others that counts the same, on the same process.

use std::collections::BTreeMap;
use std::process::Command;

use mapcount_kernel::inspect::{Class, Usage};
use mapcount_kernel::observer::Choice;

use crate::checks::{inspector, of};
use crate::memory::{Area, Child, HUGE, PAGE};

/// The variable that names the program where it is not on the PATH.
const VARIABLE: &str = "MAPCOUNT_THPMAPS";

/// kB by thpmaps' names; `None` if there is no thpmaps, or it does not work here.
fn thpmaps(pid: u32) -> Result<BTreeMap<String, u64>, String> {
    let program = std::env::var(VARIABLE).unwrap_or_else(|_| "thpmaps".to_owned());
    let pid = pid.to_string();
    let output = Command::new(&program)
        .args(["--pid", &pid, "--rollup", "--inc-empty", "--cont", "64K"])
        .output()
        .map_err(|error| format!("{program}: {error}; set {VARIABLE} to a kernel's tools/mm/thpmaps"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{program}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    }
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.split_whitespace().next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// kB of what is counted here, by thpmaps' names. It does not show folios of order 1 that are mapped whole.
fn ours(usage: &Usage) -> BTreeMap<String, u64> {
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    for class in Class::ALL {
        let name = class.name();
        for order in 2..=9u8 {
            let cover = usage.cover(class, order);
            let size = 4u64 << order;
            names.insert(format!("{name}-thp-pte-aligned-{size}kB"), cover.aligned * 4);
            names.insert(format!("{name}-thp-pte-unaligned-{size}kB"), cover.unaligned * 4);
        }
        let sum = |pages: fn(&mapcount_kernel::inspect::Cover) -> u64| {
            (1..=9).map(|order| pages(&usage.cover(class, order)) * 4).sum()
        };
        names.insert(format!("{name}-thp-pmd-aligned-2048kB"), sum(|cover| cover.pmd));
        names.insert(format!("{name}-thp-pte-partial"), sum(|cover| cover.partial));
        let blocks = usage.blocks.get(&(4, class)).copied().unwrap_or(0);
        names.insert(format!("{name}-cont-pte-aligned-64kB"), blocks * 4);
        names.insert(format!("{name}-cont-pmd-aligned-64kB"), sum(|cover| cover.pmd));
    }
    names
}

/// THPs mapped whole, by PTEs, in part, and at an odd address.
pub(crate) fn what_thpmaps_counts_is_counted() {
    let Some(mut inspector) = inspector("thpmaps", Choice::Auto) else { return };
    let (area, other, small) = (Area::huge(6), Area::huge(2), Area::small(100));
    let child = Child::new(|| {
        area.touch();
        small.touch();
        area.dontneed(HUGE + 40 * PAGE, 100 * PAGE);
        area.dontneed(2 * HUGE, HUGE / 2);
        area.move_to(3 * HUGE, HUGE, &other, 5 * PAGE);
    });
    // Its memory may change a last time while it goes to sleep, and be moved while both look.
    let mut differences = Vec::new();
    for _ in 0..5 {
        let theirs = match thpmaps(child.pid()) {
            Ok(theirs) => theirs,
            // Who says where it is wants it to be used.
            Err(why) if std::env::var_os(VARIABLE).is_some() => panic!("{why}"),
            Err(why) => return eprintln!("thpmaps: skipped: {why}"),
        };
        let found = inspector.processes(&[of(child.pid())], &[4]).expect("readable");
        let ours = ours(&found.used[0].1);
        let shown: u64 = ours.values().sum();
        assert!(shown > 0 && theirs.len() > 10, "{theirs:?}");
        differences =
            ours.into_iter().filter(|(name, kilobytes)| theirs.get(name) != Some(kilobytes)).collect();
        if differences.is_empty() {
            return;
        }
        eprintln!("thpmaps: {differences:?} here, there {theirs:?}");
    }
    panic!("{differences:?}");
}
