//! Processes by name, by kinship and by cgroup, from /proc and the cgroup file systems.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::Unavailable;

/// A process as /proc names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// The name of its program, as the kernel keeps it (15 bytes at most).
    pub comm: String,
}

/// All processes that can be seen, by their ids. Threads are no processes, nor are the kernel's own threads.
///
/// # Errors
/// If /proc cannot be read.
pub fn processes() -> Result<Vec<Process>, Unavailable> {
    let entries = fs::read_dir("/proc")
        .map_err(|error| Unavailable::new(format!("/proc: {error}"), "mount procfs on /proc"))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // One that is gone by now is not there.
    let mut found: Vec<Process> = pids.filter_map(process).collect();
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

/// One process; `None` if it is gone.
pub fn process(pid: u32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(pid, &String::from_utf8_lossy(&stat))
}

/// What a number is that is no process to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Absent {
    /// Nothing has it.
    Gone,
    /// A thread of the kernel's, of this name.
    OfKernel(String),
    /// A thread of this process.
    Thread(u32),
}

/// What a number is that [`processes`] does not list.
pub fn absent(pid: u32) -> Absent {
    let Ok(text) = fs::read(format!("/proc/{pid}/status")) else { return Absent::Gone };
    let text = String::from_utf8_lossy(&text);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    match value("Tgid:").and_then(|group| group.parse().ok()) {
        Some(group) if group != pid => Absent::Thread(group),
        _ if process(pid).is_none() => Absent::OfKernel(value("Name:").unwrap_or_default().to_owned()),
        _ => Absent::Gone,
    }
}

/// `PF_KTHREAD` (include/linux/sched.h), the same number since 2.6.27.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// `PID (COMM) STATE PPID PGRP SESSION TTY TPGID FLAGS …`: the name may hold anything, parentheses too. `None` for a
/// thread of the kernel's.
fn parse_stat(pid: u32, stat: &str) -> Option<Process> {
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let mut words = stat.get(close + 1..)?.split_whitespace();
    let parent = words.nth(1)?.parse().ok()?;
    let flags: u64 = words.nth(4)?.parse().ok()?;
    (flags & KERNEL_THREAD == 0).then_some(Process {
        pid,
        parent,
        comm: stat.get(open + 1..close)?.to_owned(),
    })
}

/// `roots` and all their descendants among `all`.
pub fn with_children(all: &[Process], roots: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let mut found = roots.clone();
    let mut left: Vec<u32> = roots.iter().copied().collect();
    while let Some(pid) = left.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                left.push(*child);
            }
        }
    }
    found
}

/// A memory cgroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cgroup {
    /// Its folder.
    pub path: PathBuf,
    /// The inode numbers of its folder and of those below it; /proc/kpagecgroup names cgroups by them.
    pub inodes: BTreeSet<u64>,
    /// The processes in it and below it.
    pub pids: BTreeSet<u32>,
    /// Whether memory is charged to it: the memory controller is at work here.
    pub has_memory: bool,
}

/// Where cgroups are mounted: the file system of version 2, and the memory controller of version 1.
fn mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (at, kind, options) = (words.next()?, words.next()?, words.next()?);
            let is_memory = kind == "cgroup" && options.split(',').any(|option| option == "memory");
            (is_memory || kind == "cgroup2").then(|| PathBuf::from(at))
        })
        .collect();
    // Where both are there, memory is version 1's.
    found.sort_by_key(|at| !at.ends_with("memory"));
    found
}

/// The cgroup of this name: a folder, or a path below where cgroups are mounted (as /proc/PID/cgroup has it).
///
/// # Errors
/// If there is no such folder.
pub fn cgroup(name: &str) -> Result<Cgroup, Unavailable> {
    let below = name.trim_start_matches('/');
    let candidates = [PathBuf::from(name)].into_iter().chain(mounts().into_iter().map(|at| at.join(below)));
    let is_cgroup = |path: &PathBuf| path.join("cgroup.procs").is_file();
    let path = candidates.into_iter().find(is_cgroup).ok_or_else(|| {
        Unavailable::new(
            format!("no cgroup `{name}`"),
            "name a folder of a cgroup file system, or a path as /proc/PID/cgroup shows it",
        )
    })?;
    let has_memory = path.join("memory.stat").is_file();
    let mut group = Cgroup { path: path.clone(), inodes: BTreeSet::new(), pids: BTreeSet::new(), has_memory };
    collect(&path, &mut group);
    Ok(group)
}

/// Folders that are gone meanwhile are left out.
fn collect(folder: &Path, group: &mut Cgroup) {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = fs::metadata(folder) else { return };
    group.inodes.insert(metadata.ino());
    if let Ok(text) = fs::read_to_string(folder.join("cgroup.procs")) {
        group.pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), group);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Absent, Process, absent, parse_stat, process, with_children};

    #[test]
    fn names_may_hold_parentheses() {
        let found = parse_stat(7, "7 (a) b (c) S 3 7 7 0 -1 4194304 5").expect("well-formed");
        assert_eq!((found.comm.as_str(), found.parent), ("a) b (c", 3));
        assert_eq!(parse_stat(7, "7 (a"), None);
        assert_eq!(parse_stat(2, "2 (kthreadd) S 0 0 0 0 -1 2129984 0"), None, "the kernel's");
    }

    #[test]
    fn this_process_is_there() {
        assert_eq!(process(std::process::id()).map(|process| process.pid), Some(std::process::id()));
        assert_eq!(process(u32::MAX), None);
    }

    #[test]
    fn numbers_that_are_no_process_are_told_apart() {
        let thread = std::thread::spawn(|| {
            // SAFETY: has no preconditions.
            let own = unsafe { libc::gettid() }.cast_unsigned();
            assert_eq!(absent(own), Absent::Thread(std::process::id()));
        });
        thread.join().expect("a thread is told by its process");
        assert_eq!(absent(u32::MAX), Absent::Gone);
        // Where processes of the kernel can be seen at all.
        if std::path::Path::new("/proc/2/status").exists() && process(2).is_none() {
            assert!(matches!(absent(2), Absent::OfKernel(_)));
        }
    }

    #[test]
    fn kin_are_all_descendants() {
        let all = [(1, 0), (2, 1), (3, 2), (4, 1), (5, 9)].map(|(pid, parent)| Process {
            pid,
            parent,
            comm: String::new(),
        });
        let found = with_children(&all, &BTreeSet::from([2]));
        assert_eq!(found, BTreeSet::from([2, 3]));
        assert_eq!(with_children(&all, &BTreeSet::from([1])).len(), 4);
    }
}
