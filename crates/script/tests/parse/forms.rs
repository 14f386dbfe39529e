//! Every form of every statement, and the tree that it stands for.

use std::collections::BTreeSet;

use mapcount_model::release::{Release, ReleaseRange};
use mapcount_script::ast::{
    Action, Advice, Backing, Beyond, Comparison, DaxAlign, Errno, Expect, FieldName, FileKind, Hold, Huge,
    Item, KernelAlternative, KernelSet, KernelVerb, MthpMode, Outcome, Pages, Path, ProcessVerb, Protection,
    Scenario, ShmemMthpMode, Size, Step, Thp, ThpMode, Userfault, Value, Word,
};
use mapcount_script::parse::parse;

use crate::tree::{name, of_a, own};

fn read(source: &str) -> Scenario {
    parse(source.as_bytes())
        .unwrap_or_else(|errors| panic!("{}", errors.render("test", source.as_bytes(), false)))
}

fn only_step(source: &str) -> Step {
    match <[Item; 1]>::try_from(read(source).items) {
        Ok([Item::Step(step)]) => step,
        other => panic!("{source}: {other:?}"),
    }
}

fn only_expect(source: &str) -> Expect {
    match <[Item; 1]>::try_from(read(source).items) {
        Ok([Item::Expect(expect)]) => expect,
        other => panic!("{source}: {other:?}"),
    }
}

fn mmap(size: Size) -> ProcessVerb {
    ProcessVerb::Mmap {
        name: name("x"),
        size,
        backing: Backing::Anon,
        shared: false,
        advice: None,
        read_only: false,
    }
}

fn mmap_with(with: impl FnOnce(&mut Backing, &mut bool, &mut Option<Thp>, &mut bool)) -> ProcessVerb {
    let mut verb = mmap(Size::Bytes(2 << 20));
    if let ProcessVerb::Mmap { backing, shared, advice, read_only, .. } = &mut verb {
        with(backing, shared, advice, read_only);
    }
    verb
}

fn file(from_page: u64) -> Backing {
    Backing::File { file: name("f"), from_page }
}

fn mmaps() -> Vec<(&'static str, ProcessVerb)> {
    vec![
        ("mmap x 4K", mmap(Size::Bytes(4096))),
        ("mmap x 2M", mmap(Size::Bytes(2 << 20))),
        ("mmap x 1G", mmap(Size::Bytes(1 << 30))),
        ("mmap x 16p", mmap(Size::Pages(16))),
        ("mmap x pmd", mmap(Size::Pmds(1))),
        ("mmap x 2pmd", mmap(Size::Pmds(2))),
        ("mmap x 2M private", mmap(Size::Bytes(2 << 20))),
        ("mmap x 2M shared", mmap_with(|_, shared, _, _| *shared = true)),
        ("mmap x 2M thp", mmap_with(|_, _, advice, _| *advice = Some(Thp::Huge))),
        ("mmap x 2M nothp", mmap_with(|_, _, advice, _| *advice = Some(Thp::NoHuge))),
        ("mmap x 2M ro", mmap_with(|_, _, _, read_only| *read_only = true)),
        (
            "mmap x 2M ro thp shared",
            mmap_with(|_, shared, advice, read_only| {
                (*shared, *advice, *read_only) = (true, Some(Thp::Huge), true);
            }),
        ),
        ("mmap x 2M of f", mmap_with(|backing, _, _, _| *backing = file(0))),
        ("mmap x 2M of f from 7 private", mmap_with(|backing, _, _, _| *backing = file(7))),
        (
            "mmap x 2M shared from 7 of f",
            mmap_with(|backing, shared, _, _| (*backing, *shared) = (file(7), true)),
        ),
        ("mmap x 2M hugetlb", mmap_with(|backing, _, _, _| *backing = Backing::Hugetlb)),
        (
            "mmap x 2M shared hugetlb",
            mmap_with(|backing, shared, _, _| (*backing, *shared) = (Backing::Hugetlb, true)),
        ),
        ("mmap x 2M dax", dax(DaxAlign::Pmd, true)),
        ("mmap x 2M dax pte private", dax(DaxAlign::Pte, false)),
        ("mmap x 2M shared dax pud", dax(DaxAlign::Pud, true)),
    ]
}

fn dax(align: DaxAlign, is_shared: bool) -> ProcessVerb {
    mmap_with(|backing, shared, _, _| (*backing, *shared) = (Backing::Dax(align), is_shared))
}

