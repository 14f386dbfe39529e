//! The subject on the running kernel: needs root.

use std::fs;

use mapcount_kernel::require::or_skip;
use mapcount_kernel::subject::{Ended, Options, Subject};
use mapcount_script::ast::{Item, Scenario};
use mapcount_script::parse::parse;

fn scenario(text: &str) -> Scenario {
    parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// Does all steps; how each ended.
fn run(subject: &mut Subject, text: &str) -> Vec<Ended> {
    let scenario = scenario(text);
    subject.begin(&scenario).expect("begun").expect("for this machine");
    let steps = scenario.items.iter().filter_map(|item| match item {
        Item::Step(step) => Some(step),
        Item::Expect(_) => None,
    });
    steps
        .map(|step| subject.step(step).unwrap_or_else(|trouble| panic!("{}: {trouble}", step.text)))
        .collect()
}

const OK: Ended = Ended::With("ok");
const FAULT: Ended = Ended::With("EFAULT");

#[test]
fn steps_are_real_system_calls_in_real_processes() {
    let Some(mut subject) = or_skip("subject", Subject::start(&Options::default())) else { return };
    let ended = run(
        &mut subject,
        "A: mmap x 2M thp\nA: write x\nA: fork B\nB: fork C\nA: munmap x[3]\nA: write x => any\nB: write x\n\
         A: exit\nB: mprotect x[7] ro\nB: write x[7] => any\nB: read x[7]\nC: get x[0..20]\nC: put x[0..20]\n\
         C: split_pmd x\nC: exit\nB: mlock x\nB: munlock x\nB: madvise x dontneed\n",
    );
    let mut expected = vec![OK; 18];
    (expected[5], expected[9]) = (FAULT.clone(), FAULT);
    assert_eq!(ended, expected);
    let watched = subject.watched();
    assert_eq!(watched.len(), 1);
    assert_eq!(watched[0].name, "B");
    let status = fs::read_to_string(format!("/proc/{}/status", watched[0].pid)).expect("alive");
    assert!(status.contains("State:"), "{status}");
}

#[test]
fn no_process_is_left_and_settings_are_restored() {
    let thp = || fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").expect("THP");
    let Some(mut subject) = or_skip("subject", Subject::start(&Options::default())) else { return };
    let before = thp();
    run(&mut subject, "kernel: thp never\nA: mmap x 2M\nA: fork B\nB: fork C\nB: exit\n");
    assert!(thp().contains("[never]"));
    let pids: Vec<u32> = subject.watched().iter().map(|process| process.pid).collect();
    assert_eq!(pids.len(), 2);
    drop(subject);
    assert_eq!(thp(), before);
    for pid in pids {
        assert!(!fs::exists(format!("/proc/{pid}")).expect("procfs"), "{pid}");
    }
}

#[test]
fn settings_are_restored_when_the_program_is_killed() {
    if or_skip("subject", Subject::start(&Options::default())).is_none() {
        return;
    }
    let thp = || fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").expect("THP");
    let before = thp();
    // SAFETY: the child does what the test thread would do, in a process of its own, and never returns.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut subject = Subject::start(&Options::default()).expect("started before");
        run(&mut subject, "kernel: thp never\nA: mmap x 2M\nA: fork B\n");
        // SAFETY: a signal to this process.
        unsafe { libc::raise(libc::SIGKILL) };
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: the child is this process's own, and `status` is good for writing.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status), "{status}");
    // The next run waits for the keeper of the last one.
    let subject = Subject::start(&Options::default()).expect("started before");
    drop(subject);
    assert_eq!(thp(), before);
}
