//! The guest's end of the serial line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use crate::lab::frame::{Frame, HEAD, Live, MOST, seal};

/// A serial port that frames are sent through.
#[derive(Debug)]
pub(super) struct Port {
    file: File,
    /// The number of the next frame.
    number: u32,
    /// Room for a frame. While a command runs, this process takes no memory and gives none back: the command
    /// may be watching the system's statistics.
    room: Vec<u8>,
}

impl Port {
    /// Opens the port at `path`, and has it carry bytes as they are.
    ///
    /// # Errors
    /// Where it is not there (the kernel has no driver for an 8250), or cannot be set.
    pub(super) fn open(path: &Path) -> io::Result<Port> {
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(told)?;
        // SAFETY: termios holds numbers only, for which all zeroes is a value, and tcgetattr fills it; the
        // descriptor is open as long as `file` lives.
        let done = unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            match libc::tcgetattr(file.as_raw_fd(), &raw mut settings) {
                0 => {
                    libc::cfmakeraw(&raw mut settings);
                    libc::cfsetspeed(&raw mut settings, libc::B115200);
                    settings.c_cflag |= libc::CLOCAL;
                    libc::tcsetattr(file.as_raw_fd(), libc::TCSANOW, &raw const settings)
                }
                failed => failed,
            }
        };
        // A checksum comes behind the payload.
        let room = vec![1; HEAD + MOST + 4];
        if done == 0 { Ok(Port { file, number: 0, room }) } else { Err(told(io::Error::last_os_error())) }
    }

    /// Sends `frame`.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frame.to_bytes(self.number);
        self.number += 1;
        self.file.write_all(&bytes)
    }

    /// Sends what `pipe` has as a frame of this kind; gives how many bytes that were, 0 at its end.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub(super) fn forward(&mut self, kind: Live, pipe: &mut File) -> io::Result<usize> {
        self.room.resize(HEAD + MOST, 0);
        let length = pipe.read(&mut self.room[HEAD..])?;
        if length > 0 {
            self.send_room(kind, length)?;
        }
        Ok(length)
    }

    /// Says that the guest is alive.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn beat(&mut self) -> io::Result<()> {
        self.send_room(Live::Beat, 0)
    }

    fn send_room(&mut self, kind: Live, length: usize) -> io::Result<()> {
        self.room.resize(HEAD + length, 0);
        seal(kind as u8, self.number, &mut self.room);
        self.number += 1;
        self.file.write_all(&self.room)
    }

    /// Waits until all that was sent has left.
    ///
    /// # Errors
    /// Those of tcdrain(3).
    pub(super) fn drain(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open; the call takes no memory.
        match unsafe { libc::tcdrain(self.file.as_raw_fd()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
