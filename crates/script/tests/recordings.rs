//! The recordings of real kernels are read whole, written as they were, and equal themselves; what
//! is changed in one is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use mapcount_script::diff::{Kind, Options, diff};
use mapcount_script::trace::{Recording, Step, push_folio, push_map, read, write_line};
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use serde_json::Value;

/// A recording as it lies in the repository.
struct File {
    name: String,
    bytes: Vec<u8>,
    recording: Recording,
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recordings");
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of recordings") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jsonl") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let file = |path: &PathBuf| {
        let name = path.strip_prefix(&root).expect("it lies there").display().to_string();
        let bytes = fs::read(path).expect("a readable recording");
        let recording = read(&bytes, &name).unwrap_or_else(|errors| panic!("{}", errors[0]));
        File { name, bytes, recording }
    };
    paths.iter().map(file).collect()
});

fn written(steps: &[Step]) -> Vec<u8> {
    let mut out = Vec::new();
    for step in steps {
        write_line(step, &mut out).expect("memory takes all");
    }
    out
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn every_recording_is_read_whole_and_equals_itself() {
    assert!(FILES.len() > 300, "{} recordings", FILES.len());
    for file in FILES.iter() {
        assert_eq!(file.recording.ignored, [], "{}", file.name);
        let differences = diff(&file.recording.steps, &file.recording.steps, &Options::default());
        assert_eq!(differences, [], "{}", file.name);
    }
}

#[test]
fn every_recording_is_written_as_it_was_read() {
    for file in FILES.iter() {
        let bytes = written(&file.recording.steps);
        assert_eq!(lines(&bytes), lines(&file.bytes), "{}", file.name);
        let again = read(&bytes, &file.name).unwrap_or_else(|errors| panic!("{}", errors[0]));
        assert_eq!(again, file.recording, "{}", file.name);
        assert_eq!(written(&again.steps), bytes, "{}", file.name);
    }
}

/// What the model builds its rows with gives the rows that the recordings have.
#[test]
fn rows_and_runs_are_cut_as_in_the_recordings() {
    for file in FILES.iter() {
        for step in &file.recording.steps {
            for run in step.processes.iter().flat_map(|all| all.values()).flat_map(|all| all.values()) {
                let recorded = run.map.clone().unwrap_or_default();
                let mut built = Vec::new();
                for run in &recorded {
                    for offset in 0..run.pages {
                        push_map(&mut built, run.first + offset, 1, run.what.at(offset));
                    }
                }
                assert_eq!(built, recorded, "{} step {}", file.name, step.step);
            }
            let recorded = step.folios.clone().unwrap_or_default();
            let mut built = Vec::new();
            for row in &recorded {
                for index in 0..row.count {
                    let mut one = row.clone();
                    one.id += index * row.size();
                    one.count = 1;
                    push_folio(&mut built, one);
                }
            }
            assert_eq!(built, recorded, "{} step {}", file.name, step.step);
        }
    }
}

/// The places of all values in a line, but those of the names that are not compared and `step`.
fn leaves(line: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}"), out))
            }
            Value::Array(list) => {
                list.iter()
                    .enumerate()
                    .for_each(|(index, value)| walk(value, &format!("{path}/{index}"), out));
            }
            _ => out.push(path.to_owned()),
        }
    }
    let mut out = Vec::new();
    walk(line, "", &mut out);
    out.retain(|path| !["/v", "/kernel", "/scheme", "/scenario", "/step"].contains(&path.as_str()));
    out
}

fn change(value: &mut Value, path: &str, by: i64) {
    *value = match &*value {
        Value::Bool(flag) => Value::Bool(!flag),
        Value::Number(number) => Value::from(number.as_i64().expect("a whole number") + by),
        Value::String(text) if path.ends_with("/kind") => {
            Value::from(if text == "anon" { "file" } else { "anon" })
        }
        Value::String(text) => Value::from(format!("{text}~")),
        _ => Value::from("Z"),
    };
}

