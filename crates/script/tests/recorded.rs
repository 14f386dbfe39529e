//! The model against real kernels: every recording, field by field.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mapcount_model::profile::Profile;
use mapcount_script::diff::{self, diff};
use mapcount_script::parse::parse;
use mapcount_script::run::{FindingKind, Next, Options, Runner, observe};
use mapcount_script::trace::read;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Runs a scenario on a kernel's model; `None` if it asks for what is not modelled yet.
fn run(name: &str, kernel: &str) -> Option<Vec<mapcount_script::trace::Step>> {
    let source =
        fs::read(root().join("scenarios/recorded").join(format!("{name}.mc"))).expect("the scenario");
    let scenario = parse(&source).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
    let profile = Profile::resolve(kernel).expect("a kernel");
    let mut runner = Runner::new(&scenario, &profile, Options::default())
        .expect("runnable")
        .expect("applies to this kernel");
    let mut trace = Vec::new();
    while let Some(next) = runner.advance() {
        match next {
            Next::Step(report, Ok(())) => trace.push(observe(&runner, &report, name)),
            Next::Step(_, Err(finding)) if finding.kind == FindingKind::NotModelled => return None,
            Next::Step(report, Err(finding)) => {
                panic!("{kernel} {name} step {}: {finding:?}", report.index)
            }
            Next::Expect(result) => result.unwrap_or_else(|finding| panic!("{kernel} {name}: {finding:?}")),
        }
    }
    Some(trace)
}

#[test]
fn the_model_prints_what_real_kernels_printed() {
    let mut compared = BTreeMap::new();
    let mut differences = Vec::new();
    for kernel in names(&root().join("recordings")) {
        let folder = root().join("recordings").join(&kernel);
        if !folder.is_dir() {
            continue;
        }
        for file in names(&folder) {
            let name = file.strip_suffix(".jsonl").expect("a recording").to_owned();
            let Some(model) = run(&name, &kernel) else { continue };
            let recording =
                read(&fs::read(folder.join(&file)).expect("readable"), &file).expect("a recording");
            let found = diff(&model, &recording.steps, &diff::Options::default());
            differences.extend(found.iter().take(4).map(|found| format!("{kernel} {name}: {found}")));
            *compared.entry(name).or_insert(0) += 1;
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    // What is compared at least: scenarios of anonymous memory, on every kernel that recorded them.
    for (name, kernels) in [
        ("seed-fork-split", 13),
        ("cow", 13),
        ("mlock", 13),
        ("partial-unmap", 13),
        ("ksm", 9),
        ("swap", 8),
        ("hugetlb", 13),
        ("hugetlb-pin", 4),
        ("shmem-small", 10),
        ("shmem-thp", 10),
        ("shmem-mthp", 5),
    ] {
        assert_eq!(compared.get(name), Some(&kernels), "{name}");
    }
    assert!(compared.len() >= 26, "compared {compared:?}");
}
