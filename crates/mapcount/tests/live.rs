//! `mapcount conform` and `mapcount record` where something is missing, full, or ends them: needs root.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mapcount_kernel::{Unavailable, require};

/// A scenario of which every kernel has all, and whose recording is longer than a page.
const SCENARIO: &str = "A: mmap x 2M thp\nA: write x\nA: fork B\nA: munmap x[3]\nA: write x[4]\nB: write x[5]\n\
    B: write x[7]\nB: write x[9]\nA: write x[11]\nB: munmap x[9..20]\nB: write x[30]\nB: exit\n";

/// A folder for a test, with the scenario.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("mapcount-live-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("x.mc"), SCENARIO).expect("a file");
        Folder(folder)
    }

    fn mapcount(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mapcount"));
        command.current_dir(&self.0).stdin(Stdio::null());
        command
    }

    /// Runs mapcount where `setup`, a shell script, has changed what is mounted, for it alone.
    fn after(&self, setup: &str, words: &[&str]) -> Output {
        let script = format!("set -e; {setup}; exec \"$0\" \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_mapcount")]).args(words);
        command.current_dir(&self.0).stdin(Stdio::null()).output().expect("unshare runs")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether this machine lets scenarios run on its kernel at all.
fn can_run(name: &str) -> Option<Folder> {
    let folder = Folder::new(name);
    let output = folder.mapcount().args(["record", "x.mc", "--output", "/dev/null"]).output();
    let output = output.expect("mapcount runs");
    let ready = if output.status.success() {
        Ok(folder)
    } else {
        Err(Unavailable::new(text(&output.stderr).trim(), "see there"))
    };
    require::or_skip("a run on this kernel", ready)
}

