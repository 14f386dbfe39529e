//! What a view shows and what keys do to it, without a terminal.

use mapcount_kernel::inspect::procs::Process;
use mapcount_kernel::inspect::{Mapping, Piece, Usage, View as Folio};

use super::Looker;

/// What a user can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// One folio back.
    Left,
    /// One folio on.
    Right,
    /// Many lines up.
    PageUp,
    /// Many lines down.
    PageDown,
    /// Into what is chosen.
    Enter,
    /// Back to where that was chosen.
    Back,
    /// By waste or by size.
    Sort,
    /// Look again.
    Refresh,
    /// End.
    Leave,
}

/// Lines that a page of keys moves by.
const PAGE: usize = 15;

/// Folios in a line of the map.
pub(super) const ACROSS: usize = 64;

/// What is on the screen; each level is inside of the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Level {
    Processes,
    Mappings,
    Folios,
    Folio,
}

/// A view.
pub struct State {
    pub(super) level: Level,
    pub(super) processes: Vec<(Process, Usage)>,
    pub(super) mappings: Vec<Mapping>,
    pub(super) pieces: Vec<Piece>,
    pub(super) folio: Option<Folio>,
    /// What is chosen on each level; on the last one the first line that is shown.
    chosen: [usize; 4],
    pub(super) by_size: bool,
    /// Why something could not be shown.
    pub(super) trouble: Option<String>,
    left: bool,
}

impl State {
    /// The processes.
    pub fn new(looker: &mut dyn Looker) -> State {
        let mut state = State {
            level: Level::Processes,
            processes: Vec::new(),
            mappings: Vec::new(),
            pieces: Vec::new(),
            folio: None,
            chosen: [0; 4],
            by_size: false,
            trouble: None,
            left: false,
        };
        state.look(looker);
        state
    }

    /// Whether the user has left.
    pub const fn is_left(&self) -> bool {
        self.left
    }

    /// What is chosen on the level that is shown.
    pub(super) fn at(&self) -> usize {
        self.chosen[self.level as usize]
    }

    /// The process that is, or was, chosen.
    pub(super) fn process(&self) -> Option<&(Process, Usage)> {
        self.processes.get(self.chosen[Level::Processes as usize])
    }

    /// The mapping that is, or was, chosen.
    pub(super) fn mapping(&self) -> Option<&Mapping> {
        self.mappings.get(self.chosen[Level::Mappings as usize])
    }

    fn lines(&self) -> usize {
        match self.level {
            Level::Processes => self.processes.len(),
            Level::Mappings => self.mappings.len(),
            Level::Folios => self.pieces.len(),
            Level::Folio => super::draw::folio_lines(self).len(),
        }
    }

    /// Does what a key says.
    pub fn press(&mut self, key: Key, looker: &mut dyn Looker) {
        self.trouble = None;
        let line = if self.level == Level::Folios { ACROSS } else { 1 };
        let last = self.lines().saturating_sub(1);
        let at = self.at();
        let place = &mut self.chosen[self.level as usize];
        match key {
            Key::Up => *place = at.saturating_sub(line),
            Key::Down => *place = (at + line).min(last),
            Key::Left => *place = at.saturating_sub(1),
            Key::Right => *place = (at + 1).min(last),
            Key::PageUp => *place = at.saturating_sub(line * PAGE),
            Key::PageDown => *place = (at + line * PAGE).min(last),
            Key::Enter => self.enter(looker),
            Key::Back => {
                self.level = match self.level {
                    Level::Processes | Level::Mappings => Level::Processes,
                    Level::Folios => Level::Mappings,
                    Level::Folio => Level::Folios,
                }
            }
            Key::Sort => {
                self.by_size = !self.by_size;
                self.sort();
            }
            Key::Refresh => self.look(looker),
            Key::Leave => self.left = true,
        }
    }

    fn enter(&mut self, looker: &mut dyn Looker) {
        let before = self.level;
        let is_empty = self.lines() == 0;
        self.level = match self.level {
            _ if is_empty => before,
            Level::Processes => Level::Mappings,
            Level::Mappings => Level::Folios,
            Level::Folios | Level::Folio => Level::Folio,
        };
        if self.level != before {
            self.chosen[self.level as usize] = 0;
            self.look(looker);
            if self.trouble.is_some() {
                self.level = before;
            }
        }
    }

    /// Looks at what this level shows. What was chosen stays so if it is there still, wherever it stands now.
    fn look(&mut self, looker: &mut dyn Looker) {
        let pid = self.process().map(|(process, _)| process.pid);
        let start = self.mapping().map(|mapping| mapping.area.start);
        let looked = match self.level {
            Level::Processes => looker.processes().map(|found| self.processes = found),
            Level::Mappings => match self.process().cloned() {
                Some((process, _)) => looker.mappings(&process).map(|found| self.mappings = found),
                None => Ok(()),
            },
            Level::Folios => match self.mapping().cloned() {
                Some(mapping) => looker.pieces(&mapping).map(|found| self.pieces = found),
                None => Ok(()),
            },
            Level::Folio => match self.pieces.get(self.chosen[Level::Folios as usize]) {
                Some(piece) => looker.folio(piece.extent.frame).map(|found| self.folio = Some(found)),
                None => Ok(()),
            },
        };
        self.trouble = looked.err();
        self.sort();
        let again = match self.level {
            Level::Processes => self.processes.iter().position(|(process, _)| Some(process.pid) == pid),
            Level::Mappings => self.mappings.iter().position(|mapping| Some(mapping.area.start) == start),
            Level::Folios | Level::Folio => None,
        };
        if let Some(place) = again.filter(|_| self.chosen[self.level as usize] > 0) {
            self.chosen[self.level as usize] = place;
        }
        let last = self.lines().saturating_sub(1);
        let place = &mut self.chosen[self.level as usize];
        *place = (*place).min(last);
    }

    /// By what is held and not mapped, then by size; or by size alone.
    fn sort(&mut self) {
        let by_size = self.by_size;
        let rank = |usage: &Usage| (if by_size { 0 } else { usage.held }, usage.rss());
        match self.level {
            Level::Processes => {
                self.processes.sort_by_key(|(process, usage)| (std::cmp::Reverse(rank(usage)), process.pid))
            }
            Level::Mappings => {
                self.mappings
                    .sort_by_key(|mapping| (std::cmp::Reverse(rank(&mapping.usage)), mapping.area.start));
            }
            Level::Folios | Level::Folio => {}
        }
    }
}
