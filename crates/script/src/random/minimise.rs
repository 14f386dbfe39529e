//! Making a failing scenario small: fewer steps, fewer pages, and it still fails.

use crate::ast::{Action, Item, KernelVerb, Pages, ProcessVerb, Region, Scenario};

/// The smallest scenario found that still fails, from one that does (delta debugging, after Zeller and
/// Hildebrandt): leaves out runs of items, halving their length, until no single one can go; then narrows
/// regions to one page where that is enough.
///
/// `fails` decides, and has to say no of a scenario that makes no sense any more, because what a step names
/// was left out.
pub fn minimise(scenario: &Scenario, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut best = scenario.clone();
    loop {
        let before = best.items.len();
        leave_out(&mut best, &mut fails);
        if best.items.len() == before {
            break;
        }
    }
    narrow(&mut best, &mut fails);
    best
}

fn leave_out(best: &mut Scenario, fails: &mut impl FnMut(&Scenario) -> bool) {
    let mut size = best.items.len().div_ceil(2);
    while size > 0 {
        // From the end on: what comes late is needed by nothing behind it.
        let mut end = best.items.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let mut fewer = best.clone();
            fewer.items.drain(start..end);
            if fails(&fewer) {
                *best = fewer;
            }
            end = start.min(best.items.len());
        }
        size /= 2;
    }
}

fn narrow(best: &mut Scenario, fails: &mut impl FnMut(&Scenario) -> bool) {
    for index in 0..best.items.len() {
        let mut narrower = best.clone();
        let Some((action, text)) = step(&mut narrower.items[index]) else { continue };
        let Some(region) = region(action) else { continue };
        let first = match region.pages {
            Pages::All => 0,
            Pages::Range { start, .. } => start,
            Pages::One(_) => continue,
        };
        region.pages = Pages::One(first);
        *text = action.to_string().into_boxed_str();
        if fails(&narrower) {
            *best = narrower;
        }
    }
}

const fn step(item: &mut Item) -> Option<(&mut Action, &mut Box<str>)> {
    match item {
        Item::Step(step) => Some((&mut step.action, &mut step.text)),
        Item::Expect(_) => None,
    }
}

/// The region that a step is about. Of holds it stays: what is dropped has to be what was taken.
const fn region(action: &mut Action) -> Option<&mut Region> {
    match action {
        Action::Process { verb, .. } => match verb {
            ProcessVerb::Read(region)
            | ProcessVerb::Write(region)
            | ProcessVerb::Fill(region, _)
            | ProcessVerb::Munmap(region)
            | ProcessVerb::Mprotect(region, _)
            | ProcessVerb::Mlock(region)
            | ProcessVerb::Munlock(region)
            | ProcessVerb::Mremap { from: region, .. }
            | ProcessVerb::Madvise(region, _)
            | ProcessVerb::SplitPmd(region) => Some(region),
            _ => None,
        },
        Action::Kernel(KernelVerb::Split { region, .. }) => Some(region),
        Action::Kernel(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::minimise;
    use crate::ast::{Action, Item, ProcessVerb};
    use crate::random::{Shape, generate};

    #[test]
    fn what_does_not_matter_is_left_out() {
        let shape = Shape { steps: 60, ..Shape::default() };
        let forks = |item: &&Item| matches!(item, Item::Step(step) if matches!(step.action, Action::Process { verb: ProcessVerb::Fork(_), .. }));
        // Not every seed forks.
        let scenario = (0..100)
            .map(|seed| generate(seed, &shape))
            .find(|found| found.items.iter().any(|item| forks(&item)));
        let scenario = scenario.expect("some seed forks");
        let wanted = scenario.items.iter().filter(forks).count();
        let smaller = minimise(&scenario, |scenario| scenario.items.iter().filter(forks).count() == wanted);
        assert_eq!(smaller.items.len(), wanted);
    }
}
