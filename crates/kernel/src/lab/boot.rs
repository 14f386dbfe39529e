//! One guest, from its start to its end.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use super::frame::{Decoder, Ended, Frame};
use super::qemu::{Accelerator, Files, Qemu};
use crate::Unavailable;

/// What a guest tells while it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The command wrote to its standard output.
    Stdout(Vec<u8>),
    /// The command wrote to its standard error.
    Stderr(Vec<u8>),
    /// The command left a file in its working directory.
    File {
        /// Its path in the working directory: no part of it is `..`.
        path: PathBuf,
        /// What is in it.
        content: Vec<u8>,
    },
    /// The command left a file elsewhere, which is not brought back.
    Left(String),
    /// Something that the user may want to know.
    Note(String),
    /// The run has ended.
    Over(Report),
}

/// How a guest's run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The command ended.
    Ended(Ended),
    /// The guest panicked, hung or was not understood: nothing is known about what it would have said.
    Lost {
        /// What happened.
        why: String,
        /// The end of what its console said.
        console: String,
    },
    /// QEMU could not be started.
    Unavailable(Unavailable),
    /// The run was ended from outside.
    Interrupted,
}

/// A guest's run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The release that the kernel told, once it ran.
    pub release: Option<String>,
    /// Who executed the guest.
    pub accelerator: Accelerator,
    /// From the start of QEMU until the guest's first process ran.
    pub booted: Option<Duration>,
    /// From the start of QEMU until the command was started.
    pub started: Option<Duration>,
    /// From the start of QEMU until its end.
    pub whole: Duration,
}

/// How long a guest may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// From its start to its end.
    pub(super) whole: Duration,
    /// Without a word: guests say every second that they are alive.
    pub(super) silence: Duration,
}

/// Lines of the console that are shown.
const CONSOLE_LINES: usize = 40;
/// Bytes of the console's end that are looked at.
const CONSOLE_BYTES: usize = 64 << 10;
/// Most bytes of files that a guest may leave.
const MOST: u64 = 1 << 30;
/// How often is looked whether to stop.
const TICK: Duration = Duration::from_millis(100);
/// The disk to swap to: no byte of it is taken before it is written.
const SWAP: u64 = 512 << 20;

/// A guest's folder, with its console's output and its disk. It is removed when this is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A running QEMU; it is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a guest is started with.
pub(super) struct Start<'a> {
    /// What starts it.
    pub(super) qemu: &'a Qemu,
    /// Who executes it.
    pub(super) accelerator: Accelerator,
    /// The kernel's image.
    pub(super) kernel: &'a Path,
    /// The initramfs.
    pub(super) initramfs: &'a Path,
    /// A folder for its files, which is made and removed.
    pub(super) folder: PathBuf,
    /// How long it may take.
    pub(super) limits: Limits,
}

/// Boots a kernel and listens to it until it ends, or `is_stopped` says so.
pub(super) fn boot(start: &Start<'_>, is_stopped: &dyn Fn() -> bool, tell: &mut dyn FnMut(Event)) -> Report {
    let began = Instant::now();
    let mut report = Report {
        outcome: Outcome::Interrupted,
        release: None,
        accelerator: start.accelerator,
        booted: None,
        started: None,
        whole: Duration::ZERO,
    };
    let outcome = run(start, began, &mut report, is_stopped, tell);
    report.outcome = outcome.unwrap_or_else(Outcome::Unavailable);
    report.whole = began.elapsed();
    report
}

fn run(
    start: &Start<'_>,
    began: Instant,
    report: &mut Report,
    is_stopped: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(Event),
) -> Result<Outcome, Unavailable> {
    let (_folder, mut running, console) = spawn(start)?;
    let frames = running.0.stdout.take().expect("a pipe was asked for");
    let limits = start.limits;
    let mut listener =
        Listener { frames, start: began, limits, decoder: Decoder::default(), file: None, bytes: 0 };
    let ended = listener.listen(report, is_stopped, tell);
    drop(running);
    let [console, errors] = console;
    Ok(ended.unwrap_or_else(|why| Outcome::Lost { why, console: last_lines(&[&console, &errors]) }))
}

/// Starts QEMU. Gives the guest's folder, QEMU, and the files with what the console and QEMU itself say.
fn spawn(start: &Start<'_>) -> Result<(Folder, Running, [PathBuf; 2]), Unavailable> {
    let folder = Folder(start.folder.clone());
    let full =
        |error| Unavailable::new(format!("{}: {error}", folder.0.display()), "make room, or set TMPDIR");
    fs::create_dir_all(&folder.0).map_err(full)?;
    let [console, errors, swap] = ["console", "errors", "swap"].map(|name| folder.0.join(name));
    File::create(&swap).and_then(|file| file.set_len(SWAP)).map_err(full)?;
    let files = Files { kernel: start.kernel, initramfs: start.initramfs, console: &console, swap: &swap };
    let mut command = start.qemu.command(start.accelerator, files);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&errors).map_err(full)?);
    // Ctrl-C in a terminal is for this program, which ends QEMU itself.
    command.process_group(0);
    die_with_this_thread(&mut command);
    let child = command.spawn().map_err(|error| {
        Unavailable::new(format!("QEMU cannot be started: {error}"), "look at the installation of QEMU")
    })?;
    Ok((folder, Running(child), [console, errors]))
}

/// Has the kernel kill the command's process when the thread that starts it ends, whatever ends it.
fn die_with_this_thread(command: &mut std::process::Command) {
    let parent = std::process::id();
    let set = move || {
        // SAFETY: both calls take no memory and are allowed between fork and exec.
        let orphan = unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::getppid() != libc::pid_t::try_from(parent).unwrap_or(-1)
        };
        if orphan { Err(std::io::ErrorKind::NotFound.into()) } else { Ok(()) }
    };
    // SAFETY: `set` allocates nothing, takes no lock, and makes only calls that are allowed after fork.
    unsafe { command.pre_exec(set) };
}

