//! Verdicts computed from counters alone against what the model's operations then do: on random scenarios, in every
//! kernel and scheme. `MAPCOUNT_RANDOM=N` runs N scenarios on each.

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use mapcount_model::field::Field;
use mapcount_model::machine::Machine;
use mapcount_model::machine::page_table::Pmd;
use mapcount_model::ops::fault::{Access, touch};
use mapcount_model::ops::split::{Request, split};
use mapcount_model::policy::DebugfsSplit;
use mapcount_model::profile::Profile;
use mapcount_model::query::Answer;
use mapcount_model::units::{Folio, Kind, Level};
use mapcount_model::verdict::{Reason, State, Subject};
use mapcount_script::parse::parse;
use mapcount_script::random::{Shape, generate};
use mapcount_script::run::{Next, Options, Runner};

/// Verdicts that were compared, and how often.
type Told = BTreeMap<(&'static str, Option<bool>, Reason), u32>;

/// How often one kind of verdict is tried on each kernel: each costs a machine.
const TRIES: u32 = 100;

fn subject<'m>(m: &'m Machine, folio: Folio) -> Subject<'m> {
    let known = m.known(folio);
    let dirty = m.file_of(folio).is_some_and(|file| file.cache.state(m.frames.mapping(folio).index).dirty);
    let state = State {
        swapcache: known.swapcache,
        pagecache: known.pagecache,
        private: known.private,
        lru: !m.holders.waits_for_lru(folio.head),
        writeback: false,
        dirty,
    };
    Subject { scheme: m.scheme, policy: &m.policy, counters: m.counters(), folio, state }
}

