//! How many random steps a second are done by the running kernel and by its model, and compared in every field:
//! `cargo bench -p mapcount-kernel --bench conform`, as root on a quiet machine.

use std::time::{Duration, Instant};

use mapcount_kernel::conform::{Conform, Options, Verdict};
use mapcount_kernel::driven::{Driven, Watch};
use mapcount_kernel::subject::Trouble;
use mapcount_kernel::{live, observer, subject};

/// Steps of a scenario, and how many scenarios are run.
const STEPS: u32 = 40;
const SCENARIOS: u64 = 200;

/// Operations that wait for a disk, a daemon or the shrinkers, told apart.
const WAITING: [&str; 3] = ["drop_caches", "ksm", "swap"];

fn main() {
    // Without `--bench` this is a test run, which has nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    if let Err(trouble) = measure() {
        println!("conform: {trouble}");
    }
}

fn measure() -> Result<(), Trouble> {
    let mut driven = Driven::open(observer::Choice::Auto, &subject::Options::default())?;
    let watched = driven.watch_statistics(Watch::Never)?;
    debug_assert!(watched.is_err());
    println!("Linux {} by {}", driven.kernel(), driven.observer());
    let mut conform = Conform::new(driven, live::profile()?, Options::default());
    for waits in [false, true] {
        let (mut scenarios, mut steps, mut values, mut differ, mut time) = (0, 0, 0, 0, Duration::ZERO);
        for seed in 1..=SCENARIOS {
            let (scenario, _) = conform.random(seed, STEPS);
            let text = scenario.to_string();
            if waits != WAITING.iter().any(|verb| text.contains(&format!("kernel: {verb}"))) {
                continue;
            }
            let start = Instant::now();
            let report = conform.check(&scenario, "bench")?;
            if matches!(report.verdict, Verdict::Differs(_) | Verdict::ModelFails(_)) {
                // What differs is looked at again and again before it is believed.
                differ += 1;
                continue;
            }
            time += start.elapsed();
            scenarios += 1;
            steps += report.steps;
            values += report.values;
        }
        let rate = |count: u64| count as f64 / time.as_secs_f64().max(1e-9);
        let which = if waits { "with steps that wait" } else { "without steps that wait" };
        println!(
            "{which}: {steps} steps of {scenarios} scenarios, {:.0} a second, {:.1} million values a second, \
             {differ} scenarios left out, as they differ; goal: 2000 a second",
            rate(steps),
            rate(values) / 1e6
        );
    }
    Ok(())
}
