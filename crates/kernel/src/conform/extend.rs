//! A scenario at whose end nobody is left.

use std::collections::BTreeSet;

use mapcount_script::ast::{Action, Item, Name, Outcome, ProcessVerb, Scenario, Step};
use mapcount_script::diagnostic::Span;
use mapcount_script::run::FIRST_PROCESS;

/// The scenario, with an `exit` for each process that is alive at its end.
pub(super) fn with_exits(scenario: &Scenario) -> Scenario {
    let mut alive = BTreeSet::from([FIRST_PROCESS.to_owned()]);
    for item in &scenario.items {
        let Item::Step(Step { action: Action::Process { name, verb }, .. }) = item else { continue };
        match verb {
            ProcessVerb::Fork(child) => {
                alive.insert(child.as_str().to_owned());
            }
            ProcessVerb::Exit => {
                alive.remove(name.as_str());
            }
            _ => {}
        }
    }
    let mut extended = scenario.clone();
    extended.items.extend(alive.iter().map(|name| {
        let action = Action::Process { name: Name::new(name), verb: ProcessVerb::Exit };
        let text = action.to_string().into_boxed_str();
        let (span, outcome) = (Span::NOWHERE, Outcome::Any);
        Item::Step(Step { span, text, action, outcome, outcome_span: Span::NOWHERE })
    }));
    extended
}

#[cfg(test)]
mod tests {
    use mapcount_script::parse::parse;

    use super::with_exits;

    #[test]
    fn who_is_alive_at_the_end_exits() {
        let text = "A: mmap x 4K\nA: fork B\nB: fork C\nB: exit\n";
        let extended = with_exits(&parse(text.as_bytes()).expect("well-formed"));
        let last: Vec<String> = extended.to_string().lines().map(str::to_owned).collect();
        assert_eq!(last[last.len() - 2..], ["A: exit => any", "C: exit => any"]);
    }
}
