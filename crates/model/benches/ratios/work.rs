//! The work that is measured, on the model.

use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;

use mapcount_model::invariant;
use mapcount_model::machine::config::Config;
use mapcount_model::machine::vma::{Protection, ThpAdvice};
use mapcount_model::machine::{Machine, Mm, Mode};
use mapcount_model::ops::fault::{self, Access};
use mapcount_model::ops::split::{self, Request};
use mapcount_model::ops::{collapse, exit, fork, mmap, mprotect, munmap, rmap_walk, split_pmd};
use mapcount_model::profile::Profile;
use mapcount_model::truth::Truth;

use crate::steps;

/// 1 GiB.
pub(crate) const PAGES: u32 = 1 << 18;

/// The same in THPs of 2 MiB.
pub(crate) const FOLIOS: u32 = PAGES >> 9;

/// Where the memory is mapped.
const START: u64 = 1 << 18;

/// The kernel whose model runs: one like those that most machines run today.
const KERNEL: &str = "6.18";

/// What is worked on.
pub(crate) struct State {
    pub(crate) m: Machine,
    pub(crate) mm: Rc<Mm>,
    child: Option<Rc<Mm>>,
    truth: Truth,
}

/// Some work: its name, how many units it consists of, how its state is made, and what is done.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) units: u32,
    pub(crate) prepare: fn() -> State,
    pub(crate) run: fn(&mut State),
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Steps of the random walk in a run.
pub(crate) const STEPS: u32 = 20_000;

/// All work; the table of `main` names Linux's figures and the goals in the same order.
pub(crate) static ALL: [Work; 16] = [
    Work { name: "fork, THPs by PTEs: a PTE", units: PAGES, prepare: by_ptes, run: do_fork },
    Work { name: "fork, THPs by PMDs: a folio", units: FOLIOS, prepare: by_pmds, run: do_fork },
    Work {
        name: "child's exit, by PTEs: a PTE",
        units: PAGES,
        prepare: || forked(by_ptes),
        run: child_exits,
    },
    Work {
        name: "child's exit, by PMDs: a folio",
        units: FOLIOS,
        prepare: || forked(by_pmds),
        run: child_exits,
    },
    Work { name: "PMD split: 512 pages", units: FOLIOS, prepare: by_pmds, run: split_pmds },
    Work { name: "PMD split by mprotect, there and back", units: FOLIOS, prepare: by_pmds, run: protect },
    Work {
        name: "first touch of THPs: a folio",
        units: FOLIOS,
        prepare: || mapped(ThpAdvice::Huge),
        run: touch,
    },
    Work {
        name: "first touch of 4K pages: a page",
        units: PAGES,
        prepare: || mapped(ThpAdvice::NoHuge),
        run: touch,
    },
    Work { name: "fork, 4K pages: a page", units: PAGES, prepare: small_pages, run: do_fork },
    Work {
        name: "child's exit, 4K pages: a page",
        units: PAGES,
        prepare: || forked(small_pages),
        run: child_exits,
    },
    Work { name: "munmap, last reference, 4K pages: a page", units: PAGES, prepare: small_pages, run: unmap },
    Work {
        name: "write after fork, by PTEs: a page",
        units: PAGES,
        prepare: || forked(by_ptes),
        run: child_writes,
    },
    Work { name: "munmap, last reference, by PTEs: a PTE", units: PAGES, prepare: by_ptes, run: unmap },
    Work { name: "munmap, last reference, by PMDs: a folio", units: FOLIOS, prepare: by_pmds, run: unmap },
    Work { name: "folio split to 512 pages: a folio", units: FOLIOS, prepare: by_ptes, run: split_folios },
    Work {
        name: "truth and laws of 1 GiB by PTEs: a page",
        units: PAGES,
        prepare: || forked(by_ptes),
        run: laws,
    },
];

/// A random walk on a small machine, the laws checked after every step.
pub(crate) static WALK: Work = Work {
    name: "random steps, laws after each",
    units: STEPS,
    prepare: small,
    run: |state| walk(state, true),
};

/// The same without the laws.
pub(crate) static WALK_ALONE: Work =
    Work { name: "random steps, laws off", units: STEPS, prepare: small, run: |state| walk(state, false) };

/// Walks from a folio to all who map it.
const WALKS: u32 = 100;

/// From a folio to all processes that map it, and back with the number of their entries; from 100 to 10,000
/// processes a mapping takes as long.
pub(crate) static REVERSE: [Work; 3] = [
    Work {
        name: "reverse walk, 100 processes: a mapping",
        units: WALKS * 100,
        prepare: shared::<100>,
        run: reverse,
    },
    Work {
        name: "reverse walk, 1,000 processes: a mapping",
        units: WALKS * 1000,
        prepare: shared::<1000>,
        run: reverse,
    },
    Work {
        name: "reverse walk, 10,000 processes: a mapping",
        units: WALKS * 10_000,
        prepare: shared::<10_000>,
        run: reverse,
    },
];

/// MADV_COLLAPSE of 1 GiB of base pages.
pub(crate) static COLLAPSE: Work =
    Work { name: "collapse of 512 pages: a THP", units: FOLIOS, prepare: without_advice, run: collapse };

