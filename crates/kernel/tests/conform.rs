//! Model and running kernel in lockstep: needs root.

use mapcount_kernel::conform::{Conform, Options, Report, Verdict};
use mapcount_kernel::driven::{Driven, Watch};
use mapcount_kernel::require::or_skip;
use mapcount_kernel::{Unavailable, live, observer, subject};
use mapcount_script::ast::Scenario;
use mapcount_script::parse::parse;

fn open(options: Options) -> Result<Conform, Unavailable> {
    let mut driven = Driven::open(observer::Choice::Auto, &subject::Options::default())?;
    driven.watch_statistics(Watch::Never)?.expect_err("not asked for");
    Ok(Conform::new(driven, live::profile()?, options))
}

fn scenario(text: &str) -> Scenario {
    parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn check(conform: &mut Conform, scenario: &Scenario) -> Report {
    conform.check(scenario, "test").unwrap_or_else(|trouble| panic!("{trouble}"))
}

/// Steps of which every kernel since 4.5 has all.
const SHARED: &str = "A: mmap x pmd thp\nA: write x\nA: fork B\nA: munmap x[3]\nB: write x[5]\nB: get x[7]\n\
    A: madvise x[16..32] dontneed\nB: mprotect x[9] ro\nB: split_pmd x\nA: exit\nB: put x[7]\n";

#[test]
fn kernel_and_model_agree() {
    let Some(mut conform) = or_skip("conform", open(Options::default())) else { return };
    let report = check(&mut conform, &scenario(SHARED));
    assert_eq!(report.verdict, Verdict::Agrees, "{report:?}");
    assert_eq!(report.steps, 11);
    assert!(report.values > 5000, "{}", report.values);
    assert!(conform.coverage().pairs() >= 8, "{:?}", conform.coverage());
}

#[test]
fn a_wrong_counter_is_found_and_its_scenario_made_small() {
    let plant = Some(("refcount".to_owned(), 1));
    let options = Options { plant, ..Options::default() };
    let Some(mut conform) = or_skip("conform", open(options)) else { return };
    let whole = scenario(SHARED);
    let Verdict::Differs(found) = check(&mut conform, &whole).verdict else { panic!("not found") };
    assert_eq!(found.differences.len(), 1, "{found:?}");
    let first = &found.differences[0];
    assert_eq!((first.step, first.field), (1, "refcount"));
    assert_eq!((first.model.as_str(), first.recording.as_str()), ("1", "2"));
    assert_eq!(found.history, ["refcount: 0 → 1 in step 1 `A: write x`"]);
    let small = conform.minimise(&whole, "test").unwrap_or_else(|trouble| panic!("{trouble}"));
    assert_eq!(small.to_string(), "A: mmap x pmd thp\nA: write x[0]\n");
    assert!(matches!(check(&mut conform, &small).verdict, Verdict::Differs(_)));
}

#[test]
fn a_seed_gives_the_same_scenario_each_time() {
    let Some(conform) = or_skip("conform", open(Options::default())) else { return };
    let (one, left_out) = conform.random(7, 40);
    assert_eq!(conform.random(7, 40), (one.clone(), left_out.clone()));
    assert_eq!(one.items.len() + left_out.len(), 40);
    let other = conform.random(8, 40).0;
    assert_ne!(one, other);
}