fn is_new(told: &mut Told, key: (&'static str, Option<bool>, Reason)) -> bool {
    let count = told.entry(key).or_default();
    *count += 1;
    *count <= TRIES
}

fn check_split(runner: &Runner<'_>, folio: Folio, place: &str, told: &mut Told) {
    let m = &runner.machine;
    let verdict = subject(m, folio).can_split();
    if m.policy.debugfs_split == DebugfsSplit::Absent || !folio.is_large() || folio.kind == Kind::Zero {
        assert_eq!(verdict.can, Some(folio.is_large() && folio.kind != Kind::Zero), "{place}: {verdict:?}");
        return;
    }
    if verdict.can.is_none() || !is_new(told, ("split", verdict.can, verdict.why)) {
        return;
    }
    let clone = runner.clone();
    clone.machine.get_refs(folio, 1);
    let outcome = split(&clone.machine, folio, Request::PAGES);
    assert_eq!(verdict.can, Some(outcome.is_ok()), "{place}: {verdict:?}, but {outcome:?}");
}

fn check_write(runner: &Runner<'_>, name: &str, at: u64, place: &str, told: &mut Told) {
    let (m, mm) = (&runner.machine, &runner.processes[name].mm);
    let entry = mm.table.read(at);
    let copies = mm.vmas.borrow().find(at).is_some_and(|vma| vma.protection.write && !vma.is_shared());
    let folio = m.folio(entry.page());
    if entry.is_writable() || entry.is_zero() || !copies {
        return;
    }
    let whole = matches!(mm.table.pmd(at), Pmd::Leaf(_));
    let level = if whole { Level::Pmd } else { Level::Pte };
    let verdict = subject(m, folio).may_reuse(entry.page(), level);
    let key = if whole { "reuse a PMD" } else { "reuse a page" };
    if verdict.can.is_none() || !is_new(told, (key, verdict.can, verdict.why)) {
        return;
    }
    let clone = runner.clone();
    let (machine, own) = (&clone.machine, &clone.processes[name].mm);
    if touch(machine, own, (at, 1), Access::Write).is_err() {
        return;
    }
    let still_whole = matches!(own.table.pmd(at), Pmd::Leaf(_));
    let reused = own.table.read(at).page() == entry.page() && still_whole == whole;
    assert_eq!(verdict.can, Some(reused), "{place}: {verdict:?}");
}

/// The references of a folio add up, and its mapped pages are those that page tables say.
fn check_counts(m: &Machine, folio: Folio, mapped: u32, place: &str) {
    let subject = subject(m, folio);
    assert!(subject.is_consistent(), "{place}: {folio:?}");
    if let Answer::Exact(pages) = subject.mapped_pages() {
        assert_eq!(pages, mapped, "{place}: pages of {folio:?} that are mapped");
    }
    let Some(references) = subject.references() else { return };
    let parts = references.mappings + references.swapcache + references.pagecache + references.private;
    assert_eq!(references.all, parts + references.pinned + references.rest, "{place}: {references:?}");
}

fn check_state(runner: &Runner<'_>, place: &str, told: &mut Told) {
    let m = &runner.machine;
    let mut mapped: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (name, process) in &runner.processes {
        for window in process.windows.values() {
            for at in window.start..window.start + window.pages {
                let entry = process.mm.table.read(at);
                // Nobody splits a device's memory, and up to 6.14 nobody counts its mappings.
                let folio = m.frames.folio(entry.page());
                let Some(folio) = folio.filter(|folio| entry.is_counted() && folio.kind != Kind::Device)
                else {
                    continue;
                };
                mapped.entry(folio.head.0).or_default().insert(entry.page().0);
                check_write(runner, name, at, place, told);
            }
        }
    }
    for (head, pages) in mapped {
        let folio = m.folio(mapcount_model::units::Pfn(head));
        check_split(runner, folio, place, told);
        check_counts(m, folio, pages.len() as u32, place);
    }
}

fn scenarios() -> u64 {
    env::var("MAPCOUNT_RANDOM").map_or(40, |text| text.parse().expect("MAPCOUNT_RANDOM is a number"))
}

#[test]
fn what_counters_say_is_what_the_kernel_does() {
    for profile in Profile::all().into_iter().chain(Profile::all_schemes()) {
        let mut told = Told::new();
        let shape = Shape { pmd_order: Some(2), ..Shape::of(&profile) };
        for seed in 0..scenarios() {
            let scenario = generate(seed, &shape);
            let runner = Runner::new(&scenario, &profile, Options::default()).expect("no names in it");
            let Some(mut runner) = runner else { continue };
            while let Some(next) = runner.advance() {
                let Next::Step(report, Ok(())) = next else { break };
                // Proposals that count areas, and migration's lost bias, have counters that page tables contradict.
                if !report.known_breaks.is_empty() {
                    break;
                }
                let place = format!("{} seed {seed} step {}", profile.name, report.index);
                check_state(&runner, &place, &mut told);
            }
        }
        assert!(told.keys().any(|key| key.1 == Some(true)), "{}: {told:?}", profile.name);
        assert!(told.keys().any(|key| key.1 == Some(false)), "{}: {told:?}", profile.name);
    }
}

/// Runs a scenario to its end and says what holds for the folio of page 0 of `x` in A.
fn at_the_end(source: &str, kernel: &str, check: impl Fn(Subject<'_>, Level)) {
    let scenario = parse(source.as_bytes()).unwrap_or_else(|errors| panic!("{source}: {errors}"));
    let profile = Profile::resolve(kernel).expect("a kernel");
    let mut runner = Runner::new(&scenario, &profile, Options::default()).expect("runs").expect("applies");
    assert_eq!(runner.run(|_, _| {}), [], "{kernel}");
    let process = &runner.processes["A"];
    let at = process.windows["x"].start;
    let level = if matches!(process.mm.table.pmd(at), Pmd::Leaf(_)) { Level::Pmd } else { Level::Pte };
    let folio = runner.machine.folio(process.mm.table.read(at).page());
    check(subject(&runner.machine, folio), level);
}

#[test]
fn a_pinned_thp_says_so() {
    for kernel in ["5.10", "6.1", "6.12", "6.18", "7.3"] {
        at_the_end("A: mmap x 2M thp\nA: write x\nA: pin x[3]\n", kernel, |subject, _| {
            let references = subject.references().expect("known");
            assert_eq!((references.pins, references.pinned, references.rest), (Answer::Exact(1), 1, 0));
            assert_eq!((subject.can_split().can, subject.can_split().why), (Some(false), Reason::Pinned));
            assert_eq!(subject.can_migrate().why, Reason::Pinned);
        });
        at_the_end("A: mmap x 2p nothp\nA: write x\nA: pin x[0]\n", kernel, |subject, _| {
            let references = subject.references().expect("known");
            assert_eq!((references.pins, references.pinned), (Answer::Estimate(1), 1024));
            assert_eq!(subject.can_migrate().why, Reason::Pinned);
        });
    }
}

#[test]
fn a_half_unmapped_thp_is_half_mapped_and_can_be_split() {
    for kernel in ["5.10", "6.1", "6.3", "6.12", "6.18", "7.3"] {
        at_the_end(
            "A: mmap x 2M thp\nA: write x\nA: madvise x[256..512] dontneed\n",
            kernel,
            |subject, _| {
                assert_eq!(subject.mapped_pages(), Answer::Exact(256));
                assert_eq!(subject.can_split().can, Some(true));
                assert_eq!(subject.counters.read(Field::Deferred, subject.folio.head), 1);
            },
        );
    }
}

#[test]
fn a_batch_holds_a_reference_that_is_not_lasting() {
    at_the_end("kernel: lru hold\nA: mmap x 1p nothp\nA: write x\n", "6.18", |subject, level| {
        assert_eq!(subject.references().expect("known").rest, 1);
        assert_eq!(subject.can_migrate().why, Reason::Isolated);
        assert_eq!(subject.may_reuse(subject.folio.head, level).why, Reason::Exclusive);
    });
}

#[test]
fn a_shared_thp_is_copied() {
    let source = "A: mmap x 2M thp\nA: write x\nA: fork B\n";
    at_the_end(source, "6.18", |subject, level| {
        assert_eq!(level, Level::Pmd);
        assert_eq!(subject.may_reuse(subject.folio.head, level).can, Some(false));
        assert_eq!(subject.mapped_pages(), Answer::Exact(512));
    });
}
