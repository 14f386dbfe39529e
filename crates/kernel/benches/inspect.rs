//! `mapcount inspect` beside those that do a part of it: `cargo build --release && cargo bench -p mapcount-kernel --bench inspect`,
//! as root. Builds its own target processes; `MAPCOUNT_BENCH_MIB` sets their size, else it is 8 GiB where memory allows.
//!
//! What is compared are whole commands, and a pass over /proc/kpageflags, below which no reader of it can get. A peer that is
//! not on the PATH is left out by name.

#[path = "inspect/target.rs"]
mod target;

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use target::{Shape, Target, Victim, pin_to_cpu, wait};

/// Runs of each work; the median is told.
const SAMPLES: usize = 7;

fn main() {
    // Without `--bench` this is a test run, which has nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let Some(program) = program() else {
        println!("left out: all of it (no target/release/mapcount: cargo build --release first)");
        return;
    };
    let mib = size();
    println!("target processes of {mib} MiB; medians of {SAMPLES} runs; {} CPUs", cpus());
    census(&program);
    process(&program, "half THP, half 64K mTHP", Shape::Mixed, mib);
    process(&program, "4K pages, scattered", Shape::Scattered, mib / 2);
    disturbance(&program, mib / 2);
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn program() -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/mapcount"));
    path.is_file().then_some(path)
}

/// MiB of a target.
fn size() -> usize {
    let asked = std::env::var("MAPCOUNT_BENCH_MIB").ok().and_then(|text| text.parse().ok());
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available =
        line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) / 1024;
    asked.unwrap_or(8192.min(available / 2))
}

/// The median time of a work, and what it returned last.
fn median<T>(mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut last = work();
    let mut times: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            last = work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[SAMPLES / 2], last)
}

/// Runs a command; its greatest memory in KiB, or `None` if it is not there or fails.
fn run(command: &[&str]) -> Option<i64> {
    let (program, arguments) = command.split_first()?;
    let child =
        Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let (status, memory) = wait(&child);
    (status == 0).then_some(memory)
}

/// A command without the folder of its program.
fn shown(command: &[&str]) -> String {
    let program = command.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    [&[program], &command[1..]].concat().join(" ")
}

/// Measures a command; says so if it is left out.
fn measure(command: &[&str]) -> Option<(Duration, i64)> {
    let name = shown(command);
    if run(command).is_none() {
        println!("  left out: {name} (not there, or it fails)");
        return None;
    }
    let (time, memory) = median(|| run(command).unwrap_or(0));
    println!("  {name:<64} {:>9.1} ms {memory:>8} KiB", time.as_secs_f64() * 1e3);
    Some((time, memory))
}

fn ratio(ours: (Duration, i64), peer: Option<(Duration, i64)>, name: &str) {
    if let Some((time, memory)) = peer {
        let times = time.as_secs_f64() / ours.0.as_secs_f64();
        println!(
            "  mapcount is {times:.1} times as fast as {name}, with {:.2} of its memory",
            ours.1 as f64 / memory as f64
        );
    }
}

/// A pass over all of a file of /proc with a word for each frame.
fn pass(path: &str) -> Option<()> {
    let mut file = File::open(path).ok()?;
    let mut bytes = vec![0; 1 << 20];
    while file.read(&mut bytes).ok()? > 0 {}
    Some(())
}

fn census(program: &std::path::Path) {
    println!("census of all memory");
    let program = program.to_string_lossy();
    let Some(ours) = measure(&[&program, "inspect", "--census", "--format", "json"]) else { return };
    let (floor, read) = median(|| pass("/proc/kpageflags"));
    if read.is_some() {
        println!(
            "  {:<64} {:>9.1} ms",
            "a pass over /proc/kpageflags, without a thought",
            floor.as_secs_f64() * 1e3
        );
        println!(
            "  mapcount is {:.1} times as fast as that pass",
            floor.as_secs_f64() / ours.0.as_secs_f64()
        );
    }
    let peer = measure(&["page-types"]);
    ratio(ours, peer, "page-types");
}

fn process(program: &std::path::Path, title: &str, shape: Shape, mib: usize) {
    println!("a process of {mib} MiB: {title}");
    let program = program.to_string_lossy();
    let Some(target) = Target::new(shape, mib) else {
        println!("  left out: no memory for it");
        return;
    };
    let pid = target.pid().to_string();
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    for line in smaps.lines().filter(|line| line.starts_with("Rss:") || line.starts_with("AnonHugePages:")) {
        println!("  {}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let Some(ours) = measure(&[&program, "inspect", "--pid", &pid, "--format", "json"]) else { return };
    measure(&[&program, "inspect", "--pid", &pid, "--pagemap", "--format", "json"]);
    measure(&[&program, "inspect", "--pid", &pid, "--observer", "proc", "--format", "json"]);
    measure(&["cat", &format!("/proc/{pid}/smaps_rollup")]);
    ratio(ours, measure(&["thpmaps", "--pid", &pid, "--rollup"]), "thpmaps");
    ratio(ours, measure(&["page-types", "-p", &pid]), "page-types -p");
}

/// What a process that maps and unmaps all the time has left of its speed while it is looked at.
fn disturbance(program: &std::path::Path, mib: usize) {
    println!("a process of {mib} MiB that maps and unmaps 64 KiB in a loop, looked at again and again");
    let Some(victim) = Victim::new(mib) else {
        println!("  left out: no memory for it");
        return;
    };
    pin_to_cpu(0);
    let program = program.to_string_lossy();
    let pid = victim.pid().to_string();
    let rollup = format!("/proc/{pid}/smaps_rollup");
    let idle = victim.speed(|| std::thread::sleep(Duration::from_millis(50)));
    println!("  {:<64} {idle:>12.0} a second", "alone");
    let readers: [(&str, Vec<&str>); 4] = [
        ("smaps_rollup", vec!["cat", &rollup]),
        ("mapcount inspect --census", vec![&program, "inspect", "--census"]),
        ("mapcount inspect --pid", vec![&program, "inspect", "--pid", &pid]),
        ("mapcount inspect --pid --pagemap", vec![&program, "inspect", "--pid", &pid, "--pagemap"]),
    ];
    for (name, command) in readers {
        let speed = victim.speed(|| {
            run(&command);
        });
        println!("  {name:<64} {speed:>12.0} a second, {:.2} of it", speed / idle);
    }
}
