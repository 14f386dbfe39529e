//! Which operation reaches which rmap function, with which level: found by doing each operation in a small scenario
//! and recording the calls of the waist.

use std::collections::BTreeSet;

use mapcount_model::event::Errno;
use mapcount_model::profile::Profile;
use mapcount_model::rmap::calls::{Call, FunctionName, name_in};
use mapcount_model::units::Level;
use mapcount_script::parse::parse;
use mapcount_script::run::{FindingKind, Next, Options, Runner};

use super::side_by_side;
use super::text::wrapped;

/// An operation: the last step of a scenario, on machines whose THPs have 16 pages.
pub struct Operation {
    /// What it is, for people.
    pub name: &'static str,
    scenario: &'static str,
}

const fn operation(name: &'static str, scenario: &'static str) -> Operation {
    Operation { name, scenario }
}

/// The operations, in the order in which memory lives.
pub static OPERATIONS: &[Operation] = &[
    operation("write fault: a page", "A: mmap x pmd nothp\nA: write x[0]"),
    operation("write fault: a THP", "A: mmap x pmd thp\nA: write x[0]"),
    operation(
        "write fault: an mTHP",
        "kernels 6.8..\nkernel: mthp 16p never\nkernel: mthp 4p always\nA: mmap x pmd\nA: write x[0]",
    ),
    operation("read fault: the zero page", "A: mmap x pmd nothp\nA: read x[0]"),
    operation("fork of a PMD", "A: mmap x pmd thp\nA: write x\nA: fork B"),
    operation("fork of PTEs", "A: mmap x pmd thp\nA: write x\nA: split_pmd x\nA: fork B"),
    operation("fork of a pinned PMD", "kernels 5.1..\nA: mmap x pmd thp\nA: write x\nA: pin x[0]\nA: fork B"),
    operation(
        "write fault on a page that is shared",
        "A: mmap x 4p nothp\nA: write x\nA: fork B\nB: write x[0]",
    ),
    operation(
        "write fault on a page of a PTE-mapped THP that is shared",
        "A: mmap x pmd thp\nA: write x\nA: fork B\nB: split_pmd x\nB: write x[0]",
    ),
    operation(
        "write fault on a PMD that is shared",
        "A: mmap x pmd thp\nA: write x\nA: fork B\nB: write x[0]",
    ),
    operation("split of a PMD", "A: mmap x pmd thp\nA: write x\nA: split_pmd x"),
    operation(
        "split of a folio that a PMD maps",
        "kernels 4.5..\nA: mmap x pmd thp\nA: write x\nkernel: split A.x",
    ),
    operation(
        "split of a folio that PTEs map",
        "kernels 4.5..\nA: mmap x pmd thp\nA: write x\nA: split_pmd x\nkernel: split A.x",
    ),
    operation("munmap of a PMD", "A: mmap x pmd thp\nA: write x\nA: munmap x"),
    operation("munmap of PTEs", "A: mmap x pmd thp\nA: write x\nA: split_pmd x\nA: munmap x"),
    operation(
        "MADV_DONTNEED of a part of a PMD",
        "A: mmap x pmd thp\nA: write x\nA: madvise x[0..8] dontneed",
    ),
    operation("mremap of a PMD", "A: mmap x pmd thp\nA: reserve y pmd\nA: write x\nA: mremap x to y[0]"),
    operation(
        "migration of a folio that a PMD maps",
        "nodes 2\nA: mmap x pmd thp\nA: write x\nkernel: migrate A.x to 1",
    ),
    operation(
        "migration of a folio that PTEs map",
        "nodes 2\nkernels 4.5..\nA: mmap x pmd thp\nA: write x\nA: split_pmd x\nkernel: migrate A.x to 1",
    ),
    operation(
        "collapse of pages",
        "A: mmap x pmd nothp\nA: write x\nA: madvise x hugepage\nkernel: khugepaged A.x",
    ),
    operation(
        "collapse of a PTE-mapped THP",
        "kernels 4.5..\nA: mmap x pmd thp\nA: write x\nA: split_pmd x\nkernel: khugepaged A.x",
    ),
    operation(
        "collapse to an mTHP",
        "kernels 6.8..\nkernel: mthp 16p never\nkernel: mthp 4p always\nA: mmap x pmd nothp\nA: write x[0..4]\n\
         A: madvise x hugepage\nkernel: khugepaged A.x",
    ),
    operation(
        "collapse of shared memory",
        "kernels 6.1..\nA: mmap x pmd shared\nA: write x\nA: madvise x collapse",
    ),
    operation(
        "collapse of a PTE-mapped THP of shared memory",
        "kernels 6.1..\nkernel: file F pmd tmpfs huge=always\nA: mmap x pmd of F shared\nA: write x[0]\nA: split_pmd x\n\
         A: read x[3]\nA: madvise x collapse",
    ),
    operation(
        "reclaim of a THP",
        "kernels 5.4..\nkernel: swap on\nA: mmap x pmd thp\nA: write x\nA: madvise x pageout",
    ),
    operation(
        "reclaim of a page that MADV_FREE gave up",
        "kernels 5.4..\nA: mmap x 4p nothp\nA: write x[0]\nA: madvise x free\nA: madvise x pageout",
    ),
    operation(
        "fault on a swap entry, the THP in the swap cache",
        "kernels 5.4..\nkernel: swap on\nA: mmap x pmd thp\nA: write x\nA: madvise x pageout\nA: read x[0]",
    ),
    operation(
        "swapoff",
        "kernels 5.4..\nkernel: swap on\nA: mmap x 4p nothp\nA: write x[0]\nA: madvise x pageout\nkernel: swap off",
    ),
    operation(
        "KSM: two pages become one",
        "A: mmap x 4p nothp\nA: fill x[0..2] 65\nA: madvise x mergeable\nkernel: ksm 2",
    ),
    operation(
        "KSM: MADV_UNMERGEABLE",
        "A: mmap x 4p nothp\nA: fill x[0..2] 65\nA: madvise x mergeable\nkernel: ksm 2\nA: madvise x unmergeable",
    ),
    operation("exit", "A: mmap x pmd thp\nA: write x\nA: fork B\nB: exit"),
    operation(
        "file: fault on a shared mapping",
        "kernel: file F 8p memfd\nA: mmap x 8p of F shared\nA: write x[0]",
    ),
    operation(
        "file: fault on a THP of shmem",
        "kernels 4.8..\nkernel: file F pmd tmpfs huge=always\nA: mmap x pmd of F shared\nA: write x[0]",
    ),
    operation(
        "file: read fault on a private mapping",
        "kernel: file F 8p memfd\nA: mmap x 8p of F private\nA: read x[0]",
    ),
    operation(
        "file: write fault on a private mapping",
        "kernel: file F 8p memfd\nA: mmap x 8p of F private\nA: read x[0]\nA: write x[0]",
    ),
    operation(
        "file: fork of a private mapping with memory of its own",
        "kernel: file F 8p memfd\nA: mmap x 8p of F private\nA: read x[0]\nA: write x[1]\nA: fork B",
    ),
    operation(
        "file: split of a PMD of shmem",
        "kernels 4.8..\nkernel: file F pmd tmpfs huge=always\nA: mmap x pmd of F shared\nA: write x[0]\nA: split_pmd x",
    ),
    operation(
        "file: munmap of a PMD of shmem",
        "kernels 4.8..\nkernel: file F pmd tmpfs huge=always\nA: mmap x pmd of F shared\nA: write x[0]\nA: munmap x",
    ),
    operation(
        "file: truncate of a mapped file",
        "kernel: file F 8p memfd\nA: mmap x 8p of F shared\nA: write x[0..2]\nkernel: truncate F 0p",
    ),
    operation(
        "hugetlb: fault on a private mapping",
        "pmd_order 9\nkernel: hugetlb 4\nA: mmap x 2M hugetlb private\nA: write x",
    ),
    operation(
        "hugetlb: fault on a shared mapping",
        "pmd_order 9\nkernel: hugetlb 4\nA: mmap x 2M hugetlb shared\nA: write x",
    ),
    operation(
        "hugetlb: fork of a private mapping",
        "pmd_order 9\nkernel: hugetlb 4\nA: mmap x 2M hugetlb private\nA: write x\nA: fork B",
    ),
    operation(
        "hugetlb: munmap",
        "pmd_order 9\nkernel: hugetlb 4\nA: mmap x 2M hugetlb private\nA: write x\nA: munmap x",
    ),
    operation("DAX: fault on a device's PMD", "A: mmap x pmd dax\nA: write x[0]"),
    operation("DAX: fault on a device's PUD", "A: mmap x 512pmd dax pud\nA: write x[0]"),
    operation(
        "DAX: a part of a device's PUD is given up",
        "A: mmap x 512pmd dax pud\nA: write x[0]\nA: madvise x[0] dontneed",
    ),
    operation("DAX: munmap of a device's PUD", "A: mmap x 512pmd dax pud\nA: write x[0]\nA: munmap x"),
];

