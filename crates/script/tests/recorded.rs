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

/// Runs a scenario of a topic on a kernel's model; `None` if it asks for what is not modelled yet.
fn run(topic: &str, name: &str, kernel: &str) -> Option<Vec<mapcount_script::trace::Step>> {
    let path = root().join("scenarios").join(topic).join(format!("{name}.mc"));
    let source = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
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

/// The recordings of a kernel, each with its scenario's folder and name: in the kernel's folder those of
/// scenarios/recorded, and in the folders in it those of the folder of the same name.
fn recordings(folder: &Path) -> Vec<(String, String, PathBuf)> {
    let mut found = Vec::new();
    for entry in names(folder) {
        let path = folder.join(&entry);
        if path.is_dir() {
            found.extend(names(&path).into_iter().map(|file| (entry.clone(), file.clone(), path.join(file))));
        } else {
            found.push(("recorded".to_owned(), entry, path));
        }
    }
    let stem = |file: String| file.strip_suffix(".jsonl").expect("a recording").to_owned();
    found.into_iter().map(|(topic, file, path)| (topic, stem(file), path)).collect()
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
        for (topic, name, path) in recordings(&folder) {
            let Some(model) = run(&topic, &name, &kernel) else { continue };
            let recording = read(&fs::read(&path).expect("readable"), &name).expect("a recording");
            let found = diff(&model, &recording.steps, &diff::Options::default());
            differences.extend(found.iter().take(4).map(|found| format!("{kernel} {topic}/{name}: {found}")));
            let counted = if topic == "recorded" { name } else { format!("{topic}/{name}") };
            *compared.entry(counted).or_insert(0) += 1;
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
        ("drift/lost-bias", 4),
        ("files/private-cow", 5),
        ("hugetlb/private-cow", 5),
        ("hugetlb/remove", 5),
        ("seeds/fork-split", 4),
        ("walks/ksm", 5),
        ("walks/swap", 4),
    ] {
        assert_eq!(compared.get(name), Some(&kernels), "{name}");
    }
    assert!(compared.len() >= 26, "compared {compared:?}");
}
