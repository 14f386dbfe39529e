//! `mapcount lab`: in real kernels where QEMU and an image can be had, and with a QEMU that only pretends, to
//! see what becomes of guests that do not behave.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use mapcount_kernel::{Unavailable, require};

const SCENARIO: &str = "scenarios/seeds/fork-split.mc";

fn mapcount() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mapcount"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a lab prints, or why there is none.
fn lab(words: &[&str]) -> Result<Output, Unavailable> {
    let output = mapcount().arg("lab").args(words).output().expect("mapcount runs");
    if output.status.code() == Some(69) {
        return Err(Unavailable::new(text(&output.stderr).trim(), "see there"));
    }
    Ok(output)
}

#[test]
fn a_command_says_in_a_guest_what_it_says_here() {
    let needed = lab(&["debian:6.12", "--", "run", SCENARIO]);
    let Some(there) = require::or_skip("a command in a guest", needed) else { return };
    let here = mapcount().args(["run", SCENARIO]).output().expect("mapcount runs");
    assert!(there.status.success(), "{}", text(&there.stderr));
    assert_eq!(text(&there.stdout), text(&here.stdout));
    assert!(text(&there.stderr).contains("Linux 6.12."), "{}", text(&there.stderr));
}

#[test]
fn several_kernels_are_printed_in_the_order_in_which_they_were_named_and_the_worst_exit_counts() {
    let needed = lab(&["debian:7.2", "debian:5.10", "--", "run", "scenarios/no-such-file.mc", SCENARIO]);
    // The guests' own exit code is 69 here, which is no reason to skip.
    let there = match needed {
        Err(missing) if missing.what.contains("no-such-file") => missing.what,
        other => match require::or_skip("several kernels", other) {
            Some(output) => panic!("{}", text(&output.stderr)),
            None => return,
        },
    };
    for release in ["debian:7.2: Linux 7.2.", "debian:5.10: Linux 5.10."] {
        assert!(there.contains(release), "{there}");
    }
    assert_eq!(there.matches("exit code 69").count(), 2, "{there}");
    let needed = lab(&["debian:7.2", "debian:5.10", "--", "kernels"]);
    let Some(output) = require::or_skip("several kernels", needed) else { return };
    let stdout = text(&output.stdout);
    let headings: Vec<&str> = stdout.lines().filter(|line| line.starts_with("# ")).collect();
    assert!(headings[0].starts_with("# debian:7.2: Linux 7.2."), "{headings:?}");
    assert!(headings[1].starts_with("# debian:5.10: Linux 5.10."), "{headings:?}");
}

#[test]
fn a_kernel_that_panics_is_lost_and_its_console_is_shown() {
    let needed = lab(&["debian:6.12", "--append", "rdinit=/none root=none", "--", "kernels"]);
    let Some(output) = require::or_skip("a panic", needed) else { return };
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("LOST") && told.contains("Kernel panic") && told.contains("lost 1 of 1"), "{told}");
}

#[test]
fn a_known_bug_of_a_kernel_is_told_with_the_step_that_causes_it_and_is_no_failure() {
    let scenario = "scenarios/drift/lost-bias.mc";
    let words =
        ["debian:5.10", "debian:6.1", "debian:6.12", "--", "conform", scenario, "--statistics", "always"];
    let Some(output) = require::or_skip("the drift hunt", lab(&words)) else { return };
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{}", text(&output.stderr));
    let parts: Vec<&str> = told.split("# debian:").collect();
    assert_eq!(parts.len(), 4, "{told}");
    for part in &parts[1..3] {
        for line in [
            "known kernel bug Q3: from step 4 `kernel: migrate A.x[0] to 1 all` on anon_mapped is 1024, mapped are 512",
            "known kernel bug Q3: anon_mapped is right again behind step 5 `A: munmap x`",
            "known kernel bug Q3: from step 11 `kernel: migrate A.y[0] to 1 all` on anon_mapped is 1024, mapped",
            "at the end anon_mapped is still off by +512",
            "1 scenarios: 1 agree, 0 differ",
            "drift hunt: statistics compared with page tables behind 18 steps",
            "known kernel bug Q3: shown by 1 scenario",
        ] {
            assert!(part.contains(line), "{line}: {part}");
        }
    }
    assert!(!parts[3].contains("known kernel bug"), "{told}");
    assert!(parts[3].contains("1 scenarios: 1 agree, 0 differ"), "{told}");
}

#[test]
fn what_looks_into_memory_by_bpf_and_by_kcore_sees_the_same() {
    let seen = |observer: &str| {
        let scenario = "scenarios/seeds/fork-split.mc";
        let words =
            ["debian:6.1", "--", "record", scenario, "--observer", observer, "--statistics", "always"];
        lab(&words).map(|output| {
            assert_eq!(output.status.code(), Some(0), "{observer}: {}", text(&output.stderr));
            text(&output.stdout)
        })
    };
    let Some(bpf) = require::or_skip("bpf in a guest", seen("bpf")) else { return };
    let Some(kcore) = require::or_skip("kcore in a guest", seen("kcore")) else { return };
    assert!(bpf.lines().count() > 5 && bpf.contains("compound_mapcount") || bpf.contains("entire_mapcount"));
    assert_eq!(bpf, kcore);
    // What /proc tells alone is less, and nothing else.
    let Some(proc) = require::or_skip("proc in a guest", seen("proc")) else { return };
    assert!(proc.contains("kpagecount") && !proc.contains("refcount"), "{proc}");
    assert_eq!(proc.lines().count(), bpf.lines().count());
}

