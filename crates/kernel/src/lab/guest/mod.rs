//! The first process of a guest: it mounts what the command needs, runs it, and tells over the second serial
//! port what it wrote and how it ended.

mod files;
mod port;
mod system;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::frame::{Ended, Frame, Live, MOST};
use super::job::{self, Job};
use crate::thp;
use files::Files;
use port::Port;

/// Whether this process is the first one of a guest that the lab has booted.
pub fn is_here() -> bool {
    std::process::id() == 1
        && std::env::args_os().next().is_some_and(|name| name == "/init")
        && Path::new(job::PATH).is_file()
}

/// Does the guest's job and ends the guest.
pub fn main() -> ! {
    if let Err(error) = work() {
        // The console is all that is left to say it on; without the end of the command, the run counts as lost.
        eprintln!("mapcount: the guest cannot work: {error}");
    }
    system::restart()
}

/// How often the guest says that it is alive.
const BEAT: Duration = Duration::from_secs(1);
/// How often the guest looks whether the command has ended.
const TICK: Duration = Duration::from_millis(100);
/// How long the command's output is awaited when it has ended and everything it left was killed.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

fn work() -> io::Result<()> {
    system::mount_all();
    let mut port = Port::open(Path::new("/dev/ttyS1"))?;
    port.send(&Frame::Hello(system::release()))?;
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", job::PATH));
    let job = Job::read(&std::fs::read(job::PATH)?).map_err(wrong)?;
    let before = Files::look();
    let (code, signal) = run(&job, &mut port)?;
    let written: Vec<PathBuf> = Files::look().new_since(&before).collect();
    for path in written {
        send_file(&mut port, &path, Path::new(&job.folder))?;
    }
    port.send(&Frame::Ended(Ended { code, signal, tainted: system::tainted() }))?;
    port.drain()
}

/// Runs the command; gives its exit code, or the signal that ended it.
fn run(job: &Job, port: &mut Port) -> io::Result<(Option<u8>, Option<u8>)> {
    let mut command = Command::new(job::PROGRAM);
    command.args(&job.arguments).current_dir(&job.folder).envs(job.environment.iter().cloned());
    if let Some(disk) = system::disk() {
        command.env("MAPCOUNT_SWAP", disk);
    }
    command.stdin(File::open(job::STDIN).map_or_else(|_| Stdio::null(), Stdio::from));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // What the command starts may have them; this process is not to be seen in its statistics.
    thp::forbid(true);
    port.send(&Frame::Started)?;
    let pid = child.id();
    let mut streams = [
        Stream { pipe: child.stdout.take().map(OwnedFd::from).map(File::from), kind: Live::Stdout },
        Stream { pipe: child.stderr.take().map(OwnedFd::from).map(File::from), kind: Live::Stderr },
    ];
    let mut beat = Instant::now();
    // From here on nothing is allocated until the command has ended.
    loop {
        forward(&mut streams, port)?;
        if beat.elapsed() >= BEAT {
            port.beat()?;
            beat = Instant::now();
        }
        // Whoever has lost its parent is this process's child now, so all are waited for here.
        while let Some((gone, code, signal)) = system::reap() {
            if gone == pid {
                system::kill_all();
                let last = Instant::now();
                while streams.iter().any(|stream| stream.pipe.is_some()) && last.elapsed() < LAST_OUTPUT {
                    forward(&mut streams, port)?;
                }
                return Ok((code, signal));
            }
        }
    }
}

/// One of the command's streams, open or at its end.
struct Stream {
    pipe: Option<File>,
    kind: Live,
}

/// Sends what the streams have; waits a moment where they have nothing.
fn forward(streams: &mut [Stream; 2], port: &mut Port) -> io::Result<()> {
    let open = streams.each_ref().map(|stream| stream.pipe.as_ref().map_or(-1, AsRawFd::as_raw_fd));
    // Where both are at their end, the command's own end is near.
    let patience = if open == [-1, -1] { TICK / 10 } else { TICK };
    let ready = system::wait_readable(open, patience)?;
    for (stream, ready) in streams.iter_mut().zip(ready) {
        let Some(pipe) = stream.pipe.as_mut().filter(|_| ready) else { continue };
        if port.forward(stream.kind, pipe)? == 0 {
            stream.pipe = None;
        }
    }
    Ok(())
}

/// Sends a file of the command's folder; says of another one that it stays behind.
fn send_file(port: &mut Port, path: &Path, folder: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let inside = path.strip_prefix(folder).ok().and_then(Path::to_str);
    let Some(inside) = inside else {
        // Nobody misses an empty one: a lock.
        let left = Frame::Left(path.to_string_lossy().into_owned());
        return if length > 0 { port.send(&left) } else { Ok(()) };
    };
    port.send(&Frame::File { path: inside.to_owned(), length })?;
    let mut left = length;
    while left > 0 {
        let mut buffer = vec![0; MOST.min(usize::try_from(left).unwrap_or(MOST))];
        file.read_exact(&mut buffer)?;
        left -= buffer.len() as u64;
        port.send(&Frame::Content(buffer))?;
    }
    Ok(())
}
