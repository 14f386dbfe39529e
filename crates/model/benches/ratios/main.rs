//! How fast the model works, beside the kernel that it models: `cargo bench -p mapcount-model`.
//!
//! Prints a table of ratios, Linux measured in the same run on this machine, then divan's own.

mod files;
mod linux;
mod steps;
mod table;
mod work;

use linux::Linux;
use table::{Goal, Nanos, Peer};
use work::{PAGES, Work};

/// Runs of each work; the median is told.
const SAMPLES: usize = 11;

/// Runs of each work on Linux, which takes longer.
const LINUX_SAMPLES: usize = 7;

fn main() {
    // Without `--bench` this is a test run: divan does each work once. With a filter it is asked for alone.
    if std::env::args().skip(1).eq(["--bench"]) {
        ratios();
    }
    divan::main();
}

#[divan::bench(args = works(), sample_count = 11, sample_size = 1)]
fn model(bencher: divan::Bencher<'_, '_>, work: &Work) {
    bencher.with_inputs(work.prepare).bench_refs(work.run);
}

fn works() -> impl Iterator<Item = Work> {
    work::ALL.into_iter().chain(work::REVERSE).chain([
        work::COLLAPSE,
        work::WALK_ALONE,
        work::WALK,
        work::COPY,
    ])
}

fn ratios() {
    println!("1 GiB of anonymous memory on the model of Linux 6.18, laws off; medians of {SAMPLES} runs.");
    println!("Linux: the kernel of this machine in the same run, medians of {LINUX_SAMPLES} runs.\n");
    let linux = linux::measure(LINUX_SAMPLES);
    table::head();
    for (work, (peer, goal)) in work::ALL.iter().zip(peers(&linux)) {
        table::row(work.name, measure(work), peer, goal);
    }
    for work in &work::REVERSE {
        table::row(work.name, measure(work), Peer::None, Goal::AtMost(50.0));
    }
    table::row(work::COLLAPSE.name, measure(&work::COLLAPSE), Peer::None, Goal::AtMost(10_000.0));
    table::row(work::WALK_ALONE.name, measure(&work::WALK_ALONE), Peer::None, Goal::Rate(200_000.0));
    table::row(work::WALK.name, measure(&work::WALK), Peer::None, Goal::Rate(200_000.0));
    table::row(work::COPY.name, measure(&work::COPY), Peer::None, Goal::None);
    println!();
    files::ratios(SAMPLES, LINUX_SAMPLES);
    memory();
    println!();
}

/// Linux's figure and the goal of each work, in the order of [`work::ALL`].
fn peers(linux: &Linux) -> [(Peer, Goal); work::ALL.len()] {
    [
        (linux.fork_pte, Goal::AtMost(8.0)),
        (linux.fork_pmd, Goal::AtMost(200.0)),
        (linux.exit_pte, Goal::None),
        (linux.exit_pmd, Goal::None),
        (linux.split, Goal::AtMost(2000.0)),
        (linux.split, Goal::None),
        (linux.touch, Goal::None),
        (linux.touch_small, Goal::None),
        (linux.fork_small, Goal::None),
        (linux.exit_small, Goal::None),
        (linux.unmap_small, Goal::None),
        (linux.write, Goal::None),
        (linux.unmap_pte, Goal::None),
        (linux.unmap_pmd, Goal::None),
        (Peer::None, Goal::None),
        (Peer::None, Goal::None),
    ]
}

fn measure(work: &Work) -> Nanos {
    Nanos::measure(SAMPLES, u64::from(work.units), work.prepare, work.run)
}

/// Bytes that the model holds for each page of 1 GiB.
fn memory() {
    println!("| {:42} | {:>14} | {:>5} | verdict |", "memory of the model", "bytes a page", "goal");
    println!("|{:-<44}|{:->16}|{:->7}|---------|", "", "", "");
    let (whole, split, mut forked) = (work::by_pmds(), work::by_ptes(), work::by_ptes());
    work::do_fork(&mut forked);
    let rows = [
        ("1 GiB of THPs by PMDs, a process", whole),
        ("1 GiB of THPs by PTEs, a process", split),
        ("1 GiB of THPs by PTEs, two processes", forked),
    ];
    for (name, state) in rows {
        let bytes = state.m.bytes() as f64 / f64::from(PAGES);
        let verdict = if bytes <= 64.0 { "met" } else { "NOT MET" };
        println!("| {name:42} | {bytes:>14.1} | {:>5} | {verdict:7} |", "≤ 64");
    }
}
