//! How the kernel was configured: `/proc/config.gz`, or the file that distributions put beside its image.

use std::fs;

use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// Kernel configurations have about 300 KiB.
const MOST_BYTES: usize = 16 << 20;

/// Whether the option `name` (without `CONFIG_`) is on; `None` where the configuration is not to be had.
pub(super) fn option(name: &str, release: &str) -> Option<bool> {
    let text = fs::read("/proc/config.gz")
        .ok()
        .and_then(|data| unpack(&data))
        .or_else(|| fs::read(format!("/boot/config-{release}")).ok())?;
    Some(is_on(&text, name))
}

fn is_on(text: &[u8], name: &str) -> bool {
    let expected = format!("CONFIG_{name}=y");
    text.split(|byte| *byte == b'\n').any(|line| line == expected.as_bytes())
}

/// The text in `data`, one gzip member (RFC 1952).
fn unpack(data: &[u8]) -> Option<Vec<u8>> {
    const HAS_EXTRA: u8 = 4;
    const HAS_NAME: u8 = 8;
    const HAS_COMMENT: u8 = 16;
    const HAS_CHECKSUM: u8 = 2;
    let (header, mut rest) = data.split_at_checked(10)?;
    if !header.starts_with(&[0x1f, 0x8b, 8]) {
        return None;
    }
    let flags = header[3];
    if flags & HAS_EXTRA != 0 {
        let length = usize::from(crate::btf::u16_at(rest, 0)?);
        rest = rest.get(2 + length..)?;
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HAS_CHECKSUM != 0 {
        rest = rest.get(2..)?;
    }
    decompress_to_vec_with_limit(rest, MOST_BYTES).ok()
}

#[cfg(test)]
mod tests {
    use super::{is_on, unpack};

    /// `gzip -n` of `CONFIG_A=y`, stored without compression.
    const STORED: &[u8] = &[
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 11, 0, 0xf4, 0xff, b'C', b'O', b'N', b'F', b'I', b'G', b'_',
        b'A', b'=', b'y', b'\n', 0, 0, 0, 0, 0, 0, 0, 0,
    ];

    #[test]
    fn a_packed_configuration_is_read() {
        assert_eq!(unpack(STORED).as_deref(), Some(&b"CONFIG_A=y\n"[..]));
        let mut named = STORED.to_vec();
        named[3] = 8;
        named.splice(10..10, *b"name\0");
        assert_eq!(unpack(&named).as_deref(), Some(&b"CONFIG_A=y\n"[..]));
    }

    #[test]
    fn what_is_cut_off_is_none() {
        for length in 0..26 {
            assert_eq!(unpack(&STORED[..length]), None, "{length}");
        }
    }

    #[test]
    fn only_the_option_itself_counts() {
        let text = b"# CONFIG_A is not set\nCONFIG_AB=y\nCONFIG_C=y\n";
        assert!(!is_on(text, "A"));
        assert!(is_on(text, "C"));
    }
}
