//! Asking a server of the archive: files by curl or apt's own helper, signatures by gpgv, checksums by
//! sha256sum.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::tool::{self, Compression, Unpacked};
use super::index::{self, Package};
use crate::Unavailable;

/// Why a file of the archive is not here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// The server has no such file.
    Missing,
    /// Something else.
    Unavailable(Unavailable),
}

impl From<Unavailable> for Failure {
    fn from(missing: Unavailable) -> Failure {
        Failure::Unavailable(missing)
    }
}

impl Failure {
    fn new(what: impl Into<String>, remedy: &str) -> Failure {
        Failure::Unavailable(Unavailable::new(what, remedy))
    }

    /// The failure to get `path`, in words.
    pub(super) fn about(self, path: &str) -> Unavailable {
        match self {
            Failure::Missing => Unavailable::new(
                format!("the Debian archive has no {path} any more"),
                "try again tomorrow, or name an image",
            ),
            Failure::Unavailable(missing) => missing,
        }
    }
}

const REMEDY: &str = "look at the network and at /etc/apt/sources.list, or name an image";

/// A server.
#[derive(Debug)]
pub(super) struct Server<'a> {
    address: &'a str,
    folder: &'a Path,
    keys: Option<&'a Path>,
    notes: Vec<String>,
}

impl<'a> Server<'a> {
    /// The server at `address`; files on their way are put in `folder`.
    pub(super) fn new(address: &'a str, folder: &'a Path, keys: Option<&'a Path>) -> Server<'a> {
        Server { address, folder, keys, notes: Vec::new() }
    }

    /// What happened that the user may want to know.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The text of a file that the archive has signed.
    pub(super) fn signed(&mut self, path: &str) -> Result<String, Failure> {
        let file = self.fetch(path)?;
        let text = file.read()?;
        match (self.keys, tool::find("gpgv", "gpgv")) {
            (Some(keys), Ok(gpgv)) => self.check_signature(&gpgv, keys, &file, path)?,
            _ => self.notes.push(
                "signatures of the Debian archive are not checked; install gpgv and debian-archive-keyring"
                    .to_owned(),
            ),
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        // A server of another archive may have a suite of this name.
        if text
            .lines()
            .any(|line| line.trim_end() == "Origin: Debian" || line.starts_with("Origin: Debian Backports"))
        {
            Ok(text)
        } else {
            Err(Failure::Missing)
        }
    }

    fn check_signature(&self, gpgv: &Path, keys: &Path, file: &Fetched, path: &str) -> Result<(), Failure> {
        let mut command = Command::new(gpgv);
        command.args(["--status-fd", "1", "--keyring"]).arg(keys).arg(&file.path);
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
        let output = output.map_err(|error| Failure::new(format!("{}: {error}", gpgv.display()), REMEDY))?;
        // A file may carry signatures of keys that are newer than the keys that are here: one good one is
        // enough, a bad one too much.
        let status = String::from_utf8_lossy(&output.stdout);
        let has = |word: &str| status.lines().any(|line| line.split(' ').nth(1) == Some(word));
        if has("VALIDSIG") && has("GOODSIG") && !has("BADSIG") {
            return Ok(());
        }
        let what = format!("{}/{path} is not signed by a key in {}", self.address, keys.display());
        Err(Failure::new(what, "update debian-archive-keyring, or name an image"))
    }

    /// A file whose checksum is `sum`.
    pub(super) fn checked(&mut self, path: &str, sum: &str) -> Result<Vec<u8>, Failure> {
        let program = tool::find("sha256sum", "coreutils")?;
        let file = self.fetch(path)?;
        let output = tool::output(Command::new(program).arg("--").arg(&file.path));
        let output = output.map_err(|error| Failure::new(error, REMEDY))?;
        let found = String::from_utf8_lossy(&output);
        let found = found.trim_start_matches('\\').split_whitespace().next().unwrap_or_default().to_owned();
        if !found.eq_ignore_ascii_case(sum) {
            let what = format!("{}/{path} has the checksum {found}, not {sum}", self.address);
            return Err(Failure::new(what, "try again later: the archive may have changed meanwhile"));
        }
        file.read()
    }

    fn fetch(&self, path: &str) -> Result<Fetched, Failure> {
        let address = format!("{}/{path}", self.address);
        let file = Fetched::new(self.folder);
        let helper = Path::new("/usr/lib/apt/apt-helper");
        match (tool::find("curl", "curl"), helper.is_file()) {
            (Ok(curl), has_helper) => match by_curl(&curl, &address, &file.path) {
                // apt may be told of a proxy that curl does not know.
                Err(Failure::Unavailable(_)) if has_helper && by_apt(helper, &address, &file.path) => {
                    Ok(file)
                }
                other => other.map(|()| file),
            },
            (Err(_), true) if by_apt(helper, &address, &file.path) => Ok(file),
            (Err(_), true) => Err(Failure::new(format!("{address} cannot be fetched"), REMEDY)),
            (Err(missing), false) => Err(missing.into()),
        }
    }
}

fn by_curl(curl: &Path, address: &str, to: &Path) -> Result<(), Failure> {
    let mut command = Command::new(curl);
    command.args(["--silent", "--show-error", "--location", "--fail", "--connect-timeout", "20"]);
    command.args(["--retry", "2", "--speed-limit", "1000", "--speed-time", "60"]);
    command.args(["--write-out", "%{http_code}", "--output"]).arg(to).arg(address);
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::new(format!("{}: {error}", curl.display()), REMEDY))?;
    if output.status.success() {
        return Ok(());
    }
    // 37 is curl's word for a local file that is not there.
    if output.stdout == b"404" || output.status.code() == Some(37) {
        return Err(Failure::Missing);
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{address} cannot be fetched: {}", told.trim()), REMEDY))
}

/// Whether apt could fetch it; it does not say reliably why not.
fn by_apt(helper: &Path, address: &str, to: &Path) -> bool {
    let mut command = Command::new(helper);
    command.arg("download-file").arg(address).arg(to);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success()) && to.is_file()
}

/// The kernels in a compressed index.
pub(super) fn packages(packed: Vec<u8>) -> Result<Vec<Package>, Failure> {
    let unpacked = Unpacked::new(Compression::Xz, packed)?;
    let packages = index::kernels(BufReader::with_capacity(1 << 16, unpacked));
    packages.map_err(|error| Failure::new(format!("an index cannot be unpacked: {error}"), REMEDY))
}

/// A file that was fetched; it is removed when this is dropped.
#[derive(Debug)]
struct Fetched {
    path: PathBuf,
}

impl Fetched {
    fn new(folder: &Path) -> Fetched {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Fetched { path: folder.join(format!("fetched-{}-{number}", std::process::id())) }
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        let unreadable = |error| Failure::new(format!("{}: {error}", self.path.display()), "look at it");
        fs::read(&self.path).map_err(unreadable)
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        // Where nothing was fetched there is nothing to remove.
        drop(fs::remove_file(&self.path));
    }
}