/// A folder with a program `qemu-system-x86_64` that is this shell script, and with an image.
struct Pretence {
    folder: PathBuf,
}

impl Pretence {
    fn new(name: &str, script: &str) -> Pretence {
        let folder = std::env::temp_dir().join(format!("mapcount-pretence-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let qemu = folder.join("qemu-system-x86_64");
        fs::write(&qemu, format!("#!/bin/sh\n{script}\n")).expect("a file");
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("a program");
        let mut image = vec![0; 0x400];
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
        image[0x236] = 1;
        fs::write(folder.join("image"), image).expect("a file");
        Pretence { folder }
    }

    fn command(&self, words: &[&str]) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(self.folder.clone()).chain(std::env::split_paths(&path));
        let mut command = mapcount();
        command.env("PATH", std::env::join_paths(paths).expect("paths")).env("TMPDIR", &self.folder);
        command.arg("lab").arg(self.folder.join("image")).args(words).args(["--", "kernels"]);
        command
    }

    fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.command(words).output().expect("mapcount runs");
        assert_eq!(text(&output.stdout), "");
        (output.status.code(), text(&output.stderr))
    }

    /// The process ids that the script has written.
    fn pids(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.folder.join("pids")).unwrap_or_default();
        text.lines().map(|line| line.parse().expect("a process id")).collect()
    }
}

impl Drop for Pretence {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn is_running(pid: u32) -> bool {
    // A process that nobody has waited for yet is a zombie (Z) and runs no more.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Waits until `is_so`.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_guest_that_hangs_is_lost_and_its_qemu_is_ended() {
    let pretence = Pretence::new("hangs", "echo $$ >> \"$TMPDIR/pids\"; echo noise; exec sleep 600");
    let (code, told) = pretence.run(&["--timeout", "1"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("LOST") && told.contains("did not end within 1 s"), "{told}");
    let pids = pretence.pids();
    assert_eq!(pids.len(), 1);
    assert!(!is_running(pids[0]));
}

#[test]
fn what_qemu_itself_says_is_shown_when_it_ends_too_early() {
    let pretence = Pretence::new("ends", "echo 'no such device' >&2; exit 1");
    let (code, told) = pretence.run(&["--accel", "tcg"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("LOST") && told.contains("| no such device"), "{told}");
    let left: Vec<_> = fs::read_dir(&pretence.folder).expect("a folder").collect();
    assert_eq!(left.len(), 2, "nothing but the pretence itself is left: {left:?}");
}

#[test]
fn an_interrupted_lab_leaves_no_qemu() {
    for (name, signal, code) in [("int", "-INT", Some(130)), ("kill", "-KILL", None)] {
        let pretence = Pretence::new(name, "echo $$ >> \"$TMPDIR/pids\"; exec sleep 600");
        let mut lab = pretence.command(&[]).stderr(Stdio::null()).spawn().expect("mapcount runs");
        eventually("QEMU starts", || !pretence.pids().is_empty());
        let sent = Command::new("kill").args([signal, &lab.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        assert_eq!(lab.wait().expect("it ends").code(), code);
        let pid = pretence.pids()[0];
        eventually("QEMU ends", || !is_running(pid));
    }
}

#[test]
fn what_is_missing_is_told_and_nothing_is_booted() {
    let missing = |command: &mut Command| {
        let output = command.output().expect("mapcount runs");
        (output.status.code(), text(&output.stderr))
    };
    let pretence = Pretence::new("missing", "exit 1");
    let mut command = pretence.command(&[]);
    let (code, told) = missing(command.env("PATH", "/no/such/folder"));
    assert_eq!(code, Some(69));
    assert!(told.contains("there is no qemu-system-x86_64; install qemu-system-x86"), "{told}");
    let (code, told) = missing(mapcount().args(["lab", "README.md", "--", "kernels"]));
    assert_eq!(code, Some(69));
    assert!(told.contains("README.md: is no kernel image"), "{told}");
    let (code, told) = missing(mapcount().args(["lab", "/no/such/file", "--", "kernels"]));
    assert_eq!(code, Some(69));
    assert!(told.contains("cannot be read"), "{told}");
}

#[test]
fn a_wrong_command_line_is_refused_before_anything_is_booted() {
    for (words, part) in [
        (&["lab", "debian:six", "--", "kernels"][..], "named by its release"),
        (&["lab", "image", "--", "lab", "image", "--", "kernels"], "a lab inside of a lab"),
        (&["lab", "image", "--", "rnu"], "unrecognized subcommand"),
        (&["lab", "image"], "--"),
        (&["lab", "image", "--memory", "1", "--", "kernels"], "256"),
    ] {
        let output = mapcount().args(words).output().expect("mapcount runs");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(text(&output.stderr).contains(part), "{words:?}: {}", text(&output.stderr));
    }
}
