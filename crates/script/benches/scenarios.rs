//! How fast a scenario runs on the model: `cargo bench -p mapcount-script`.

#[path = "../../model/benches/ratios/table.rs"]
#[allow(dead_code, reason = "scenarios have no Linux beside them, and no rates")]
mod table;

use mapcount_model::profile::Profile;
use mapcount_script::ast::Scenario;
use mapcount_script::parse::parse;
use mapcount_script::run::{Next, Options, Runner, observe};
use table::{Goal, Nanos, Peer};

const NAME: &str = "seed-fork-split";
const SOURCE: &[u8] = include_bytes!("../../../scenarios/recorded/seed-fork-split.mc");
const SAMPLES: usize = 51;

fn main() {
    if std::env::args().skip(1).eq(["--bench"]) {
        ratios();
    }
    divan::main();
}

fn ratios() {
    println!("The scenario {NAME}: run with the laws, observe every step; medians of {SAMPLES} runs.\n");
    let scenario = scenario();
    let one = vec![Profile::resolve("6.18").expect("modelled")];
    let all = Profile::all();
    let states = states(&scenario);
    let within = Goal::AtMost(50e6);
    table::head();
    let measured = |work: &dyn Fn()| Nanos::measure(SAMPLES, 1, || (), |()| work());
    let parsed = measured(&|| {
        divan::black_box(scenario_of(divan::black_box(SOURCE)));
    });
    table::row("parse", parsed, Peer::None, Goal::None);
    table::row("run on one kernel", measured(&|| run(&scenario, &one, false)), Peer::None, Goal::None);
    table::row("run and observe on one kernel", measured(&|| run(&scenario, &one, true)), Peer::None, within);
    table::row(
        "run and observe on all kernels",
        measured(&|| run(&scenario, &all, true)),
        Peer::None,
        within,
    );
    let observed = measured(&|| states.iter().for_each(|state| drop(divan::black_box(state.observe()))));
    table::row("observe a step of 3 x 512 pages", observed, Peer::None, Goal::None);
    println!();
}

#[divan::bench(args = ["one kernel", "all kernels"])]
fn run_and_observe(bencher: divan::Bencher<'_, '_>, kernels: &str) {
    let scenario = scenario();
    let mut profiles = Profile::all();
    if kernels == "one kernel" {
        profiles.retain(|profile| profile.name == "6.18");
    }
    assert!(!profiles.is_empty());
    bencher.bench_local(|| run(&scenario, &profiles, true));
}

#[divan::bench]
fn observe_a_step(bencher: divan::Bencher<'_, '_>) {
    let scenario = scenario();
    let states = states(&scenario);
    bencher.bench_local(|| states.iter().map(State::observe).collect::<Vec<_>>());
}

fn scenario() -> Scenario {
    scenario_of(SOURCE)
}

fn scenario_of(source: &[u8]) -> Scenario {
    parse(source).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn run(scenario: &Scenario, profiles: &[Profile], observes: bool) {
    for profile in profiles {
        let mut runner = runner(scenario, profile);
        while let Some(next) = runner.advance() {
            let Next::Step(report, Ok(())) = next else { panic!("the scenario runs") };
            if observes {
                divan::black_box(observe(&runner, &report, NAME));
            }
        }
    }
}

fn runner<'s>(scenario: &'s Scenario, profile: &Profile) -> Runner<'s> {
    Runner::new(scenario, profile, Options::default()).expect("runnable").expect("for every kernel")
}

/// A state of the scenario, with the step that led to it.
struct State<'s> {
    runner: Runner<'s>,
    report: Box<mapcount_script::run::StepReport>,
}

impl State<'_> {
    fn observe(&self) -> mapcount_script::trace::Step {
        observe(&self.runner, &self.report, NAME)
    }
}

/// The state after all three processes split their PMD: 512 PTEs each.
fn states(scenario: &Scenario) -> Vec<State<'_>> {
    let mut runner = runner(scenario, &Profile::resolve("6.18").expect("modelled"));
    let report = (0..7).map(|_| runner.advance()).last();
    let Some(Some(Next::Step(report, Ok(())))) = report else { panic!("the scenario runs") };
    vec![State { runner, report }]
}