fn process_verbs() -> Vec<(&'static str, ProcessVerb)> {
    let all = || own("x", Pages::All);
    let mut forms = mmaps();
    forms.extend([
        ("reserve x 4M", ProcessVerb::Reserve { name: name("x"), size: Size::Bytes(4 << 20) }),
        ("read x", ProcessVerb::Read(all())),
        ("read x[3]", ProcessVerb::Read(own("x", Pages::One(3)))),
        ("read x[0..16]", ProcessVerb::Read(own("x", Pages::Range { start: 0, end: Some(16) }))),
        ("read x[16..]", ProcessVerb::Read(own("x", Pages::Range { start: 16, end: None }))),
        ("read x[ 0x10 .. 0x20 ]", ProcessVerb::Read(own("x", Pages::Range { start: 16, end: Some(32) }))),
        ("read A.x[3]", ProcessVerb::Read(own("x", Pages::One(3)))),
        ("write x", ProcessVerb::Write(all())),
        ("fill x 65", ProcessVerb::Fill(all(), 65)),
        ("fill x 0xff", ProcessVerb::Fill(all(), 255)),
        ("munmap x", ProcessVerb::Munmap(all())),
        ("mprotect x ro", ProcessVerb::Mprotect(all(), Protection::Ro)),
        ("mprotect x rw", ProcessVerb::Mprotect(all(), Protection::Rw)),
        ("mprotect x none", ProcessVerb::Mprotect(all(), Protection::None)),
        ("mlock x", ProcessVerb::Mlock(all())),
        ("munlock x", ProcessVerb::Munlock(all())),
        ("userfault x move", ProcessVerb::Userfault(all(), Userfault::Move)),
        ("mremap x to y[5]", ProcessVerb::Mremap { from: all(), to: name("y"), page: 5 }),
        ("madvise x populate_write", ProcessVerb::Madvise(all(), Advice::PopulateWrite)),
        ("fork B", ProcessVerb::Fork(name("B"))),
        ("exit", ProcessVerb::Exit),
        ("get x", ProcessVerb::Get(all())),
        ("put x", ProcessVerb::Put(all())),
        ("pin x", ProcessVerb::Pin(all())),
        ("unpin x", ProcessVerb::Unpin(all())),
        ("split_pmd x", ProcessVerb::SplitPmd(all())),
    ]);
    forms
}

fn kernel_files() -> Vec<(&'static str, KernelVerb)> {
    let size = Size::Bytes(2 << 20);
    let file = |kind, huge| KernelVerb::File { name: name("f"), size, kind, huge };
    vec![
        ("file f 2M tmpfs", file(FileKind::Tmpfs, None)),
        ("file f 2M memfd", file(FileKind::Memfd, None)),
        ("file f 2M ext4", file(FileKind::Ext4, None)),
        ("file f 2M tmpfs huge=always", file(FileKind::Tmpfs, Some(Huge::Always))),
        ("file f 2M tmpfs huge=never", file(FileKind::Tmpfs, Some(Huge::Never))),
        ("file f 2M tmpfs huge=within_size", file(FileKind::Tmpfs, Some(Huge::WithinSize))),
        ("file f 2M memfd huge = advise", file(FileKind::Memfd, Some(Huge::Advise))),
        ("truncate f 4K", KernelVerb::Truncate { file: name("f"), size: Size::Bytes(4096) }),
        ("truncate f 0", KernelVerb::Truncate { file: name("f"), size: Size::Bytes(0) }),
        ("truncate f 0p", KernelVerb::Truncate { file: name("f"), size: Size::Pages(0) }),
        ("punch f[1..3]", KernelVerb::Punch { file: name("f"), start: 1, end: 3 }),
        ("punch f[1]", KernelVerb::Punch { file: name("f"), start: 1, end: 2 }),
    ]
}