/// The lines as a file.
fn joined(lines: &[Value]) -> Vec<u8> {
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// One changed value is found, at its step. A few changes make a line that says what cannot be;
    /// then reading finds it, at its line.
    #[test]
    fn a_changed_value_is_found(file: usize, step: usize, leaf: usize, by in 1_i64..1000, up: bool) {
        let file = &FILES[file % FILES.len()];
        let mut lines = lines(&file.bytes);
        let step = step % lines.len();
        let places = leaves(&lines[step]);
        let place = &places[leaf % places.len()];
        let value = lines[step].pointer_mut(place).expect("one of its leaves");
        change(value, place, if up { by } else { -by });
        match read(&joined(&lines), "changed") {
            Err(errors) => {
                prop_assert_eq!(errors.len(), 1);
                prop_assert_eq!(errors[0].line, step as u64 + 1);
                // What says how long or where something is may not fit the rest; a value always does.
                let places = ["/id", "/count", "/order", "/vmas/", "/map/", "/tail_refcount/", "/mapcount_raw/",
                    "/kpagecount/", "/anon_exclusive/", "_kb"];
                prop_assert!(places.iter().any(|part| place.contains(part)), "{}: {}", place, errors[0]);
            }
            Ok(changed) => {
                for (ours, theirs) in [(&file.recording, &changed), (&changed, &file.recording)] {
                    let found = diff(&ours.steps, &theirs.steps, &Options::default());
                    prop_assert!(!found.is_empty(), "{} step {} {}", file.name, step, place);
                    prop_assert!(found.iter().all(|difference| difference.step == step as u64));
                    prop_assert_eq!(place == "/op", found[0].kind == Kind::OtherScenario);
                }
            }
        }
    }

    /// A key taken away from the recording is not compared; taken away from the model, it is missed.
    #[test]
    fn a_lacking_key_is_missed_in_the_model_alone(file: usize, step: usize, leaf: usize) {
        let file = &FILES[file % FILES.len()];
        let mut lines = lines(&file.bytes);
        let step = step % lines.len();
        let keys = ["/refcount", "/pss_kb", "/anon_thps", "/swapcache", "/kpagecount/0/0", "/map/0/0", "/outcome"];
        let places: Vec<String> =
            leaves(&lines[step]).into_iter().filter(|place| keys.iter().any(|key| place.ends_with(key))).collect();
        if places.is_empty() {
            return Ok(());
        }
        let place = places[leaf % places.len()].trim_end_matches("/0/0");
        let (parent, key) = place.rsplit_once('/').expect("a path");
        lines[step].pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(key);
        let less = read(&joined(&lines), "less").map_err(|errors| errors[0].to_string()).expect("all is optional");
        prop_assert_eq!(diff(&file.recording.steps, &less.steps, &Options::default()), []);
        let found = diff(&less.steps, &file.recording.steps, &Options::default());
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].kind, Kind::NoModelValue);
        prop_assert_eq!(found[0].field, key);
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, "noise");
    }

    /// Recordings with bytes overwritten, cut and put in.
    #[test]
    fn no_damage_makes_reading_or_comparing_panic(
        file: usize,
        damage in proptest::collection::vec((any::<usize>(), 0_u8..3, any::<u8>()), 1..6),
    ) {
        const SPICE: &[u8] = b"0123456789-,:[]{}\"e.\n\\ \xff";
        let file = &FILES[file % FILES.len()];
        let mut bytes = file.bytes.clone();
        for (place, way, byte) in damage {
            let place = place % bytes.len();
            let byte = SPICE[usize::from(byte) % SPICE.len()];
            match way {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => drop(bytes.remove(place)),
            }
        }
        match read(&bytes, "damaged") {
            Ok(damaged) => {
                diff(&damaged.steps, &file.recording.steps, &Options::default());
                diff(&file.recording.steps, &damaged.steps, &Options::default());
                prop_assert_eq!(read(&written(&damaged.steps), "damaged").expect("it was read before").steps, damaged.steps);
            }
            Err(errors) => {
                let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
                prop_assert!(errors.iter().all(|error| error.line >= 1 && error.line <= lines && error.column >= 1));
            }
        }
    }
}
