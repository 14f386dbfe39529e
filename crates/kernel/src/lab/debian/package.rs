//! Taking one file out of a Debian package: an `ar` archive with a compressed `tar` archive in it (deb(5),
//! tar(5)).

use std::io::Read;

use super::super::tool::{Compression, Unpacked};
use crate::Unavailable;

/// Longest file that is taken out; kernels for x86-64 have up to 20 MiB.
const MOST: u64 = 256 << 20;
/// Longest name in an archive.
const LONGEST_NAME: u64 = 4096;

/// The kernel's image in the package `bytes`: `boot/vmlinuz-…`, or `usr/lib/modules/…/vmlinuz`.
///
/// # Errors
/// Where it is no package, has no image, or what unpacks it is missing.
pub(super) fn image(bytes: &[u8]) -> Result<Vec<u8>, Unavailable> {
    let told = |what: String| Unavailable::new(format!("the package {what}"), "try again, or name an image");
    let (name, content) = data_archive(bytes).map_err(told)?;
    let found = match Compression::of(&name) {
        Some(compression) => file(Unpacked::new(compression, content.to_vec())?, is_image),
        None => file(content, is_image),
    };
    let found = found.map_err(|error| told(format!("cannot be unpacked: {error}")))?;
    found.ok_or_else(|| told("has no kernel image in it".to_owned()))
}

fn is_image(path: &str) -> bool {
    let path = path.trim_start_matches("./").trim_start_matches('/');
    let in_modules = path.strip_prefix("usr/").unwrap_or(path).strip_prefix("lib/modules/");
    path.starts_with("boot/vmlinuz-") || in_modules.is_some_and(|path| path.ends_with("/vmlinuz"))
}

/// The member `data.tar…` of an `ar` archive.
fn data_archive(bytes: &[u8]) -> Result<(String, &[u8]), String> {
    let mut rest = bytes.strip_prefix(b"!<arch>\n").ok_or("is no Debian package")?;
    while let Some((header, behind)) = rest.split_at_checked(60) {
        let text =
            |range: std::ops::Range<usize>| String::from_utf8_lossy(&header[range]).trim_end().to_owned();
        let name = text(0..16).trim_end_matches('/').to_owned();
        let length: usize = text(48..58).parse().map_err(|_| "has a member without a length".to_owned())?;
        let content = behind.get(..length).ok_or("ends in the middle of a member")?;
        if name.starts_with("data.tar") {
            return Ok((name, content));
        }
        // Members begin at even bytes.
        rest = behind.get(length.next_multiple_of(2)..).unwrap_or(&[]);
    }
    Err("has no data in it".to_owned())
}

/// The first regular file of a `tar` archive whose path `is_meant`.
fn file(mut archive: impl Read, is_meant: impl Fn(&str) -> bool) -> std::io::Result<Option<Vec<u8>>> {
    let wrong = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let mut long_name = None;
    loop {
        let mut header = [0; 512];
        archive.read_exact(&mut header)?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let length = octal(&header[124..136]).ok_or_else(|| wrong("a file without a length"))?;
        let name = long_name.take().unwrap_or_else(|| path(&header));
        let kind = header[156];
        let is_file = matches!(kind, b'0' | 0);
        if kind == b'L' && length <= LONGEST_NAME || is_file && is_meant(&name) {
            if length > MOST {
                return Err(wrong("a file that is too long"));
            }
            let mut content = Vec::new();
            archive.by_ref().take(length).read_to_end(&mut content)?;
            if content.len() as u64 != length {
                return Err(wrong("the end in the middle of a file"));
            }
            if is_file {
                return Ok(Some(content));
            }
            long_name = Some(text(&content));
            skip(&mut archive, length.next_multiple_of(512) - length)?;
        } else {
            let padded = length.checked_next_multiple_of(512).ok_or_else(|| wrong("a wrong length"))?;
            skip(&mut archive, padded)?;
        }
    }
}

fn skip(archive: &mut impl Read, length: u64) -> std::io::Result<()> {
    std::io::copy(&mut archive.take(length), &mut std::io::sink()).map(drop)
}

/// A header's path: the prefix of ustar, where it has one, and the name.
fn path(header: &[u8; 512]) -> String {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    if prefix.is_empty() || !header[257..].starts_with(b"ustar\0") {
        name
    } else {
        format!("{prefix}/{name}")
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn octal(bytes: &[u8]) -> Option<u64> {
    let text = text(bytes);
    u64::from_str_radix(text.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::{file, image};

    /// A member of a tar archive.
    fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        bytes[156] = kind;
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn package(tar: &[u8]) -> Vec<u8> {
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("odd", b"x"), ("data.tar", tar)] {
            bytes.extend_from_slice(format!("{name:<16}{:<32}{:<10}`\n", "0", content.len()).as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        }
        bytes
    }

    fn tar(image: &str) -> Vec<u8> {
        let long = format!("./usr/{}\0", "long/".repeat(40));
        let long_member = member("././@LongLink", b'L', long.as_bytes());
        let members = [
            member("./boot/", b'5', b""),
            long_member,
            member("./usr/long/", b'0', b"not this one"),
            member("./boot/config-6.1", b'0', &[b'#'; 700]),
            member(image, b'0', b"the image"),
            vec![0; 1024],
        ];
        members.concat()
    }

    #[test]
    fn the_image_is_found_in_both_places() {
        for path in ["./boot/vmlinuz-6.1.0-54-cloud-amd64", "./usr/lib/modules/7.2.12/vmlinuz"] {
            assert_eq!(image(&package(&tar(path))), Ok(b"the image".to_vec()), "{path}");
        }
        let none = image(&package(&tar("./boot/System.map"))).expect_err("no image").to_string();
        assert!(none.contains("no kernel image"), "{none}");
    }

    #[test]
    fn a_file_whose_name_is_long_is_known_by_it() {
        let found = file(&tar("./x")[..], |path| path.ends_with("long/long/"));
        assert_eq!(found.expect("readable"), Some(b"not this one".to_vec()));
    }

    #[test]
    fn cut_or_changed_packages_are_refused_and_nothing_panics() {
        let whole = package(&tar("./boot/vmlinuz-6.1"));
        for length in 0..whole.len() - 1024 {
            if image(&whole[..length]).is_ok() {
                panic!("{length} bytes of {} gave an image", whole.len());
            }
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x1f;
            drop(image(&changed));
        }
    }
}
