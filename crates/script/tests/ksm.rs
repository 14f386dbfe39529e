//! KSM on every kernel's model: what merges, what does not, and what breaks merged pages apart.

use mapcount_model::profile::Profile;
use mapcount_script::parse::parse;
use mapcount_script::run::{Options, Runner};

/// Two pages of equal content in an area that ksmd may scan.
const TWO: &str = "A: mmap x 4p nothp\nA: fill x[0..2] 65\nA: madvise x mergeable\n";

/// Runs a scenario on all kernels; every step and every expectation has to hold.
fn holds(source: &str) {
    let scenario = parse(source.as_bytes()).unwrap_or_else(|errors| panic!("{source}: {errors}"));
    for profile in Profile::all().into_iter().chain(Profile::all_schemes()) {
        let runner = Runner::new(&scenario, &profile, Options::default()).expect("no names in it");
        let Some(mut runner) = runner else { continue };
        let findings = runner.run(|_, _| {});
        assert!(findings.is_empty(), "{}: {findings:#?}\n{source}", profile.name);
    }
}

#[test]
fn a_page_must_have_been_the_same_at_the_pass_before() {
    holds(&format!(
        "{TWO}kernel: ksm 1\nexpect A.x[0].kind == anon\nA: fill x[0..2] 66\nkernel: ksm 1\n\
         expect A.x[0].kind == anon\nkernel: ksm 1\nexpect A.x[0].kind == ksm\n"
    ));
}

#[test]
fn what_joins_a_merged_page_need_not_wait() {
    // From 6.11 on it has to be seen unchanged once.
    holds(&format!(
        "{TWO}kernel: ksm 2\nA: fill x[2] 65\nkernel: ksm 1\nexpect[..6.10] A.x[2].mapcount_raw == 2\n\
         expect[6.11..7.3] A.x[2].kind == anon\nkernel: ksm 1\nexpect A.x[2].mapcount_raw == 2\n"
    ));
}

#[test]
fn whoever_holds_a_page_keeps_it() {
    holds(&format!(
        "{TWO}A: get x[0]\nkernel: ksm 3\nexpect A.x[0].kind == anon\nexpect A.x[1].kind == anon\n\
         expect A.x[1].refcount == 1\nA: put x[0]\nkernel: ksm 1\nexpect A.x[0].kind == ksm\n"
    ));
}

#[test]
fn content_is_compared_not_history() {
    // A process writes the same byte each time; another one writes another.
    holds(
        "A: mmap x 4p nothp\nA: write x[0..2]\nA: madvise x mergeable\nA: fork B\nB: write x[0..2]\nkernel: ksm 2\n\
         expect A.x[0].refcount == 2\nexpect B.x[0].refcount == 2\nexpect system.anon_mapped == 2\n",
    );
    holds(
        "A: mmap x 4p nothp\nA: fill x[0] 65\nA: write x[0..2]\nA: madvise x mergeable\nkernel: ksm 2\n\
         expect A.x[0].kind == anon\nexpect A.x[1].kind == anon\n",
    );
    // Zeroes are content too.
    holds(
        "A: mmap x 4p nothp\nA: write x[0..2]\nA: fill x[0..2] 0\nA: madvise x mergeable\nkernel: ksm 2\n\
         expect A.x[0].kind == ksm\nexpect A.x[0].refcount == 2\n",
    );
}

#[test]
fn what_fork_shares_is_not_merged_with_itself() {
    holds(
        "A: mmap x 1p nothp\nA: write x\nA: madvise x mergeable\nA: fork B\nkernel: ksm 3\n\
         expect A.x[0].kind == anon\nexpect A.x[0].refcount == 2\n",
    );
}

#[test]
fn copies_elsewhere_join_from_every_process() {
    holds(&format!(
        "{TWO}A: fork B\nkernel: ksm 2\nexpect A.x[0].refcount == 4\nexpect system.anon_mapped == 1\n\
         A: exit\nexpect B.x[0].refcount == 2\nB: munmap x[0]\nexpect B.x[1].refcount == 1\n"
    ));
}

#[test]
fn only_areas_that_allow_it_are_scanned() {
    holds(
        "A: mmap x 4p nothp\nA: fill x 65\nA: madvise x[0..2] mergeable\nkernel: ksm 3\n\
         expect A.x[0].refcount == 2\nexpect A.x[2].kind == anon\nexpect system.anon_mapped == 3\n\
         A: madvise x[0] unmergeable\nexpect A.x[0].kind == anon\nexpect A.x[1].kind == ksm\n\
         kernel: ksm 2\nexpect A.x[0].kind == anon\n",
    );
}

#[test]
fn mremap_breaks_merged_pages_apart_and_they_merge_again() {
    holds(&format!(
        "{TWO}A: reserve u 4p\nkernel: ksm 2\nA: mremap x[0..2] to u[0]\nexpect A.u[0].kind == anon\n\
         expect system.anon_mapped == 2\nkernel: ksm 2\nexpect A.u[0].kind == ksm\nexpect system.anon_mapped == 1\n"
    ));
}

#[test]
fn merged_pages_are_moved_with_all_their_mappings() {
    holds(&format!(
        "nodes 2\nkernels 3.9..\n{TWO}kernel: ksm 2\nA: fork B\nkernel: ksm 2\n\
         kernel: migrate A.x[0] to 1 all\nexpect A.x[0].kind == ksm\nexpect A.x[0].refcount == 4\n\
         expect B.x[1].mapcount_raw == 3\nexpect system.anon_mapped == 1\nA: exit\nB: fill x[2] 65\n\
         kernel: ksm 2\nexpect B.x[2].refcount == 3\n"
    ));
}

/// The frame that A's page 1 of x is in, before and after A, which has a merged page alone, writes to it.
fn frames_around_the_last_write(kernel: &str) -> [u32; 2] {
    let source = format!("{TWO}kernel: ksm 2\nA: write x[0]\nA: write x[1]\nexpect A.x[1].kind == anon\n");
    let scenario = parse(source.as_bytes()).expect("well-formed");
    let profile = Profile::resolve(kernel).expect("a kernel");
    let mut runner =
        Runner::new(&scenario, &profile, Options::default()).expect("no names").expect("applies");
    let mut frames = Vec::new();
    let findings = runner.run(|runner, _| {
        let a = &runner.processes["A"];
        frames.push(a.mm.table.read(a.windows["x"].start + 1).page().0);
    });
    assert!(findings.is_empty(), "{kernel}: {findings:?}");
    [frames[4], frames[5]]
}

#[test]
fn a_merged_page_of_one_owner_is_taken_from_5_1_to_5_8_and_copied_else() {
    for (kernel, taken) in [("5.0", false), ("5.1", true), ("5.8", true), ("5.9", false), ("6.12", false)] {
        let [before, after] = frames_around_the_last_write(kernel);
        assert_eq!(before == after, taken, "{kernel}");
    }
}