struct Listener {
    frames: ChildStdout,
    start: Instant,
    limits: Limits,
    decoder: Decoder,
    /// A file whose content is on its way: path, length, and what has arrived.
    file: Option<(PathBuf, u64, Vec<u8>)>,
    /// Bytes of files so far.
    bytes: u64,
}

impl Listener {
    /// Listens until the command ends.
    ///
    /// # Errors
    /// Why the guest is lost.
    fn listen(
        &mut self,
        report: &mut Report,
        is_stopped: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Outcome, String> {
        let mut buffer = vec![0; 64 << 10];
        let mut heard = self.start;
        loop {
            if is_stopped() {
                return Ok(Outcome::Interrupted);
            }
            let now = Instant::now();
            if now - self.start > self.limits.whole {
                return Err(format!("did not end within {} s", self.limits.whole.as_secs()));
            }
            if now - heard > self.limits.silence {
                return Err(format!("hangs: said nothing for {} s", self.limits.silence.as_secs()));
            }
            if !wait(&self.frames, TICK).map_err(|error| format!("cannot be heard: {error}"))? {
                continue;
            }
            let length =
                self.frames.read(&mut buffer).map_err(|error| format!("cannot be heard: {error}"))?;
            if length == 0 {
                return Err("ended before its command did: it panicked, or cannot run at all".to_owned());
            }
            heard = now;
            for frame in self.decoder.push(&buffer[..length]).map_err(|corrupt| corrupt.to_string())? {
                if let Some(ended) = self.take(frame, report, tell)? {
                    return Ok(Outcome::Ended(ended));
                }
            }
        }
    }

    fn take(
        &mut self,
        frame: Frame,
        report: &mut Report,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Option<Ended>, String> {
        match frame {
            Frame::Hello(release) => {
                report.booted = Some(self.start.elapsed());
                report.release = Some(release);
            }
            Frame::Started => report.started = Some(self.start.elapsed()),
            Frame::Stdout(bytes) => tell(Event::Stdout(bytes)),
            Frame::Stderr(bytes) => tell(Event::Stderr(bytes)),
            Frame::Beat => {}
            Frame::File { path, length } => {
                let path = PathBuf::from(path);
                let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
                self.bytes = self.bytes.saturating_add(length);
                if !is_inside || path.as_os_str().is_empty() || self.file.is_some() || self.bytes > MOST {
                    return Err(format!("left the file {}, which cannot be brought back", path.display()));
                }
                self.file = Some((path, length, Vec::new()));
                self.hand_on(tell);
            }
            Frame::Content(bytes) => {
                let Some((_, _, content)) = &mut self.file else {
                    return Err("sent the content of a file without its name".to_owned());
                };
                content.extend_from_slice(&bytes);
                self.hand_on(tell);
            }
            Frame::Left(path) => tell(Event::Left(path)),
            Frame::Ended(_) if self.file.is_some() => return Err("left a file that is not whole".to_owned()),
            Frame::Ended(ended) => return Ok(Some(ended)),
        }
        Ok(None)
    }

    /// Tells of the file that is on its way, where all of it has arrived.
    fn hand_on(&mut self, tell: &mut dyn FnMut(Event)) {
        let whole = self.file.take_if(|(_, length, content)| content.len() as u64 >= *length);
        if let Some((path, _, content)) = whole {
            tell(Event::File { path, content });
        }
    }
}

/// Whether there is something to read, or the end, after waiting for it as long as `patience`.
fn wait(pipe: &ChildStdout, patience: Duration) -> std::io::Result<bool> {
    let mut polled = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = libc::c_int::try_from(patience.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one element is passed, which lives throughout the call.
    let done = unsafe { libc::poll(&raw mut polled, 1, milliseconds) };
    let error = std::io::Error::last_os_error();
    match done {
        0 => Ok(false),
        1.. => Ok(true),
        _ if error.kind() == std::io::ErrorKind::Interrupted => Ok(false),
        _ => Err(error),
    }
}

/// The last lines of the files' ends.
fn last_lines(files: &[&Path]) -> String {
    let mut lines = Vec::new();
    for file in files {
        let bytes = fs::read(file).unwrap_or_default();
        let end = &bytes[bytes.len().saturating_sub(CONSOLE_BYTES)..];
        let text = String::from_utf8_lossy(end);
        lines.extend(text.lines().map(plain).filter(|line| !line.is_empty()));
    }
    lines.split_off(lines.len().saturating_sub(CONSOLE_LINES)).join("\n")
}

/// A line without what a terminal would act on: firmware clears the screen.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\x1b' {
            // A sequence ends with its first letter.
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else if !char.is_control() || char == '\t' {
            text.push(char);
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{last_lines, plain};

    #[test]
    fn the_console_is_shown_without_what_acts_on_terminals() {
        assert_eq!(plain("\x1b[2J\x1b[1;1HSeaBIOS\x07 \r"), "SeaBIOS");
    }

    #[test]
    fn the_last_lines_of_all_files_are_told() {
        let path = std::env::temp_dir().join(format!("mapcount-console-{}", std::process::id()));
        let text: String = (0..1000).map(|line| format!("line {line}\r\n\r\n")).collect();
        std::fs::write(&path, text).expect("a file");
        let lines = last_lines(&[&path, std::path::Path::new("/no/such/file")]);
        std::fs::remove_file(&path).expect("a file");
        assert!(lines.starts_with("line 960\n") && lines.ends_with("\nline 999"), "{lines}");
    }
}
