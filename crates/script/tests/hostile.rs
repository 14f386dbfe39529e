//! Scenarios that ask for more than there is: the machine says so and stays whole, within little real memory
//! and time.

use mapcount_model::profile::Profile;
use mapcount_script::parse::parse;
use mapcount_script::run::{Next, Options, Runner};

/// Runs a scenario on some kernels with the laws checked.
fn run(text: &str, kernels: &[&str]) {
    run_with(text, kernels, None);
}

fn run_with(text: &str, kernels: &[&str], frames: Option<u32>) {
    let scenario = parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}\n{errors:?}"));
    for kernel in kernels {
        let profile = Profile::resolve(kernel).expect("a kernel");
        let options = Options { frames, ..Options::default() };
        let mut runner = Runner::new(&scenario, &profile, options).expect("runs").expect("applies");
        while let Some(next) = runner.advance() {
            let Next::Step(report, result) = next else { continue };
            result.unwrap_or_else(|finding| panic!("{kernel}, step {}: {finding:?}", report.index));
        }
        assert!(runner.machine.bytes() < 1 << 30, "{kernel}: {} bytes", runner.machine.bytes());
    }
}

const KERNELS: [&str; 5] = ["4.4", "5.10", "6.12", "7.3", "vma-count"];

#[test]
fn more_memory_than_there_is_cannot_be_written() {
    let text = "A: mmap x 16G thp\nA: write x => ENOMEM\nA: munmap x[0..512]\nA: write x[0..512] => any\nA: munmap x\n";
    run(text, &KERNELS);
}

#[test]
fn memory_runs_out_page_by_page() {
    run(
        "A: mmap x 102400G nothp\nA: write x => ENOMEM\nA: munmap x[0..7]\nA: write x[7..] => ENOMEM\n",
        &KERNELS,
    );
}

#[test]
fn page_tables_run_out() {
    for (order, thp) in [(9, "nothp"), (9, "thp"), (1, "nothp"), (2, "thp")] {
        let text = format!(
            "pmd_order {order}\nA: mmap x 102400G {thp}\nA: read x => ENOMEM\nA: read x[0] => any\nA: munmap x\nA: mmap y 64M\nA: read y\n"
        );
        // A small machine, so that it takes few reads.
        let kernels = &["2.6.38", "4.4", "6.12", "7.3"][usize::from(thp == "thp")..];
        run_with(&text, kernels, Some(1 << 15));
    }
}

#[test]
fn walks_over_empty_terabytes_are_short() {
    let text = "A: mmap x 102400G thp\nA: write x[1000..1002]\nA: write x[20000000000]\nA: fork B\nB: mprotect x ro\n\
        A: madvise x dontneed\nA: mlock x[0..5]\nA: madvise x nohugepage\nkernel: split B.x => any\nB: split_pmd x\n\
        kernel: drop_caches 2\nB: munmap x[7..]\nA: exit\n";
    run(text, &KERNELS);
}

#[test]
fn a_thousand_processes_in_a_row() {
    let mut text = "A: mmap x 2M thp\nA: write x\n".to_owned();
    let mut parent = "A".to_owned();
    for child in 0..1000 {
        text += &format!("{parent}: fork P{child}\n");
        parent = format!("P{child}");
    }
    text += "P3: write x[5]\nP999: mprotect x[0..3] ro\nkernel: split P7.x => any\n";
    run(&text, &["5.10", "7.3"]);
}

#[test]
fn mappings_come_and_go() {
    let mut text = String::new();
    for _ in 0..20_000 {
        text += "A: mmap x 2M thp\nA: munmap x[0]\nA: munmap x\n";
    }
    for name in 0..20_000 {
        text += &format!("A: mmap m{name} 4K\n");
    }
    run(&text, &["7.3"]);
}
