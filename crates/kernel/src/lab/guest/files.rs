//! The files of the guest's root, to know which ones a command has written.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What tells that a file was written: inode, length, time of its last change in seconds and nanoseconds.
type State = (u64, u64, i64, i64);

/// The regular files of the root file system, without those of what is mounted in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<PathBuf, State>,
}

impl Files {
    /// The files as they are now.
    pub(super) fn look() -> Files {
        Files::below(Path::new("/"))
    }

    fn below(root: &Path) -> Files {
        let mut files = Files::default();
        if let Ok(meta) = root.metadata() {
            files.add(root, meta.dev());
        }
        files
    }

    fn add(&mut self, folder: &Path, device: u64) {
        // What cannot be read was not written by a command that the guest's first process has started.
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let Ok(meta) = path.symlink_metadata() else { continue };
            if meta.dev() != device {
                continue;
            }
            if meta.is_dir() {
                self.add(&path, device);
            } else if meta.is_file() {
                self.files.insert(path, state(&meta));
            }
        }
    }

    /// The files that are not as they were in `before`, by path.
    pub(super) fn new_since<'a>(&'a self, before: &'a Files) -> impl Iterator<Item = PathBuf> {
        let is_new = |(path, state): &(&PathBuf, &State)| before.files.get(*path) != Some(*state);
        self.files.iter().filter(is_new).map(|(path, _)| path.clone())
    }
}

fn state(meta: &Metadata) -> State {
    (meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Files;

    #[test]
    fn written_and_new_files_are_told() {
        let root = std::env::temp_dir().join(format!("mapcount-files-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).expect("a folder");
        for name in ["a/kept", "a/changed", "gone"] {
            fs::write(root.join(name), name).expect("a file");
        }
        let before = Files::below(&root);
        fs::write(root.join("a/changed"), "something else").expect("a file");
        fs::write(root.join("a/b/new"), "").expect("a file");
        fs::remove_file(root.join("gone")).expect("a file");
        let after = Files::below(&root);
        let told: Vec<_> = after.new_since(&before).collect();
        fs::remove_dir_all(&root).expect("a folder");
        assert_eq!(told, [root.join("a/b/new"), root.join("a/changed")]);
    }
}
