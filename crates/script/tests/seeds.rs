//! The articles' examples: every number that a figure has, and every number between two figures.
//!
//! What holds behind a step is said by the scenarios themselves, which run here on every kernel. What holds
//! inside a step, between two of its phases or two writes of one phase, is said by the tests behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mapcount_model::counters::Write;
use mapcount_model::event::{Event, Phase};
use mapcount_model::field::Field;
use mapcount_model::machine::Mode;
use mapcount_model::policy::LruFlush;
use mapcount_model::profile::Profile;
use mapcount_script::ast::{Item, Scenario};
use mapcount_script::parse::parse;
use mapcount_script::run::{Next, Options, Runner, applies};

/// The titles of the articles, as they stand there.
const ARTICLES: [&str; 3] =
    ["\"THP和mapcount之间的恩恩怨怨\"", "\"透明大页的mapcount和refcount\"", "\"folio mapcount\""];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(name)
}

fn source(path: &str) -> String {
    fs::read_to_string(folder(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn scenario(path: &str) -> Scenario {
    let source = source(path);
    parse(source.as_bytes())
        .unwrap_or_else(|errors| panic!("{}", errors.render(path, source.as_bytes(), false)))
}

/// The scenarios of a topic, `seeds/fork-split.mc`, by name.
fn scenarios(topic: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(topic)).expect("the folder is there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".mc"))
        .map(|name| format!("{topic}/{name}"))
        .collect();
    names.sort();
    names
}

fn profiles() -> Vec<Profile> {
    Profile::all().into_iter().chain(Profile::all_schemes()).collect()
}

/// What a scenario expects of a kernel, by what it says.
fn expectations_for(scenario: &Scenario, profile: &Profile) -> usize {
    let expects = scenario.items.iter().filter_map(|item| match item {
        Item::Expect(expect) => Some(expect),
        Item::Step(_) => None,
    });
    expects.filter(|expect| expect.kernels.as_ref().is_none_or(|kernels| applies(kernels, profile))).count()
}

#[test]
fn every_scenario_holds_on_every_kernel_that_it_is_for() {
    let mut findings = Vec::new();
    let mut evaluated: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for path in ["seeds", "walks", "collapse"].into_iter().flat_map(scenarios) {
        let scenario = scenario(&path);
        for profile in profiles() {
            let Some(mut runner) = Runner::new(&scenario, &profile, Options::default())
                .expect("the kernels that it names exist")
            else {
                continue;
            };
            let found = runner.run(|_, _| {});
            findings.extend(found.iter().map(|finding| {
                let diagnostic = &finding.diagnostic;
                format!("{path}:{}: {}: {}", diagnostic.span.line, profile.name, diagnostic.message)
            }));
            assert_eq!(
                runner.evaluated,
                expectations_for(&scenario, &profile),
                "{path} on {}: some expectation was not reached",
                profile.name
            );
            assert!(runner.evaluated > 0, "{path} says nothing of {}", profile.name);
            evaluated.entry(path.clone()).or_default().insert(profile.name.clone(), runner.evaluated);
        }
    }
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    // The walk that everything else is compared with says much of every kernel; those that are about one
    // generation or proposal run where that is.
    let all = profiles().len();
    for (path, kernels, least) in [
        ("seeds/fork-split.mc", all, 60),
        ("seeds/fork-split-2.mc", all, 60),
        ("seeds/thp-2011.mc", 6, 30),
        ("seeds/later-changes.mc", 19, 30),
        ("seeds/lazy-double-map.mc", 9, 20),
        ("seeds/vma-count.mc", 2, 40),
        ("seeds/vma-halves.mc", 30, 5),
        ("seeds/thp-split-list.mc", 30, 10),
        ("walks/partial-unmap-shared.mc", all, 19),
        ("walks/slot-undercount.mc", 30, 8),
    ] {
        let counts = &evaluated[path];
        assert!(counts.len() >= kernels, "{path}: {:?}", counts.keys());
        assert!(counts.values().all(|count| *count >= least), "{path}: {counts:?}");
    }
}

#[test]
fn every_example_names_its_article() {
    let mut named = [0; ARTICLES.len()];
    for path in scenarios("seeds") {
        let source = source(&path);
        let head = source.lines().next().expect("it is not empty");
        let article = ARTICLES.iter().position(|title| head.starts_with(&format!("# Reproduces {title}")));
        named[article.unwrap_or_else(|| panic!("{path} reproduces no article: {head}"))] += 1;
    }
    assert!(named.iter().all(|count| *count > 0), "{named:?}");
}

/// A scenario on a kernel, with what happened inside each step.
struct Walk {
    /// The text of each step.
    steps: Vec<String>,
    /// The phases of each step.
    events: Vec<Vec<Event>>,
    /// The writes of all steps.
    writes: Vec<Write>,
}

impl Walk {
    fn run(path: &str, kernel: &str) -> Walk {
        let scenario = scenario(path);
        let profile = Profile::resolve(kernel).expect("a kernel");
        let options = Options { mode: Mode::Recorded, phases: true, ..Options::default() };
        let mut runner =
            Runner::new(&scenario, &profile, options).expect("runnable").expect("for this kernel");
        let (mut steps, mut events) = (Vec::new(), Vec::new());
        while let Some(next) = runner.advance() {
            match next {
                Next::Step(report, result) => {
                    result.unwrap_or_else(|finding| panic!("{path} on {kernel}: {finding:?}"));
                    steps.push(runner.step_at(report.item).expect("a step").text.to_string());
                    events.push(report.events);
                }
                Next::Expect(result) => {
                    result.unwrap_or_else(|finding| panic!("{path} on {kernel}: {finding:?}"));
                }
            }
        }
        let writes = runner.machine.counter_memory().log().expect("recorded");
        Walk { steps, events, writes }
    }

    fn step(&self, text: &str) -> usize {
        let found = self.steps.iter().position(|step| step.starts_with(text));
        found.unwrap_or_else(|| panic!("no step `{text}`"))
    }

    /// The phases of the first step that begins so.
    fn events(&self, step: &str) -> &[Event] {
        &self.events[self.step(step)]
    }

    /// The values that a counter of the head went through in a step, from the one before it on.
    fn values(&self, step: &str, field: Field) -> Vec<i32> {
        let step = self.step(step) as u32;
        let writes = self.writes.iter().filter(|write| {
            write.step == step && write.field == field && write.pages.first.0 == 0 && write.pages.len > 0
        });
        let mut values: Vec<i32> = Vec::new();
        for write in writes {
            if values.is_empty() {
                values.push(write.before);
            }
            assert_eq!(values.last(), Some(&write.before), "writes follow each other");
            values.push(write.after);
        }
        values
    }
}

/// A field of all pages (or of each folio) at a phase, neighbours with the same value as one.
fn runs(event: &Event, field: Field) -> Vec<(u32, i32)> {
    let mut runs: Vec<(u32, i32)> = Vec::new();
    for image in &event.folios {
        for _ in 0..image.count {
            let Some((_, values)) = image.fields.iter().find(|(found, _)| *found == field) else { continue };
            for (pages, value) in values {
                match runs.last_mut().filter(|(_, last)| last == value) {
                    Some((len, _)) => *len += pages.len,
                    None => runs.push((pages.len, *value)),
                }
            }
        }
    }
    runs
}

/// A field that the folio has once, at a phase at which there is one folio.
fn one(event: &Event, field: Field) -> i32 {
    runs(event, field)[0].1
}

fn phases(events: &[Event]) -> Vec<Phase> {
    events.iter().map(|event| event.phase).collect()
}

/// Pages of a THP in the two sizes of each example, and the ending of its name.
const SIZES: [(i32, &str); 2] = [(512, ""), (2, "-2")];

/// Kernels and proposals since 4.5 that own a reference for each entry, and have counts of pages.
const BY_ENTRY: [&str; 11] =
    ["4.5", "4.8", "5.10", "6.1", "6.2", "6.9", "6.11", "6.12", "6.15", "7.3", "lazy-double-map-checked"];

#[test]
fn a_thp_of_2011_splits_with_the_numbers_between_the_figures() {
    for (n, ending) in SIZES {
        let pages = n as u32;
        for kernel in ["2.6.38", "3.2", "4.4"] {
            let walk = Walk::run(&format!("seeds/thp-2011{ending}.mc"), kernel);
            let split = walk.events("A: split_pmd x");
            assert_eq!(
                phases(split),
                [Phase::CallerHolds, Phase::TailsCounted, Phase::FinalPut, Phase::CallerPut],
                "{kernel}"
            );
            let others = |value| if pages > 2 { vec![(pages - 2, value)] } else { vec![] };
            let references = |head, held, rest: i32| {
                let mut runs = vec![(1, head), (1, held)];
                runs.extend(others(rest));
                runs.dedup_by(|next, last| {
                    next.1 == last.1 && {
                        last.0 += next.0;
                        true
                    }
                });
                runs
            };
            let held = i32::from(kernel == "2.6.38");
            assert_eq!(runs(&split[0], Field::Refcount), references(3, held, 0), "{kernel}");
            // Page 1: one mapping, one holder, the splitter.
            assert_eq!(runs(&split[1], Field::Refcount), references(2, 3, 2), "{kernel}");
            assert_eq!(runs(&split[1], Field::Mapcount), [(pages, 0)], "{kernel}");
            assert_eq!(runs(&split[2], Field::Refcount), references(2, 2, 1), "{kernel}");
            assert_eq!(runs(&split[3], Field::Refcount), references(1, 2, 1), "{kernel}");
            assert_eq!(runs(&split[3], Field::Mapcount), [(pages, 0)], "{kernel}");
            // The figure's own arrows, of the head: it is held, loses page 1's holder, then the splitter.
            assert_eq!(walk.values("A: split_pmd x", Field::Refcount), [2, 3, 2, 1], "{kernel}");
            assert_eq!(walk.values("A: get x[1]", Field::Refcount), [1, 2], "{kernel}");
        }
    }
}

#[test]
fn a_pmd_split_goes_through_the_boxes_of_its_figure() {
    for (n, ending) in SIZES {
        let path = format!("seeds/fork-split{ending}.mc");
        // Each box of the figures d, e and f: references first, then each page's PTE, the bias, the PMD.
        for kernel in ["4.5", "4.8", "5.10", "6.1"] {
            let walk = Walk::run(&path, kernel);
            use Phase::{BiasAdded, BiasDropped, PmdUncounted, PtesCounted, ReferencesTaken};
            for (step, references, page, compound, stages) in [
                (
                    "A: split_pmd x",
                    [3, 3 + n - 1],
                    [-1, 0, 1].as_slice(),
                    [2, 1],
                    [(ReferencesTaken, -1), (PtesCounted, 0), (BiasAdded, 1), (PmdUncounted, 1)].as_slice(),
                ),
                (
                    "B: split_pmd x",
                    [3 + n - 1, 3 + 2 * (n - 1)],
                    [1, 2].as_slice(),
                    [1, 0],
                    [(ReferencesTaken, 1), (PtesCounted, 2), (PmdUncounted, 2)].as_slice(),
                ),
                (
                    "C: split_pmd x",
                    [3 + 2 * (n - 1), 3 + 3 * (n - 1)],
                    [2, 3, 2].as_slice(),
                    [0, -1],
                    [(ReferencesTaken, 2), (PtesCounted, 3), (PmdUncounted, 3), (BiasDropped, 2)].as_slice(),
                ),
            ] {
                assert_eq!(walk.values(step, Field::Refcount), references, "{kernel} {step}");
                assert_eq!(walk.values(step, Field::Mapcount), page, "{kernel} {step}");
                assert_eq!(walk.values(step, Field::EntireMapcount), compound, "{kernel} {step}");
                let events = walk.events(step);
                // Both pages of each figure show the same; erratum: page 1 does not start from -1 in e.
                assert_eq!(events.len(), stages.len(), "{kernel} {step}: {:?}", phases(events));
                for (event, (phase, mapcount)) in events.iter().zip(stages) {
                    assert_eq!(event.phase, *phase, "{kernel} {step}");
                    assert_eq!(runs(event, Field::Mapcount), [(n as u32, *mapcount)], "{kernel} {step}");
                    assert_eq!(one(event, Field::Refcount), references[1], "{kernel} {step}");
                }
            }
        }
        // Without the bias each page only gets its PTE.
        let walk = Walk::run(&path, "lazy-double-map");
        assert_eq!(walk.values("A: split_pmd x", Field::Mapcount), [-1, 0]);
        assert_eq!(walk.values("C: split_pmd x", Field::Mapcount), [1, 2]);
        // One word takes the pages in and lets the PMD go; the slot of the process and the sum go N up, 1 down.
        let walk = Walk::run(&path, "7.3");
        let whole = 0x80_0000;
        assert_eq!(walk.values("A: split_pmd x", Field::NrPagesMapped), [whole, whole + n]);
        assert!(walk.values("B: split_pmd x", Field::NrPagesMapped).is_empty());
        assert_eq!(walk.values("C: split_pmd x", Field::NrPagesMapped), [whole + n, n]);
        assert_eq!(walk.values("A: split_pmd x", Field::LargeMapcount), [2, n + 2, n + 1]);
        assert_eq!(walk.values("A: split_pmd x", Field::MmIdMapcount0), [0, n, n - 1]);
        assert_eq!(walk.values("C: split_pmd x", Field::LargeMapcount), [2 * n, 3 * n, 3 * n - 1]);
        assert!(walk.values("C: split_pmd x", Field::MmIdMapcount0).is_empty(), "an untracked process");
        // A count of VMAs sees nothing of it.
        let walk = Walk::run(&path, "vma-count");
        assert!(walk.values("A: split_pmd x", Field::Mapcount).is_empty());
        assert!(walk.values("A: split_pmd x", Field::Refcount).is_empty());
    }
}

#[test]
fn a_folio_split_unmaps_freezes_remaps_and_puts() {
    for (n, ending) in SIZES {
        let path = format!("seeds/fork-split{ending}.mc");
        let pages = n as u32;
        for kernel in BY_ENTRY.into_iter().chain(["no-page-mapcount", "vma-count", "vma-count-by-entry"]) {
            let walk = Walk::run(&path, kernel);
            let split = walk.events("kernel: split A.x");
            use Phase::{CallerHolds, CallerPut, FinalPut, Frozen, Remapped, Unfrozen, Unmapped};
            let order = [
                CallerHolds,
                Unmapped,
                Unmapped,
                Unmapped,
                Frozen,
                Unfrozen,
                Remapped,
                Remapped,
                Remapped,
                FinalPut,
                CallerPut,
            ];
            assert_eq!(phases(split), order, "{kernel}");
            // The folio, while it is one: the caller's reference, and three processes go.
            let left = if kernel == "vma-count" { [4, 3, 2, 1] } else { [3 * n + 1, 2 * n + 1, n + 1, 1] };
            for (event, references) in split.iter().zip(left) {
                assert_eq!(one(event, Field::Refcount), references, "{kernel}");
            }
            let page = |event: &Event| runs(event, Field::Mapcount);
            let all = |value| vec![(pages, value)];
            let counted = match kernel {
                "no-page-mapcount" => [all(-1), all(-1), all(-1), all(-1)],
                "vma-count" | "vma-count-by-entry" => {
                    let head = |vmas| vec![(1, vmas), (pages - 1, -1)];
                    [head(2), head(1), head(0), all(-1)]
                }
                _ => [all(2), all(1), all(0), all(-1)],
            };
            for (event, counts) in split.iter().zip(counted) {
                assert_eq!(page(event), counts, "{kernel}");
            }
            // Frozen, then single pages: one reference, and one more for each process that maps it again.
            assert_eq!(runs(&split[4], Field::Refcount), all(0), "{kernel}");
            for (event, mappings) in split[5..9].iter().zip(0..) {
                assert_eq!(runs(event, Field::Refcount), all(1 + mappings), "{kernel}");
                assert_eq!(page(event), all(mappings - 1), "{kernel}");
            }
            assert_eq!(runs(&split[9], Field::Refcount), [(1, 4), (pages - 1, 3)], "{kernel}");
            assert_eq!(runs(&split[10], Field::Refcount), all(3), "{kernel}");
            assert_eq!(page(&split[10]), all(2), "{kernel}");
            // Erratum: the head is never raised on the way but by its caller.
            let most = walk.values("kernel: split A.x", Field::Refcount).into_iter().max();
            assert_eq!(most, Some(left[0]), "{kernel}");
        }
    }
}

#[test]
fn slots_and_sums_empty_one_process_after_the_other() {
    for (n, ending) in SIZES {
        let path = format!("seeds/fork-split{ending}.mc");
        for kernel in ["6.10", "6.15", "7.3", "no-page-mapcount"] {
            let walk = Walk::run(&path, kernel);
            let split = &walk.events("kernel: split A.x")[..4];
            let column = |field| split.iter().map(|event| one(event, field)).collect::<Vec<_>>();
            assert_eq!(column(Field::LargeMapcount), [3 * n - 1, 2 * n - 1, n - 1, -1], "{kernel}");
            if kernel != "no-page-mapcount" {
                assert_eq!(column(Field::NrPagesMapped), [n, n, n, 0], "{kernel}");
            }
            if kernel != "6.10" {
                assert_eq!(column(Field::MmIdMapcount0), [n - 1, -1, -1, -1], "{kernel}");
                assert_eq!(column(Field::MmIdMapcount1), [n - 1, n - 1, -1, -1], "{kernel}");
                assert_eq!(column(Field::MmId0)[1], 0, "{kernel}");
                // Nobody's slot accounts for what the third one maps, until it is gone too.
                assert_eq!(column(Field::MaybeShared), [1, 1, 1, 0], "{kernel}");
            }
        }
        for kernel in ["6.2", "6.9"] {
            let walk = Walk::run(&path, kernel);
            let split = &walk.events("kernel: split A.x")[..4];
            let column: Vec<_> = split.iter().map(|event| one(event, Field::NrPagesMapped)).collect();
            assert_eq!(column, [n, n, n, 0], "{kernel}");
        }
    }
}

#[test]
fn the_four_places_of_a_split_of_one_process() {
    for (n, ending) in SIZES {
        let pages = n as u32;
        let all = |value| vec![(pages, value)];
        for kernel in BY_ENTRY.into_iter().chain(["no-page-mapcount", "vma-count", "vma-count-by-entry"]) {
            let walk = Walk::run(&format!("seeds/thp-split{ending}.mc"), kernel);
            let fault = walk.events("A: write x");
            assert_eq!(phases(fault), [Phase::Allocated, Phase::Mapped], "{kernel}");
            // The allocator's reference becomes the mapping's.
            assert_eq!(one(&fault[0], Field::Refcount), 1, "{kernel}");
            assert_eq!(runs(&fault[0], Field::Mapcount), all(-1), "{kernel}");
            // Up to 4.6 a THP waits for the LRU as small pages do, with a reference of the batch until it is drained.
            let waits = ["4.5", "lazy-double-map-checked"].contains(&kernel);
            assert_eq!(one(&fault[1], Field::Refcount), 1 + i32::from(waits), "{kernel}");

            let split = walk.events("kernel: split A.x");
            let at = |phase: Phase| {
                let found = split.iter().find(|event| event.phase == phase);
                found.unwrap_or_else(|| panic!("{kernel}: no {phase:?}"))
            };
            assert_eq!(one(at(Phase::CallerHolds), Field::Refcount), 2, "{kernel}");
            // Up to 6.1 a PMD becomes counted PTEs before it goes; later it goes as a whole.
            let by_pte = split.iter().any(|event| event.phase == Phase::PmdUncounted);
            let old = ["4.5", "4.8", "5.10", "6.1", "lazy-double-map-checked"].contains(&kernel);
            assert_eq!(by_pte, old, "{kernel}");
            if by_pte {
                assert_eq!(one(at(Phase::PmdUncounted), Field::Refcount), n + 1, "{kernel}");
                assert_eq!(runs(at(Phase::PmdUncounted), Field::Mapcount), all(0), "{kernel}");
            }
            assert_eq!(one(at(Phase::Unmapped), Field::Refcount), 1, "{kernel}");
            assert_eq!(runs(at(Phase::Unmapped), Field::Mapcount), all(-1), "{kernel}");
            for field in [Field::EntireMapcount, Field::LargeMapcount, Field::MmIdMapcount0] {
                for (_, value) in runs(at(Phase::Unmapped), field) {
                    assert_eq!(value, -1, "{kernel} {}", field.key());
                }
            }
            for field in [Field::NrPagesMapped, Field::MaybeShared, Field::DoubleMap, Field::PartialMapcount]
            {
                for (_, value) in runs(at(Phase::Unmapped), field) {
                    assert_eq!(value, 0, "{kernel} {}", field.key());
                }
            }
            assert_eq!(runs(at(Phase::Frozen), Field::Refcount), all(0), "{kernel}");
            assert_eq!(runs(at(Phase::Unfrozen), Field::Refcount), all(1), "{kernel}");
            assert_eq!(runs(at(Phase::Unfrozen), Field::Mapcount), all(-1), "{kernel}");
            assert_eq!(runs(at(Phase::Remapped), Field::Refcount), all(2), "{kernel}");
            assert_eq!(runs(at(Phase::Remapped), Field::Mapcount), all(0), "{kernel}");
            assert_eq!(runs(at(Phase::FinalPut), Field::Refcount), [(1, 2), (pages - 1, 1)], "{kernel}");
            assert_eq!(runs(at(Phase::CallerPut), Field::Refcount), all(1), "{kernel}");
            assert_eq!(runs(at(Phase::CallerPut), Field::Mapcount), all(0), "{kernel}");
        }
    }
}

#[test]
fn a_list_holds_a_reference_on_each_piece_but_the_first() {
    for (n, ending) in SIZES {
        let rest = n as u32 - 1;
        for kernel in BY_ENTRY.into_iter().chain(["no-page-mapcount", "vma-count"]) {
            let walk = Walk::run(&format!("seeds/thp-split-list{ending}.mc"), kernel);
            let split = walk.events("kernel: split A.x list");
            let references = |phase: Phase| {
                let event = split.iter().find(|event| event.phase == phase).expect("the phase");
                runs(event, Field::Refcount)
            };
            assert_eq!(references(Phase::Unfrozen), [(rest + 1, 1)], "{kernel}");
            assert_eq!(references(Phase::Listed), [(1, 1), (rest, 2)], "{kernel}");
            assert_eq!(references(Phase::Remapped), [(1, 2), (rest, 3)], "{kernel}");
            assert_eq!(references(Phase::FinalPut), [(rest + 1, 2)], "{kernel}");
            assert_eq!(references(Phase::CallerPut), [(1, 1), (rest, 2)], "{kernel}");
        }
    }
}

#[test]
fn an_mthp_is_allocated_and_split_with_a_reference_for_each_pte() {
    for (path, n) in [("seeds/mthp-split.mc", 16), ("seeds/mthp-split-4.mc", 4)] {
        let pages = n as u32;
        for kernel in ["6.8", "6.9", "6.11", "6.12", "6.15", "7.3", "no-page-mapcount"] {
            let walk = Walk::run(path, kernel);
            let fault = walk.events("A: write x");
            assert_eq!(phases(fault), [Phase::Allocated, Phase::ReferencesTaken, Phase::Mapped], "{kernel}");
            let references: Vec<_> = fault.iter().map(|event| one(event, Field::Refcount)).collect();
            assert_eq!(references, [1, n, n], "{kernel}");
            for (_, value) in runs(&fault[2], Field::LargeMapcount) {
                assert_eq!(value, n - 1, "{kernel}");
            }
            let split = walk.events("kernel: split A.x");
            let references: Vec<_> = split.iter().map(|event| runs(event, Field::Refcount)).collect();
            let tails = vec![(1, n + 1), (pages - 1, 0)];
            let expected = [
                tails,                        // the caller's
                vec![(1, 1), (pages - 1, 0)], // unmapped
                vec![(pages, 0)],             // frozen
                vec![(pages, 1)],             // unfrozen
                vec![(pages, 2)],             // remapped
                vec![(1, 2), (pages - 1, 1)], // final put
                vec![(pages, 1)],             // caller's put
            ];
            assert_eq!(references, expected, "{kernel}");
            if kernel != "no-page-mapcount" {
                assert_eq!(runs(&split[0], Field::NrPagesMapped), [(1, n)], "{kernel}");
                assert_eq!(runs(&split[1], Field::NrPagesMapped), [(1, 0)], "{kernel}");
            }
        }
    }
}

#[test]
fn a_copy_counts_before_the_old_page_is_let_go() {
    for profile in Profile::all() {
        let walk = Walk::run("walks/cow-small.mc", &profile.name);
        let copy = walk.events("B: write x");
        let old = [Phase::OldPageHeld, Phase::CopyMapped, Phase::OldUnmapped]
            .map(|phase| copy.iter().find(|event| event.phase == phase).expect("the phase"));
        // The old page: two mappings and who copies; then one mapping; his reference and the mapping's go last.
        let references = old.map(|event| one(event, Field::Refcount));
        let mapcounts = old.map(|event| one(event, Field::Mapcount));
        assert_eq!((references, mapcounts), ([3, 3, 3], [1, 1, 0]), "{}", profile.name);
    }
}

#[test]
fn a_collapse_isolates_and_unmaps_each_page_before_the_thp_is_mapped() {
    for kernel in BY_ENTRY {
        let walk = Walk::run("collapse/small.mc", kernel);
        let collapse = walk.events("kernel: khugepaged A.x");
        let pages = 512;
        assert_eq!(
            phases(collapse),
            [Phase::Allocated, Phase::Isolated, Phase::Unmapped, Phase::Mapped],
            "{kernel}"
        );
        assert_eq!(one(&collapse[0], Field::Refcount), 1, "{kernel}");
        assert_eq!(runs(&collapse[1], Field::Refcount), [(pages, 2)], "{kernel}");
        assert_eq!(runs(&collapse[1], Field::Mapcount), [(pages, 0)], "{kernel}");
        // khugepaged put them back to the LRU; the mapping's reference is dropped last.
        assert_eq!(runs(&collapse[2], Field::Refcount), [(pages, 1)], "{kernel}");
        assert_eq!(runs(&collapse[2], Field::Mapcount), [(pages, -1)], "{kernel}");
        // Up to 4.6 large folios wait in the LRU batch too.
        let flush = Profile::resolve(kernel).expect("modelled").policy.lru_flush;
        let batch = i32::from(flush == LruFlush::BeforeAdding);
        assert_eq!(runs(&collapse[3], Field::Refcount), [(1, 1 + batch), (pages - 1, 0)], "{kernel}");
        assert_eq!(runs(&collapse[3], Field::Mapcount), [(pages, -1)], "{kernel}");
        assert_eq!(one(&collapse[3], Field::EntireMapcount), 0, "{kernel}");
    }
}
