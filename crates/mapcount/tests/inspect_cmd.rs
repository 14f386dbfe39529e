//! `mapcount inspect` on the running system: what every format has to be, files that are written whole, errors. What can
//! be seen depends on who runs it; the shape of it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Output};

use mapcount_kernel::inspect::Inspector;
use mapcount_kernel::inspect::procs::process;
use mapcount_kernel::observer::Choice;
use mapcount_kernel::require;

fn inspect(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mapcount"))
        .arg("inspect")
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn text(arguments: &[&str]) -> String {
    let output = inspect(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn own_pid() -> String {
    std::process::id().to_string()
}

#[test]
fn json_tells_of_this_process() {
    let value: serde_json::Value =
        serde_json::from_str(&text(&["--pid", &own_pid(), "--format", "json"])).expect("JSON");
    let rows = value.get("process").or(value.get("own")).and_then(|rows| rows.as_array()).expect("rows");
    assert_eq!(rows[0]["pid"], own_pid().as_str());
    assert!(rows[0]["rss_bytes"].as_u64().expect("a number") > 1 << 20);
    for line in text(&["--pid", &own_pid(), "--format", "jsonl"]).lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
}

#[test]
fn csv_rows_have_as_many_fields_as_their_header() {
    let text = text(&["--pid", &own_pid(), "--format", "csv"]);
    let (mut fields, mut most) = (0, 0);
    for line in text.lines() {
        // Names of programs with commas or quotes would need a parser; this process's has none.
        let here = line.split(',').count();
        if line.starts_with("sheet,") {
            fields = here;
            most = most.max(here);
        } else if !line.is_empty() && !line.contains('"') {
            assert_eq!(here, fields, "{line}");
        }
    }
    assert!(most > 5);
}

/// What https://openmetrics.io asks of a text, as far as gauges go.
fn check_metrics(text: &str, least: usize) {
    assert!(text.ends_with("# EOF\n"));
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut family = "";
    let mut samples = BTreeSet::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name, rest) =
                (words.next().expect("a word"), words.next().expect("a name"), words.next());
            assert!(is_name(name) && name.starts_with("mapcount_"), "{line}");
            assert!(told.entry(name).or_default().insert(what), "twice: {line}");
            match (what, rest) {
                ("TYPE", Some("gauge")) => family = name,
                ("UNIT", Some("bytes")) => assert!(name.ends_with("_bytes"), "{line}"),
                ("HELP", Some(help)) => assert!(help.ends_with('.'), "{line}"),
                _ => panic!("{line}"),
            }
            assert_eq!(name, family, "families stand together");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let name = series.split('{').next().expect("a name");
        assert_eq!(name, family, "{line}");
        assert!(samples.insert(series), "twice: {line}");
        value.parse::<i64>().unwrap_or_else(|_| panic!("{line}"));
    }
    assert!(samples.len() >= least, "{text}");
    for (name, what) in &told {
        assert!(what.contains("TYPE") && what.contains("HELP"), "{name}");
        assert_eq!(what.contains("UNIT"), name.ends_with("_bytes"), "{name}");
    }
}

#[test]
fn metrics_are_openmetrics() {
    check_metrics(&text(&["--pid", &own_pid(), "--format", "openmetrics"]), 6);
    if require::or_skip("metrics", Inspector::open(Choice::Auto, false)).is_some() {
        check_metrics(&text(&["--format", "openmetrics", "--top", "5"]), 6);
        // On a quiet machine every reference is explained: then only where that was read from is told.
        check_metrics(&text(&["--unexpected", "--format", "openmetrics"]), 1);
    }
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let folder = std::env::temp_dir().join(format!("mapcount-inspect-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("report.prom");
    let write = |path: &PathBuf| {
        inspect(&["--pid", &own_pid(), "--format", "openmetrics", "--output", path.to_str().expect("UTF-8")])
    };
    assert!(write(&path).status.success());
    check_metrics(&std::fs::read_to_string(&path).expect("there"), 6);
    assert_eq!(write(&folder.join("no/where")).status.code(), Some(69));
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1, "nothing else is left");
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// Waits for a program to end by itself.
fn end_of(child: &mut std::process::Child) -> Option<i32> {
    let start = std::time::Instant::now();
    while start.elapsed() < std::time::Duration::from_secs(60) {
        if let Some(status) = child.try_wait().expect("ours") {
            return status.code();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill().and_then(|()| child.wait()).expect("it ends");
    panic!("it goes on");
}

#[test]
fn a_watch_ends_with_its_reader_and_with_ctrl_c() {
    use std::io::{BufRead as _, BufReader};
    let pid = own_pid();
    let watch = || {
        Command::new(env!("CARGO_BIN_EXE_mapcount"))
            .args(["inspect", "--pid", &pid, "--watch", "1", "--format", "jsonl"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the program runs")
    };
    let mut closed = watch();
    let mut interrupted = watch();
    let mut line = String::new();
    BufReader::new(closed.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
    assert!(!line.is_empty());
    assert_eq!(end_of(&mut closed), Some(0));
    let mut reader = BufReader::new(interrupted.stdout.take().expect("piped"));
    reader.read_line(&mut line).expect("readable");
    let sent = Command::new("kill").args(["-INT", &interrupted.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    assert_eq!(end_of(&mut interrupted), Some(130));
}

#[test]
fn every_way_to_look_agrees_on_rss() {
    if require::or_skip("observers", Inspector::open(Choice::Auto, false)).is_none() {
        return;
    }
    // A process that does nothing meanwhile.
    let mut sleeper = Command::new("sleep").arg("1000").spawn().expect("it runs");
    std::thread::sleep(std::time::Duration::from_millis(200));
    let pid = sleeper.id().to_string();
    let rss = |more: &[&str]| {
        let mut arguments = vec!["--pid", &pid, "--format", "json"];
        arguments.extend(more);
        let value: serde_json::Value = serde_json::from_str(&text(&arguments)).expect("JSON");
        value["process"][0]["rss_bytes"].as_u64().expect("a number")
    };
    let (walked, told, files) = (rss(&[]), rss(&["--pagemap"]), rss(&["--observer", "proc"]));
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("readable");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).expect("Rss");
    let kernel: u64 = line.split_whitespace().next().expect("a number").parse().expect("a number");
    sleeper.kill().and_then(|()| sleeper.wait()).expect("it ends");
    assert_eq!((walked, told, files), (kernel * 1024, kernel * 1024, kernel * 1024));
}

/// Who is named and cannot be looked at is told beside those who can; a thread of the kernel's where this machine shows one.
#[test]
fn who_is_named_in_vain_is_told_beside_the_others() {
    let absent = "1073741823";
    let note = |more: &str| {
        let told = text(&["--pid", &own_pid(), absent, more, "--format", "json"]);
        let value: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        value["notes"].to_string()
    };
    assert!(note("1073741822").contains("no process 1073741822, no process 1073741823"));
    if std::path::Path::new("/proc/2/status").exists() && process(2).is_none() {
        assert!(note("2").contains(") is a kernel thread, no process"));
    }
}

#[test]
fn what_is_not_there_is_said() {
    for (arguments, code, words) in [
        (&["--pid", "1073741823"][..], 69, "no process 1073741823"),
        (&["--comm", "no-such-name"], 69, "no process is called `no-such-name`"),
        (&["--cgroup", "no/such/group"], 69, "no cgroup `no/such/group`"),
        (&["--addr", "1"], 2, "a process and an address"),
        (&["--pfn", "-1"], 2, ""),
        (&["--pfn", "1", "--format", "openmetrics"], 2, "no metric"),
        (&["--observer", "radar"], 2, "auto, bpf, kcore, proc"),
        (&["--census", "--pid", "1"], 2, "cannot be used with"),
        (&["--cont", "3K"], 2, "power of two"),
        (&["--watch", "0"], 2, "0"),
        (&["--children"], 2, "--pid"),
        (&["--mappings"], 2, "--pid"),
        (&["--census", "--top", "3"], 2, "cannot be used with"),
        (&["--tui", "--format", "json"], 2, "cannot be used with"),
    ] {
        let output = inspect(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
        assert!(!stderr.is_empty() && output.stdout.is_empty());
    }
}
