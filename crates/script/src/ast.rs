//! What a scenario says, as data. `Display` prints it in canonical form.
//!
//! Names carry the place where they stand, so that whoever runs a scenario can point at them. Two
//! names, and two regions, are equal if they say the same, wherever they stand.

use crate::diagnostic::Span;

mod expect;
pub mod fields;
mod operand;
mod print;
mod verb;
mod word;

pub use expect::{Expect, FieldName, KernelAlternative, KernelSet, Path, Value};
pub use operand::{MAX_PAGES, Name, Pages, Region, Size};
pub use verb::{Backing, KernelVerb, ProcessVerb};

pub(crate) use word::words;
pub use word::{
    Advice, Beyond, Comparison, DaxAlign, Errno, FileKind, Hold, Huge, MthpMode, Protection, ShmemMthpMode,
    Thp, ThpMode, Userfault, Word,
};

/// A scenario: what its directives say, and its steps and expectations in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// The line for people.
    pub title: Option<String>,
    /// The order of a PMD-sized folio, 1 to 9.
    pub pmd_order: u8,
    /// Where the scenario applies; everywhere if `None`.
    pub kernels: Option<KernelSet>,
    /// How many NUMA nodes there are, at least one.
    pub nodes: u32,
    /// Steps and expectations, in the order of the file.
    pub items: Vec<Item>,
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario { title: None, pmd_order: 9, kernels: None, nodes: 1, items: Vec::new() }
    }
}

/// A statement that is not a directive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// Something that somebody does.
    Step(Step),
    /// Something that holds at this point.
    Expect(Expect),
}

/// Something that a process or the kernel does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Where the statement stands, without its outcome.
    pub span: Span,
    /// The statement without its outcome and its comment, runs of blanks collapsed: `op` in the trace.
    pub text: Box<str>,
    /// What is done.
    pub action: Action,
    /// How it ends.
    pub outcome: Outcome,
    /// Where the outcome stands; empty, behind the statement, if it was left out.
    pub outcome_span: Span,
}

/// What a step does, and who does it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A process makes a system call or touches memory.
    Process {
        /// The process.
        name: Name,
        /// What it does.
        verb: ProcessVerb,
    },
    /// The kernel, or its administrator, does something.
    Kernel(KernelVerb),
}

impl Action {
    /// The region that a step is about, which may not be there yet, and whose it is. What makes a mapping has none.
    pub const fn region(&self) -> Option<(&Name, &Region)> {
        match self {
            Action::Process { name, verb } => match verb {
                ProcessVerb::Read(region)
                | ProcessVerb::Write(region)
                | ProcessVerb::Fill(region, _)
                | ProcessVerb::Munmap(region)
                | ProcessVerb::Mprotect(region, _)
                | ProcessVerb::Mlock(region)
                | ProcessVerb::Munlock(region)
                | ProcessVerb::Mremap { from: region, .. }
                | ProcessVerb::Madvise(region, _)
                | ProcessVerb::Get(region)
                | ProcessVerb::Put(region)
                | ProcessVerb::Pin(region)
                | ProcessVerb::Unpin(region)
                | ProcessVerb::SplitPmd(region)
                | ProcessVerb::Userfault(region, _) => Some((name, region)),
                ProcessVerb::Mmap { .. }
                | ProcessVerb::Reserve { .. }
                | ProcessVerb::Fork(_)
                | ProcessVerb::Exit => None,
            },
            Action::Kernel(
                KernelVerb::Split { region, .. }
                | KernelVerb::Migrate { region, .. }
                | KernelVerb::Beyond(region, _)
                | KernelVerb::Khugepaged(region),
            ) => match &region.process {
                Some(process) => Some((process, region)),
                None => None,
            },
            Action::Kernel(_) => None,
        }
    }
}

/// How a step is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With success.
    Ok,
    /// With this error.
    Errno(Errno),
    /// In whatever way.
    Any,
}
