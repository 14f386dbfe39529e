//! Whatever a scenario says survives being printed and read; nothing that is read breaks the reader.

use mapcount_model::release::{Release, ReleaseRange};
use mapcount_script::ast::fields::{self, FieldWord};
use mapcount_script::ast::{
    Action, Backing, Comparison, Expect, FieldName, FileKind, Huge, Item, KernelAlternative, KernelSet,
    KernelVerb, MAX_PAGES, Name, Outcome, Pages, Path, ProcessVerb, Region, Scenario, Size, Step, Value,
    Word,
};
use mapcount_script::diagnostic::Span;
use mapcount_script::parse::parse;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{
    BoxedStrategy, Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::sample::{Index, select};

use crate::scenarios::recorded;
use crate::tree::forget_places;

fn names() -> impl Strategy<Value = Name> + Clone {
    // Not the name of a process or of a value that means something else.
    "[A-Za-z_][A-Za-z0-9_]{0,6}"
        .prop_filter("reserved", |name| {
            !["kernel", "system", "true", "false", "null"].contains(&name.as_str())
        })
        .prop_map(|name| Name::new(&name))
}

fn word<W: Word + std::fmt::Debug>() -> impl Strategy<Value = W> + Clone {
    select(W::ALL)
}

/// Sizes that every PMD order allows.
fn sizes() -> impl Strategy<Value = Size> + Clone {
    let small = 1u64..10_000;
    prop_oneof![
        small.clone().prop_map(|pages| Size::Bytes(pages << 12)),
        (1..MAX_PAGES).prop_map(|pages| Size::Bytes(pages << 12)),
        small.clone().prop_map(|n| Size::Bytes(n << 20)),
        small.clone().prop_map(|n| Size::Bytes(n << 30)),
        (1..MAX_PAGES).prop_map(Size::Pages),
        small.prop_map(Size::Pmds),
        (1..MAX_PAGES >> 9).prop_map(Size::Pmds),
    ]
}

fn folio_sizes() -> impl Strategy<Value = Size> {
    prop_oneof![
        (12u32..40).prop_map(|shift| Size::Bytes(1 << shift)),
        (0u32..20).prop_map(|shift| Size::Pages(1 << shift)),
        (0u32..20).prop_map(|shift| Size::Pmds(1 << shift)),
    ]
}

fn page_numbers() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![0u64..600, 0..MAX_PAGES]
}

fn ranges() -> impl Strategy<Value = (u64, u64)> {
    (page_numbers(), 1u64..1000).prop_map(|(start, len)| (start, (start + len).min(MAX_PAGES)))
}

fn pages() -> impl Strategy<Value = Pages> {
    prop_oneof![
        Just(Pages::All),
        page_numbers().prop_map(Pages::One),
        ranges().prop_map(|(start, end)| Pages::Range { start, end: Some(end) }),
        page_numbers().prop_map(|start| Pages::Range { start, end: None }),
    ]
}

fn own_regions() -> BoxedStrategy<Region> {
    (names(), pages())
        .prop_map(|(mapping, pages)| Region { process: None, mapping, pages, span: Span::NOWHERE })
        .boxed()
}

fn foreign_regions() -> BoxedStrategy<Region> {
    (names(), own_regions()).prop_map(|(process, region)| Region { process: Some(process), ..region }).boxed()
}

fn mmaps() -> impl Strategy<Value = ProcessVerb> {
    let backing = prop_oneof![
        Just(Backing::Anon),
        Just(Backing::Hugetlb),
        word().prop_map(Backing::Dax),
        (names(), page_numbers()).prop_map(|(file, from_page)| Backing::File { file, from_page }),
        names().prop_map(|file| Backing::File { file, from_page: 0 }),
    ];
    (names(), sizes(), backing, any::<bool>(), option::of(word()), any::<bool>()).prop_map(
        |(name, size, backing, shared, advice, read_only)| {
            let advice = advice.filter(|_| backing != Backing::Hugetlb);
            ProcessVerb::Mmap { name, size, backing, shared, advice, read_only }
        },
    )
}

