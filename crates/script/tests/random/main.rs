//! The model on random scenarios: no panic, no law broken that the scheme is not known to break, nothing
//! that depends on how the machine is run. `MAPCOUNT_RANDOM=N` runs N scenarios on each kernel,
//! `MAPCOUNT_SEED=S` starts from another seed, `MAPCOUNT_KERNEL=K` looks at one kernel.

mod breaks;
mod check;
mod properties;

use std::collections::BTreeMap;
use std::env;
use std::time::Instant;

use check::{How, ROOMY, Seen, check};
use mapcount_model::invariant::Law;
use mapcount_model::profile::Profile;
use mapcount_script::ast::{Item, Scenario};
use mapcount_script::parse::parse;
use mapcount_script::random::{Shape, generate, minimise};

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Every kernel and every scheme, each once.
fn profiles() -> Vec<Profile> {
    let mut profiles = Profile::all();
    profiles.extend(Profile::all_schemes());
    if let Ok(name) = env::var("MAPCOUNT_KERNEL") {
        return vec![Profile::resolve(&name).expect("a kernel")];
    }
    profiles
}

/// Runs the scenarios of some seeds on a kernel.
fn run(profile: &Profile, shape: &Shape, how: How, scenarios: u64) -> Seen {
    let first = variable("MAPCOUNT_SEED").unwrap_or(0);
    let mut seen = Seen::default();
    let scenarios = variable("MAPCOUNT_RANDOM").unwrap_or(scenarios);
    for seed in first..first + scenarios {
        let scenario = generate(seed, shape);
        // Where there are many, a quarter of them is enough for what does not depend on the rules.
        let how = How { again: scenarios <= 100 || seed % 4 == 0, ..how };
        if let Err(what) = check(&scenario, profile, how, &mut seen) {
            let small = minimise(&scenario, |fewer| {
                // Left-out steps make scenarios that name what is not there: those are not what is looked for.
                check(fewer, profile, How { may_end_early: true, ..how }, &mut Seen::default()).is_err()
            });
            let still = check(&small, profile, how, &mut Seen::default()).err().unwrap_or_default();
            panic!("kernel {}, seed {seed}: {what}\nminimised: {still}\n{small}", profile.name);
        }
    }
    seen
}

fn report(name: &str, seen: &Seen, since: Instant) {
    let rate = seen.steps as f64 / since.elapsed().as_secs_f64();
    let Seen { steps, outcomes, breaks, refusals, partial, .. } = seen;
    println!(
        "{name}: {steps} steps, {rate:.0}/s, {outcomes:?}, {breaks:?}, {refusals} refusals, at most {partial} partial"
    );
}

#[test]
fn every_kernel_keeps_its_laws() {
    for profile in profiles() {
        let since = Instant::now();
        let seen = run(&profile, &Shape::of(&profile), ROOMY, 20);
        report(&profile.name, &seen, since);
        let info = profile.scheme.info();
        // Migration loses the bias of `double-map`: a mistake of these kernels, and no other law may break.
        let loses_bias = info.capabilities.bias_is_not_restored && !profile.policy.move_pages_splits;
        let known = |law: &Law| {
            info.breaks.iter().any(|(broken, _)| broken == law) || (*law == Law::I9 && loses_bias)
        };
        let unknown = seen.breaks.keys().find(|law| !known(law));
        assert_eq!(unknown, None, "{}", profile.name);
    }
}

#[test]
fn laws_said_to_break_do_break() {
    for profile in profiles() {
        let breaks = profile.scheme.info().breaks;
        if breaks.is_empty() {
            continue;
        }
        let seen = run(&profile, &Shape { pmd_order: Some(3), ..Shape::of(&profile) }, ROOMY, 150);
        for (law, _) in breaks {
            assert!(seen.breaks.contains_key(law), "{}: {} never broke", profile.name, law.name());
        }
    }
}

#[test]
fn memory_may_run_out_anywhere() {
    for profile in profiles() {
        for frames in [40, 512, 600] {
            let shape = Shape { pmd_order: Some(4), pages: Some(256), ..Shape::of(&profile) };
            let how = How { frames: Some(frames), may_end_early: true, again: true };
            run(&profile, &shape, how, 6);
        }
    }
}

#[test]
fn what_is_generated_survives_print_and_parse() {
    for seed in 0..variable("MAPCOUNT_RANDOM").unwrap_or(300) {
        let scenario = generate(seed, &Shape::default());
        let text = scenario.to_string();
        let read = parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}\n{errors:?}"));
        assert_eq!(read.to_string(), text);
        assert_eq!((read.title.clone(), read.pmd_order), (scenario.title.clone(), scenario.pmd_order));
        let steps = |scenario: &Scenario| {
            let steps = scenario.items.iter().filter_map(|item| match item {
                Item::Step(step) => Some((step.action.clone(), step.text.clone(), step.outcome)),
                Item::Expect(_) => None,
            });
            steps.collect::<Vec<_>>()
        };
        assert_eq!(steps(&read), steps(&scenario));
    }
}

#[test]
fn every_verb_comes() {
    let mut verbs = BTreeMap::new();
    for seed in 0..300 {
        for item in &generate(seed, &Shape::default()).items {
            let Item::Step(step) = item else { continue };
            let verb = step.text.split(' ').nth(1).expect("a verb").to_owned();
            *verbs.entry(verb).or_insert(0) += 1;
        }
    }
    for verb in [
        "mmap",
        "reserve",
        "read",
        "write",
        "fill",
        "munmap",
        "mprotect",
        "mlock",
        "munlock",
        "mremap",
        "madvise",
        "fork",
        "exit",
        "get",
        "put",
        "pin",
        "unpin",
        "split_pmd",
        "split",
        "putback",
        "drop_caches",
        "thp",
        "mthp",
        "tune",
        "lru",
        "swap",
        "hugetlb",
        "file",
        "truncate",
        "punch",
        "shmem_mthp",
    ] {
        assert!(verbs.get(verb).is_some_and(|count| *count >= 20), "{verb}: {verbs:?}");
    }
}