fn kernel_verbs() -> Vec<(&'static str, KernelVerb)> {
    let x = || of_a("x", Pages::All);
    let split = |order, at| KernelVerb::Split { region: x(), order, at, list: false };
    let migrate = |all| KernelVerb::Migrate { region: of_a("x", Pages::One(0)), node: 1, all };
    let size = Size::Bytes(64 << 10);
    let tune = |value| KernelVerb::Tune { key: name("max_ptes_none"), value };
    let mut forms = kernel_files();
    forms.extend([
        (
            "split A.x at 3 list order 2",
            KernelVerb::Split { region: x(), order: Some(2), at: Some(3), list: true },
        ),
        ("putback", KernelVerb::PutBack),
        ("drop_caches 1", KernelVerb::DropCaches(1)),
        ("drop_caches 2", KernelVerb::DropCaches(2)),
        ("drop_caches 3", KernelVerb::DropCaches(3)),
        ("split A.x", split(None, None)),
        ("split A.x order 2", split(Some(2), None)),
        ("split A.x at 100", split(None, Some(100))),
        ("split A.x order 2 at 100", split(Some(2), Some(100))),
        ("split A.x at 100 order 2", split(Some(2), Some(100))),
        ("migrate A.x[0] to 1", migrate(false)),
        ("migrate A.x[0] to 1 all", migrate(true)),
        ("migrate A.x to device", KernelVerb::Beyond(x(), Beyond::Device)),
        ("poison A.x", KernelVerb::Beyond(x(), Beyond::Poison)),
        ("uprobe A.x", KernelVerb::Beyond(x(), Beyond::Uprobe)),
        ("khugepaged A.x", KernelVerb::Khugepaged(x())),
        ("ksm 4", KernelVerb::Ksm(4)),
        ("swap on", KernelVerb::SwapOn(None)),
        ("swap on 16K", KernelVerb::SwapOn(Some(Size::Bytes(16 << 10)))),
        ("swap on pmd", KernelVerb::SwapOn(Some(Size::Pmds(1)))),
        ("swap off", KernelVerb::SwapOff),
        ("hugetlb 0", KernelVerb::Hugetlb(0)),
        ("tune max_ptes_none 511", tune(Value::Int(511))),
        ("tune max_ptes_none always", tune(Value::Text(name("always")))),
        ("tune max_ptes_none true", tune(Value::Bool(true))),
    ]);
    forms.extend(
        [("lru hold", Hold::Hold), ("lru auto", Hold::Auto), ("lru drain", Hold::Drain)]
            .map(|(text, hold)| (text, KernelVerb::Lru(hold))),
    );
    forms.extend([
        ("thp always", KernelVerb::Thp(ThpMode::Always)),
        ("thp madvise", KernelVerb::Thp(ThpMode::Madvise)),
        ("thp never", KernelVerb::Thp(ThpMode::Never)),
        ("mthp 64K always", KernelVerb::Mthp(size, MthpMode::Always)),
        ("mthp 64K madvise", KernelVerb::Mthp(size, MthpMode::Madvise)),
        ("mthp pmd inherit", KernelVerb::Mthp(Size::Pmds(1), MthpMode::Inherit)),
        ("mthp 16p never", KernelVerb::Mthp(Size::Pages(16), MthpMode::Never)),
        ("shmem_mthp 64K always", KernelVerb::ShmemMthp(size, ShmemMthpMode::Always)),
        ("shmem_mthp 64K inherit", KernelVerb::ShmemMthp(size, ShmemMthpMode::Inherit)),
        ("shmem_mthp 64K within_size", KernelVerb::ShmemMthp(size, ShmemMthpMode::WithinSize)),
        ("shmem_mthp 64K advise", KernelVerb::ShmemMthp(size, ShmemMthpMode::Advise)),
        ("shmem_mthp 64K never", KernelVerb::ShmemMthp(size, ShmemMthpMode::Never)),
    ]);
    forms
}

#[test]
fn every_form_of_every_process_verb() {
    let mut verbs = BTreeSet::new();
    for (text, verb) in process_verbs() {
        let step = only_step(&format!("A: {text}"));
        assert_eq!(step.action, Action::Process { name: name("A"), verb }, "{text}");
        assert_eq!(step.outcome, Outcome::Ok, "{text}");
        assert_eq!(*step.text, format!("A: {text}"), "{text}");
        verbs.extend(text.split(' ').next());
    }
    let all = "exit fill fork get madvise mlock mmap mprotect mremap munlock munmap pin put read reserve split_pmd unpin userfault write";
    assert_eq!(verbs.into_iter().collect::<Vec<_>>().join(" "), all);
    assert_eq!(Advice::ALL.len(), 12);
    for &advice in Advice::ALL {
        let verb = ProcessVerb::Madvise(own("x", Pages::All), advice);
        assert_eq!(
            only_step(&format!("A: madvise x {advice}")).action,
            Action::Process { name: name("A"), verb }
        );
    }
}

#[test]
fn every_form_of_every_kernel_verb() {
    let mut verbs = BTreeSet::new();
    for (text, verb) in kernel_verbs() {
        assert_eq!(only_step(&format!("kernel: {text}")).action, Action::Kernel(verb), "{text}");
        verbs.extend(text.split(' ').next());
    }
    let all = "drop_caches file hugetlb khugepaged ksm lru migrate mthp poison punch putback shmem_mthp split swap thp truncate tune uprobe";
    assert_eq!(verbs.into_iter().collect::<Vec<_>>().join(" "), all);
}

