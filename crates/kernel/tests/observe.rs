//! Observers on the live kernel, looking at this very process and a child of it.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Mutex;

use mapcount_kernel::observer::{Choice, Observation, Observer, Watched, Window, open};
use mapcount_kernel::{live, require};
use mapcount_model::field::Field;
use mapcount_model::units::Kind;
use mapcount_script::trace::{FieldValue, FolioRow, Present};

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;

/// The windows are at fixed addresses: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Memory of this process at a fixed address, with room around it.
struct Memory {
    start: u64,
    bytes: u64,
}

impl Memory {
    fn new(start: u64, bytes: u64, advice: libc::c_int) -> Memory {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let wanted = ptr::without_provenance_mut(start as usize);
        // SAFETY: MAP_FIXED_NOREPLACE refuses where something is mapped already.
        let got = unsafe { libc::mmap(wanted, bytes as usize, access, flags, -1, 0) };
        assert_eq!(got, wanted, "{}", std::io::Error::last_os_error());
        // SAFETY: the range was mapped above.
        unsafe { libc::madvise(got, bytes as usize, advice) };
        Memory { start, bytes }
    }

    fn write(&self, page: u64) {
        let at: *mut u8 = ptr::with_exposed_provenance_mut((self.start + page * PAGE) as usize);
        // SAFETY: within the mapping, which no Rust object lies in.
        unsafe { at.write_volatile(page as u8 + 1) };
    }

    fn read(&self, page: u64) {
        let at: *const u8 = ptr::with_exposed_provenance((self.start + page * PAGE) as usize);
        // SAFETY: within the mapping, which no Rust object lies in.
        unsafe { at.read_volatile() };
    }

    fn protect(&self, page: u64, access: libc::c_int) {
        let at = ptr::without_provenance_mut((self.start + page * PAGE) as usize);
        // SAFETY: within the mapping, which no Rust object lies in.
        assert_eq!(unsafe { libc::mprotect(at, PAGE as usize, access) }, 0);
    }

    fn drop_pages(&self, first: u64, count: u64) {
        let at = ptr::without_provenance_mut((self.start + first * PAGE) as usize);
        // SAFETY: within the mapping, which no Rust object lies in.
        assert_eq!(unsafe { libc::madvise(at, (count * PAGE) as usize, libc::MADV_DONTNEED) }, 0);
    }

