//! The drift hunt: the kernel's statistics against the kernel's own page tables, step by step.
//!
//! A statistic that is wrong and that the model has wrong in the same way is a known bug of this kernel, or how it
//! counts on purpose; it is told, with the step that caused it, and is no difference. Nothing is told from the
//! model's state alone: both numbers are the running kernel's.

use std::collections::{BTreeMap, BTreeSet};

use mapcount_model::invariant::{Law, Violation};
use mapcount_model::profile::Profile;
use mapcount_model::units::Kind;
use mapcount_script::trace::{Present, Step, System};

/// Why a statistic is known to be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reason {
    /// The bug's number; `None` for what the kernel's way of counting brings with it.
    pub bug: Option<&'static str>,
    /// What happens.
    pub what: &'static str,
}

/// Migration of a THP that PMDs and PTEs map, 4.14 to 6.1: `remove_migration_pte()` counts each PTE as the page's
/// first, though a PMD maps it already, and nobody sets PageDoubleMap again (mm/migrate.c, mm/rmap.c, v5.10, v6.1).
const LOST_BIAS: Reason = Reason {
    bug: Some("Q3"),
    what: "migration maps pages of a THP by PTEs beside a PMD again, and counts them once more",
};

/// A change in how far a statistic is off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drift {
    /// The step behind which it changed.
    pub step: u64,
    /// That step.
    pub op: String,
    /// The statistic, by its key in the trace.
    pub statistic: &'static str,
    /// What the kernel says.
    pub kernel: i64,
    /// What its page tables say.
    pub mapped: i64,
    /// Why that is known.
    pub reason: Reason,
}

impl Drift {
    /// Whether the statistic is right again.
    pub const fn is_over(&self) -> bool {
        self.kernel == self.mapped
    }
}

/// The drift of one scenario.
#[derive(Debug, Default)]
pub(super) struct Hunt {
    off: BTreeMap<&'static str, (i64, Reason)>,
    /// Steps whose statistics were looked at.
    pub(super) steps: u64,
    /// Changes, in the order of the steps.
    pub(super) found: Vec<Drift>,
}

impl Hunt {
    /// Looks at what a step left. `breaks` is what the model knows to be wrong behind the same step.
    ///
    /// # Errors
    /// A statistic that is wrong for no known reason: its key, what the kernel says, and what is mapped.
    pub(super) fn look(
        &mut self,
        seen: &Step,
        profile: &Profile,
        breaks: &[Violation],
    ) -> Result<(), (&'static str, i64, i64)> {
        let Some(system) = &seen.system else { return Ok(()) };
        self.steps += 1;
        let mapped = mapped(seen, profile.policy.anon_mapped_counts_thps);
        for (key, kernel, mapped) in pairs(system, &mapped) {
            // What a PMD maps whole cannot be seen in pagemap: the model's page tables are the same, and its law says
            // what they hold.
            let broken = breaks.iter().find(|found| found.what == key);
            let mapped = mapped.or(broken.map(|found| found.expected)).unwrap_or(kernel);
            let reason = broken.map(|found| reason(profile, found));
            let known = self.off.get(key).copied();
            let excess = kernel - mapped;
            if excess == known.map_or(0, |(excess, _)| excess) {
                continue;
            }
            let Some(reason) =
                reason.or(known.map(|(_, reason)| reason)).filter(|_| excess == 0 || broken.is_some())
            else {
                return Err((key, kernel, mapped));
            };
            if excess == 0 {
                self.off.remove(key);
            } else {
                self.off.insert(key, (excess, reason));
            }
            let (step, op) = (seen.step, seen.op.clone());
            self.found.push(Drift { step, op, statistic: key, kernel, mapped, reason });
        }
        Ok(())
    }
}

/// Why the model has a law broken.
fn reason(profile: &Profile, found: &Violation) -> Reason {
    let by_design = profile.scheme.info().breaks.iter().find(|(law, _)| *law == found.law);
    by_design.map_or(LOST_BIAS, |(_, what)| Reason { bug: None, what })
}

/// Each statistic with what the kernel says, and what is mapped where that was seen.
fn pairs(system: &System, mapped: &System) -> impl Iterator<Item = (&'static str, i64, Option<i64>)> {
    let pairs: Vec<_> = system
        .numbers()
        .into_iter()
        .zip(mapped.numbers())
        .filter_map(|((key, kernel), (_, mapped))| Some((key, kernel?, mapped)))
        .collect();
    pairs.into_iter()
}

/// The pages that are mapped, each once: of anonymous folios, and of files'. What a PMD maps as a whole is not in the
/// trace. Nothing where a mapping has pages that its name does not stand for, so that not all of them were seen.
fn mapped(seen: &Step, counts_thps: bool) -> System {
    let kinds: Vec<(u64, u64, Kind, u8)> = seen
        .folios
        .iter()
        .flatten()
        .filter_map(|row| Some((row.id, row.end(), row.kind?, row.order)))
        .collect();
    let kind_of = |frame: u64| {
        let behind = kinds.partition_point(|(first, ..)| *first <= frame);
        let (_, _, kind, order) = *kinds[..behind].last().filter(|(_, end, ..)| frame < *end)?;
        (!matches!(kind, Kind::Zero | Kind::Hugetlb)).then_some((kind, order))
    };
    let mut frames = BTreeSet::new();
    for mapping in seen.processes.iter().flatten().flat_map(|(_, mappings)| mappings.values()) {
        let mut pages = 0;
        for run in mapping.map.iter().flatten() {
            let run_frames = match run.what {
                Present::Frames(first) => first..first + run.pages,
                Present::Same(frame) => {
                    pages += kind_of(frame).map_or(0, |_| run.pages - 1);
                    frame..frame + 1
                }
                Present::Entry(_) => continue,
            };
            for frame in run_frames.filter(|frame| kind_of(*frame).is_some()) {
                pages += 1;
                frames.insert(frame);
            }
        }
        if mapping.rss_kb.is_some_and(|rss| rss / 4 > pages) {
            return System::default();
        }
    }
    let (mut anon, mut file) = (0, 0);
    for (kind, order) in frames.into_iter().filter_map(kind_of) {
        match kind {
            Kind::Anon | Kind::Ksm => anon += i64::from(counts_thps || order == 0),
            Kind::Shmem | Kind::File => file += 1,
            Kind::Zero | Kind::Hugetlb | Kind::Device => {}
        }
    }
    System { anon_mapped: Some(anon), file_mapped: Some(file), ..System::default() }
}

