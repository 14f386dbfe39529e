//! Full passes of ksmd, as many as asked for.
//!
//! ksmd scans at most `pages_to_scan` pages at a time, and stops for `sleep_millisecs` at the end of a pass
//! (`ksm_scan_thread()`, `ksm_do_scan()`, mm/ksm.c, v5.10 to v7.2). With so many pages that a pass is never
//! cut, and a pause that is never over, each write to `sleep_millisecs` is worth one pass.

use std::cell::Cell;
use std::fs;
use std::time::{Duration, Instant};

use crate::settings::Settings;

const RUN: &str = "/sys/kernel/mm/ksm/run";
const SLEEP: &str = "/sys/kernel/mm/ksm/sleep_millisecs";
const SCANS: &str = "/sys/kernel/mm/ksm/full_scans";

/// Without a new pass in this time, ksmd is woken once more: it may have been just about to sleep.
const NUDGE: Duration = Duration::from_millis(15);
/// After so many nudges in a row there is nothing to scan, as a pass over nothing is not counted: those who let
/// their memory be merged are gone.
const NUDGES: u32 = 60;

/// How long it is believed that nobody else lets memory be merged.
const BELIEVED: Duration = Duration::from_secs(1);

/// Whether ksmd can be used. To ask every process of the machine takes longer than a pass, so that the answer is
/// kept for a while.
#[derive(Debug, Default)]
pub(super) struct Usable(Cell<Option<(Instant, Option<&'static str>)>>);

impl Usable {
    /// Why ksmd cannot be used, if so. What other processes allow to be merged it would merge with the scenario's
    /// pages; `is_ours` says which processes are the scenario's.
    pub(super) fn lacks(&self, is_ours: impl Fn(libc::pid_t) -> bool) -> Option<&'static str> {
        match self.0.get() {
            Some((asked, answer)) if asked.elapsed() < BELIEVED => answer,
            _ => {
                let answer = lacks(is_ours);
                self.0.set(Some((Instant::now(), answer)));
                answer
            }
        }
    }
}

fn lacks(is_ours: impl Fn(libc::pid_t) -> bool) -> Option<&'static str> {
    if !fs::exists(RUN).unwrap_or(false) {
        return Some("ksmd is not built in");
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let mut others = processes.filter(|process| {
        let pid = process.file_name().to_string_lossy().parse();
        pid.is_ok_and(|pid| !is_ours(pid)) && lets_merge(&process.path())
    });
    others.next().map(|_| "another process lets its memory be merged (MADV_MERGEABLE; QEMU does)")
}

/// Whether ksmd knows pages of a process (`ksm_stat`, 6.1 on).
fn lets_merge(process: &std::path::Path) -> bool {
    let text = fs::read_to_string(process.join("ksm_stat")).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(' ')).any(|(key, value)| match key {
        "ksm_rmap_items" | "ksm_merging_pages" => value != "0",
        "ksm_mergeable" => value == "yes",
        _ => false,
    })
}

/// Has ksmd make so many passes.
///
/// # Errors
/// If its settings cannot be written.
pub(super) fn scan(passes: u32, settings: &mut Settings) -> std::io::Result<()> {
    let start = scans();
    let mut pause = Pause(u32::MAX / 4);
    pause.next(settings)?;
    settings.set(RUN, "1")?;
    let result = wait(start, passes, &mut pause, settings);
    // Returns once ksmd has put down its mutex.
    settings.set(RUN, "0")?;
    result
}

fn wait(start: u64, passes: u32, pause: &mut Pause, settings: &mut Settings) -> std::io::Result<()> {
    let mut done = 0;
    let mut nudges = 0;
    let mut since = Instant::now();
    while done < u64::from(passes) {
        let now = scans() - start;
        if now > done {
            (done, nudges) = (now, 0);
            if done < u64::from(passes) {
                // Time to go to sleep; if that is too short, a nudge follows.
                std::thread::sleep(Duration::from_micros(100));
                pause.next(settings)?;
            }
            since = Instant::now();
        } else if since.elapsed() > NUDGE {
            nudges += 1;
            if nudges > NUDGES {
                return Ok(());
            }
            pause.next(settings)?;
            since = Instant::now();
        } else {
            std::thread::sleep(Duration::from_micros(20));
        }
    }
    Ok(())
}

/// Pauses that are never over, each another one, so that setting it wakes ksmd.
struct Pause(u32);

impl Pause {
    fn next(&mut self, settings: &mut Settings) -> std::io::Result<()> {
        self.0 += 1;
        settings.set(SLEEP, &self.0.to_string())
    }
}

fn scans() -> u64 {
    fs::read_to_string(SCANS).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