/// What an operation did on one kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reached {
    /// The kernel has no such operation, or it is another one there.
    Absent,
    /// It returned an error.
    Failed(Errno),
    /// It made these calls.
    Calls(Vec<Call>),
}

/// Does an operation on a kernel and records its calls.
///
/// # Panics
/// If the scenario of the operation does not do what it is for: a mistake in [`OPERATIONS`].
pub fn reached(operation: &Operation, profile: &Profile) -> Reached {
    let order = if operation.scenario.starts_with("pmd_order") { "" } else { "pmd_order 4\n" };
    let source = format!("{order}{}", operation.scenario);
    let steps = source.lines().filter(|line| line.contains(": ")).count();
    let source = source.replace('\n', " => any\n").replace(" => any\nkernels", "\nkernels");
    let source: Vec<String> = source.lines().map(|line| strip(line).to_owned()).collect();
    let source = source.join("\n") + " => any\n";
    let scenario = parse(source.as_bytes()).unwrap_or_else(|errors| panic!("{source}: {errors:?}"));
    let runner = Runner::new(&scenario, profile, Options::default()).expect("it names releases");
    let Some(mut runner) = runner else { return Reached::Absent };
    for step in 1..=steps {
        let last = step == steps;
        runner.machine.calls.record(last);
        let Some(Next::Step(report, outcome)) = runner.advance() else { unreachable!("{source}: a step") };
        if let Err(finding) = outcome {
            assert!(finding.kind == FindingKind::NotModelled, "{}: {source}: {finding:?}", profile.name);
            return Reached::Absent;
        }
        if let (Some(errno), true) = (report.outcome, last) {
            return Reached::Failed(errno);
        }
    }
    Reached::Calls(runner.machine.calls.take())
}