/// Whether a law is about the system's statistics.
pub(super) const fn is_about_statistics(law: Law) -> bool {
    matches!(law, Law::I9 | Law::I10)
}

#[cfg(test)]
mod tests {
    use mapcount_model::invariant::{Law, Violation};
    use mapcount_model::profile::Profile;
    use mapcount_script::trace::{Step, read};

    use super::Hunt;

    /// Two processes that map one THP, and 3 pages of a file; a KSM page, the zero page.
    fn step(number: u64, anon: i64, file: i64) -> Step {
        let line = format!(
            r#"{{"v":1,"step":0,"op":"A: write x","processes":{{
            "A":{{"x":{{"map":[[0,512,0],[512,4,515,"same"],[516,9,516,"same"]]}},"y":{{"map":[[0,3,512]]}}}},
            "B":{{"x":{{"map":[[0,500,0]]}},"y":{{"map":[[5,2,"swap"]]}}}}}},
            "folios":[{{"id":0,"count":1,"order":9,"kind":"anon"}},{{"id":512,"count":3,"order":0,"kind":"file"}},
            {{"id":515,"count":1,"order":0,"kind":"ksm"}},{{"id":516,"count":1,"order":0,"kind":"zero"}}],
            "system":{{"anon_mapped":{anon},"file_mapped":{file},"anon_thps":1}}}}"#
        );
        let text = line.replace('\n', " ");
        let recording = read(text.as_bytes(), "test").unwrap_or_else(|errors| panic!("{errors:?}"));
        Step { step: number, ..recording.steps.into_iter().next().expect("one") }
    }

    fn broken(found: i64, expected: i64) -> Violation {
        Violation { law: Law::I9, folio: None, page: None, field: None, what: "anon_mapped", expected, found }
    }

    #[test]
    fn pages_count_once_and_what_is_right_is_not_told() {
        let profile = Profile::resolve("6.1").expect("a kernel");
        let mut hunt = Hunt::default();
        assert_eq!(hunt.look(&step(0, 513, 3), &profile, &[]), Ok(()));
        assert!(hunt.found.is_empty());
        assert_eq!(hunt.steps, 1);
    }

    #[test]
    fn where_not_all_pages_were_seen_nothing_is_said() {
        let profile = Profile::resolve("6.1").expect("a kernel");
        // A.x shows 512 pages and 4 times that of KSM.
        for (rss, found) in [(516, Err(("anon_mapped", 600, 513))), (517, Ok(()))] {
            let mut step = step(0, 600, 3);
            let process = step.processes.as_mut().expect("seen").get_mut("A").expect("alive");
            process.get_mut("x").expect("mapped").rss_kb = Some(rss * 4);
            assert_eq!(Hunt::default().look(&step, &profile, &[]), found, "{rss} pages");
        }
    }

    #[test]
    fn a_statistic_that_is_wrong_for_no_known_reason_is_a_finding() {
        let profile = Profile::resolve("6.1").expect("a kernel");
        let mut hunt = Hunt::default();
        assert_eq!(hunt.look(&step(0, 514, 3), &profile, &[]), Err(("anon_mapped", 514, 513)));
        assert_eq!(hunt.look(&step(1, 513, 2), &profile, &[]), Err(("file_mapped", 2, 3)));
    }

    #[test]
    fn a_known_bug_is_told_once_with_the_step_that_caused_it_and_the_one_that_ended_it() {
        let profile = Profile::resolve("6.1").expect("a kernel");
        let mut hunt = Hunt::default();
        for (number, anon) in [(0, 513), (1, 1025), (2, 1025), (3, 513)] {
            let breaks = if anon == 513 { Vec::new() } else { vec![broken(anon, 513)] };
            assert_eq!(hunt.look(&step(number, anon, 3), &profile, &breaks), Ok(()));
        }
        let told: Vec<_> =
            hunt.found.iter().map(|drift| (drift.step, drift.kernel, drift.is_over())).collect();
        assert_eq!(told, [(1, 1025, false), (3, 513, true)]);
        assert!(hunt.found.iter().all(|drift| drift.reason.bug == Some("Q3") && drift.mapped == 513));
    }

    #[test]
    fn a_way_of_counting_that_is_too_coarse_is_no_bug() {
        let profile = Profile::resolve("no-page-mapcount").expect("a scheme");
        let mut hunt = Hunt::default();
        assert_eq!(hunt.look(&step(0, 600, 3), &profile, &[broken(600, 513)]), Ok(()));
        assert_eq!(hunt.found[0].reason.bug, None);
    }
}
