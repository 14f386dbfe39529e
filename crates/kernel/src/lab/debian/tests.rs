//! The whole way to an image, in an archive of files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Archive, Mirrors};
use crate::lab::tool;
use crate::require;

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("mapcount-archive-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn sum(path: &Path) -> String {
    let output = tool::output(Command::new("sha256sum").arg(path)).expect("a checksum");
    String::from_utf8_lossy(&output).split(' ').next().expect("a word").to_owned()
}

/// A package with an image of the kernel `release` in it.
fn package(release: &str) -> Vec<u8> {
    let mut image = vec![0; 0x400];
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x210].copy_from_slice(&[0x0f, 2, 0, 0, 0, 0, 0, 0, 0x40, 0]);
    image[0x236] = 1;
    image[0x240..0x240 + release.len()].copy_from_slice(release.as_bytes());
    let mut tar = vec![0; 512];
    let name = format!("./boot/vmlinuz-{release}");
    tar[..name.len()].copy_from_slice(name.as_bytes());
    tar[124..135].copy_from_slice(format!("{:011o}", image.len()).as_bytes());
    tar[156] = b'0';
    tar.extend_from_slice(&image);
    tar.extend_from_slice(&[0; 1024]);
    let header = format!("{:<16}{:<32}{:<10}`\n", "data.tar", "0", tar.len());
    [b"!<arch>\n", header.as_bytes(), &tar].concat()
}

/// An archive with one kernel in the suite trixie-security, whose checksum in the index is `sum_of` its own.
fn archive(folder: &Folder, release: &str, sum_of: impl Fn(String) -> String) -> Archive {
    let path = "pool/linux.deb";
    folder.write(&format!("security/{path}"), &package(release));
    let sum_of_package = sum_of(sum(&folder.0.join("security").join(path)));
    let index = format!(
        "Package: linux-image-{release}\nVersion: 6.12.9-1\nFilename: {path}\nSize: 20000000\nSHA256: {sum_of_package}\n"
    );
    let base = "security/dists/trixie-security";
    folder.write(&format!("{base}/main/binary-amd64/Packages"), index.as_bytes());
    let packages = folder.0.join(base).join("main/binary-amd64/Packages");
    tool::output(Command::new("xz").arg(&packages)).expect("xz compresses");
    let sum = sum(&packages.with_extension("xz"));
    let in_release = format!("Origin: Debian\nSHA256:\n {sum} 100 main/binary-amd64/Packages.xz\n");
    folder.write(&format!("{base}/InRelease"), in_release.as_bytes());
    let address = |part: &str| format!("file://{}/{part}", folder.0.display());
    Archive::new(Mirrors::at(&address("main"), &address("security")), folder.0.join("cache"), None)
}

/// Whether the programs are there that this needs.
fn has_tools(test: &str) -> bool {
    let all = ["curl", "xz", "sha256sum"].map(|name| tool::find(name, name));
    all.into_iter().all(|found| require::or_skip(test, found).is_some())
}

#[test]
fn a_kernel_is_found_fetched_and_kept() {
    if !has_tools("a kernel of an archive") {
        return;
    }
    let folder = Folder::new("found");
    let release = "6.12.9+deb13-cloud-amd64";
    let mut archive = archive(&folder, release, |sum| sum);
    let image = archive.kernel("debian:6.12", "6.12").expect("a kernel");
    assert_eq!(image.release.as_deref(), Some(release));
    assert_eq!(image.name, "debian:6.12");
    let notes = archive.take_notes().join("\n");
    assert!(notes.contains("fetching linux.deb") && notes.contains("not checked"), "{notes}");

    let missing = archive.kernel("debian:6.13", "6.13").expect_err("no such kernel").to_string();
    assert!(missing.contains("no kernel 6.13"), "{missing}");

    // Without the archive: the index and the image are in the cache.
    fs::remove_dir_all(folder.0.join("security")).expect("a folder");
    assert_eq!(archive.kernel("debian:6.12", "6.12"), Ok(image.clone()));
    // Without the index too.
    fs::remove_file(folder.0.join("cache/debian/trixie-security.kernels")).expect("an index");
    archive.take_notes();
    assert_eq!(archive.kernel("debian:6.12", "6.12"), Ok(image));
    assert_eq!(
        fs::read_dir(folder.0.join("cache")).expect("a folder").count(),
        1,
        "nothing half fetched is left"
    );
}

#[test]
fn a_package_with_another_checksum_is_refused() {
    if !has_tools("a changed package") {
        return;
    }
    let folder = Folder::new("changed");
    let mut archive = archive(&folder, "6.12.9-cloud-amd64", |sum| sum.replace(['0', '1'], "2"));
    let refused = archive.kernel("debian:6.12", "6.12").expect_err("changed").to_string();
    assert!(refused.contains("has the checksum"), "{refused}");
    assert!(!folder.0.join("cache/debian/vmlinuz-6.12.9-cloud-amd64").exists());
}
