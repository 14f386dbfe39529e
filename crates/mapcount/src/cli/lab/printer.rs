//! What guests say, put in order: stdout kernel by kernel, stderr as it comes, files in the end.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mapcount_kernel::lab::{Ended, Event, Image, Outcome, Report};

use super::Exit;

/// Prints what guests say.
pub(super) struct Printer {
    guests: Vec<Guest>,
    /// The guest whose stdout is printed as it comes; that of later ones waits.
    turn: usize,
    /// Files by path, with the index of the guest that wrote them.
    files: BTreeMap<PathBuf, Vec<(usize, Vec<u8>)>>,
    /// Whether stdout takes no more.
    closed: Arc<AtomicBool>,
    exit: Exit,
}

/// A guest, and what it has said that is not printed yet.
struct Guest {
    name: String,
    /// The release, or the name where the image tells none.
    release: String,
    stdout: Vec<u8>,
    /// The beginning of a line of stderr.
    stderr: Vec<u8>,
    report: Option<Report>,
}

impl Printer {
    pub(super) fn new(images: &[Image]) -> Printer {
        let guest = |image: &Image| {
            let mut stdout = Vec::new();
            if images.len() > 1 {
                let release =
                    image.release.as_ref().map_or(String::new(), |release| format!(": Linux {release}"));
                stdout = format!("# {}{release}\n", image.name).into_bytes();
            }
            let release = image.release.clone().unwrap_or_else(|| image.name.replace('/', "_"));
            Guest { name: image.name.clone(), release, stdout, stderr: Vec::new(), report: None }
        };
        let guests = images.iter().map(guest).collect();
        Printer { guests, turn: 0, files: BTreeMap::new(), closed: Arc::default(), exit: Exit::Success }
    }

    /// Becomes true when stdout takes no more.
    pub(super) fn closed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.closed)
    }

    pub(super) fn take(&mut self, index: usize, event: Event) {
        match event {
            Event::Stdout(bytes) => {
                self.guests[index].stdout.extend_from_slice(&bytes);
                self.print();
            }
            Event::Stderr(bytes) => self.tell_stderr(index, &bytes),
            Event::File { path, content } => self.files.entry(path).or_default().push((index, content)),
            Event::Left(path) => {
                self.say(
                    index,
                    &format!("wrote {path}, which is not in the working directory and stays behind"),
                );
            }
            Event::Note(note) => self.say(index, &note),
            Event::Over(report) => self.over(index, report),
        }
    }

    /// Prints what is there of the guest whose turn it is.
    fn print(&mut self) {
        while let Some(guest) = self.guests.get_mut(self.turn) {
            let bytes = std::mem::take(&mut guest.stdout);
            if !self.closed.load(Ordering::Relaxed) {
                let mut out = std::io::stdout().lock();
                if let Err(error) = out.write_all(&bytes).and_then(|()| out.flush()) {
                    self.closed.store(true, Ordering::Relaxed);
                    self.exit = self.exit.max(Exit::of_write(&error));
                }
            }
            if guest.report.is_none() {
                return;
            }
            self.turn += 1;
        }
    }

    /// Prints whole lines of a guest's stderr, with its name where there are others.
    fn tell_stderr(&mut self, index: usize, bytes: &[u8]) {
        let several = self.guests.len() > 1;
        let guest = &mut self.guests[index];
        guest.stderr.extend_from_slice(bytes);
        let end = guest.stderr.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = guest.stderr.drain(..end).collect();
        for line in String::from_utf8_lossy(&whole).lines() {
            if several {
                eprintln!("{}: {line}", guest.name);
            } else {
                eprintln!("{line}");
            }
        }
    }

    fn say(&self, index: usize, text: &str) {
        eprintln!("mapcount: {}: {text}", self.guests[index].name);
    }

    fn over(&mut self, index: usize, report: Report) {
        if !self.guests[index].stderr.is_empty() {
            self.tell_stderr(index, b"\n");
        }
        let exit = match &report.outcome {
            Outcome::Ended(ended) => self.ended(index, *ended, &report),
            Outcome::Lost { why, console } => {
                self.say(index, &format!("LOST: the guest {why}"));
                match &console[..] {
                    "" if report.booted.is_some() => {
                        eprintln!("  it had booted; --timeout gives the command more time");
                    }
                    "" => eprintln!(
                        "  its console said nothing; the kernel needs a driver for 8250 serial ports"
                    ),
                    _ => eprintln!("  the end of its console:"),
                }
                for line in console.lines() {
                    eprintln!("  | {line}");
                }
                Exit::Finding
            }
            Outcome::Unavailable(missing) => {
                self.say(index, &missing.to_string());
                Exit::Unavailable
            }
            // Who closed the pipe has seen what they wanted.
            Outcome::Interrupted if self.closed.load(Ordering::Relaxed) => Exit::Success,
            Outcome::Interrupted => Exit::Interrupted,
        };
        self.exit = self.exit.max(exit);
        self.guests[index].report = Some(report);
        self.print();
    }

    fn ended(&self, index: usize, ended: Ended, report: &Report) -> Exit {
        let seconds = |time: Option<std::time::Duration>| time.map_or(0.0, |time| time.as_secs_f64());
        let (word, exit) = match (ended.code, ended.signal) {
            (Some(code), _) => (format!("exit code {code}"), Exit::of_code(code)),
            (None, signal) => (format!("signal {}", signal.unwrap_or(0)), Exit::Bug),
        };
        let release = report.release.as_deref().unwrap_or("an unknown release");
        self.say(
            index,
            &format!(
                "Linux {release} on {}: booted in {:.1} s, started the command after {:.1} s, ended after {:.1} s with {word}",
                report.accelerator.word(),
                seconds(report.booted),
                seconds(report.started),
                report.whole.as_secs_f64(),
            ),
        );
        for (bit, what) in [(7, "had an oops"), (9, "printed a warning")] {
            if ended.tainted >> bit & 1 == 1 {
                self.say(index, &format!("the kernel {what} (see /proc/sys/kernel/tainted, bit {bit})"));
            }
        }
        exit
    }

    /// Writes the files that came back into `folder`, sums up, and gives the worst exit.
    pub(super) fn finish(mut self, folder: &Path) -> Exit {
        let mut written = Vec::new();
        for (path, mut versions) in std::mem::take(&mut self.files) {
            if versions.iter().all(|(_, content)| *content == versions[0].1) {
                versions.truncate(1);
                written.extend(versions.pop().map(|(_, content)| (path, content)));
                continue;
            }
            // Each kernel wrote its own: a folder named after it keeps them apart.
            for (index, content) in versions {
                let name = path.file_name().unwrap_or_default();
                written.push((path.with_file_name(&self.guests[index].release).join(name), content));
            }
        }
        for (path, content) in written {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(folder);
            match std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, content)) {
                Ok(()) => {
                    eprintln!("mapcount: wrote {}", path.strip_prefix(folder).unwrap_or(&path).display())
                }
                Err(error) => {
                    eprintln!("mapcount: cannot write {}: {error}", path.display());
                    self.exit = self.exit.max(Exit::Unavailable);
                }
            }
        }
        let lost = self.guests.iter().filter(|guest| {
            guest.report.as_ref().is_none_or(|report| matches!(report.outcome, Outcome::Lost { .. }))
        });
        let lost = lost.count();
        if lost > 0 {
            eprintln!("mapcount: lost {lost} of {} guests", self.guests.len());
        }
        self.exit
    }
}
