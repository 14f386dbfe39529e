//! The inspector on the running kernel, as root, and the same on kernels in the lab: this program is what guests run too.

mod checks;
mod groups;
mod lab;
mod memory;
mod peer;

use std::panic::catch_unwind;
use std::process::ExitCode;

use mapcount_kernel::lab::guest;
use mapcount_kernel::observer::Choice;

/// A check, by the way to look at the kernel that it is to use.
type Check = fn(Choice);

/// What holds on every kernel.
const CHECKS: &[(&str, Check)] = &[
    ("a_half_unmapped_thp_is_named", checks::a_half_unmapped_thp_is_named_with_the_bytes_that_it_holds),
    ("a_registered_buffer_is_one_pin", checks::a_registered_buffer_is_one_pin_and_hinders_a_split),
    ("a_spliced_page_has_a_reference", checks::a_spliced_page_has_a_reference_that_lasts),
    ("sums_are_those_of_smaps", checks::rss_pss_and_private_bytes_are_those_of_smaps),
    ("page_tables_say_what_pagemap_says", checks::page_tables_say_what_pagemap_says),
    ("map_counts_are_those_of_kpagecount", checks::map_counts_are_those_of_kpagecount),
    ("who_shares_a_folio_is_found", checks::who_shares_a_folio_is_found),
    ("the_census_counts_every_frame", checks::the_census_counts_every_frame_and_what_is_mapped),
    ("who_is_gone_is_said_and_skipped", checks::who_is_gone_is_said_and_skipped),
    ("every_way_to_look_says_the_same", checks::every_way_to_look_says_the_same),
    ("what_a_cgroup_is_charged_for", groups::what_a_cgroup_is_charged_for_is_counted),
];

/// The variable that is set in guests of ours.
const GUEST: &str = "MAPCOUNT_TEST_GUEST";

/// Whether this is a guest, in which nobody else is at work.
fn is_guest() -> bool {
    std::env::var_os(GUEST).is_some()
}

/// Checks run one after the other, in a process with one thread: what one forks shares the memory of all.
fn main() -> ExitCode {
    if guest::is_here() {
        guest::main();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let choices: &[(&str, Choice)] = if is_guest() {
        &[("by_bpf", Choice::Bpf), ("by_kcore", Choice::Kcore)]
    } else {
        &[("live", Choice::Auto)]
    };
    let mut all: Vec<(String, Box<dyn Fn()>)> = Vec::new();
    for (way, choice) in choices {
        // Memory cgroups are not mounted a second time: the kernel takes its time until they can be.
        let has_groups = *choice != Choice::Kcore;
        for (name, check) in CHECKS.iter().filter(|(name, _)| has_groups || !name.contains("cgroup")) {
            all.push((format!("{way}::{name}"), Box::new(|| check(*choice))));
        }
    }
    if !is_guest() {
        all.push(("live::what_thpmaps_counts".to_owned(), Box::new(peer::what_thpmaps_counts_is_counted)));
        all.push(("lab::every_kernel".to_owned(), Box::new(lab::all_checks_pass_on_kernels_in_the_lab)));
    }
    all.retain(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter)));
    if words.iter().any(|word| word == "--list") {
        all.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, check) in &all {
        let passed = catch_unwind(std::panic::AssertUnwindSafe(check)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u32::from(!passed);
    }
    println!("{} of {} checks failed", failed, all.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
