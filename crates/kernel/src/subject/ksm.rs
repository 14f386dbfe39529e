//! Full passes of ksmd, as many as asked for.
//!
//! ksmd scans at most `pages_to_scan` pages at a time, and stops for `sleep_millisecs` at the end of a pass
//! (`ksm_scan_thread()`, `ksm_do_scan()`, mm/ksm.c, v5.10 to v7.2). With so many pages that a pass is never
//! cut, and a pause that is never over, each write to `sleep_millisecs` is worth one pass.

use std::cell::{Cell, OnceCell};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::daemon::Daemon;
use crate::settings::Settings;

const RUN: &str = "/sys/kernel/mm/ksm/run";
const SLEEP: &str = "/sys/kernel/mm/ksm/sleep_millisecs";
const SCANS: &str = "/sys/kernel/mm/ksm/full_scans";

/// Woken so often without a new pass, ksmd has nothing to scan, as a pass over nothing is not counted: those who let
/// their memory be merged are gone. It is woken more than once, as it may have been just about to sleep.
const NUDGES: u32 = 3;
/// Where nobody lets memory be merged ksmd does not hear when it is woken: it has so long to do so.
const UNHEARD: Duration = Duration::from_millis(15);
/// A pass that takes so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two pauses that are never over.
const PAUSES: [&str; 2] = ["1000000000", "1000000001"];
/// Between two looks at what it does.
const GLANCES: Duration = Duration::from_micros(10);

/// How long it is believed that nobody else lets memory be merged.
const BELIEVED: Duration = Duration::from_secs(1);

/// The daemon.
#[derive(Debug, Default)]
pub(super) struct Ksmd {
    thread: OnceCell<Option<Daemon>>,
    /// Why it cannot be used, and when that was found out: to ask every process of the machine takes longer than a
    /// pass, so that the answer is kept for a while.
    usable: Cell<Option<(Instant, Option<&'static str>)>>,
}

impl Ksmd {
    /// Why ksmd cannot be used, if so. What other processes allow to be merged it would merge with the scenario's
    /// pages; `is_ours` says which processes are the scenario's.
    pub(super) fn lacks(&self, is_ours: impl Fn(libc::pid_t) -> bool) -> Option<&'static str> {
        match self.usable.get() {
            Some((asked, answer)) if asked.elapsed() < BELIEVED => answer,
            _ => {
                let answer =
                    lacks(is_ours).or_else(|| self.thread().is_none().then_some("ksmd does not run"));
                self.usable.set(Some((Instant::now(), answer)));
                answer
            }
        }
    }

    fn thread(&self) -> Option<&Daemon> {
        self.thread.get_or_init(|| Daemon::find("ksmd")).as_ref()
    }

    /// Has ksmd make so many passes.
    ///
    /// # Errors
    /// If its settings cannot be written.
    pub(super) fn scan(&self, passes: u32, settings: &mut Settings) -> io::Result<()> {
        let Some(thread) = self.thread() else { return Err(io::ErrorKind::NotFound.into()) };
        let counter = File::open(SCANS)?;
        let (start, naps) = (scans(&counter)?, thread.naps());
        settings.change(SLEEP, PAUSES)?;
        settings.set(RUN, "1")?;
        let result = wait((thread, &counter), naps, start + u64::from(passes), settings);
        // Returns once ksmd has put down its mutex.
        settings.set(RUN, "0")?;
        result
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

/// Waits until ksmd has counted as many passes, and wakes it whenever it sleeps.
fn wait(
    (thread, counter): (&Daemon, &File),
    mut naps: u64,
    end: u64,
    settings: &mut Settings,
) -> io::Result<()> {
    let mut last = scans(counter)?;
    let mut vain = 0;
    loop {
        let woken = Instant::now();
        let now = loop {
            // It counts a pass before it sleeps: what it has not counted when it sleeps again it has not made.
            let sleeps = thread.sleeps();
            let rests = sleeps && (thread.naps() > naps || woken.elapsed() > UNHEARD);
            let now = scans(counter)?;
            if now >= end || woken.elapsed() > PATIENCE {
                return Ok(());
            }
            if rests {
                break now;
            }
            std::thread::sleep(GLANCES);
        };
        vain = if now > last { 0 } else { vain + 1 };
        if vain == NUDGES {
            return Ok(());
        }
        last = now;
        naps = thread.naps();
        settings.change(SLEEP, PAUSES)?;
    }
}

/// How many passes ksmd has counted.
fn scans(counter: &File) -> io::Result<u64> {
    let mut text = [0; 32];
    let length = counter.read_at(&mut text, 0)?;
    let text = String::from_utf8_lossy(&text[..length]);
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}
