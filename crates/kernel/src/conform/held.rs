//! Random scenarios that hold LRU batches, and what they leave out.

use mapcount_model::profile::Profile;
use mapcount_model::release::Release;
use mapcount_script::ast::{Action, Advice, Hold, Item, KernelVerb, ProcessVerb, Scenario};
use mapcount_script::parse::parse;

/// Of so many random scenarios one holds batches from its start on.
const FROM_START: u64 = 3;

/// From this release on what was written through a shared mapping leaves the counters behind what was only read
/// (`tlb_flush_rmaps()`, mm/mmu_gather.c, v6.12, v7.2).
const DELAYS_DIRTY: Release = Release::new(6, 2, 0);

/// Lets the scenario of some seeds hold batches from its start on.
pub(super) fn from_start(scenario: &mut Scenario, seed: u64) {
    if seed.is_multiple_of(FROM_START) {
        let hold = parse(b"kernel: lru hold\n").expect("a step");
        scenario.items.splice(0..0, hold.items);
    }
}

/// What is known of the batches at a point of a random scenario.
#[derive(Clone, Copy)]
pub(super) struct Held {
    /// They are held now.
    holds: bool,
    /// They are held at some point.
    ever: bool,
    /// There is a shared mapping.
    shares: bool,
    /// The kernel's LRU has generations.
    generations: bool,
    delays_dirty: bool,
}

impl Held {
    /// At the start of a scenario.
    pub(super) fn of(scenario: &Scenario, profile: &Profile) -> Held {
        let hold = Action::Kernel(KernelVerb::Lru(Hold::Hold));
        Held {
            holds: false,
            ever: scenario.items.iter().any(|item| matches!(item, Item::Step(step) if step.action == hold)),
            shares: false,
            generations: profile.policy.lru_generations,
            delays_dirty: profile.release >= DELAYS_DIRTY,
        }
    }

    /// Why a step is left out while batches are held: they are a CPU's, and these fill and drain those of another one, or
    /// at a time that nobody knows. Follows the steps that stay.
    pub(super) fn lacks(&mut self, action: &Action) -> Option<&'static str> {
        match action {
            Action::Kernel(verb) => self.lacks_kernel(verb),
            Action::Process { verb, .. } => self.lacks_process(verb),
        }
    }

    fn lacks_kernel(&mut self, verb: &KernelVerb) -> Option<&'static str> {
        match verb {
            KernelVerb::Lru(Hold::Hold) => self.holds = true,
            KernelVerb::Lru(Hold::Auto) => self.holds = false,
            KernelVerb::Ksm(_) | KernelVerb::Khugepaged(_) if self.holds => {
                return Some("a daemon fills the batches of the CPU that it is on");
            }
            KernelVerb::DropCaches(which) if self.holds && which & 1 != 0 => {
                return Some("pages that stay wait in a batch, by what files the machine has besides");
            }
            KernelVerb::Thp(_) | KernelVerb::Mthp(..) | KernelVerb::ShmemMthp(..) if self.holds => {
                return Some("khugepaged drains the batches of all CPUs once it starts");
            }
            _ => {}
        }
        None
    }

    fn lacks_process(&mut self, verb: &ProcessVerb) -> Option<&'static str> {
        match verb {
            ProcessVerb::Mmap { shared: true, .. } => self.shares = true,
            ProcessVerb::Madvise(_, Advice::Cold) if self.holds && !self.generations => {
                return Some("which pages are in active use is not modelled");
            }
            ProcessVerb::Mlock(_) if self.ever && self.shares && self.delays_dirty => {
                return Some("what was written leaves a locked shared mapping last, which is not modelled");
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use mapcount_model::profile::Profile;
    use mapcount_script::parse::parse;

    use super::Held;

    fn left_out(kernel: &str, text: &str) -> usize {
        let scenario = parse(text.as_bytes()).expect("well-formed");
        let mut held = Held::of(&scenario, &Profile::resolve(kernel).expect("a kernel"));
        let steps = scenario.items.iter().filter_map(|item| match item {
            mapcount_script::ast::Item::Step(step) => Some(&step.action),
            mapcount_script::ast::Item::Expect(_) => None,
        });
        steps.filter(|action| held.lacks(action).is_some()).count()
    }

    #[test]
    fn daemons_rest_only_while_batches_are_held() {
        let text =
            "A: mmap x 4K\nkernel: ksm 1\nkernel: lru hold\nkernel: ksm 1\nkernel: lru auto\nkernel: ksm 1\n";
        assert_eq!(left_out("7.2", text), 1);
    }

    #[test]
    fn what_a_kernel_is_known_for_decides() {
        let cold = "kernel: lru hold\nA: mmap x 4K\nA: madvise x cold\n";
        assert_eq!((left_out("6.1", cold), left_out("7.2", cold)), (1, 0));
        let mlock = "A: mmap x 4K shared\nA: mlock x\nkernel: lru hold\n";
        assert_eq!((left_out("6.1", mlock), left_out("7.2", mlock)), (0, 1));
    }
}
