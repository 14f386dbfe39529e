//! The running system in a terminal: processes, into a process its mappings, into a mapping its folios, into a folio its
//! words and references.

mod draw;
mod state;

use std::io;
use std::time::Duration;

use mapcount_kernel::inspect::procs::{self, Process};
use mapcount_kernel::inspect::{Inspector, Mapping, Piece, Usage, View as Folio};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};

pub use state::{Key, State};

/// Where a view gets what it shows.
pub trait Looker {
    /// The processes, each with what it uses.
    ///
    /// # Errors
    /// Why they cannot be looked at.
    fn processes(&mut self) -> Result<Vec<(Process, Usage)>, String>;

    /// The mappings of a process that have pages.
    ///
    /// # Errors
    /// Why they cannot be looked at.
    fn mappings(&mut self, process: &Process) -> Result<Vec<Mapping>, String>;

    /// The pieces of a mapping.
    ///
    /// # Errors
    /// Why they cannot be looked at.
    fn pieces(&mut self, mapping: &Mapping) -> Result<Vec<Piece>, String>;

    /// The folio of a frame, with those who map it.
    ///
    /// # Errors
    /// Why it cannot be looked at.
    fn folio(&mut self, frame: u64) -> Result<Folio, String>;
}

impl Looker for Inspector {
    fn processes(&mut self) -> Result<Vec<(Process, Usage)>, String> {
        let all = procs::processes().map_err(|missing| missing.to_string())?;
        let found = Inspector::processes(self, &all, &[]).map_err(|missing| missing.to_string())?;
        Ok(found.used)
    }

    fn mappings(&mut self, process: &Process) -> Result<Vec<Mapping>, String> {
        let found = Inspector::mappings(self, process).map_err(|missing| missing.to_string())?;
        let found = found.map_err(|_| format!("process {} is gone or cannot be read", process.pid))?;
        Ok(found.into_iter().filter(|mapping| !mapping.extents.is_empty()).collect())
    }

    fn pieces(&mut self, mapping: &Mapping) -> Result<Vec<Piece>, String> {
        Inspector::pieces(self, mapping).map_err(|missing| missing.to_string())
    }

    fn folio(&mut self, frame: u64) -> Result<Folio, String> {
        let all = procs::processes().map_err(|missing| missing.to_string())?;
        let found = Inspector::folio(self, frame, &all).map_err(|missing| missing.to_string())?;
        found.ok_or_else(|| format!("there is no frame {frame:#x}"))
    }
}

/// Draws a state.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    draw::draw(state, frame);
}

/// Shows the view in this terminal until the user leaves; looks again every `refresh`, if that is asked for.
///
/// # Errors
/// If the terminal cannot be used.
pub fn run(looker: &mut dyn Looker, refresh: Option<Duration>) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, looker, refresh);
    ratatui::restore();
    shown
}

fn show(
    terminal: &mut DefaultTerminal,
    looker: &mut dyn Looker,
    refresh: Option<Duration>,
) -> io::Result<()> {
    let mut state = State::new(looker);
    while !state.is_left() {
        terminal.draw(|frame| draw::draw(&state, frame))?;
        if !event::poll(refresh.unwrap_or(Duration::from_secs(3600)))? {
            if refresh.is_some() {
                state.press(Key::Refresh, looker);
            }
            continue;
        }
        if let Event::Key(pressed) = event::read()?
            && pressed.kind == KeyEventKind::Press
            && let Some(key) = key(pressed.code, pressed.modifiers)
        {
            state.press(key, looker);
        }
    }
    Ok(())
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
    Some(match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Key::Leave,
        KeyCode::Char('q') => Key::Leave,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('r') => Key::Refresh,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::Left | KeyCode::Char('h') => Key::Left,
        KeyCode::Right | KeyCode::Char('l') => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc | KeyCode::Backspace => Key::Back,
        _ => return None,
    })
}
