//! Settings of the machine that a run changes, and a keeper that puts them back whatever happens.
//!
//! Before anything is changed, the keeper, a process of its own, is told how to undo it. It undoes all, newest
//! first, once its pipe closes: when this program is done, and just as well when it was killed.

mod keeper;
mod quiet;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Unavailable;
use keeper::Keeper;
pub(crate) use keeper::Undo;

/// How long to wait for another run on this machine to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// The settings, and who restores them.
pub(crate) struct Settings {
    keeper: Keeper,
    /// What was set, and is now, by file; and whether the keeper knows what it was before.
    now: BTreeMap<PathBuf, (String, bool)>,
    /// What a scenario starts from, as far as this kernel has it; empty until that is known.
    quiet: Vec<(PathBuf, &'static str)>,
}

impl Settings {
    /// Waits until no other run drives this kernel, then starts the keeper.
    ///
    /// # Errors
    /// If another run does not end, or there is no process left.
    pub(crate) fn start() -> Result<Settings, Unavailable> {
        let lock = lock()?;
        let keeper = Keeper::start(&lock)
            .map_err(|error| Unavailable::new(format!("cannot fork: {error}"), "end other processes"))?;
        Ok(Settings { keeper, now: BTreeMap::new(), quiet: Vec::new() })
    }

    /// The process that restores them.
    pub(crate) const fn keeper_pid(&self) -> u32 {
        self.keeper.pid()
    }

    /// Gives a file of sysfs or procfs a value, once the keeper knows the one that it has.
    ///
    /// # Errors
    /// Those of reading and writing it: ENOENT where this kernel does not have it, EINVAL for a value that it
    /// does not take.
    pub(crate) fn set(&mut self, path: impl AsRef<Path>, value: &str) -> io::Result<()> {
        let path = path.as_ref();
        if let Some((now, _)) = self.now.get(path)
            && now == value
        {
            return Ok(());
        }
        let (before, is_known) = match self.now.remove(path) {
            Some(known) => known,
            None => (selected(&fs::read_to_string(path)?).to_owned(), false),
        };
        if before == value {
            // What is as it has to be is not restored either: somebody else may change it meanwhile.
            self.now.insert(path.to_owned(), (before, is_known));
            return Ok(());
        }
        if !is_known {
            self.keeper.remember(&Undo::Write(path, &before))?;
        }
        let written = write(path, value);
        let now = if written.is_ok() { value.to_owned() } else { before };
        self.now.insert(path.to_owned(), (now, true));
        written
    }

    /// Gives a file the first of two values, or the second where it has the first: for a file whose writing has an effect
    /// of its own.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub(crate) fn change(&mut self, path: impl AsRef<Path>, [one, other]: [&str; 2]) -> io::Result<()> {
        let has_one = self.now.get(path.as_ref()).is_some_and(|(now, _)| now == one);
        self.set(path, if has_one { other } else { one })
    }

    /// Has something else undone in the end.
    ///
    /// # Errors
    /// If the keeper is gone.
    pub(crate) fn undo(&mut self, undo: &Undo<'_>) -> io::Result<()> {
        self.keeper.remember(undo)
    }

    /// Sets the state that a scenario starts from. What this kernel does not have is left out.
    ///
    /// # Errors
    /// Those of writing what it has.
    pub(crate) fn quiet(&mut self) -> Result<(), Unavailable> {
        let mut settings = std::mem::take(&mut self.quiet);
        if settings.is_empty() {
            settings.extend(quiet::settings());
        }
        let mut failed = None;
        settings.retain(|(path, value)| match self.set(path, value) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // A kernel that does not take the value has no such behaviour either.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => false,
            Err(error) => {
                let what = format!("cannot set {} to {value}: {error}", path.display());
                failed = Some(Unavailable::new(what, "run as root, where sysfs and procfs can be written"));
                true
            }
        });
        self.quiet = settings;
        failed.map_or(Ok(()), Err)
    }
}

/// Writes a value to a file that is there, in one call, as sysfs wants it.
fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// Of `always [madvise] never` what is selected; of anything else the text itself.
pub(crate) fn selected(text: &str) -> &str {
    let text = text.trim();
    let inner = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inner.map_or(text, |(selected, _)| selected)
}

/// The lock that only one run on a machine has; held until the keeper has restored everything.
fn lock() -> Result<File, Unavailable> {
    let folder = ["/run/lock", "/run", "/tmp"].into_iter().find(|folder| Path::new(folder).is_dir());
    let path = Path::new(folder.unwrap_or("/")).join("mapcount.lock");
    let unusable = |error: io::Error| {
        Unavailable::new(format!("cannot lock {}: {error}", path.display()), "let it be written by this user")
    };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(unusable)?;
    let start = Instant::now();
    loop {
        // SAFETY: flock of a descriptor that is open.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(file);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EWOULDBLOCK) {
            return Err(unusable(error));
        }
        if start.elapsed() > PATIENCE || crate::signals::interrupted() {
            return Err(Unavailable::new(
                format!("another run drives this kernel and holds {}", path.display()),
                "wait until it ends",
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Settings, Undo, selected};

    #[test]
    fn what_is_selected_stands_in_brackets() {
        assert_eq!(selected("always [madvise] never\n"), "madvise");
        assert_eq!(selected("[always] never"), "always");
        assert_eq!(selected("511\n"), "511");
        assert_eq!(selected("[]"), "");
    }

    #[test]
    fn what_was_changed_is_put_back_newest_first() {
        let folder = std::env::temp_dir().join(format!("mapcount-settings-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (one, other) = (folder.join("one"), folder.join("other"));
        fs::write(&one, "always [madvise] never\n").expect("written");
        fs::write(&other, "0\n").expect("written");
        let scratch = folder.join("scratch");
        {
            let mut settings = Settings::start().expect("started");
            settings.undo(&Undo::RemoveFolder(&scratch)).expect("remembered");
            fs::create_dir(&scratch).expect("a folder");
            settings.set(&one, "always").expect("set");
            settings.set(&other, "1").expect("set");
            settings.set(&one, "never").expect("set");
            for expected in ["2", "1", "2"] {
                settings.change(&other, ["2", "1"]).expect("changed");
                assert_eq!(fs::read_to_string(&other).expect("readable").trim(), expected);
            }
            let missing = settings.set(folder.join("missing"), "1").expect_err("there is no such file");
            assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
            assert!(fs::read_to_string(&one).expect("readable").starts_with("never"));
        }
        assert!(fs::read_to_string(&one).expect("readable").starts_with("madvise"));
        assert!(fs::read_to_string(&other).expect("readable").starts_with('0'));
        assert!(!scratch.exists());
        fs::remove_dir_all(&folder).expect("removed");
    }
}