#[test]
fn every_outcome() {
    for (text, outcome) in
        [("", Outcome::Ok), ("=> ok", Outcome::Ok), ("=> any", Outcome::Any), ("=>any", Outcome::Any)]
    {
        assert_eq!(only_step(&format!("A: exit {text}")).outcome, outcome, "{text}");
    }
    assert_eq!(Errno::ALL.len(), 21);
    for &errno in Errno::ALL {
        let step = only_step(&format!("A: mmap x 2M ro => {errno}"));
        assert_eq!(step.outcome, Outcome::Errno(errno));
        assert_eq!(*step.text, *"A: mmap x 2M ro");
    }
}

#[test]
fn steps_know_where_they_stand() {
    let step = only_step("# é\n\tA :\tread  x[ 1 ]\t=> EFAULT # comment\n");
    assert_eq!(*step.text, *"A : read x[ 1 ]");
    let place = |span: mapcount_script::diagnostic::Span| (span.line, span.column, span.start, span.end);
    assert_eq!(place(step.span), (2, 2, 6, 22));
    assert_eq!(place(step.outcome_span), (2, 22, 26, 32));
    let Action::Process { name, verb: ProcessVerb::Read(region) } = step.action else {
        panic!("{:?}", step.action)
    };
    assert_eq!(place(name.span), (2, 2, 6, 7));
    assert_eq!(place(region.span), (2, 12, 16, 22));
    assert_eq!(place(only_step("A: exit  # no outcome").outcome_span), (1, 8, 7, 7));
}

#[test]
fn directives_stand_before_the_first_step() {
    let scenario = read(
        "nodes 2\n\n# comment\n  kernels 6.8..,double-map\npmd_order 4 # small\nexpect system.anon_mapped == 0\ntitle \"a \\\"b\\\" \\\\ # é\"\nA: mmap x pmd\n",
    );
    assert_eq!(scenario.title.as_deref(), Some("a \"b\" \\ # é"));
    assert_eq!((scenario.nodes, scenario.pmd_order), (2, 4));
    assert_eq!(scenario.kernels.expect("there are some").to_string(), "6.8.., double-map");
    assert_eq!(scenario.items.len(), 2);
    assert_eq!(read(""), Scenario { title: None, pmd_order: 9, kernels: None, nodes: 1, items: vec![] });
}

#[test]
fn every_form_of_a_kernel_set() {
    let range = |from: &str, to: &str| {
        KernelAlternative::Releases(ReleaseRange { from: Release::parse(from), to: Release::parse(to) })
    };
    for (text, alternative) in [
        ("5.10", range("5.10", "5.10")),
        ("2.6.38", range("2.6.38", "2.6.38")),
        ("4.5..6.1", range("4.5", "6.1")),
        ("2.6.38..4.4", range("2.6.38", "4.4")),
        ("6.15..", range("6.15", "")),
        ("..4.4", range("", "4.4")),
        ("double-map", KernelAlternative::Scheme(name("double-map"))),
        (
            "7.2-no-page-mapcount",
            KernelAlternative::Kconfig { series: Release::new(7, 2, 0), kconfig: name("no-page-mapcount") },
        ),
    ] {
        let set = KernelSet { alternatives: vec![alternative.clone()] };
        assert_eq!(read(&format!("kernels {text}")).kernels, Some(set), "{text}");
        let two =
            only_expect(&format!("expect[ {text}, mm-id ] A.rss_kb == 0")).kernels.expect("there is one");
        assert_eq!(two.alternatives, [alternative, KernelAlternative::Scheme(name("mm-id"))], "{text}");
    }
}

#[test]
fn a_kernel_set_holds_what_one_of_its_alternatives_holds() {
    let set = read("kernels ..4.4, 5.10, mm-id, 7.2-no-page-mapcount").kernels.expect("there is one");
    for (release, kconfig, scheme, expected) in [
        ("2.6.38", None, "refcount", true),
        ("4.5", None, "double-map", false),
        ("5.10.200", None, "double-map", true),
        ("6.15", None, "mm-id", true),
        ("6.15", None, "other", false),
        ("7.2.13", Some("no-page-mapcount"), "other", true),
        ("7.2", None, "other", false),
        ("7.3", Some("no-page-mapcount"), "other", false),
    ] {
        let release = Release::parse(release).expect("it is one");
        assert_eq!(set.contains(release, kconfig, scheme), expected, "{release} {kconfig:?} {scheme}");
    }
}

