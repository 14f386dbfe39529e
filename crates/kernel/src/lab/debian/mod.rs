//! Kernels of the Debian archive: found in its indexes, checked against its signatures and checksums, kept in
//! a cache.

mod fetch;
mod index;
mod package;
mod sources;
mod suites;
mod version;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::image::Image;
use crate::Unavailable;
use fetch::{Failure, Server};
use index::Package;
pub use sources::Mirrors;
use sources::Part;
use suites::Suite;

/// The archive, and what was taken from it before.
#[derive(Debug)]
pub struct Archive {
    mirrors: Mirrors,
    cache: PathBuf,
    /// The file with the archive's keys, where signatures are checked.
    keys: Option<PathBuf>,
    /// What happened that the user may want to know.
    notes: Vec<String>,
}

/// How long an index in the cache is taken for new.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

impl Archive {
    /// The archive as this machine is configured to reach it, with the cache in the user's folder for caches.
    ///
    /// # Errors
    /// Where no folder is known for the cache.
    pub fn configured() -> Result<Archive, Unavailable> {
        let folder =
            |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        let cache = cache.ok_or_else(|| {
            Unavailable::new("there is no folder to keep kernels in", "set XDG_CACHE_HOME or HOME")
        })?;
        let keys = Path::new("/usr/share/keyrings/debian-archive-keyring.gpg");
        let mirrors = Mirrors::configured(Path::new("/etc/apt"));
        Ok(Archive::new(mirrors, cache.join("mapcount"), keys.is_file().then(|| keys.to_owned())))
    }

    /// The archive at `mirrors`, with a cache in `cache`. Signatures are checked where `keys` are given.
    pub fn new(mirrors: Mirrors, cache: PathBuf, keys: Option<PathBuf>) -> Archive {
        Archive { mirrors, cache, keys, notes: Vec::new() }
    }

    /// What happened that the user may want to know; each is told once.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The newest kernel that `wanted` means: the beginning of a release of a kernel for clouds (`6.12`), or any
    /// release in full. It is asked for as `name`.
    ///
    /// # Errors
    /// Where the archive has none, or it cannot be reached and the cache has none.
    pub fn kernel(&mut self, name: &str, wanted: &str) -> Result<Image, Unavailable> {
        let folder = self.cache.join("debian");
        let made = fs::create_dir_all(&folder);
        made.map_err(|error| {
            let what = format!("{} cannot be created: {error}", folder.display());
            Unavailable::new(what, "set XDG_CACHE_HOME to a folder that can be written")
        })?;
        match self.find(wanted).and_then(|found| self.provide(&found)) {
            Ok(path) => Image::open(name, &path),
            Err(missing) => match kept(&folder, wanted) {
                Some(path) => {
                    self.notes.push(format!(
                        "{name}: {}; {} is used, which was there",
                        missing.what,
                        path.display()
                    ));
                    Image::open(name, &path)
                }
                None => Err(missing),
            },
        }
    }

    /// The package with the kernel.
    fn find(&mut self, wanted: &str) -> Result<(Part, Package), Unavailable> {
        let mut unreachable = None;
        // The long indexes are asked only for what the short ones have not.
        for suites in [suites::updates(), suites::releases()] {
            let lists = suites.iter().map(|suite| (suite.part, self.list(suite)));
            let mut packages = Vec::new();
            for (part, list) in lists.collect::<Vec<_>>() {
                match list {
                    Ok(list) => packages.extend(list.into_iter().map(|package| (part, package))),
                    Err(Failure::Missing) => {}
                    Err(Failure::Unavailable(missing)) => unreachable = Some(missing),
                }
            }
            if let Some(newest) = index::newest(packages.iter().map(|(_, package)| package), wanted).cloned()
            {
                return Ok(packages
                    .into_iter()
                    .find(|(_, package)| *package == newest)
                    .expect("one of them"));
            }
        }
        Err(unreachable.unwrap_or_else(|| {
            let what = format!("the Debian archive has no kernel {wanted} for x86-64 clouds");
            Unavailable::new(
                what,
                "it has debian:5.10, debian:6.1, debian:6.12 and newer ones; or name an image",
            )
        }))
    }