fn process_verbs() -> impl Strategy<Value = ProcessVerb> {
    let region = own_regions;
    prop_oneof![
        4 => mmaps(),
        1 => (names(), sizes()).prop_map(|(name, size)| ProcessVerb::Reserve { name, size }),
        1 => region().prop_map(ProcessVerb::Read),
        1 => region().prop_map(ProcessVerb::Write),
        1 => (region(), any::<u8>()).prop_map(|(region, byte)| ProcessVerb::Fill(region, byte)),
        1 => region().prop_map(ProcessVerb::Munmap),
        1 => (region(), word()).prop_map(|(region, protection)| ProcessVerb::Mprotect(region, protection)),
        1 => region().prop_map(ProcessVerb::Mlock),
        1 => region().prop_map(ProcessVerb::Munlock),
        1 => (region(), names(), page_numbers())
            .prop_map(|(from, to, page)| ProcessVerb::Mremap { from, to, page }),
        2 => (region(), word()).prop_map(|(region, advice)| ProcessVerb::Madvise(region, advice)),
        1 => names().prop_map(ProcessVerb::Fork),
        1 => Just(ProcessVerb::Exit),
        1 => region().prop_map(ProcessVerb::Get),
        1 => region().prop_map(ProcessVerb::Put),
        1 => region().prop_map(ProcessVerb::Pin),
        1 => region().prop_map(ProcessVerb::Unpin),
        1 => region().prop_map(ProcessVerb::SplitPmd),
        1 => (region(), word()).prop_map(|(region, action)| ProcessVerb::Userfault(region, action)),
    ]
}

fn files() -> impl Strategy<Value = KernelVerb> {
    (names(), sizes(), word(), option::of(word::<Huge>())).prop_map(|(name, size, kind, huge)| {
        let huge = huge.filter(|_| !matches!(kind, FileKind::Ext4 | FileKind::Xfs | FileKind::FsDax));
        KernelVerb::File { name, size, kind, huge }
    })
}

fn kernel_verbs() -> impl Strategy<Value = KernelVerb> {
    let region = foreign_regions;
    let truncated = prop_oneof![3 => sizes(), 1 => Just(Size::Bytes(0)), 1 => Just(Size::Pages(0)), 1 => Just(Size::Pmds(0))];
    prop_oneof![
        3 => files(),
        1 => (names(), truncated).prop_map(|(file, size)| KernelVerb::Truncate { file, size }),
        1 => (names(), ranges()).prop_map(|(file, (start, end))| KernelVerb::Punch { file, start, end }),
        1 => (1u8..=3).prop_map(KernelVerb::DropCaches),
        3 => (region(), option::of(0u8..=9), option::of(page_numbers()), any::<bool>())
            .prop_map(|(region, order, at, list)| KernelVerb::Split { region, order, at, list }),
        1 => Just(KernelVerb::PutBack),
        2 => (region(), 0u32..1024, any::<bool>())
            .prop_map(|(region, node, all)| KernelVerb::Migrate { region, node, all }),
        1 => region().prop_map(KernelVerb::Khugepaged),
        1 => (region(), word()).prop_map(|(region, what)| KernelVerb::Beyond(region, what)),
        1 => (1..=u32::MAX).prop_map(KernelVerb::Ksm),
        1 => option::of(sizes()).prop_map(KernelVerb::SwapOn),
        1 => Just(KernelVerb::SwapOff),
        1 => any::<u32>().prop_map(KernelVerb::Hugetlb),
        1 => word().prop_map(KernelVerb::Thp),
        1 => (folio_sizes(), word()).prop_map(|(size, mode)| KernelVerb::Mthp(size, mode)),
        1 => (folio_sizes(), word()).prop_map(|(size, mode)| KernelVerb::ShmemMthp(size, mode)),
        2 => (names(), values()).prop_map(|(key, value)| KernelVerb::Tune { key, value }),
        1 => word().prop_map(KernelVerb::Lru),
    ]
}

