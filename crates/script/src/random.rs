//! Random scenarios: well-formed, over every verb that the model has, and the same for
//! the same seed, so that a seed is enough to tell somebody of a failure.
//!
//! Each seed has a taste of its own: how many pages a PMD maps, which kinds of steps come often and which
//! never, so that some runs are all forks and splits and others all moves and pins.
//!
//! ```
//! use mapcount_script::parse::parse;
//! use mapcount_script::random::{Shape, generate};
//!
//! let scenario = generate(7, &Shape::default());
//! assert_eq!(scenario, generate(7, &Shape::default()));
//! let text = scenario.to_string();
//! assert_eq!(parse(text.as_bytes()).expect("well-formed").to_string(), text);
//! ```

mod choose;
mod huge;
mod minimise;
mod prng;
mod world;

pub use minimise::minimise;
pub use prng::Prng;

use mapcount_model::policy::{Pin, PinRefuses};
use mapcount_model::profile::Profile;

use crate::ast::{Action, FileKind, Item, Outcome, Scenario, Step};
use crate::diagnostic::Span;
use choose::Chooser;

/// What a random scenario is to look like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// How many steps it has.
    pub steps: u32,
    /// The order of a PMD-sized folio; drawn from the seed if `None`, small ones more often.
    pub pmd_order: Option<u8>,
    /// How many processes live at once, at most.
    pub processes: usize,
    /// Pages of a mapping, at most; two or three PMDs if `None`.
    pub pages: Option<u64>,
    /// Whether the kernel has somebody who takes long-term pins: `unpin` needs a `pin` that succeeded.
    pub pins: bool,
    /// Whether these take pages of shared memory, too.
    pub pins_shmem: bool,
    /// Whether there are files.
    pub files: bool,
    /// Whether `huge=` of a memfd can be chosen, for each by itself.
    pub memfd_huge: bool,
    /// Disks that there are files on.
    pub disks: Vec<FileKind>,
    /// NUMA nodes of the machine, 1 to 255.
    pub nodes: u32,
    /// Whether there are DAX devices.
    pub dax: bool,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            steps: 40,
            pmd_order: None,
            processes: 5,
            pages: None,
            pins: true,
            pins_shmem: true,
            files: true,
            memfd_huge: true,
            disks: vec![FileKind::Ext4, FileKind::Xfs],
            nodes: 2,
            dax: true,
        }
    }
}

impl Shape {
    /// The default shape, as far as this kernel can do it.
    pub fn of(profile: &Profile) -> Shape {
        let policy = &profile.policy;
        let pins_shmem = policy.pin_refuses != PinRefuses::Files;
        let (pins, dax) = (policy.pin != Pin::Absent, !policy.dax_is_mixed_map);
        Shape { pins, pins_shmem, dax, ..Shape::default() }
    }
}

/// The scenario of a seed: the same bytes each time. Steps that some kernel may refuse end with `=> any`.
///
/// With enough memory every step is well-formed on the kernels that the shape is for: processes that are
/// named are alive, mappings exist, what is dropped was taken.
pub fn generate(seed: u64, shape: &Shape) -> Scenario {
    let mut chooser = Chooser::new(seed, shape);
    let items = (0..shape.steps).map(|_| {
        let (action, outcome) = chooser.step();
        Item::Step(step(action, outcome))
    });
    let items = items.collect();
    Scenario {
        title: Some(format!("seed {seed}")),
        pmd_order: chooser.pmd_order(),
        nodes: shape.nodes,
        items,
        ..Scenario::default()
    }
}

/// A step that stands nowhere.
fn step(action: Action, outcome: Outcome) -> Step {
    let text = action.to_string().into_boxed_str();
    Step { span: Span::NOWHERE, text, action, outcome, outcome_span: Span::NOWHERE }
}
