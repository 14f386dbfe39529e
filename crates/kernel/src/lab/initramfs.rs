//! What a guest boots with: this very program, the libraries that it needs, its job, and the files that the
//! command names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::cpio::{Archive, Entry};
use super::job::{self, Job};
use super::{elf, inputs};
use crate::Unavailable;

/// The initramfs for `job`, whose command gets `stdin` as its standard input.
///
/// # Errors
/// Where this program, one of its libraries or a file that the command names cannot be read.
pub(super) fn initramfs(job: &Job, stdin: Option<Vec<u8>>) -> Result<Vec<u8>, Unavailable> {
    let mut archive = Archive::default();
    add_program(&mut archive)?;
    archive.add("/init", Entry::Link(job::PROGRAM.to_owned()));
    archive.add(job::PATH, file(job.to_bytes()));
    if let Some(stdin) = stdin {
        archive.add(job::STDIN, file(stdin));
    }
    for folder in ["/proc", "/sys", "/tmp", "/root", &job.folder] {
        archive.add(folder, Entry::Folder);
    }
    // The kernel opens the console for the first process before anything is mounted.
    for (name, minor) in [("console", (5, 1)), ("null", (1, 3)), ("ttyS0", (4, 64)), ("ttyS1", (4, 65))] {
        archive.add(&format!("/dev/{name}"), Entry::Device(minor.0, minor.1));
    }
    inputs::add(&mut archive, &job.arguments, Path::new(&job.folder))?;
    Ok(archive.to_bytes())
}

fn file(content: Vec<u8>) -> Entry {
    Entry::File { content, runs: false }
}

fn add_program(archive: &mut Archive) -> Result<(), Unavailable> {
    // This link leads to the file that runs, even where another one has taken its name meanwhile.
    let program = read(Path::new("/proc/self/exe"))?;
    let loaded = loaded_files();
    let needs = |bytes: &[u8], name: &str| {
        let broken = |error| Unavailable::new(format!("{name}: {error}"), "build mapcount anew");
        Ok((elf::needs(bytes).map_err(broken)?, elf::without_sections(bytes).map_err(broken)?))
    };
    let (program_needs, content) = needs(&program, "this program")?;
    archive.add(job::PROGRAM, Entry::File { content, runs: true });
    if let Some(interpreter) = &program_needs.interpreter {
        let (_, content) = needs(&read(Path::new(interpreter))?, interpreter)?;
        archive.add(interpreter, Entry::File { content, runs: true });
    }
    let mut wanted = program_needs.libraries;
    let mut added: Vec<String> = Vec::new();
    while let Some(name) = wanted.pop() {
        if added.contains(&name) {
            continue;
        }
        // What the loader has found for this process is what this program needs.
        let path = loaded.get(&name).ok_or_else(|| {
            Unavailable::new(format!("the library {name} is not loaded"), "build mapcount anew")
        })?;
        let (library_needs, content) = needs(&read(path)?, &name)?;
        archive.add(&format!("{}/{name}", job::LIBRARIES), Entry::File { content, runs: true });
        wanted.extend(library_needs.libraries);
        added.push(name);
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Unavailable> {
    let unreadable =
        |error| Unavailable::new(format!("cannot read {}: {error}", path.display()), "look at it");
    fs::read(path).map_err(unreadable)
}

/// The files that this process has mapped, by their last name (proc_pid_maps(5)).
fn loaded_files() -> BTreeMap<String, PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps.lines().filter_map(|line| Some(PathBuf::from(&line[line.find('/')?..])));
    paths.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path))).collect()
}

#[cfg(test)]
mod tests {
    use super::initramfs;
    use crate::lab::job::Job;

    #[test]
    fn it_holds_what_a_guest_starts_with_and_is_always_the_same() {
        let job = Job { folder: "/some/folder".to_owned(), ..Job::default() };
        let bytes = initramfs(&job, Some(b"a scenario".to_vec())).expect("all is here");
        for name in ["init\0", "bin/mapcount\0", "job\0", "job.stdin\0", "dev/ttyS1\0", "some/folder\0"] {
            assert!(bytes.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
        }
        assert_eq!(initramfs(&job, Some(b"a scenario".to_vec())), Ok(bytes));
    }
}
