//! A kernel's image: what a file's head says about it.
//!
//! The layout is the Linux/x86 boot protocol (the kernel's Documentation/arch/x86/boot.rst).

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::Unavailable;

/// A kernel that can be booted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// What it was asked for by: a path, `debian:6.12`.
    pub name: String,
    /// The bzImage.
    pub path: PathBuf,
    /// The release that its header tells (`6.12.1-cloud-amd64`), where it tells one.
    pub release: Option<String>,
}

const REMEDY: &str = "name a vmlinuz or bzImage for x86-64, or debian:6.12";

impl Image {
    /// The image in the file `path`, which was asked for as `name`.
    ///
    /// # Errors
    /// Where it cannot be read, or is no bzImage.
    pub fn open(name: &str, path: &Path) -> Result<Image, Unavailable> {
        let told = |what: String| Unavailable::new(format!("{}: {what}", path.display()), REMEDY);
        // Setup code has at most 64 sectors, and the release is in it.
        let mut head = Vec::new();
        let read = File::open(path).and_then(|file| file.take(65 * 512).read_to_end(&mut head));
        read.map_err(|error| told(format!("cannot be read: {error}")))?;
        let release = release(&head).map_err(told)?;
        Ok(Image { name: name.to_owned(), path: path.to_owned(), release })
    }
}

/// What the head of an image says which kernel it is.
///
/// # Errors
/// What it is, where it is no bzImage.
fn release(head: &[u8]) -> Result<Option<String>, String> {
    let word = |at: usize| head.get(at..at + 2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    if head.get(0x202..0x206) != Some(b"HdrS") || word(0x1fe) != Some(0xaa55) {
        return Err(other(head).to_owned());
    }
    let protocol = word(0x206).unwrap_or(0);
    // Bit 0 of xloadflags (protocol 2.12) says that the kernel has a 64-bit entry.
    if protocol < 0x20c || word(0x236).is_none_or(|flags| flags & 1 == 0) {
        return Err(format!(
            "is a kernel image of boot protocol {}.{}, not one of 64 bits",
            protocol >> 8,
            protocol & 0xff
        ));
    }
    // kernel_version points to a text, less 0x200.
    let start = word(0x20e).filter(|&at| at != 0).map(|at| usize::from(at) + 0x200);
    let text = start.and_then(|start| head.get(start..)).map(|rest| {
        let end = rest.iter().take(512).position(|&byte| byte == 0 || byte == b' ').unwrap_or(0);
        String::from_utf8_lossy(&rest[..end]).into_owned()
    });
    Ok(text.filter(|text| text.starts_with(|c: char| c.is_ascii_digit())))
}

/// What a file is that is no bzImage.
fn other(head: &[u8]) -> &'static str {
    match head {
        [] => "is empty",
        [0x7f, b'E', b'L', b'F', ..] => {
            "is an ELF file; the bzImage of a kernel tree is arch/x86/boot/bzImage"
        }
        [0x1f, 0x8b, ..] => "is compressed by gzip, and no x86 kernel image",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "is a package; unpack the vmlinuz that is in it",
        _ if head.get(56..60) == Some(b"ARM\x64") => "is a kernel image for arm64",
        _ => "is no kernel image (it has no boot header at byte 0x202)",
    }
}

#[cfg(test)]
mod tests {
    use super::release;

    /// The head of an image whose release is `text`.
    fn image(text: &[u8]) -> Vec<u8> {
        let mut head = vec![0; 0x400];
        head[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x206..0x208].copy_from_slice(&[0x0f, 0x02]);
        head[0x20e..0x210].copy_from_slice(&[0x00, 0x01]);
        head[0x236] = 1;
        head[0x300..0x300 + text.len()].copy_from_slice(text);
        head
    }

    #[test]
    fn an_image_says_its_release() {
        assert_eq!(release(&image(b"6.12.1-x (a@b) #1\0")), Ok(Some("6.12.1-x".to_owned())));
        assert_eq!(release(&image(b"")), Ok(None));
    }

    #[test]
    fn what_is_no_image_is_told() {
        let told = |bytes: &[u8]| release(bytes).expect_err("no image");
        assert!(told(b"").contains("empty"));
        assert!(told(b"\x7fELF\x02\x01").contains("arch/x86/boot/bzImage"));
        assert!(told(&[b'x'; 4096]).contains("no kernel image"));
        let mut old = image(b"2.4.0\0");
        old[0x207] = 1;
        assert!(told(&old).contains("boot protocol"));
        let whole = image(b"6.12.1\0");
        for length in 0..0x240 {
            assert!(release(&whole[..length]).is_err() || length > 0x237, "{length}");
        }
    }
}
