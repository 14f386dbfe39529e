//! The house's rules that a program can check: which crate may use which, and what sources may contain.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate of ours, and those of ours that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("mapcount-model", &[]),
    ("mapcount-script", &["mapcount-model"]),
    ("mapcount-kernel", &["mapcount-model", "mapcount-script"]),
    ("mapcount", &["mapcount-model", "mapcount-script", "mapcount-kernel"]),
];

/// Longest source file.
const MOST_LINES: usize = 900;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn arrows_point_downward_only() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut seen = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name").to_owned();
        let uses = package["dependencies"].as_array().expect("dependencies").iter();
        let ours: Vec<String> = uses
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
            .filter(|name| name.starts_with("mapcount"))
            .collect();
        seen.insert(name, ours);
    }
    for (name, allowed) in ARROWS {
        let uses = seen.remove(*name).unwrap_or_else(|| panic!("no crate {name}"));
        for used in uses {
            assert!(allowed.contains(&used.as_str()), "{name} uses {used}: only {allowed:?} lie below it");
        }
    }
    assert!(seen.is_empty(), "say in ARROWS what these may use: {seen:?}");
}

#[test]
fn the_model_has_no_dependency_but_the_language_it_is_written_in() {
    let manifest = fs::read_to_string(root().join("crates/model/Cargo.toml")).expect("a manifest");
    assert!(!manifest.contains("\n[dependencies]"), "the model stands on its own");
}

#[test]
fn sources_stay_small_and_say_what_they_import() {
    let mut files = Vec::new();
    sources(&root().join("crates"), &mut files);
    assert!(files.len() > 60, "found {} sources", files.len());
    for path in files {
        let text = fs::read_to_string(&path).expect("UTF-8");
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines", path.display());
        let globs = text.lines().filter(|line| line.trim_start().starts_with("use ") && line.contains("::*"));
        assert_eq!(globs.count(), 0, "{} imports by glob", path.display());
    }
}

#[test]
fn no_operation_asks_which_scheme_it_runs() {
    let mut files = Vec::new();
    sources(&root().join("crates/model/src/ops"), &mut files);
    sources(&root().join("crates/model/src/machine"), &mut files);
    assert!(files.len() > 15, "found {} sources", files.len());
    for path in files {
        let text = fs::read_to_string(&path).expect("UTF-8");
        assert!(!text.contains("info().id"), "{} asks which scheme it is", path.display());
    }
}

#[test]
fn no_scheme_looks_at_page_tables() {
    let mut files = Vec::new();
    sources(&root().join("crates/model/src/scheme"), &mut files);
    assert!(files.len() > 8, "found {} sources", files.len());
    for path in files {
        let text = fs::read_to_string(&path).expect("UTF-8");
        for forbidden in ["page_table", "machine::", "crate::truth", "crate::ops"] {
            assert!(!text.contains(forbidden), "{} uses {forbidden}", path.display());
        }
    }
}
