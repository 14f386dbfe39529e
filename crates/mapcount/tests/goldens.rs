//! Every scenario on every kernel's model and every proposal: what each step changes, against the file beside
//! the scenario. `MAPCOUNT_BLESS=1` renews them.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::compare_or_bless;
use mapcount::report::layout::{Style, WIDTH};
use mapcount::report::side_by_side::{Options, every_kernel, run};
use mapcount_script::ast::Scenario;
use mapcount_script::parse::parse;

/// The most bytes that all goldens together may have.
const MOST: u64 = 3 << 20;

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

/// The files below `folder` with this ending, sorted.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found
}

/// What the scenario prints on all kernels side by side.
fn printed(path: &Path) -> String {
    let source = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let name = path.file_stem().expect("a name").to_string_lossy();
    let scenario = match parse(&source) {
        Ok(scenario) => scenario,
        Err(errors) => return errors.render(&format!("{name}.mc"), &source, false),
    };
    side_by_side(&scenario, &name, GOLDEN)
}

/// What goldens have.
const GOLDEN: Options = Options { raw: false, phases: false, laws: true, legend: false, style: Style::Plain };

fn side_by_side(scenario: &Scenario, name: &str, options: Options) -> String {
    let mut out = Vec::new();
    run(scenario, name, &every_kernel(), options, &mut out).expect("memory can be written");
    String::from_utf8(out).expect("text")
}

#[test]
fn every_scenario_prints_what_was_reviewed() {
    let mut differing = Vec::new();
    for path in files(&scenarios(), "mc") {
        let text = printed(&path);
        assert_fits(&path, &text);
        differing.extend(compare_or_bless(&path.with_extension("out"), &text).err());
    }
    assert!(differing.is_empty(), "{}\nMAPCOUNT_BLESS=1 renews them", differing.join("\n"));
}

fn assert_fits(path: &Path, text: &str) {
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(widest <= WIDTH, "{}: a line of {widest} columns", path.display());
}

#[test]
fn all_that_can_be_shown_fits() {
    for path in files(&scenarios(), "mc") {
        let source = fs::read(&path).expect("readable");
        let Ok(scenario) = parse(&source) else { continue };
        let all = Options { raw: true, phases: true, legend: true, ..GOLDEN };
        assert_fits(&path, &side_by_side(&scenario, "scenario", all));
    }
}

#[test]
fn colour_adds_escapes_and_nothing_else() {
    let path = files(&scenarios(), "mc").into_iter().find(|path| path.ends_with("seed-fork-split.mc"));
    let source = fs::read(path.expect("there is one")).expect("readable");
    let scenario = parse(&source).expect("a scenario");
    let all = Options { phases: true, legend: true, ..GOLDEN };
    let coloured = side_by_side(&scenario, "seed", Options { style: Style::Color, ..all });
    let plain = side_by_side(&scenario, "seed", all);
    assert_ne!(coloured, plain);
    assert_eq!(common::without_escapes(&coloured), plain);
}

#[test]
fn every_golden_has_a_scenario_and_all_are_small() {
    let goldens = files(&scenarios(), "out");
    for golden in &goldens {
        assert!(golden.with_extension("mc").exists(), "{} is of no scenario", golden.display());
    }
    let bytes: u64 = goldens.iter().map(|golden| fs::metadata(golden).expect("a file").len()).sum();
    assert!(bytes <= MOST, "all goldens together have {bytes} bytes");
}

#[test]
fn the_page_of_calls_says_what_operations_call() {
    let page = scenarios().join("../docs/calls.md");
    compare_or_bless(&page, &mapcount::report::calls::page()).expect("MAPCOUNT_BLESS=1 renews it");
}
