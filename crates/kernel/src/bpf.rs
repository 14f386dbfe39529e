//! Kernel memory through BPF: a small program copies ranges of it into a map that this process has mapped.
//!
//! The program is a dozen instructions put together here ([`program`]), run by bpf(2) for each reading. It is of
//! type SYSCALL (5.14 on), or a raw tracepoint that is attached to nothing and run as a test (5.10 on).

mod program;
mod sys;

use std::io;
use std::ops::Range;

use crate::Unavailable;
use crate::memory::{Memory, Opener, Span};
use crate::unavailable::locked_down;
use program::{DATA_AT, DATA_BYTES, ENTRIES, ENTRY_AT, ENTRY_WORDS, TASK_AT};
use sys::{Fd, Shared};

/// The program with its map.
pub(crate) struct Bpf {
    program: Fd,
    area: Shared,
}

impl Bpf {
    /// Loads the program.
    pub(crate) fn load() -> Result<Bpf, Unavailable> {
        let map = match sys::create_map(program::AREA_BYTES) {
            // Up to 5.10 maps count as locked memory.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                sys::lift_memlock();
                sys::create_map(program::AREA_BYTES)
            }
            other => other,
        };
        let map = map.map_err(|error| refused("creating a BPF map", &error))?;
        let area =
            Shared::map(&map, program::AREA_BYTES).map_err(|error| refused("mapping a BPF map", &error))?;
        let code = program::code(map.raw());
        let loaded = sys::load(sys::SYSCALL_PROGRAM, &code)
            .or_else(|_| sys::load(sys::RAW_TRACEPOINT_PROGRAM, &code))
            .map_err(|error| refused("loading a BPF program", &error))?;
        let mut bpf = Bpf { program: loaded, area };
        bpf.run(&[]).map_err(|error| refused("running a BPF program", &error))?;
        Ok(bpf)
    }

    /// Copies `(address, place, bytes)` each into the data at `place`.
    fn run(&mut self, copies: &[(u64, usize, usize)]) -> io::Result<()> {
        let words = self.area.words_mut();
        words[0] = copies.len() as u64;
        for (entry, (address, place, bytes)) in copies.iter().enumerate() {
            let at = ENTRY_AT / 8 + entry * ENTRY_WORDS;
            words[at..at + 3].copy_from_slice(&[*address, *place as u64, *bytes as u64]);
        }
        sys::run(&self.program)
    }

    /// Whether copy `entry` of the last run went well.
    fn went_well(&self, entry: usize) -> bool {
        self.area.words()[ENTRY_AT / 8 + entry * ENTRY_WORDS + 3] == 0
    }

    fn data(&self, place: usize, words: usize) -> &[u64] {
        let at = (DATA_AT + place) / 8;
        &self.area.words()[at..at + words]
    }
}

impl Memory for Bpf {
    fn read(
        &mut self,
        spans: &[Span],
        into: &mut Vec<u64>,
        readable: &mut Vec<bool>,
    ) -> Result<(), Unavailable> {
        let mut rest = spans;
        let mut copies = [(0, 0, 0); ENTRIES];
        while let Some(first) = rest.first() {
            if first.words > self.chunk_words() {
                let chunk = self.chunk_words();
                let from = into.len();
                let mut all = true;
                for done in (0..first.words).step_by(chunk) {
                    let words = chunk.min(first.words - done);
                    let part = Span { address: first.address.wrapping_add(done as u64 * 8), words };
                    self.look(part, &mut |seen| match seen {
                        Some(seen) => into.extend_from_slice(seen),
                        None => all = false,
                    })?;
                    into.resize(from + done + words, 0);
                }
                readable.push(all);
                rest = &rest[1..];
                continue;
            }
            let mut count = 0;
            let mut place = 0;
            for span in rest.iter().take(ENTRIES) {
                if place + span.words * 8 > DATA_BYTES {
                    break;
                }
                copies[count] = (span.address, place, span.words * 8);
                place += span.words * 8;
                count += 1;
            }
            self.run(&copies[..count]).map_err(|error| refused("running a BPF program", &error))?;
            into.extend_from_slice(self.data(0, place / 8));
            readable.extend((0..count).map(|entry| self.went_well(entry)));
            rest = &rest[count..];
        }
        Ok(())
    }

    fn chunk_words(&self) -> usize {
        DATA_BYTES / 8
    }

    fn look(&mut self, span: Span, visit: &mut dyn FnMut(Option<&[u64]>)) -> Result<(), Unavailable> {
        self.run(&[(span.address, 0, span.words * 8)])
            .map_err(|error| refused("running a BPF program", &error))?;
        visit(self.went_well(0).then(|| self.data(0, span.words)));
        Ok(())
    }

    fn look_at_parts(
        &mut self,
        window: Span,
        parts: &[Range<usize>],
        visit: &mut dyn FnMut(Option<&[u64]>),
    ) -> Result<(), Unavailable> {
        let mut copies = [(0, 0, 0); ENTRIES];
        for (copy, part) in copies.iter_mut().zip(parts) {
            let place = part.start * 8;
            *copy = (window.address.wrapping_add(place as u64), place, part.len() * 8);
        }
        self.run(&copies[..parts.len()]).map_err(|error| refused("running a BPF program", &error))?;
        let went_well = (0..parts.len()).all(|entry| self.went_well(entry));
        visit(went_well.then(|| self.data(0, window.words)));
        Ok(())
    }

    fn reads_parts(&self) -> bool {
        true
    }

    fn twin(&self) -> Option<Opener> {
        Some(|| Ok(Box::new(Bpf::load()?)))
    }

    fn task(&mut self) -> Result<Option<u64>, Unavailable> {
        self.run(&[]).map_err(|error| refused("running a BPF program", &error))?;
        Ok(Some(self.area.words()[TASK_AT / 8]))
    }
}

/// What a system call's error means to the user.
fn refused(what: &str, error: &io::Error) -> Unavailable {
    if let Some(missing) = locked_down() {
        return missing;
    }
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "run as root (CAP_SYS_ADMIN)",
        Some(libc::ENOSYS) => "use a kernel with CONFIG_BPF_SYSCALL=y",
        Some(libc::EINVAL) => {
            "use a kernel of 5.10 or later with CONFIG_BPF_SYSCALL=y, or --observer kcore or proc"
        }
        _ => "use --observer kcore or proc",
    };
    Unavailable::new(format!("{what}: {error}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::Bpf;
    use crate::memory::{Memory, Span};
    use crate::require;

    #[test]
    fn addresses_that_are_no_memory_are_told_from_others() {
        let Some(mut bpf) = require::or_skip("bpf", Bpf::load()) else { return };
        let task = bpf.task().expect("it runs").expect("it tells");
        let bad = 0xffff_8000_0000_0000_u64 - 4096;
        let spans = [
            Span { address: task, words: 4 },
            Span { address: bad, words: 2 },
            Span { address: task, words: 4 },
        ];
        let (mut words, mut readable) = (Vec::new(), Vec::new());
        bpf.read(&spans, &mut words, &mut readable).expect("it runs");
        assert_eq!(readable, [true, false, true]);
        assert_eq!(words.len(), 10);
        assert_eq!(words[4..6], [0, 0]);
    }
}
