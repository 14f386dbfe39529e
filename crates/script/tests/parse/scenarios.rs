//! The recorded scenarios.

use std::fs;
use std::path::PathBuf;

use mapcount_script::ast::Item;
use mapcount_script::parse::parse;

/// Every recorded scenario: its name and its bytes, by name.
pub(crate) fn recorded() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/recorded");
    let mut scenarios: Vec<_> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mc"))
        .map(|path| {
            let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("it can be read"))
        })
        .collect();
    scenarios.sort();
    assert!(scenarios.len() > 30, "only {} scenarios", scenarios.len());
    scenarios
}

#[test]
fn every_recorded_scenario_parses_and_its_canonical_form_says_the_same() {
    for (name, bytes) in recorded() {
        let mut scenario =
            parse(&bytes).unwrap_or_else(|errors| panic!("{}", errors.render(&name, &bytes, false)));
        let source = String::from_utf8(bytes).expect("it was parsed");
        let steps = source
            .lines()
            .filter(|line| line.split(['"', '#']).next().is_some_and(|code| code.contains(": ")))
            .count();
        assert_eq!(scenario.items.len(), steps, "{name}");
        assert!(steps > 3, "{name}");
        let canonical = scenario.to_string();
        let mut again = parse(canonical.as_bytes()).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        crate::tree::forget_places(&mut scenario);
        crate::tree::forget_places(&mut again);
        assert_eq!(again, scenario, "{name}");
    }
}

#[test]
fn ops_are_the_statements_as_written() {
    for (name, bytes) in recorded() {
        for item in parse(&bytes).expect(&name).items {
            let Item::Step(step) = item else { continue };
            let written = &bytes[step.span.start as usize..step.span.end as usize];
            assert_eq!(written, step.text.as_bytes(), "{name}");
        }
    }
}