#[test]
fn every_form_of_an_expectation() {
    let field = |text, index| FieldName { name: name(text), index };
    let page = |text, index| Path::Page {
        process: name("A"),
        mapping: name("x"),
        page: 5,
        field: field(text, index),
    };
    for (text, path, op, value) in [
        ("A.x[5].refcount == 3", page("refcount", None), Comparison::Eq, Value::Int(3)),
        ("A.x[5].refcount != -1", page("refcount", None), Comparison::Ne, Value::Int(-1)),
        ("A.x[5].refcount < 0x800000", page("refcount", None), Comparison::Lt, Value::Int(0x80_0000)),
        (
            "A.x[5].refcount<=9223372036854775807",
            page("refcount", None),
            Comparison::Le,
            Value::Int(i64::MAX),
        ),
        (
            "A.x[5].refcount > -9223372036854775808",
            page("refcount", None),
            Comparison::Gt,
            Value::Int(i64::MIN),
        ),
        ("A.x[5].refcount >= 0", page("refcount", None), Comparison::Ge, Value::Int(0)),
        ("A.x[5].deferred == true", page("deferred", None), Comparison::Eq, Value::Bool(true)),
        ("A.x[5].deferred == false", page("deferred", None), Comparison::Eq, Value::Bool(false)),
        ("A.x[5].kind == anon", page("kind", None), Comparison::Eq, Value::Text(name("anon"))),
        ("A.x[5].mm_ids[0] == A", page("mm_ids", Some(0)), Comparison::Eq, Value::Text(name("A"))),
        ("A.x[5].mm_ids[1] == null", page("mm_ids", Some(1)), Comparison::Eq, Value::Null),
        (
            "A.x.rss_kb == 1",
            Path::Mapping { process: name("A"), mapping: name("x"), field: field("rss_kb", None) },
            Comparison::Eq,
            Value::Int(1),
        ),
        (
            "A.rss_kb == 1",
            Path::Process { process: name("A"), field: field("rss_kb", None) },
            Comparison::Eq,
            Value::Int(1),
        ),
        (
            "system.anon_thps == 1",
            Path::System { field: field("anon_thps", None) },
            Comparison::Eq,
            Value::Int(1),
        ),
    ] {
        let expect = only_expect(&format!("expect  {text} # comment"));
        assert_eq!((&expect.path, expect.op, &expect.value), (&path, op, &value), "{text}");
        assert_eq!(*expect.text, format!("expect {text}"));
        assert_eq!(expect.span.end - expect.span.start, 8 + text.len() as u32, "{text}");
        let source = format!("expect  {text}");
        let written =
            |span: mapcount_script::diagnostic::Span| &source[span.start as usize..span.end as usize];
        assert!(text.ends_with(written(expect.value_span)), "{text}");
        assert!(text.ends_with(&format!("{}", expect.value)) || text.contains("0x"), "{text}");
        assert!(
            path.field().name.as_str().ends_with(written(path.field().name.span))
                || written(expect.path.span()).starts_with(['A', 'a']),
            "{text}"
        );
    }
}

#[test]
fn sizes_in_pages() {
    for (size, order, expected) in [
        (Size::Bytes(4096), 9, Some(1)),
        (Size::Bytes(4097), 9, None),
        (Size::Bytes(0), 9, None),
        (Size::Bytes(u64::MAX), 9, None),
        (Size::Pages(1), 9, Some(1)),
        (Size::Pages(0), 9, None),
        (Size::Pages((1 << 52) - 1), 9, Some((1 << 52) - 1)),
        (Size::Pages(1 << 52), 9, None),
        (Size::Pmds(2), 9, Some(1024)),
        (Size::Pmds(2), 4, Some(32)),
        (Size::Pmds(u64::MAX), 1, None),
        (Size::Pmds(1), 200, None),
    ] {
        assert_eq!(size.pages(order), expected, "{size:?} {order}");
    }
    assert_eq!(Size::Pages(0).pages_or_zero(9), Some(0));
}

#[test]
fn regions_in_pages() {
    assert_eq!(Pages::All.of(8), 0..8);
    assert_eq!(Pages::One(3).of(8), 3..4);
    assert_eq!(Pages::Range { start: 2, end: Some(5) }.of(8), 2..5);
    assert_eq!(Pages::Range { start: 2, end: None }.of(8), 2..8);
    assert!(Pages::Range { start: 9, end: None }.of(8).is_empty());
}

#[test]
fn comparisons() {
    let results = |left, right| Comparison::ALL.iter().map(|op| op.holds(left, right)).collect::<Vec<_>>();
    // == != <= < >= >
    assert_eq!(results(1, 1), [true, false, true, false, true, false]);
    assert_eq!(results(1, 2), [false, true, true, true, false, false]);
    assert_eq!(results(2, 1), [false, true, false, false, true, true]);
}
