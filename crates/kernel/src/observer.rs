//! Looking at a running kernel: what its processes map, and the counters of those folios.

mod frames;
mod proc;
mod scene;
mod structs;

use std::collections::BTreeMap;

use mapcount_script::trace::{FolioRow, Mappings, System};

use crate::Unavailable;
use proc::PageFiles;
use scene::Scene;
use structs::Structs;

/// A process to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watched {
    /// The scenario's name for it.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Its mappings, by the scenario's names.
    pub windows: BTreeMap<String, Window>,
}

/// The address range that a mapping's name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The first address.
    pub start: u64,
    /// The pages of the mapping, from `start` on.
    pub pages: u64,
    /// The pages that are kept apart from every other mapping, from `start` on; VMAs are looked for here.
    pub room: u64,
}

/// What was seen, in the terms of the trace.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Observation {
    /// The processes by name, with frames numbered as the trace numbers them.
    pub processes: BTreeMap<String, Mappings>,
    /// The folios that they map.
    pub folios: Vec<FolioRow>,
    /// The system's statistics as they are now; who compares steps subtracts the first.
    pub system: System,
    /// How often something was read again because it changed while it was read.
    pub retries: u64,
    /// Whether two readings in a row agreed in the end.
    pub settled: bool,
}

/// Which observer to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Choice {
    /// The one that sees most of those that are there: `bpf`, else `kcore`, else `proc`.
    #[default]
    Auto,
    /// A BPF program that copies `struct page`s.
    Bpf,
    /// `/proc/kcore`.
    Kcore,
    /// `/proc/PID/pagemap`, `/proc/kpagecount` and `/proc/kpageflags`: fewer fields.
    Proc,
}

impl Choice {
    /// The choices by their names on the command line.
    pub const ALL: [(&'static str, Choice); 4] =
        [("auto", Choice::Auto), ("bpf", Choice::Bpf), ("kcore", Choice::Kcore), ("proc", Choice::Proc)];

    /// The choice of this name.
    pub fn by_name(name: &str) -> Option<Choice> {
        Choice::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, choice)| choice)
    }
}

/// An observer of the running kernel.
///
/// # Errors
/// What the chosen observer lacks; for [`Choice::Auto`] what the best of them lacks.
pub fn open(choice: Choice) -> Result<Box<dyn Observer>, Unavailable> {
    match choice {
        Choice::Bpf => Ok(Box::new(Scene::new(Structs::bpf()?)?)),
        Choice::Kcore => Ok(Box::new(Scene::new(Structs::kcore()?)?)),
        Choice::Proc => Ok(Box::new(Scene::new(PageFiles::open()?)?)),
        Choice::Auto => best().map(|(observer, _)| observer),
    }
}

/// What observers lack, each with its name.
pub type Lacking = Vec<(&'static str, Unavailable)>;

/// The observer that sees most of those that are there, and what those that see more lack, by their names.
///
/// # Errors
/// What the best of all lacks, if none is there.
pub fn best() -> Result<(Box<dyn Observer>, Lacking), Unavailable> {
    let mut lacking = Vec::new();
    for (name, choice) in [("bpf", Choice::Bpf), ("kcore", Choice::Kcore), ("proc", Choice::Proc)] {
        match open(choice) {
            // BPF and kcore see the same.
            Ok(observer) if choice == Choice::Kcore => return Ok((observer, Vec::new())),
            Ok(observer) => return Ok((observer, lacking)),
            Err(missing) => lacking.push((name, missing)),
        }
    }
    Err(lacking.swap_remove(0).1)
}

/// A way to look at a kernel.
pub trait Observer {
    /// `bpf`, `kcore` or `proc`.
    fn name(&self) -> &'static str;

    /// Whether [`Observation::system`] is read; it is at first. Bringing the statistics up to date takes longer
    /// than all else, and on a machine that others use they say little.
    ///
    /// # Errors
    /// Where the kernel does not show them.
    fn watch_system(&mut self, on: bool) -> Result<(), Unavailable>;

    /// What `processes` map now, by one reading. What others change while it goes on may be torn: this is for whoever
    /// looks again before he believes what he did not expect.
    ///
    /// # Errors
    /// Where the kernel does not let it look any more.
    fn glance(&mut self, processes: &[Watched]) -> Result<Observation, Unavailable>;

    /// What `processes` map now, read until two readings agree.
    ///
    /// # Errors
    /// Where the kernel does not let it look any more.
    fn observe(&mut self, processes: &[Watched]) -> Result<Observation, Unavailable>;
}
