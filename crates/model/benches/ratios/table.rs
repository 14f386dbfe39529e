//! Medians of repeated runs, and a table of them.

use std::time::{Duration, Instant};

/// The nanoseconds that a unit of work took: the median of some runs, and the fastest and slowest of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nanos {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Nanos {
    /// From the times of whole runs, each of `units` units.
    pub(crate) fn of(mut runs: Vec<Duration>, units: u64) -> Nanos {
        runs.sort();
        let each = |run: Duration| run.as_nanos() as f64 / units as f64;
        Nanos { median: each(runs[runs.len() / 2]), least: each(runs[0]), most: each(runs[runs.len() - 1]) }
    }

    /// Runs `work` on `samples` fresh states; making and dropping a state is not measured.
    pub(crate) fn measure<S>(
        samples: usize,
        units: u64,
        prepare: impl Fn() -> S,
        work: impl Fn(&mut S),
    ) -> Nanos {
        let run = || {
            let mut state = prepare();
            let start = Instant::now();
            work(&mut state);
            start.elapsed()
        };
        Nanos::of((0..samples).map(|_| run()).collect(), units)
    }

    /// Units a second at the median.
    pub(crate) fn rate(self) -> f64 {
        1e9 / self.median
    }
}

/// A goal for a median.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// None is set.
    None,
    /// Nanoseconds a unit at most.
    AtMost(f64),
    /// Units a second at least.
    Rate(f64),
    /// So many times as fast as Linux, at least.
    TimesFaster(f64),
}

impl Goal {
    fn text(self) -> String {
        match self {
            Goal::None => "–".to_owned(),
            Goal::AtMost(nanos) => format!("≤ {}", time(nanos)),
            Goal::Rate(rate) => format!("≥ {rate}/s"),
            Goal::TimesFaster(times) => format!("≥ {times}x"),
        }
    }

    fn verdict(self, ours: Nanos, peer: Peer) -> &'static str {
        match self {
            Goal::None => "–",
            Goal::AtMost(nanos) if ours.median <= nanos => "met",
            Goal::Rate(rate) if ours.rate() >= rate => "met",
            Goal::TimesFaster(times) => match peer {
                Peer::None => "–",
                Peer::Measured(Nanos { median, .. }) | Peer::Published(median)
                    if median >= times * ours.median =>
                {
                    "met"
                }
                Peer::Measured(_) | Peer::Published(_) => "NOT MET",
            },
            Goal::AtMost(_) | Goal::Rate(_) => "NOT MET",
        }
    }
}

/// What Linux takes for the same work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// Linux has no such work, or none that this program may ask for.
    None,
    /// Measured in this run on this machine.
    Measured(Nanos),
    /// Measured elsewhere, as it could not be here.
    Published(f64),
}

/// Prints the head of the table.
pub(crate) fn head() {
    println!(
        "| {:42} | {:>10} | {:>19} | {:>10} | {:>7} | {:>10} | {:7} |",
        "work", "ours", "least–most", "Linux", "ratio", "goal", "verdict"
    );
    println!("|{:-<44}|{:->12}|{:->21}|{:->12}|{:->9}|{:->12}|{:-<9}|", "", "", "", "", "", "", "");
}

/// Prints a row.
pub(crate) fn row(work: &str, ours: Nanos, peer: Peer, goal: Goal) {
    let shown =
        if matches!(goal, Goal::Rate(_)) { format!("{:.0}/s", ours.rate()) } else { time(ours.median) };
    let (linux, ratio) = match peer {
        Peer::None => ("–".to_owned(), "–".to_owned()),
        Peer::Measured(nanos) => (time(nanos.median), format!("{:.1}x", nanos.median / ours.median)),
        Peer::Published(nanos) => (format!("({})", time(nanos)), format!("({:.1}x)", nanos / ours.median)),
    };
    println!(
        "| {work:42} | {shown:>10} | {:>19} | {linux:>10} | {ratio:>7} | {:>10} | {:7} |",
        format!("{}–{}", time(ours.least), time(ours.most)),
        goal.text(),
        goal.verdict(ours, peer)
    );
}

/// Nanoseconds for people.
pub(crate) fn time(nanos: f64) -> String {
    match nanos {
        n if n < 100.0 => format!("{n:.2} ns"),
        n if n < 10_000.0 => format!("{n:.0} ns"),
        n if n < 10_000_000.0 => format!("{:.1} µs", n / 1e3),
        n => format!("{:.1} ms", n / 1e6),
    }
}