fn steps() -> impl Strategy<Value = Item> {
    let process = (names(), process_verbs())
        .prop_filter(
            "its own child",
            |(name, verb)| !matches!(verb, ProcessVerb::Fork(child) if child == name),
        )
        .prop_map(|(name, verb)| Action::Process { name, verb });
    let action = prop_oneof![process, kernel_verbs().prop_map(Action::Kernel)];
    let outcome = prop_oneof![Just(Outcome::Ok), Just(Outcome::Any), word().prop_map(Outcome::Errno)];
    (action, outcome).prop_map(|(action, outcome)| {
        let text = action.to_string().into();
        Item::Step(Step { span: Span::NOWHERE, text, action, outcome, outcome_span: Span::NOWHERE })
    })
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-600i64..600).prop_map(Value::Int),
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
        names().prop_map(Value::Text),
    ]
}

fn field_of(fields: Vec<FieldWord>) -> impl Strategy<Value = FieldName> {
    (select(fields), any::<Index>()).prop_map(|(field, index)| FieldName {
        name: Name::new(field.name),
        index: field
            .elements
            .map(|elements| u32::try_from(index.index(elements as usize)).expect("few elements")),
    })
}

fn paths() -> impl Strategy<Value = Path> {
    let smaps = || field_of(fields::SMAPS.to_vec());
    prop_oneof![
        3 => (names(), names(), page_numbers(), field_of(fields::page().collect()))
            .prop_map(|(process, mapping, page, field)| Path::Page { process, mapping, page, field }),
        1 => (names(), names(), smaps()).prop_map(|(process, mapping, field)| Path::Mapping { process, mapping, field }),
        1 => (names(), smaps()).prop_map(|(process, field)| Path::Process { process, field }),
        1 => field_of(fields::system().collect()).prop_map(|field| Path::System { field }),
    ]
}

fn expectations() -> impl Strategy<Value = Item> {
    (option::of(kernel_sets()), paths(), word::<Comparison>(), values(), any::<i64>()).prop_map(
        |(kernels, path, op, value, number)| {
            let value = if op.is_ordered() { Value::Int(number) } else { value };
            let (span, value_span) = (Span::NOWHERE, Span::NOWHERE);
            let mut expect = Expect { span, text: "".into(), kernels, path, op, value, value_span };
            expect.text = expect.to_string().into();
            Item::Expect(expect)
        },
    )
}

fn kernel_sets() -> impl Strategy<Value = KernelSet> {
    let series = || {
        prop_oneof![
            (3u16..10, any::<u16>()).prop_map(|(major, minor)| Release::new(major, minor, 0)),
            (0u16..60).prop_map(|patch| Release::new(2, 6, patch)),
        ]
    };
    let id = || "[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,4}){0,2}".prop_map(|id| Name::new(&id));
    let range = |from, to| KernelAlternative::Releases(ReleaseRange { from, to });
    let alternative = prop_oneof![
        (series(), series()).prop_map(move |(a, b)| range(Some(a.min(b)), Some(a.max(b)))),
        series().prop_map(move |a| range(Some(a), Some(a))),
        series().prop_map(move |a| range(Some(a), None)),
        series().prop_map(move |a| range(None, Some(a))),
        (series(), id()).prop_map(|(series, kconfig)| KernelAlternative::Kconfig { series, kconfig }),
        id().prop_map(KernelAlternative::Scheme),
    ];
    vec(alternative, 1..4).prop_map(|alternatives| KernelSet { alternatives })
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let title = option::of("[ -~äß…\\\\\"#]{0,20}");
    let items = vec(prop_oneof![3 => steps(), 1 => expectations()], 0..20);
    (title, 1u8..=9, option::of(kernel_sets()), 1u32..=1024, items).prop_map(
        |(title, pmd_order, kernels, nodes, items)| Scenario { title, pmd_order, kernels, nodes, items },
    )
}

