//! A random walk on a small machine: three processes at most, two PMDs of four pages.

use std::rc::Rc;

use mapcount_model::machine::vma::{Protection, ThpAdvice};
use mapcount_model::machine::{Machine, Mm};
use mapcount_model::ops::fault::{self, Access};
use mapcount_model::ops::split::{self, Request};
use mapcount_model::ops::{exit, fork, hold, madvise, mmap, mprotect, munmap};

const START: u64 = 8;
const PAGES: u64 = 8;
const PROCESSES: usize = 3;

/// Where the walk is.
pub(crate) struct Walk {
    random: u64,
    processes: Vec<Rc<Mm>>,
    held: Vec<(Rc<Mm>, (u64, u64))>,
}

impl Walk {
    /// At the start.
    pub(crate) fn new(seed: u64) -> Walk {
        Walk { random: seed, processes: Vec::new(), held: Vec::new() }
    }

    fn random(&mut self, below: u64) -> u64 {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) % below
    }

    /// Does a step; the errors that system calls return are as good as their successes.
    pub(crate) fn step(&mut self, m: &Machine) {
        if self.processes.is_empty() {
            m.each_mm(|mm| self.processes.extend(m.mm(mm.id)));
        }
        let index = self.random(self.processes.len() as u64) as usize;
        let mm = Rc::clone(&self.processes[index]);
        let first = self.random(PAGES);
        let region = (START + first, 1 + self.random(PAGES - first));
        let page = (region.0, 1);
        let choice = self.random(16);
        let _ = match choice {
            0..3 => fault::touch(m, &mm, region, Access::Write),
            3 => fault::touch(m, &mm, region, Access::Read),
            4 => fault::touch(m, &mm, page, Access::Write),
            5 | 6 => self.fork(m, &mm),
            7 => self.exit(m, &mm),
            8 => mprotect::protect(m, &mm, page, Protection::READ),
            9 => mprotect::protect(m, &mm, (START, PAGES), Protection::READ_WRITE),
            10 => self.hold(m, &mm, page),
            11 | 12 => self.release(m),
            13 => madvise::dontneed(m, &mm, region),
            14 => split::debugfs(m, &mm, page, Request::PAGES),
            _ => self.map_anew(m, &mm, region),
        };
        m.settle();
        m.take_refusals();
    }

    fn fork(&mut self, m: &Machine, parent: &Mm) -> mapcount_model::ops::Outcome {
        if self.processes.len() < PROCESSES {
            self.processes.push(fork::fork(m, parent)?);
        }
        Ok(())
    }

    fn exit(&mut self, m: &Machine, mm: &Mm) -> mapcount_model::ops::Outcome {
        if self.processes.len() > 1 {
            self.processes.retain(|other| other.id != mm.id);
            self.held.retain(|(other, _)| other.id != mm.id);
            exit::exit(m, mm);
        }
        Ok(())
    }

    fn hold(&mut self, m: &Machine, mm: &Rc<Mm>, page: (u64, u64)) -> mapcount_model::ops::Outcome {
        hold::get(m, mm, page)?;
        self.held.push((Rc::clone(mm), page));
        Ok(())
    }

    fn release(&mut self, m: &Machine) -> mapcount_model::ops::Outcome {
        if let Some((mm, page)) = self.held.pop() {
            hold::put(m, &mm, page);
        }
        Ok(())
    }

    /// Unmaps a part, and maps everything anew when nothing is left.
    fn map_anew(&mut self, m: &Machine, mm: &Mm, region: (u64, u64)) -> mapcount_model::ops::Outcome {
        munmap::unmap(m, mm, region).expect("nothing huge is cut");
        if self.random(4) == 0 || mm.vmas.borrow().all().is_empty() {
            munmap::unmap(m, mm, (START, PAGES)).expect("nothing huge is cut");
            mmap::map(m, mm, (START, PAGES), Protection::READ_WRITE, ThpAdvice::Huge);
        }
        Ok(())
    }
}
