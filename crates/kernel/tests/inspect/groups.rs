//! What is charged to memory cgroups, of version 1 and of version 2.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mapcount_kernel::inspect::Inspector;
use mapcount_kernel::inspect::procs::cgroup;
use mapcount_kernel::observer::Choice;
use mapcount_kernel::{Unavailable, require};
use mapcount_model::release::Release;

use crate::checks::inspector;
use crate::memory::{self, Area, Child, Mount};

/// A memory cgroup that is gone when it is dropped.
struct Group {
    folder: PathBuf,
    /// The file system, where it was not there before.
    mount: Option<Mount>,
}

/// Where memory cgroups of a version are mounted.
fn mounted(version: u32) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("readable");
    let of_memory = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        match version {
            1 => words[2] == "cgroup" && words[3].split(',').any(|option| option == "memory"),
            _ => {
                words[2] == "cgroup2"
                    && fs::read_to_string(Path::new(words[1]).join("cgroup.controllers"))
                        .is_ok_and(|text| text.contains("memory"))
            }
        }
    };
    Some(mounts.lines().find(of_memory)?.split(' ').nth(1)?.into())
}

/// Tries for a minute: a file system that was unmounted goes some time later.
fn eventually<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(error)
                if start.elapsed() < Duration::from_secs(60)
                    && error.raw_os_error() != Some(libc::EINVAL) =>
            {
                std::thread::sleep(Duration::from_millis(100));
            }
            other => return other,
        }
    }
}

impl Group {
    fn new(version: u32) -> Result<Group, Unavailable> {
        let missing = |what: String| Unavailable::new(what, "mount a memory cgroup file system");
        let mut mount = None;
        let root = match mounted(version) {
            Some(root) => root,
            None if crate::is_guest() => {
                let made = eventually(|| Mount::cgroups(version));
                let made = made.map_err(|error| missing(format!("mount: {error}")))?;
                mount.insert(made).path().to_owned()
            }
            None => return Err(missing("no memory cgroups".to_owned())),
        };
        if version == 2 {
            eventually(|| fs::write(root.join("cgroup.subtree_control"), "+memory"))
                .map_err(|error| missing(format!("+memory: {error}")))?;
        }
        let folder = root.join(format!("mapcount-test-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| missing(format!("{}: {error}", folder.display())))?;
        Ok(Group { folder, mount })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes are gone; what is charged to it is reclaimed or goes to the parent.
        if let Err(error) = eventually(|| fs::remove_dir(&self.folder)) {
            eprintln!("cgroup: {}: {error}", self.folder.display());
        }
        if let Some(mount) = &self.mount {
            let _ = fs::write(mount.path().join("cgroup.subtree_control"), "-memory");
        }
    }
}

pub(crate) fn what_a_cgroup_is_charged_for_is_counted(choice: Choice) {
    let Some(mut inspector) = inspector("cgroup", choice) else { return };
    for version in versions() {
        check_charges(&mut inspector, *version);
    }
}

/// The versions to look at. A guest has none mounted and mounts one: the kernel hands the memory controller from one to
/// the other only once nothing is charged to the first any more, which may be never. Older guests get the first.
fn versions() -> &'static [u32] {
    let release = mapcount_kernel::live::release().unwrap_or_default();
    match Release::parse(&release) {
        _ if !crate::is_guest() => &[2, 1],
        Some(release) if release < Release::new(6, 2, 0) => &[1],
        _ => &[2],
    }
}

fn check_charges(inspector: &mut Inspector, version: u32) {
    // A machine has memory cgroups of one version.
    let group = match Group::new(version) {
        Err(missing) if !crate::is_guest() => {
            return eprintln!("cgroup: version {version} skipped: {missing}");
        }
        group => require::or_skip("cgroup", group),
    };
    let Some(group) = group else { return };
    let procs = CString::new(group.folder.join("cgroup.procs").into_os_string().into_encoded_bytes())
        .expect("a path");
    let area = Area::small(3000);
    let child = Child::new(|| {
        memory::enter(&procs);
        area.touch();
    });
    let found = cgroup(group.folder.to_str().expect("UTF-8")).expect("there");
    assert!(found.pids.contains(&child.pid()), "{found:?}");
    let charged = inspector.charged(&found.inodes).expect("readable");
    let Some(charged) = require::or_skip(
        "cgroup",
        charged.ok_or_else(|| Unavailable::new("no /proc/kpagecgroup", "use a kernel with CONFIG_MEMCG=y")),
    ) else {
        return;
    };
    let anon = charged.total(mapcount_kernel::inspect::Use::Anon).pages;
    assert!((3000..3200).contains(&anon), "{anon} pages");
}
