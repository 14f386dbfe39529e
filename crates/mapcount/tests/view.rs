//! The terminal view, driven by keys on a screen of 80 columns and 24 lines, with processes that are made up and, as root,
//! with those of this machine.

use mapcount::view::{Key, Looker, State, draw};
use mapcount_kernel::inspect::procs::Process;
use mapcount_kernel::inspect::{
    By, Extent, Head, Inspector, Look, Mapper, Mapping, Piece, Usage, Use, View as Folio, maps::Area,
};
use mapcount_kernel::observer::Choice;
use mapcount_kernel::require;
use mapcount_model::field::Field;
use mapcount_model::query::Answer;
use mapcount_model::verdict::{Reason, References, State as Facts, Verdict};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

/// Two processes; the second one holds a half-mapped THP with a pin, beside others.
#[derive(Default)]
struct MadeUp {
    gone: bool,
    /// Pages that a third process holds, which was not there before.
    newcomer: Option<u64>,
}

fn process(pid: u32, comm: &str) -> Process {
    Process { pid, parent: 1, comm: comm.to_owned() }
}

fn usage(anon: u64, held: u64) -> Usage {
    let mut usage = Usage::default();
    usage.anon = anon;
    usage.held = held;
    usage
}

fn extent(page: u64, frame: u64, pages: u32, by: By) -> Extent {
    Extent { page, frame, pages, owner: 0, by }
}

impl Looker for MadeUp {
    fn processes(&mut self) -> Result<Vec<(Process, Usage)>, String> {
        let mut all =
            vec![(process(7, "large"), usage(100_000, 0)), (process(42, "wasteful"), usage(2000, 256))];
        all.extend(self.newcomer.map(|held| (process(99, "newcomer"), usage(3000, held))));
        Ok(all)
    }

    fn mappings(&mut self, process: &Process) -> Result<Vec<Mapping>, String> {
        if self.gone {
            return Err(format!("process {} is gone or cannot be read", process.pid));
        }
        let area = |start, name: &str| Area {
            start,
            end: start + 2048,
            access: "rw-p".to_owned(),
            name: name.to_owned(),
        };
        Ok(vec![
            Mapping { area: area(0x100, "[heap]"), usage: usage(500, 0), extents: Vec::new() },
            Mapping { area: area(0x8_0000, ""), usage: usage(1500, 256), extents: Vec::new() },
        ])
    }

    fn pieces(&mut self, _mapping: &Mapping) -> Result<Vec<Piece>, String> {
        let piece = |page, frame, pages, order, by, look| Piece {
            extent: extent(page, frame, pages, by),
            first: frame,
            order,
            look,
        };
        let mut pieces = vec![
            piece(0x8_0000, 0x1000, 512, 9, By::Pmd, Look::Pmd),
            piece(0x8_0200, 0x1200, 256, 9, By::Pte, Look::Pinned),
        ];
        pieces.extend((0..100).map(|n| piece(0x8_0400 + n, 0x2000 + n, 1, 0, By::Pte, Look::Pte)));
        Ok(pieces)
    }

    fn folio(&mut self, frame: u64) -> Result<Folio, String> {
        let no = Verdict { can: Some(false), why: Reason::Pinned };
        Ok(Folio {
            frame,
            first: frame,
            head: Head { used: Use::Anon, order: 9, flags: 0, state: Facts::default() },
            flags: vec!["PG_lru", "PG_swapbacked"],
            words: vec![vec![0x17; 8]; 4],
            fields: vec![(Field::Refcount, 257), (Field::Pincount, 1)],
            mapcounts: vec![(256, Answer::Exact(1)), (256, Answer::Exact(0))],
            answers: Vec::new(),
            mapped_pages: Answer::Exact(256),
            references: Some(References {
                all: 257,
                mappings: 256,
                pagecache: 0,
                swapcache: 0,
                private: 0,
                pins: Answer::Exact(1),
                pinned: 1,
                rest: 0,
            }),
            holder: None,
            split: Some(no),
            migrate: Some(no),
            reuse: Some([no, no]),
            mappers: vec![Mapper {
                process: process(42, "wasteful"),
                extent: extent(0x8_0200, frame, 256, By::Pte),
            }],
            cgroup: None,
            readings: 2,
            stable: true,
        })
    }
}

