//! Programs of the system that the lab uses.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Unavailable;

/// The program `name` in `PATH`.
///
/// # Errors
/// Where it is not there; `package` is the package that has it, on Debian and elsewhere.
pub(super) fn find(name: &str, package: &str) -> Result<PathBuf, Unavailable> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_program(path));
    found.ok_or_else(|| Unavailable::new(format!("there is no {name}"), format!("install {package}")))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What `command` writes to its standard output.
///
/// # Errors
/// What it writes to its standard error, where it fails.
pub(super) fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let told = told.trim();
    Err(if told.is_empty() { format!("{name}: {}", output.status) } else { format!("{name}: {told}") })
}

/// How a file is compressed, by its name's ending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compression {
    /// `.xz`
    Xz,
    /// `.zst`
    Zstd,
    /// `.gz`
    Gzip,
}

impl Compression {
    /// The compression that a name's ending stands for.
    pub(super) fn of(name: &str) -> Option<Compression> {
        let ending = name.rsplit_once('.')?.1;
        match ending {
            "xz" => Some(Compression::Xz),
            "zst" => Some(Compression::Zstd),
            "gz" => Some(Compression::Gzip),
            _ => None,
        }
    }

    /// A program that reads compressed bytes from its standard input and writes them as they were.
    fn program(self) -> Result<PathBuf, Unavailable> {
        let (name, package) = match self {
            Compression::Xz => ("xz", "xz-utils (or xz)"),
            Compression::Zstd => ("zstd", "zstd"),
            Compression::Gzip => ("gzip", "gzip"),
        };
        find(name, package)
    }
}

/// What is behind compressed bytes; read it as it comes.
#[derive(Debug)]
pub(super) struct Unpacked {
    child: Child,
}

impl Unpacked {
    /// Unpacks `bytes`.
    ///
    /// # Errors
    /// Where the program that does it is missing.
    pub(super) fn new(compression: Compression, bytes: Vec<u8>) -> Result<Unpacked, Unavailable> {
        let program = compression.program()?;
        let mut command = Command::new(&program);
        command.arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let cannot = |error| Unavailable::new(format!("{}: {error}", program.display()), "look at it");
        let mut child = command.spawn().map_err(cannot)?;
        let mut input = child.stdin.take().expect("a pipe was asked for");
        // It ends with the pipe: who reads may stop early.
        std::thread::spawn(move || input.write_all(&bytes));
        Ok(Unpacked { child })
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.child.stdout.as_mut().expect("a pipe was asked for").read(buffer)
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // Where it is still at work nobody reads any more; where it is not, both do nothing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Compression, find, output};

    #[test]
    fn a_missing_program_says_what_to_install() {
        assert!(find("sh", "a shell").is_ok());
        let missing = find("no-such-program-anywhere", "a package").expect_err("missing").to_string();
        assert_eq!(missing, "there is no no-such-program-anywhere; install a package");
    }

    #[test]
    fn a_failing_program_tells_what_it_said() {
        let mut fails = Command::new("sh");
        assert_eq!(output(fails.args(["-c", "echo why >&2; exit 3"])), Err("sh: why".to_owned()));
        assert_eq!(output(Command::new("sh").args(["-c", "echo text"])), Ok(b"text\n".to_vec()));
    }

    #[test]
    fn endings_say_the_compression() {
        assert_eq!(Compression::of("data.tar.xz"), Some(Compression::Xz));
        assert_eq!(Compression::of("data.tar"), None);
    }
}
