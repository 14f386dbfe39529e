//! From processes and frames to the trace: what every observer does alike.

use std::collections::BTreeMap;

use mapcount_script::trace::{self, FolioRow, MapRun, Mapping, Mappings, Present, push_folio, push_map};

use super::frames::{Block, Frames, Owners, Run, merged};
use super::{Observation, Observer, Watched, Window};
use crate::Unavailable;
use crate::procfs::{Areas, Process, Vmstat};
use crate::vmemmap::{FRAME_BITS, PRESENT};

/// Bit 62 of a word of pagemap: swapped out, or another entry that is no mapping.
const SWAPPED: u64 = 1 << 62;

/// The bits of a word of pagemap that matter; others (soft-dirty, exclusive) may change by looking.
const COUNTED: u64 = PRESENT | SWAPPED | FRAME_BITS;

/// Readings until it is given up that two agree.
const MOST_READINGS: u64 = 16;

/// An observer that sees frames by `F`.
pub(crate) struct Scene<F> {
    frames: F,
    processes: BTreeMap<(String, u32), Process>,
    vmstat: Option<Vmstat>,
    text: Vec<u8>,
}

/// What is read of a mapping.
struct Seen<'a> {
    process: &'a str,
    mapping: &'a str,
    window: Window,
    areas: Areas,
    /// Its words of pagemap, within those of all.
    words: std::ops::Range<usize>,
}

impl<F: Frames> Scene<F> {
    /// An observer with the system's statistics.
    pub(crate) fn new(frames: F) -> Result<Scene<F>, Unavailable> {
        Ok(Scene { frames, processes: BTreeMap::new(), vmstat: Some(Vmstat::open()?), text: Vec::new() })
    }

    /// Opens the files of those that are new, and closes those of who is not watched any more.
    fn follow(&mut self, watched: &[Watched]) -> Result<(), Unavailable> {
        self.processes.retain(|(name, pid), _| {
            watched.iter().any(|process| process.name == *name && process.pid == *pid)
        });
        for process in watched {
            let key = (process.name.clone(), process.pid);
            if self.processes.contains_key(&key) {
                continue;
            }
            if let Some(mut opened) = Process::open(process.pid)? {
                opened.mm_id = self.frames.mm_id(opened.pagemap.file())?;
                self.processes.insert(key, opened);
            }
        }
        Ok(())
    }

    /// The words of pagemap of all mappings, masked.
    fn pagemaps(&mut self, mappings: &[(&Watched, Vec<(&String, Window)>)]) -> Result<Vec<u64>, Unavailable> {
        let mut words = Vec::new();
        for (process, windows) in mappings {
            let Some(open) = self.processes.get_mut(&(process.name.clone(), process.pid)) else { continue };
            for (_, window) in windows {
                open.pages(window, &mut words)?;
            }
        }
        for word in &mut words {
            // What is not there has no frame; what is swapped out has a place that may change.
            *word &= if *word & PRESENT != 0 { COUNTED } else { SWAPPED };
        }
        Ok(words)
    }
}

impl<F: Frames> Observer for Scene<F> {
    fn name(&self) -> &'static str {
        self.frames.name()
    }

    fn watch_system(&mut self, on: bool) -> Result<(), Unavailable> {
        self.vmstat = if on { Some(Vmstat::open()?) } else { None };
        Ok(())
    }

    fn glance(&mut self, watched: &[Watched]) -> Result<Observation, Unavailable> {
        self.read(watched, 1)
    }

    fn observe(&mut self, watched: &[Watched]) -> Result<Observation, Unavailable> {
        self.read(watched, MOST_READINGS)
    }
}

impl<F: Frames> Scene<F> {
    /// Reads until two readings agree, at most so often; a single one is not compared with another.
    fn read(&mut self, watched: &[Watched], most: u64) -> Result<Observation, Unavailable> {
        self.follow(watched)?;
        let mut watched: Vec<&Watched> = watched.iter().collect();
        watched.sort_by(|a, b| a.name.cmp(&b.name));
        let mappings: Vec<(&Watched, Vec<(&String, Window)>)> = watched
            .iter()
            .map(|process| (*process, process.windows.iter().map(|(name, window)| (name, *window)).collect()))
            .collect();
        let mut observation = Observation::default();
        let mut words = self.pagemaps(&mappings)?;
        for reading in 0..most {
            observation.retries = reading;
            self.frames.look(&runs(&words))?;
            let seen = self.areas(&mappings)?;
            if most == 1 {
                observation.settled = true;
                self.tell(&seen, &words, &mut observation);
                break;
            }
            // What lies between two equal readings of the page tables and the counters was read in that state.
            let again = self.pagemaps(&mappings)?;
            observation.settled = again == words && self.frames.look_again()?;
            if observation.settled || reading + 1 == most {
                self.tell(&seen, &words, &mut observation);
                break;
            }
            words = again;
        }
        for process in watched {
            if self.processes.contains_key(&(process.name.clone(), process.pid)) {
                observation.processes.entry(process.name.clone()).or_default();
            }
        }
        if let Some(vmstat) = &mut self.vmstat {
            observation.system = vmstat.read()?;
        }
        Ok(observation)
    }

