//! `mapcount inspect` beside those that do a part of it: `cargo build --release && cargo bench -p mapcount-kernel --bench inspect`,
//! as root. Builds its own target processes; `MAPCOUNT_BENCH_MIB` sets their size, else it is 8 GiB where memory allows.
//!
//! What is compared are whole commands, run by turns, and a pass over /proc/kpageflags, below which no reader of it can get.
//! The peers are of tools/mm in the kernel's source; they are looked for on the PATH, or where `MAPCOUNT_THPMAPS` and
//! `MAPCOUNT_PAGE_TYPES` say. One that is not there is left out by name.

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

/// A peer's program.
fn peer(name: &str, variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| name.to_owned())
}

fn thpmaps() -> String {
    peer("thpmaps", "MAPCOUNT_THPMAPS")
}

fn page_types() -> String {
    peer("page-types", "MAPCOUNT_PAGE_TYPES")
}

/// A command without the folder of its program.
fn shown(command: &[&str]) -> String {
    let program = command.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    [&[program], &command[1..]].concat().join(" ")
}

/// What was measured of a command: the median of its times, and its greatest memory in KiB.
type Measured = Option<(Duration, i64)>;

/// Runs commands by turns, so that what else the machine does falls on all of them, and prints how they did. One that is
/// not there, or fails, is left out.
fn measure(commands: &[Vec<&str>]) -> Vec<Measured> {
    // The first run of each is none of the samples: it finds out whether it works, and warms caches.
    let works: Vec<bool> = commands.iter().map(|command| run(command).is_some()).collect();
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); commands.len()];
    let mut memory: Vec<i64> = vec![0; commands.len()];
    for _ in 0..SAMPLES {
        for (index, command) in commands.iter().enumerate().filter(|(index, _)| works[*index]) {
            let start = Instant::now();
            let used = run(command).unwrap_or(0);
            times[index].push(start.elapsed());
            memory[index] = memory[index].max(used);
        }
    }
    let mut measured = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        let name = shown(command);
        if !works[index] {
            println!("  left out: {name} (not there, or it fails)");
            measured.push(None);
            continue;
        }
        times[index].sort_unstable();
        let (time, least) = (times[index][SAMPLES / 2], times[index][0]);
        println!(
            "  {name:<64} {:>9.1} ms (least {:.1}) {:>8} KiB",
            time.as_secs_f64() * 1e3,
            least.as_secs_f64() * 1e3,
            memory[index]
        );
        measured.push(Some((time, memory[index])));
    }
    measured
}

/// Prints how much faster the first of two is, and what part of the other's memory it takes.
fn ratio(ours: Measured, peer: Measured, name: &str, goal: &str) {
    if let (Some(ours), Some((time, memory))) = (ours, peer) {
        let times = time.as_secs_f64() / ours.0.as_secs_f64();
        let part = ours.1 as f64 / memory as f64;
        println!(
            "  mapcount is {times:.1} times as fast as {name}, with {part:.2} of its memory; goal: {goal}"
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
    let (program, page_types) = (program.to_string_lossy(), page_types());
    let commands = [vec![&program, "inspect", "--census", "--format", "json"], vec![&page_types[..]]];
    let [ours, peer] = measure(&commands)[..] else { return };
    let (floor, read) = median(|| pass("/proc/kpageflags"));
    if read.is_some() {
        println!(
            "  {:<64} {:>9.1} ms",
            "a pass over /proc/kpageflags, without a thought",
            floor.as_secs_f64() * 1e3
        );
    }
    ratio(ours, peer, "page-types", "12 times");
}

fn process(program: &std::path::Path, title: &str, shape: Shape, mib: usize) {
    println!("a process of {mib} MiB: {title}");
    let Some(target) = Target::new(shape, mib) else {
        println!("  left out: no memory for it");
        return;
    };
    let pid = target.pid().to_string();
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    for line in smaps.lines().filter(|line| line.starts_with("Rss:") || line.starts_with("AnonHugePages:")) {
        println!("  {}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let (program, thpmaps, page_types) = (program.to_string_lossy(), thpmaps(), page_types());
    let rollup = format!("/proc/{pid}/smaps_rollup");
    let inspect = |more: &[&'static str]| {
        let words = [&program, "inspect", "--pid", &pid, "--format", "json"];
        [
            &words.map(|word| word.to_owned())[..],
            &more.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(),
        ]
        .concat()
    };
    let ways = [inspect(&[]), inspect(&["--pagemap"]), inspect(&["--observer", "proc"])];
    let mut commands: Vec<Vec<&str>> =
        ways.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
    commands.push(vec![&thpmaps, "--pid", &pid, "--rollup"]);
    commands.push(vec![&page_types, "-p", &pid]);
    commands.push(vec!["cat", &rollup]);
    let measured = measure(&commands);
    let goals = if shape == Shape::Mixed { ["10 times, 0.10", "none"] } else { ["12 times", "3.5 times"] };
    ratio(measured[0], measured[3], "thpmaps", goals[0]);
    ratio(measured[0], measured[4], "page-types -p", goals[1]);
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
