//! The files that a command line names, put into a guest at the same paths.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::cpio::{Archive, Entry};
use crate::Unavailable;

/// Most bytes that are put into a guest; they lie in its memory twice while it boots.
const MOST: usize = 64 << 20;
/// Deepest folder, so that a link to a folder above it ends.
const DEEPEST: usize = 32;
/// Folders in which the guest has files of its own.
const TAKEN: [&str; 4] = ["/proc", "/sys", "/dev", "/bin"];

/// Puts the files and folders that `arguments` name into `archive`. Relative paths are in `folder`.
///
/// # Errors
/// Where a file cannot be read, or all have more than a guest can take.
pub(super) fn add(archive: &mut Archive, arguments: &[String], folder: &Path) -> Result<(), Unavailable> {
    let mut packed = Packed { archive, bytes: 0 };
    for argument in arguments {
        // A path may be a word, or the value in `--option=path`.
        let value = argument.starts_with('-').then(|| argument.split_once('=')).flatten();
        let named = value.map_or(&argument[..], |(_, value)| value);
        let path = folder.join(named);
        if !named.is_empty() && path.exists() {
            packed.add(&path, &inside(&path), 0)?;
        }
    }
    Ok(())
}

/// The path in the guest: without `.` and `..`, because the guest has no folder that nothing is in.
fn inside(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(name) => plain.push(name),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    plain
}

struct Packed<'a> {
    archive: &'a mut Archive,
    bytes: usize,
}

impl Packed<'_> {
    fn add(&mut self, path: &Path, inside: &Path, depth: usize) -> Result<(), Unavailable> {
        let unreadable = |error| {
            Unavailable::new(
                format!("cannot read {}: {error}", path.display()),
                "name files that can be read",
            )
        };
        if TAKEN.iter().any(|taken| inside.starts_with(taken)) || inside == Path::new("/") {
            return Ok(());
        }
        let Some(name) = inside.to_str() else {
            let what = format!("the path {} is not UTF-8", path.display());
            return Err(Unavailable::new(what, "rename it"));
        };
        // Links are followed: the guest gets what they lead to. One that leads nowhere is no file.
        let Ok(meta) = fs::metadata(path) else { return Ok(()) };
        if meta.is_dir() && depth < DEEPEST {
            self.archive.add(name, Entry::Folder);
            let entries: Result<Vec<_>, _> = fs::read_dir(path).map_err(unreadable)?.collect();
            for entry in entries.map_err(unreadable)? {
                self.add(&entry.path(), &inside.join(entry.file_name()), depth + 1)?;
            }
        } else if meta.is_file() {
            // Looked at before it is read, so that no huge file is.
            let length = usize::try_from(meta.len()).unwrap_or(usize::MAX);
            self.bytes = self.bytes.saturating_add(length);
            if self.bytes > MOST {
                let what = format!("the files that the command names have more than {} MiB", MOST >> 20);
                return Err(Unavailable::new(
                    what,
                    "name the files that it needs, not the folder above them",
                ));
            }
            let content = fs::read(path).map_err(unreadable)?;
            self.archive.add(name, Entry::File { content, runs: false });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{add, inside};
    use crate::lab::cpio::Archive;

    fn has(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn what_is_named_is_packed_at_its_own_path() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut archive = Archive::default();
        let words = ["record", "src/lab", "--out=src/lib.rs", "--no-such", "", "/proc/version"];
        add(&mut archive, &words.map(str::to_owned), folder).expect("readable");
        let bytes = archive.to_bytes();
        let root = folder.to_str().expect("UTF-8").trim_start_matches('/');
        for path in ["src/lab/inputs.rs", "src/lab/debian/mod.rs", "src/lib.rs"] {
            assert!(has(&bytes, &format!("{root}/{path}\0")), "{path}");
        }
        assert!(!has(&bytes, "proc/version\0"));
        assert!(!has(&bytes, &format!("{root}/Cargo.toml\0")));
    }

    #[test]
    fn a_path_means_the_same_without_its_detours() {
        assert_eq!(inside(Path::new("/a/b/../c/./d")), Path::new("/a/c/d"));
        assert_eq!(inside(Path::new("/../a")), Path::new("/a"));
    }
}