    /// The kernels of a suite: from the cache where that is new, else from the archive, else from an old cache.
    fn list(&mut self, suite: &Suite) -> Result<Vec<Package>, Failure> {
        let kept = self.cache.join("debian").join(format!("{}.kernels", suite.name));
        let age = kept
            .metadata()
            .and_then(|meta| meta.modified())
            .map(|time| SystemTime::now().duration_since(time));
        let old = fs::read_to_string(&kept).ok();
        if let (Some(text), Ok(Ok(age))) = (&old, age)
            && age < FRESH
        {
            return Ok(from_lines(text));
        }
        let fetched = self.fetch_list(suite);
        match (fetched, old) {
            (Ok(list), _) => {
                self.keep(&kept, to_lines(&list).as_bytes())?;
                Ok(list)
            }
            (Err(Failure::Missing), _) => {
                self.keep(&kept, b"")?;
                Err(Failure::Missing)
            }
            (Err(Failure::Unavailable(missing)), Some(text)) => {
                self.notes.push(format!("{}: {}; an older index is used", suite.name, missing.what));
                Ok(from_lines(&text))
            }
            (Err(failure), None) => Err(failure),
        }
    }

    fn fetch_list(&mut self, suite: &Suite) -> Result<Vec<Package>, Failure> {
        const INDEX: &str = "main/binary-amd64/Packages.xz";
        self.ask(suite.part, |server| {
            let base = format!("dists/{}", suite.name);
            let in_release = server.signed(&format!("{base}/InRelease"))?;
            let sum = index::checksum(&in_release, INDEX).ok_or(Failure::Missing)?;
            let packed = server.checked(&format!("{base}/{INDEX}"), &sum)?;
            fetch::packages(packed)
        })
    }

    /// The image in a package, in the cache.
    fn provide(&mut self, (part, package): &(Part, Package)) -> Result<PathBuf, Unavailable> {
        let path = self.cache.join("debian").join(format!("vmlinuz-{}", package.release));
        if path.is_file() {
            return Ok(path);
        }
        self.notes.push(format!("fetching {}", package.path.rsplit('/').next().unwrap_or(&package.path)));
        let bytes = self.ask(*part, |server| server.checked(&package.path, &package.sha256));
        let image = package::image(&bytes.map_err(|failure| failure.about(&package.path))?)?;
        self.keep(&path, &image).map_err(|failure| failure.about(&package.path))?;
        Ok(path)
    }

    /// Asks the servers that have `part` in turn, until one answers.
    fn ask<T>(
        &mut self,
        part: Part,
        question: impl Fn(&mut Server<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut failure = Failure::Missing;
        for address in self.mirrors.addresses(part) {
            let mut server = Server::new(address, &self.cache, self.keys.as_deref());
            let answer = question(&mut server);
            for note in server.take_notes() {
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
            }
            match answer {
                Ok(answer) => return Ok(answer),
                // What cannot be reached says more than what is not there.
                Err(Failure::Missing) => {}
                Err(other) => failure = other,
            }
        }
        Err(failure)
    }

    /// Writes a file of the cache such that nobody ever sees half of it.
    fn keep(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let part = path.with_extension(format!("part-{}", std::process::id()));
        let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
        written.map_err(|error| {
            drop(fs::remove_file(&part));
            let what = format!("{} cannot be written: {error}", path.display());
            Failure::Unavailable(Unavailable::new(what, "make room, or set XDG_CACHE_HOME"))
        })
    }
}

/// The newest image in the cache that `wanted` means.
fn kept(folder: &Path, wanted: &str) -> Option<PathBuf> {
    let names = folder.read_dir().ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let releases = names.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned));
    let meant = releases.filter(|release| index::is_meant(release, wanted));
    let newest = meant.max_by(|a, b| version::compare(a, b))?;
    Some(folder.join(format!("vmlinuz-{newest}")))
}

/// A package a line: release, version, checksum, path.
fn to_lines(packages: &[Package]) -> String {
    let line = |package: &Package| {
        format!("{} {} {} {}\n", package.release, package.version, package.sha256, package.path)
    };
    packages.iter().map(line).collect()
}

fn from_lines(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let (release, version, sha256) = (words.next()?, words.next()?, words.next()?);
        Some(Package { release, version, path: words.next()?, sha256 })
    };
    text.lines().filter_map(package).collect()
}

#[cfg(test)]
mod tests;