#[test]
fn who_is_not_root_is_told_so() {
    let folder = Folder::new("user");
    let mut command = folder.mapcount();
    // Where this is root; nobody else needs to become nobody.
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        command.uid(65534).gid(65534);
    }
    for words in [&["conform", "x.mc"][..], &["record", "x.mc"]] {
        let Ok(output) = command.args(words).output() else {
            eprintln!("skipped: nobody may not run the program where it is");
            return;
        };
        assert_eq!(output.status.code(), Some(69));
        let told = text(&output.stderr);
        assert!(told.contains("needs root; run it as root"), "{told}");
        command = folder.mapcount();
        command.uid(65534).gid(65534);
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let Some(folder) = can_run("full") else { return };
    let output = folder.mapcount().args(["record", "x.mc", "--output", "/dev/full"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("cannot write /dev/full: No space left"), "{:?}", output);
    assert!(!Path::new("/dev/full").is_file());
    fs::create_dir(folder.0.join("tiny")).expect("a folder");
    // What is left in the folder goes to stdout when mapcount has ended.
    let setup = "mount -t tmpfs -o size=4k none tiny; trap 'ls -A tiny' EXIT; \"$0\" \"$@\"; exit";
    let output = folder.after(setup, &["record", "x.mc", "--output", "tiny/x.jsonl"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(text(&output.stderr).contains("cannot write tiny/x.jsonl: No space left"), "{output:?}");
    assert_eq!(text(&output.stdout), "");
    // A difference that cannot be written: a counter is planted to have one.
    let setup = "mount -t tmpfs -o size=4k,nr_inodes=1 none tiny";
    let words = ["conform", "x.mc", "--plant", "refcount=1", "--statistics", "never", "--out", "tiny/found"];
    let output = folder.after(setup, &words);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(text(&output.stderr).contains("cannot write tiny/found/conform-x.mc"), "{output:?}");
}

#[test]
fn without_a_description_of_types_counters_cannot_be_read_and_the_rest_can() {
    let Some(folder) = can_run("types") else { return };
    if !Path::new("/sys/kernel/btf").is_dir() {
        eprintln!("skipped: this kernel has none anyway");
        return;
    }
    fs::create_dir(folder.0.join("empty")).expect("a folder");
    let none = "mount --bind empty /sys/kernel/btf";
    let run = |setup: &str, observer: &str| {
        let words = ["conform", "x.mc", "--statistics", "never", "--observer", observer];
        let output = folder.after(setup, &words);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    for observer in ["bpf", "kcore"] {
        let (code, _, told) = run(none, observer);
        assert_eq!(code, Some(69), "{told}");
        assert!(told.contains("/sys/kernel/btf/vmlinux") && told.contains("CONFIG_DEBUG_INFO_BTF"), "{told}");
    }
    let (code, seen, told) = run(none, "auto");
    assert_eq!(code, Some(0), "{seen}{told}");
    assert!(seen.contains(" by proc, ") && seen.contains("1 agree, 0 differ"), "{seen}");
    assert!(told.contains("bpf: /sys/kernel/btf/vmlinux") && told.contains("kcore: "), "{told}");
    // One that was cut.
    let whole = fs::read("/sys/kernel/btf/vmlinux").expect("readable");
    fs::write(folder.0.join("cut"), &whole[..whole.len() / 3]).expect("a file");
    let (code, _, told) = run("mount --bind cut /sys/kernel/btf/vmlinux", "bpf");
    assert_eq!(code, Some(69), "{told}");
    assert!(told.contains("/sys/kernel/btf/vmlinux: "), "{told}");
}

#[test]
fn a_kernel_that_is_locked_down_is_not_read() {
    let Some(folder) = can_run("lockdown") else { return };
    // The state of securityfs, or the command line where that is not mounted, says so; what lockdown refuses is
    // refused to a process without these capabilities.
    fs::write(folder.0.join("state"), "none integrity [confidentiality]\n").expect("a file");
    fs::write(folder.0.join("line"), "quiet lockdown=confidentiality\n").expect("a file");
    let setup = "mount --bind line /proc/cmdline; \
        if [ -e /sys/kernel/security/lockdown ]; then mount --bind state /sys/kernel/security/lockdown; fi; \
        exec setpriv --bounding-set -bpf,-perfmon,-sys_admin \"$0\" \"$@\"";
    let words = ["conform", "x.mc", "--statistics", "never", "--observer", "bpf"];
    let output = folder.after(setup, &words);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(text(&output.stderr).contains("locked down (confidentiality)"), "{output:?}");
}

/// The lock that one run on a machine has, until its settings are restored.
fn lock() -> File {
    let folder = ["/run/lock", "/run", "/tmp"].into_iter().find(|folder| Path::new(folder).is_dir());
    let path = Path::new(folder.expect("a folder")).join("mapcount.lock");
    let file = File::options().create(true).truncate(false).write(true).open(path).expect("a lock");
    file.lock().expect("a lock");
    file
}

/// The settings that a run changes, while nobody runs.
fn settings() -> Vec<(&'static str, String)> {
    let _lock = lock();
    let files = [
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/kernel/mm/transparent_hugepage/defrag",
        "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan",
        "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs",
        "/sys/kernel/mm/ksm/run",
        "/sys/kernel/mm/ksm/sleep_millisecs",
        "/proc/sys/vm/nr_hugepages",
        "/proc/sys/vm/page-cluster",
        "/proc/swaps",
    ];
    files.into_iter().map(|file| (file, fs::read_to_string(file).unwrap_or_default())).collect()
}

/// The children of a process, and theirs.
fn descendants(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|word| word.parse().ok());
    children.flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}

fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(180), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A comparison that would go on for hours, once processes of a scenario run: the keeper, the zygote, `A`.
fn under_way(folder: &Folder) -> (Child, Vec<u32>) {
    let words = ["conform", "--random", "1000000", "--statistics", "never", "--findings", "1000000"];
    let mut command = folder.mapcount();
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("mapcount runs");
    let pids = eventually("the run starts", || Some(descendants(child.id())).filter(|pids| pids.len() >= 3));
    (child, pids)
}

#[test]
fn whatever_ends_a_run_no_process_is_left_and_settings_are_as_they_were() {
    let Some(folder) = can_run("ended") else { return };
    for (signal, code) in [("-INT", Some(130)), ("-TERM", Some(130)), ("-KILL", None)] {
        let before = settings();
        let (mut child, pids) = under_way(&folder);
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        assert_eq!(child.wait().expect("it ends").code(), code, "{signal}");
        eventually("the processes end", || pids.iter().all(|pid| !is_running(*pid)).then_some(()));
        assert_eq!(settings(), before, "{signal}");
    }
}