/// A directive has no outcome.
fn strip(line: &str) -> &str {
    let is_step = line.split_once(' ').is_some_and(|(first, _)| first.ends_with(':'));
    if is_step { line } else { line.trim_end_matches(" => any") }
}

/// What has to be known to read the rest.
const HEAD: &str = "rmap functions that operations call, on THPs of 16 pages; releases are the modelled ones. PTEs in \
                    a row the model maps again at once, where migration and folio splits go one by one.";

/// All operations on these kernels, those that make the same calls together.
pub fn render(profiles: &[Profile]) -> String {
    let mut out = wrapped("", "", HEAD).join("\n") + "\n\n";
    for operation in OPERATIONS {
        out.push_str(&section(operation, profiles));
        out.push('\n');
    }
    out.push_str(&trees(profiles));
    out
}

fn section(operation: &Operation, profiles: &[Profile]) -> String {
    let steps: Vec<&str> = operation.scenario.lines().filter(|line| line.contains(": ")).collect();
    let mut out = format!("{}\n", operation.name);
    for line in wrapped("    ", "    ", &steps.join("; ")) {
        out.push_str(&line);
        out.push('\n');
    }
    let mut groups: Vec<(Vec<String>, Vec<usize>)> = Vec::new();
    for (index, profile) in profiles.iter().enumerate() {
        let lines = match reached(operation, profile) {
            Reached::Absent => continue,
            Reached::Failed(errno) => vec![format!("not there: {}", errno.name())],
            Reached::Calls(calls) => lines(&calls, profile),
        };
        match groups.iter_mut().find(|(known, _)| *known == lines) {
            Some((_, kernels)) => kernels.push(index),
            None => groups.push((lines, vec![index])),
        }
    }
    for (lines, kernels) in groups {
        out.push_str(&format!("  {}\n", side_by_side::kernels(profiles, &kernels)));
        for line in lines {
            out.push_str(&format!("    {line}\n"));
        }
    }
    out
}