/// A change of a file that somebody might make by mistake, or to break the reader.
#[derive(Clone, Debug)]
enum Change {
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Repeat(Index, usize),
    Flip(Index, u8),
}

fn changes() -> impl Strategy<Value = Change> {
    const PIECES: &[&str] = &[
        " ", "\n", "\r", "\t", "#", "\"", "\\", "[", "]", "..", ".", "=>", "==", "-", ":", "A", "0", "é",
        "\u{feff}", "pmd",
    ];
    prop_oneof![
        (any::<Index>(), 1usize..8).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<Index>(), select(PIECES)).prop_map(|(at, piece)| Change::Insert(at, piece.into())),
        (any::<Index>(), vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), 1usize..40).prop_map(|(at, length)| Change::Repeat(at, length)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
    ]
}

fn change(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match change {
        Change::Remove(at, count) => {
            let at = at.index(length);
            bytes.drain(at..(at + count).min(length));
        }
        Change::Insert(at, piece) => {
            let at = at.index(length);
            bytes.splice(at..at, piece.iter().copied());
        }
        Change::Repeat(at, count) => {
            let at = at.index(length);
            bytes.extend_from_within(at..(at + count).min(length));
        }
        Change::Flip(at, byte) => bytes[at.index(length)] ^= byte,
    }
}

/// Whatever comes of it, it can be shown, and points into the file.
fn reads_without_panic(bytes: &[u8]) -> Result<(), proptest::test_runner::TestCaseError> {
    match parse(bytes) {
        Ok(scenario) => {
            let mut scenario = scenario;
            let mut again = parse(scenario.to_string().as_bytes()).expect("the canonical form parses");
            forget_places(&mut scenario);
            forget_places(&mut again);
            prop_assert_eq!(again, scenario);
        }
        Err(errors) => {
            prop_assert!(!errors.shown.is_empty());
            for error in &errors.shown {
                let span = error.span;
                prop_assert!(span.line > 0 && span.column > 0, "{error}");
                prop_assert!(span.start <= span.end && span.end as usize <= bytes.len(), "{error}");
                let before = &bytes[..span.start as usize];
                let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
                prop_assert_eq!(line, span.line as usize, "{}", error);
                let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                let text = String::from_utf8_lossy(&before[start..]);
                let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { &text };
                prop_assert_eq!(text.chars().count() + 1, span.column as usize, "{}", error);
            }
            let rendered = errors.render("a.mc", bytes, false);
            let first = errors.shown[0].span;
            let place = format!("--> a.mc:{}:{}", first.line, first.column);
            prop_assert!(rendered.contains(&place), "{}", rendered);
            errors.render("a.mc", bytes, true);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_as_the_same(scenario in scenarios()) {
        let text = scenario.to_string();
        let mut again = parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{}", errors.render("printed", text.as_bytes(), false)));
        for item in &again.items {
            if let Item::Step(step) = item {
                prop_assert_eq!(&*step.text, step.action.to_string());
            }
        }
        forget_places(&mut again);
        prop_assert_eq!(again, scenario);
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        reads_without_panic(&bytes)?;
    }

    #[test]
    fn arbitrary_text_is_read_or_refused(text in "([ABkx.:=>#\"\\[\\]0-9 \t\r\n]|\\PC|expect|kernel: |A: |mmap |split |title ){0,60}") {
        reads_without_panic(text.as_bytes())?;
    }

    #[test]
    fn damaged_scenarios_are_read_or_refused(which in any::<Index>(), changes in vec(changes(), 1..6)) {
        let mut scenarios = recorded();
        let (_, mut bytes) = scenarios.swap_remove(which.index(scenarios.len()));
        for one in &changes {
            change(&mut bytes, one);
        }
        reads_without_panic(&bytes)?;
    }
}