    fn window(&self) -> Window {
        Window { start: self.start, pages: self.bytes / PAGE, room: 1 << 18 }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`.
        unsafe { libc::munmap(ptr::without_provenance_mut(self.start as usize), self.bytes as usize) };
    }
}

/// A child that waits to be killed.
struct Child(libc::pid_t);

impl Child {
    fn fork() -> Child {
        // SAFETY: the child calls nothing but pause(), which is safe after fork in a process with threads.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: as above.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                loop {
                    libc::pause();
                }
            }
        }
        assert!(pid > 0);
        Child(pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: our own child, which nobody else waits for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, ptr::null_mut(), 0);
        }
    }
}

/// The observers among `choices` that this kernel has; one at least where tests must not be skipped.
fn observers(choices: &[Choice]) -> Vec<Box<dyn Observer>> {
    let found: Vec<_> = choices.iter().filter_map(|choice| open(*choice).ok()).collect();
    if found.is_empty() {
        require::or_skip("observe", open(choices[0]));
    }
    found
}

fn watched(name: &str, pid: u32, windows: &[(&str, Window)]) -> Watched {
    let windows: BTreeMap<String, Window> =
        windows.iter().map(|(name, window)| ((*name).to_owned(), *window)).collect();
    Watched { name: name.to_owned(), pid, windows }
}

fn number(row: &FolioRow, field: Field) -> Option<i64> {
    match row.fields.get(&field)? {
        FieldValue::Number(number) => Some(*number),
        FieldValue::Flag(flag) => Some(i64::from(*flag)),
        FieldValue::Pages(_) => None,
    }
}

fn is_settled(observation: &Observation) {
    assert!(observation.settled, "{} retries", observation.retries);
}

/// A huge page that one process has just written to.
fn is_born(born: &Observation, keeps: &dyn Fn(Field) -> bool) {
    let mapping = &born.processes["A"]["x"];
    let [row] = &born.folios[..] else { panic!("{:?}", born.folios) };
    assert_eq!((row.id, row.count, row.order, row.kind), (0, 1, 9, Some(Kind::Anon)));
    assert_eq!(mapping.vmas, Some(vec![(0, 512, "rw-p".to_owned())]));
    assert_eq!(
        (mapping.rss_kb, mapping.private_kb, mapping.anon_huge_kb),
        (Some(2048), Some(2048), Some(2048))
    );
    assert_eq!(number(row, Field::Refcount), Some(1));
    assert_eq!(row.tail_refcount.as_ref().map(|list| list.runs().to_vec()), Some(vec![(511, 0)]));
    assert_eq!(row.kpagecount.as_ref().map(|list| list.runs().to_vec()), Some(vec![(512, 1)]));
    assert_eq!(row.swapcache, Some(false));
    if keeps(Field::EntireMapcount) {
        assert_eq!(number(row, Field::EntireMapcount), Some(0));
    }
    if keeps(Field::MmId0) {
        assert_eq!(row.mm_ids, Some([Some("A".to_owned()), None]));
        assert_eq!(row.mm_id_mapcount_raw, Some([0, -1]));
    }
}

#[test]
fn a_huge_page_is_seen_from_birth_through_fork_to_partial_unmapping() {
    let _alone = ALONE.lock();
    let Some(profile) = require::or_skip("observe", live::profile()) else { return };
    for mut observer in observers(&[Choice::Bpf, Choice::Kcore]) {
        let keeps = |field| profile.scheme.info().fields.contains(&field);
        let memory = Memory::new(0x1000_0000_0000, HUGE, libc::MADV_HUGEPAGE);
        let me = std::process::id();
        let a = watched("A", me, &[("x", memory.window())]);
        let before = observer.observe(std::slice::from_ref(&a)).expect("observed");
        is_settled(&before);
        assert!(before.folios.is_empty());
        assert_eq!(before.processes["A"]["x"].map.as_deref(), Some(&[][..]));

        memory.write(0);
        let born = observer.observe(std::slice::from_ref(&a)).expect("observed");
        is_settled(&born);
        let mapping = &born.processes["A"]["x"];
        if mapping.map.as_ref().is_some_and(|map| map.first().is_none_or(|run| run.pages != 512)) {
            eprintln!("observe: no huge page could be had: {mapping:?}");
            assert!(!require::is_required());
            continue;
        }
        is_born(&born, &keeps);

        let child = Child::fork();
        let both = [a.clone(), watched("B", child.0 as u32, &[("x", memory.window())])];
        let forked = observer.observe(&both).expect("observed");
        is_settled(&forked);
        let [row] = &forked.folios[..] else { panic!("{:?}", forked.folios) };
        assert_eq!(number(row, Field::Refcount), Some(2));
        assert_eq!(forked.processes["B"]["x"].shared_kb, Some(2048));
        if keeps(Field::MmId0) {
            assert_eq!(row.mm_ids, Some([Some("A".to_owned()), Some("B".to_owned())]));
            assert_eq!(number(row, Field::MaybeShared), Some(1));
        }
        drop(child);

        memory.protect(256, libc::PROT_READ);
        memory.protect(256, libc::PROT_READ | libc::PROT_WRITE);
        memory.drop_pages(0, 16);
        let partial = observer.observe(std::slice::from_ref(&a)).expect("observed");
        is_settled(&partial);
        assert!(!partial.processes.contains_key("B"));
        let [row] = &partial.folios[..] else { panic!("{:?}", partial.folios) };
        let map = partial.processes["A"]["x"].map.as_ref().expect("read");
        assert_eq!(
            (map.len(), map[0].first, map[0].pages, map[0].what.clone()),
            (1, 16, 496, Present::Frames(16))
        );
        assert_eq!(number(row, Field::Refcount), Some(496));
        assert_eq!(row.kpagecount.as_ref().map(|list| list.runs().to_vec()), Some(vec![(16, 0), (496, 1)]));
        if keeps(Field::LargeMapcount) {
            assert_eq!(number(row, Field::LargeMapcount), Some(495));
        }
        if keeps(Field::Deferred) {
            assert_eq!(number(row, Field::Deferred), Some(1));
        }
    }
}

#[test]
fn small_pages_and_the_zero_page_are_told_by_every_observer_alike() {
    let _alone = ALONE.lock();
    let memory = Memory::new(0x1000_0000_0000, 16 * PAGE, libc::MADV_NOHUGEPAGE);
    let other = Memory::new(0x1000_4000_0000, 4 * PAGE, libc::MADV_NOHUGEPAGE);
    for page in 0..8 {
        memory.write(page);
    }
    for page in [8, 9, 11] {
        memory.read(page);
    }
    other.write(1);
    let a = watched("A", std::process::id(), &[("x", memory.window()), ("y", other.window())]);
    let mut seen = Vec::new();
    for mut observer in observers(&[Choice::Bpf, Choice::Kcore, Choice::Proc]) {
        let observation = observer.observe(std::slice::from_ref(&a)).expect("observed");
        is_settled(&observation);
        let kinds: Vec<(u64, u64, Option<Kind>)> =
            observation.folios.iter().map(|row| (row.id, row.count, row.kind)).collect();
        assert!(kinds.contains(&(8, 1, Some(Kind::Zero))), "{kinds:?}");
        let anon = kinds.iter().filter(|(_, _, kind)| *kind == Some(Kind::Anon)).map(|(_, count, _)| count);
        assert_eq!(anon.sum::<u64>(), 9);
        let map = observation.processes["A"]["x"].map.as_ref().expect("read");
        let runs: Vec<(u64, u64)> = map.iter().map(|run| (run.first, run.pages)).collect();
        // The zero page goes on from frame 7 to 8, then repeats.
        assert_eq!(runs, [(0, 9), (9, 1), (11, 1)]);
        assert!(observation.system.anon_mapped.is_some_and(|pages| pages > 0));
        seen.push(observation.processes);
    }
    for pair in seen.windows(2) {
        assert_eq!(pair[0], pair[1]);
    }
}

#[test]
fn a_process_that_is_gone_is_not_listed() {
    let _alone = ALONE.lock();
    let Some(mut observer) = require::or_skip("observe", open(Choice::Auto)) else { return };
    let window = Window { start: 0x1000_0000_0000, pages: 16, room: 1 << 18 };
    let child = Child::fork();
    let b = watched("B", child.0 as u32, &[("x", window)]);
    let observation = observer.observe(std::slice::from_ref(&b)).expect("observed");
    assert!(observation.processes.contains_key("B"));
    assert!(observation.processes["B"].is_empty(), "nothing is mapped there");
    drop(child);
    let observation = observer.observe(&[b]).expect("observed");
    assert!(observation.processes.is_empty());
}