/// The same of every release as a page of the documentation.
pub fn page() -> String {
    let all = render(&Profile::all());
    format!(
        "# Which operation calls which rmap function\n\nMade by doing each operation on the model of every release and \
         recording what it calls: `mapcount explain --calls --all`.\n\n```text\n{all}```\n"
    )
}

/// The calls by the kernel's names; what comes again and again is told once.
fn lines(calls: &[Call], profile: &Profile) -> Vec<String> {
    let named: Vec<(String, u32)> = calls.iter().filter_map(|call| text(call, profile)).collect();
    let mut lines = Vec::new();
    let mut rest = &named[..];
    while let Some(((first, times), others)) = rest.split_first() {
        let (length, repeats) = cycle(rest);
        if repeats > 1 && length > 1 {
            let texts: Vec<String> = rest[..length].iter().map(|call| counted(&call.0, call.1)).collect();
            lines.push(format!("{repeats} × {{ {} }}", texts.join("; ")));
            rest = &rest[length * repeats..];
            continue;
        }
        let alike = others.iter().take_while(|(text, _)| text == first);
        let (more, sum) = alike.fold((0, *times), |(count, sum), (_, times)| (count + 1, sum + times));
        lines.push(counted(first, sum));
        rest = &rest[1 + more..];
    }
    if lines.is_empty() {
        lines.push("none".to_owned());
    }
    lines
}

/// The longest stretch that repeats a few calls: their number, and how often they come.
fn cycle(calls: &[(String, u32)]) -> (usize, usize) {
    let repeats = |length: usize| {
        let pattern = &calls[..length];
        calls.chunks(length).take_while(|chunk| *chunk == pattern).count()
    };
    let lengths = (2..=4).filter(|length| *length * 2 <= calls.len());
    // Of those that cover as much the shortest, which is the last here.
    let lengths = lengths.rev();
    let best = lengths.map(|length| (length, repeats(length))).max_by_key(|(length, count)| length * count);
    best.unwrap_or((1, 1))
}

fn counted(text: &str, times: u32) -> String {
    if times == 1 { text.to_owned() } else { format!("{times} × {text}") }
}

/// A call and how often it is made; `None` where the release has no such function.
fn text(call: &Call, profile: &Profile) -> Option<(String, u32)> {
    let name = name_in(call.function, profile.release)?;
    if call.level != Level::Pte {
        if call.level == Level::Pud {
            return Some((format!("{} (PUD)", name.pmd.replace("_pmd", "_pud")), call.times));
        }
        return Some((format!("{} (PMD)", name.pmd), call.times));
    }
    let (pages, times) =
        if name.page_by_page { (1, call.times * call.pages) } else { (call.pages, call.times) };
    let pages = if pages == 1 { "a PTE".to_owned() } else { format!("{pages} PTEs") };
    Some((format!("{} ({pages})", name.ptes), times))
}

/// What the functions reach within, for those kernels that have a common core.
fn trees(profiles: &[Profile]) -> String {
    let mut seen = BTreeSet::new();
    let mut out = "within\n".to_owned();
    for name in mapcount_model::rmap::calls::NAMES.iter().filter(|name| !name.through.is_empty()) {
        if !profiles.iter().any(|profile| name.kernels.contains(profile.release)) {
            continue;
        }
        for line in tree(name) {
            if seen.insert(line.clone()) {
                out.push_str(&format!("  {line}\n"));
            }
        }
    }
    if seen.is_empty() { String::new() } else { out }
}

fn tree(name: &FunctionName) -> Vec<String> {
    let inner = name.through.join(" → ");
    let ways = [name.ptes, name.pmd].into_iter().filter(|way| !way.is_empty() && !way.contains(' '));
    ways.filter(|way| !name.through.contains(way)).map(|way| format!("{way} → {inner}")).collect()
}