/// One THP that so many processes map.
fn shared<const PROCESSES: u32>() -> State {
    let mut state = mapped(ThpAdvice::Huge);
    fault::touch(&state.m, &state.mm, (START, 1), Access::Write).expect("room");
    for _ in 1..PROCESSES {
        do_fork(&mut state);
    }
    state
}

fn reverse(state: &mut State) {
    let folio = state.m.folio(state.mm.table.read(START).page());
    for _ in 0..WALKS {
        divan::black_box(rmap_walk::count_entries(&state.m, folio));
    }
}

/// 1 GiB of base pages where THPs are neither asked for nor refused.
fn without_advice() -> State {
    let mut state = mapped(ThpAdvice::None);
    touch(&mut state);
    state
}

fn collapse(state: &mut State) {
    collapse::madvise(&state.m, &state.mm, (START, u64::from(PAGES))).expect("nobody holds a page");
}

/// What an explorer of all states does for each: it copies the machine and hashes the copy.
pub(crate) static COPY: Work =
    Work { name: "small machine: a copy and its hash", units: 1000, prepare: walked, run: copy };

fn walked() -> State {
    let mut state = small();
    walk(&mut state, false);
    state
}

fn copy(state: &mut State) {
    for _ in 0..COPY.units {
        let mut hasher = DefaultHasher::new();
        divan::black_box(state.m.clone()).hash_into(&mut hasher);
        divan::black_box(hasher.finish());
    }
}

fn mapped(advice: ThpAdvice) -> State {
    let profile = Profile::resolve(KERNEL).expect("modelled");
    let m = Machine::new(&profile, Config::new(9), Mode::Fast);
    let mm = m.add_mm();
    mmap::map(&m, &mm, (START, u64::from(PAGES)), Protection::READ_WRITE, advice);
    State { m, mm, child: None, truth: Truth::default() }
}

/// 1 GiB of THPs, mapped by PMDs.
pub(crate) fn by_pmds() -> State {
    let mut state = mapped(ThpAdvice::Huge);
    touch(&mut state);
    state
}

/// 1 GiB of THPs, mapped by PTEs.
pub(crate) fn by_ptes() -> State {
    let mut state = by_pmds();
    split_pmds(&mut state);
    state
}

/// 1 GiB of base pages.
fn small_pages() -> State {
    let mut state = mapped(ThpAdvice::NoHuge);
    touch(&mut state);
    state
}

fn forked(make: fn() -> State) -> State {
    let mut state = make();
    do_fork(&mut state);
    state
}

fn small() -> State {
    let profile = Profile::resolve(KERNEL).expect("modelled");
    let m = Machine::new(&profile, Config::new(2), Mode::Checked);
    let mm = m.add_mm();
    State { m, mm, child: None, truth: Truth::default() }
}

fn touch(state: &mut State) {
    fault::touch(&state.m, &state.mm, (START, u64::from(PAGES)), Access::Write).expect("room");
}

/// Forks a child.
pub(crate) fn do_fork(state: &mut State) {
    state.child = Some(fork::fork(&state.m, &state.mm).expect("room"));
}

fn child_exits(state: &mut State) {
    exit::exit(&state.m, state.child.as_ref().expect("forked"));
}

fn child_writes(state: &mut State) {
    let child = state.child.as_ref().expect("forked");
    fault::touch(&state.m, child, (START, u64::from(PAGES)), Access::Write).expect("room");
}

fn split_pmds(state: &mut State) {
    let vma = state.mm.vmas.borrow().find(START).expect("mapped");
    for folio in 0..u64::from(FOLIOS) {
        split_pmd::split_pmd(&state.m, &state.mm, &vma, START + folio * 512);
    }
}

fn protect(state: &mut State) {
    for folio in 0..u64::from(FOLIOS) {
        let page = (START + folio * 512 + 256, 1);
        mprotect::protect(&state.m, &state.mm, page, Protection::READ).expect("mapped");
        mprotect::protect(&state.m, &state.mm, page, Protection::READ_WRITE).expect("mapped");
    }
}

fn unmap(state: &mut State) {
    munmap::unmap(&state.m, &state.mm, (START, u64::from(PAGES))).expect("nothing huge is cut");
}

fn split_folios(state: &mut State) {
    for index in 0..u64::from(FOLIOS) {
        let folio = state.m.folio(state.mm.table.read(START + index * 512).page());
        state.m.get_refs(folio, 1);
        split::split(&state.m, folio, Request::PAGES).expect("nobody holds it");
        state.m.put_refs(state.m.folio(folio.head), 1);
    }
}

fn laws(state: &mut State) {
    let mut violations = Vec::new();
    state.truth.collect(&state.m);
    invariant::check(&state.m, &state.truth, &mut violations);
    assert!(violations.is_empty(), "{violations:?}");
}

fn walk(state: &mut State, check: bool) {
    let mut walk = steps::Walk::new(1);
    let mut violations = Vec::new();
    for _ in 0..STEPS {
        walk.step(&state.m);
        if check {
            state.truth.collect(&state.m);
            invariant::check(&state.m, &state.truth, &mut violations);
            assert!(violations.is_empty(), "{violations:?}");
        }
    }
}
