//! Building syntax trees.

use mapcount_script::ast::{Item, Name, Pages, Region, Scenario};
use mapcount_script::diagnostic::Span;

/// Makes scenarios comparable that say the same in different places.
pub(crate) fn forget_places(scenario: &mut Scenario) {
    for item in &mut scenario.items {
        match item {
            Item::Step(step) => {
                step.span = Span::NOWHERE;
                step.outcome_span = Span::NOWHERE;
                step.text = step.action.to_string().into();
            }
            Item::Expect(expect) => {
                expect.span = Span::NOWHERE;
                expect.value_span = Span::NOWHERE;
                expect.text = expect.to_string().into();
            }
        }
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text)
}

/// A region of the step's own process.
pub(crate) fn own(mapping: &str, pages: Pages) -> Region {
    Region { process: None, mapping: name(mapping), pages, span: Span::NOWHERE }
}

/// A region of process `A`.
pub(crate) fn of_a(mapping: &str, pages: Pages) -> Region {
    Region { process: Some(name("A")), ..own(mapping, pages) }
}
