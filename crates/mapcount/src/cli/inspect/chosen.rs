//! Which processes the command line chooses, and what it names that is no process.

use std::collections::BTreeSet;

use mapcount_kernel::Unavailable;
use mapcount_kernel::inspect::procs::{self, Absent, Process};
use mapcount_kernel::inspect::{Missed, Processes};

use super::Args;

/// The processes that were asked for.
pub(super) struct Chosen {
    /// All processes of the machine.
    pub(super) all: Vec<Process>,
    /// The cgroup that was asked for.
    pub(super) group: Option<procs::Cgroup>,
    /// The processes that were asked for, by id, name and cgroup.
    pub(super) processes: Vec<Process>,
    /// What was asked for and is not there, a few words each.
    pub(super) absent: Vec<String>,
    /// Processes that were asked for by id.
    named: BTreeSet<u32>,
}

/// The processes that were asked for, by id, name and cgroup.
///
/// # Errors
/// If there is no such cgroup.
pub(super) fn chosen(args: &Args) -> Result<Chosen, Unavailable> {
    let all = procs::processes()?;
    let group = args.cgroup.as_deref().map(procs::cgroup).transpose()?;
    let named: BTreeSet<u32> = args.pid.iter().copied().collect();
    let mut pids = named.clone();
    pids.extend(group.iter().flat_map(|group| &group.pids));
    pids.extend(all.iter().filter(|process| args.comm.contains(&process.comm)).map(|process| process.pid));
    if args.children {
        pids = procs::with_children(&all, &pids);
    }
    let processes: Vec<Process> = all.iter().filter(|process| pids.contains(&process.pid)).cloned().collect();
    let has = |pid: u32| processes.iter().any(|process| process.pid == pid);
    let mut absent: Vec<String> =
        named.iter().filter(|pid| !has(**pid)).map(|pid| no_process(*pid)).collect();
    let is_called = |name: &String| all.iter().any(|process| process.comm == *name);
    let unknown = args.comm.iter().filter(|name| !is_called(name));
    absent.extend(unknown.map(|name| format!("no process is called `{name}`")));
    Ok(Chosen { all, group, processes, absent, named })
}

/// Why a number is no process to look at.
pub(super) fn no_process(pid: u32) -> String {
    match procs::absent(pid) {
        Absent::Gone => format!("no process {pid}"),
        Absent::OfKernel(name) => format!("{pid} ({name}) is a kernel thread"),
        Absent::Thread(process) => format!("{pid} is a thread of process {process}"),
    }
}

/// Why a process was not looked at.
fn why_missed(pid: u32, missed: Missed) -> String {
    match missed {
        Missed::Vanished => format!("process {pid} is gone"),
        Missed::Denied => format!("process {pid} may not be read"),
        Missed::NoMemory => format!("process {pid} has no memory any more"),
    }
}

impl Chosen {
    /// What was asked for by name and was not looked at, a few words each.
    pub(super) fn not_seen(&self, missed: &[(Process, Missed)]) -> Vec<String> {
        let named = missed.iter().filter(|(process, _)| self.named.contains(&process.pid));
        let missed = named.map(|(process, missed)| why_missed(process.pid, *missed));
        self.absent.iter().cloned().chain(missed).collect()
    }

    /// A sentence about what was asked for by name and was not looked at; `None` where there is nothing of that sort.
    pub(super) fn note(&self, missed: &[(Process, Missed)]) -> Option<String> {
        let words = self.not_seen(missed);
        if self.group.is_some() && words.is_empty() && self.processes.is_empty() {
            return Some("No process is in the cgroup.".to_owned());
        }
        (!words.is_empty()).then(|| format!("Not looked at: {}.", words.join(", ")))
    }

    /// Whether what processes use is added up: of several, and of a cgroup, whose numbers always have the same name.
    pub(super) fn has_sum(&self, found: &Processes) -> bool {
        found.used.len() > usize::from(self.group.is_none())
    }

    /// Nothing to report is an error.
    ///
    /// # Errors
    /// If nothing of what was asked for was looked at.
    pub(super) fn check(&self, found: &Processes) -> Result<(), Unavailable> {
        if found.used.is_empty() { Err(self.nothing(&found.missed)) } else { Ok(()) }
    }

    /// Why there is nothing to report, and what would mend it.
    pub(super) fn nothing(&self, missed: &[(Process, Missed)]) -> Unavailable {
        let mut words = self.not_seen(missed);
        if words.is_empty() {
            words.extend(missed.iter().take(3).map(|(process, missed)| why_missed(process.pid, *missed)));
        }
        if words.is_empty() {
            words.push("no process is in the cgroup".to_owned());
        }
        let is_denied = missed.iter().any(|(_, missed)| *missed == Missed::Denied);
        let remedy =
            if is_denied { "run as root (CAP_SYS_PTRACE)" } else { "name processes that are running" };
        Unavailable::new(words.join(", "), remedy)
    }
}
