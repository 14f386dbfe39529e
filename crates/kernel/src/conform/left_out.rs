//! A scenario without the steps that a machine cannot do, and without those that need them.

use std::collections::BTreeMap;

use mapcount_script::ast::{Action, Item, Name, ProcessVerb, Scenario, Step};
use mapcount_script::run::operation;

/// The mappings that a process does not have because they were left out, each with the reason.
type Missing = BTreeMap<String, &'static str>;

/// Takes the steps of `scenario` away that `lacks` gives a reason for, and those that name a mapping that is not
/// there without them. Returns the operation of each, with the reason.
pub(super) fn leave_out(
    scenario: &mut Scenario,
    mut lacks: impl FnMut(&Action) -> Option<&'static str>,
) -> Vec<(String, &'static str)> {
    let mut missing: BTreeMap<String, Missing> = BTreeMap::new();
    let mut left_out = Vec::new();
    scenario.items.retain(|item| {
        let Item::Step(step) = item else { return true };
        match lacks(&step.action).or_else(|| needs(&step.action, &missing)) {
            None => {
                follow(step, &mut missing);
                true
            }
            Some(why) => {
                if let Action::Process { name, verb: ProcessVerb::Mmap { name: mapping, .. } } = &step.action
                {
                    missing.entry(text(name)).or_default().insert(text(mapping), why);
                }
                left_out.push((operation(step), why));
                false
            }
        }
    });
    left_out
}

fn text(name: &Name) -> String {
    name.as_str().to_owned()
}

/// Why an action cannot be done when these mappings are missing.
fn needs(action: &Action, missing: &BTreeMap<String, Missing>) -> Option<&'static str> {
    let (process, region) = action.region()?;
    let missing = missing.get(process.as_str())?;
    let target = match action {
        Action::Process { verb: ProcessVerb::Mremap { to, .. }, .. } => missing.get(to.as_str()),
        _ => None,
    };
    missing.get(region.mapping.as_str()).or(target).copied()
}

/// What a step that stays means for the mappings that are missing.
fn follow(step: &Step, missing: &mut BTreeMap<String, Missing>) {
    let Action::Process { name, verb } = &step.action else { return };
    match verb {
        ProcessVerb::Mmap { name: mapping, .. } | ProcessVerb::Reserve { name: mapping, .. } => {
            if let Some(missing) = missing.get_mut(name.as_str()) {
                missing.remove(mapping.as_str());
            }
        }
        ProcessVerb::Fork(child) => {
            let inherited = missing.get(name.as_str()).cloned().unwrap_or_default();
            missing.insert(text(child), inherited);
        }
        ProcessVerb::Exit => {
            missing.remove(name.as_str());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use mapcount_script::ast::{Action, Backing, ProcessVerb};
    use mapcount_script::parse::parse;

    use super::leave_out;

    #[test]
    fn steps_that_need_what_was_left_out_go_with_it() {
        let text = "A: mmap x 4K\nA: mmap h 2M hugetlb\nA: write h\nA: fork B\nB: write h[0]\nB: write x\n\
            B: munmap h\nB: mmap h 4K\nB: write h\nA: read h\nkernel: migrate A.h to 1\n";
        let mut scenario = parse(text.as_bytes()).expect("well-formed");
        let left_out = leave_out(&mut scenario, |action| {
            let is_huge = matches!(
                action,
                Action::Process { verb: ProcessVerb::Mmap { backing: Backing::Hugetlb, .. }, .. }
            );
            is_huge.then_some("no hugetlb")
        });
        let kept = "A: mmap x 4K\nA: fork B\nB: write x\nB: mmap h 4K\nB: write h\n";
        assert_eq!(scenario.to_string(), kept);
        assert_eq!(left_out.len(), 6);
        assert!(left_out.iter().all(|(_, why)| *why == "no hugetlb"), "{left_out:?}");
    }
}