    /// What smaps says of every mapping. A process without memory is forgotten.
    fn areas<'a>(
        &mut self,
        mappings: &[(&'a Watched, Vec<(&'a String, Window)>)],
    ) -> Result<Vec<Seen<'a>>, Unavailable> {
        let mut seen = Vec::new();
        let mut at = 0;
        for (process, windows) in mappings {
            let key = (process.name.clone(), process.pid);
            let Some(open) = self.processes.get(&key) else { continue };
            let mut sorted: Vec<usize> = (0..windows.len()).collect();
            sorted.sort_by_key(|index| windows[*index].1.start);
            let in_order: Vec<Window> = sorted.iter().map(|index| windows[*index].1).collect();
            let Some(areas) = open.areas(&in_order, &mut self.text)? else {
                // Its words were read nevertheless; the next reading does without.
                at += windows.iter().map(|(_, window)| window.pages as usize).sum::<usize>();
                self.processes.remove(&key);
                continue;
            };
            let mut by_window = vec![Areas::default(); windows.len()];
            for (index, areas) in sorted.into_iter().zip(areas) {
                by_window[index] = areas;
            }
            for ((name, window), areas) in windows.iter().zip(by_window) {
                let words = at..at + window.pages as usize;
                at = words.end;
                seen.push(Seen { process: &process.name, mapping: name, window: *window, areas, words });
            }
        }
        Ok(seen)
    }

    /// Puts what was seen into the terms of the trace.
    fn tell(&self, seen: &[Seen<'_>], words: &[u64], observation: &mut Observation) {
        let mut numbers = trace::Frames::default();
        let mut folios = Vec::new();
        for mapping in seen {
            // A process that went away while it was looked at left no words.
            let Some(words) = words.get(mapping.words.clone()) else { continue };
            let process: &mut Mappings = observation.processes.entry(mapping.process.to_owned()).or_default();
            if mapping.areas.list.is_empty() {
                continue;
            }
            debug_assert_eq!(words.len() as u64, mapping.window.pages);
            let map = self.present(words, &mut numbers, &mut folios);
            process.insert(mapping.mapping.to_owned(), told(&mapping.areas, map));
        }
        let owners: Vec<(u32, String)> = self
            .processes
            .iter()
            .filter_map(|((name, _), process)| Some((process.mm_id?, name.clone())))
            .collect();
        observation.folios = self.rows(&folios, &owners);
    }

    /// What is present in a mapping, from its words of pagemap.
    fn present(
        &self,
        words: &[u64],
        numbers: &mut trace::Frames,
        folios: &mut Vec<(Block, u64)>,
    ) -> Vec<MapRun> {
        let mut runs = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let word = words[at];
            if word == 0 {
                at += 1;
            } else if word & PRESENT == 0 {
                let count = words[at..].iter().take_while(|other| **other == word).count();
                push_map(&mut runs, at as u64, count as u64, Present::swap());
                at += count;
            } else {
                let frame = word & FRAME_BITS;
                let folio = self.frames.folio(frame);
                let (id, is_new) = numbers.number(folio.head, folio.pages());
                if is_new {
                    folios.push((folio, id));
                }
                let most = words.len().min(at + (folio.end() - frame) as usize);
                let count =
                    (at..most).take_while(|other| words[*other] == word + (other - at) as u64).count();
                let first = id + (frame - folio.head);
                push_map(&mut runs, at as u64, count as u64, Present::Frames(first));
                at += count;
            }
        }
        runs
    }

    fn rows(&self, folios: &[(Block, u64)], owners: &Owners) -> Vec<FolioRow> {
        let mut rows: Vec<FolioRow> = Vec::new();
        let mut last: Option<Block> = None;
        for (folio, id) in folios {
            let joins = rows.last().is_some_and(|row| row.end() == *id && row.order == folio.order);
            match last.filter(|last| joins && self.frames.is_alike(*folio, *last)) {
                Some(_) => rows.last_mut().expect("there is a last").count += 1,
                None => push_folio(&mut rows, self.frames.row(*folio, *id, owners)),
            }
            last = Some(*folio);
        }
        rows
    }
}

/// The frames in words of pagemap.
fn runs(words: &[u64]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for word in words.iter().filter(|word| **word & PRESENT != 0) {
        let frame = word & FRAME_BITS;
        match runs.last_mut() {
            Some(last) if last.end() == frame => last.count += 1,
            Some(last) if last.first <= frame && frame < last.end() => {}
            _ => runs.push(Run { first: frame, count: 1 }),
        }
    }
    merged(runs)
}

fn told(areas: &Areas, map: Vec<MapRun>) -> Mapping {
    Mapping {
        vmas: Some(areas.list.clone()),
        map: Some(map),
        rss_kb: Some(areas.rss),
        pss_kb: Some(areas.pss),
        shared_kb: Some(areas.shared),
        private_kb: Some(areas.private),
        anon_huge_kb: Some(areas.anon_huge),
        shmem_pmd_kb: areas.shmem_pmd,
        file_pmd_kb: areas.file_pmd,
    }
}