fn screen(state: &State) -> String {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a screen");
    terminal.draw(|frame| draw(state, frame)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..24).map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn keys_lead_from_processes_to_a_folio_and_back() {
    let mut looker = MadeUp::default();
    let mut state = State::new(&mut looker);
    let text = screen(&state);
    assert!(text.starts_with("2 processes, by waste\n"), "{text}");
    let place = |text: &str, word: &str| text.find(word).unwrap_or_else(|| panic!("{word} in\n{text}"));
    assert!(place(&text, "wasteful") < place(&text, "large"));
    assert!(text.ends_with("q quit"), "{text}");

    state.press(Key::Sort, &mut looker);
    let text = screen(&state);
    assert!(place(&text, "large") < place(&text, "wasteful"));
    state.press(Key::Sort, &mut looker);

    state.press(Key::Enter, &mut looker);
    let text = screen(&state);
    assert!(text.starts_with("42 wasteful: 2 mappings, by waste\n"), "{text}");
    assert!(place(&text, "0x80000000") < place(&text, "[heap]"));

    state.press(Key::Enter, &mut looker);
    state.press(Key::Right, &mut looker);
    let text = screen(&state);
    assert!(text.starts_with("42 wasteful, 0x80000000: 102 folios, a sign each\n"), "{text}");
    assert!(text.contains("█!▪▪▪"), "{text}");
    assert!(text.contains("0x80200000: 256 of 512 pages, order 9, by PTEs, frame 0x1200"), "{text}");

    state.press(Key::Enter, &mut looker);
    let text = screen(&state);
    for words in [
        "references 257 = mappings 256",
        "+ pins 1 (1) + rest 0",
        "can be split    no: it is pinned",
        "mapped by 42 wasteful at 0x80200000: 256 pages, PTEs",
        "page 0 w0  0000000000000017",
    ] {
        place(&text, words);
    }
    for _ in 0..3 {
        state.press(Key::Back, &mut looker);
    }
    assert!(screen(&state).starts_with("2 processes"));
    state.press(Key::Leave, &mut looker);
    assert!(state.is_left());
}

#[test]
fn what_is_chosen_stays_so_when_others_come() {
    let mut looker = MadeUp::default();
    let mut state = State::new(&mut looker);
    state.press(Key::Down, &mut looker);
    looker.newcomer = Some(512);
    state.press(Key::Refresh, &mut looker);
    assert!(screen(&state).starts_with("3 processes, by waste"));
    state.press(Key::Enter, &mut looker);
    assert!(screen(&state).starts_with("7 large: "), "{}", screen(&state));
    // At the top one stays at the top.
    state.press(Key::Back, &mut looker);
    state.press(Key::PageUp, &mut looker);
    looker.newcomer = None;
    state.press(Key::Refresh, &mut looker);
    state.press(Key::Enter, &mut looker);
    assert!(screen(&state).starts_with("42 wasteful: "), "{}", screen(&state));
}

#[test]
fn the_bottom_line_is_a_bar_as_wide_as_the_screen() {
    let state = State::new(&mut MadeUp::default());
    for (width, height) in [(80, 24), (120, 40)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        terminal.draw(|frame| draw(&state, frame)).expect("drawn");
        let buffer = terminal.backend().buffer();
        for x in 0..width {
            assert!(buffer[(x, height - 1)].modifier.contains(ratatui::style::Modifier::REVERSED));
            assert!(!buffer[(x, height - 2)].modifier.contains(ratatui::style::Modifier::REVERSED));
        }
    }
}

#[test]
fn no_key_leads_beyond_an_end() {
    let mut looker = MadeUp::default();
    let mut state = State::new(&mut looker);
    let keys = [
        Key::Up,
        Key::PageUp,
        Key::Left,
        Key::Down,
        Key::PageDown,
        Key::Right,
        Key::Enter,
        Key::Refresh,
        Key::Back,
    ];
    // Every key at every level, many times over.
    for n in 0..2000usize {
        state.press(keys[(n * 7 + n / 5) % keys.len()], &mut looker);
        assert_eq!(screen(&state).lines().count(), 24);
    }
}

#[test]
fn a_process_that_is_gone_is_said_at_the_bottom() {
    let mut looker = MadeUp { gone: true, ..MadeUp::default() };
    let mut state = State::new(&mut looker);
    state.press(Key::Enter, &mut looker);
    let text = screen(&state);
    assert!(text.starts_with("2 processes"), "{text}");
    assert!(text.ends_with("process 42 is gone or cannot be read"), "{text}");
}

#[test]
fn the_running_system_can_be_walked_through() {
    let Some(mut inspector) = require::or_skip("view", Inspector::open(Choice::Auto, false)) else { return };
    let mut state = State::new(&mut inspector);
    assert!(screen(&state).contains("processes, by waste"));
    for words in ["mappings, by waste", "folios", "references"] {
        state.press(Key::Enter, &mut inspector);
        let text = screen(&state);
        // A process may end while it is looked at; then the last line says so.
        assert!(text.contains(words) || text.contains("is gone"), "{text}");
    }
}
