//! An initramfs as the kernel unpacks it: a cpio archive in the format "newc" (the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst). The same entries give the same bytes.

use std::collections::BTreeMap;

/// What a name in the archive is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// A folder.
    Folder,
    /// A regular file; whether it may be run.
    File {
        /// Its bytes.
        content: Vec<u8>,
        /// Whether it may be run.
        runs: bool,
    },
    /// A symbolic link to this path.
    Link(String),
    /// A character device, by major and minor number.
    Device(u32, u32),
}

/// The files of an initramfs, by absolute path.
#[derive(Clone, Debug, Default)]
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
}

impl Archive {
    /// Puts `entry` at the absolute `path`, and folders above it. A path that is there already keeps what it
    /// has, so that what the guest cannot do without goes in first.
    pub(super) fn add(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry::Folder);
        }
        if !path.is_empty() {
            self.entries.entry(path.to_owned()).or_insert(entry);
        }
    }

    /// The archive's bytes. Folders come before what is in them, because the kernel does not create them.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let content = self.entries.values().map(|entry| match entry {
            Entry::File { content, .. } => content.len() + 256,
            _ => 256,
        });
        let mut out = Vec::with_capacity(content.sum());
        for (inode, (path, entry)) in (1..).zip(&self.entries) {
            let (mode, content, device) = match entry {
                Entry::Folder => (0o040_755, &[][..], (0, 0)),
                Entry::File { content, runs: true } => (0o100_755, &content[..], (0, 0)),
                Entry::File { content, runs: false } => (0o100_644, &content[..], (0, 0)),
                Entry::Link(to) => (0o120_777, to.as_bytes(), (0, 0)),
                Entry::Device(major, minor) => (0o020_600, &[][..], (*major, *minor)),
            };
            append(&mut out, &Header { inode, mode, device }, path, content);
        }
        append(&mut out, &Header { inode: 0, mode: 0, device: (0, 0) }, "TRAILER!!!", &[]);
        out
    }
}

/// What differs between headers beside name and length.
struct Header {
    inode: u32,
    mode: u32,
    device: (u32, u32),
}

fn append(out: &mut Vec<u8>, header: &Header, name: &str, content: &[u8]) {
    // No entry may be longer than 32 bits can say; who fills an archive limits it to far less.
    let length = u32::try_from(content.len()).expect("an archive of less than 4 GiB");
    let name_length = u32::try_from(name.len() + 1).expect("a path");
    let (major, minor) = header.device;
    // Inode, mode, user, group, links, time, length, the device it lies on, the device it is, name, checksum.
    let fields = [header.inode, header.mode, 0, 0, 1, 0, length, 0, 0, major, minor, name_length, 0];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(content);
    pad(out);
}

/// Names and contents begin at multiples of four bytes.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::{Archive, Entry};

    /// Reads an archive back, by the format's own words.
    fn read(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |index: usize| {
                let text = std::str::from_utf8(&bytes[at + 6 + 8 * index..][..8]).expect("hexadecimal");
                u32::from_str_radix(text, 16).expect("hexadecimal")
            };
            let (mode, length, name_length) = (field(1), field(6) as usize, field(11) as usize);
            let name = &bytes[at + 110..at + 110 + name_length - 1];
            assert_eq!(bytes[at + 110 + name_length - 1], 0);
            let start = (at + 110 + name_length).next_multiple_of(4);
            let name = String::from_utf8(name.to_vec()).expect("UTF-8");
            at = (start + length).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(at, bytes.len());
                return found;
            }
            found.push((name, mode, bytes[start..start + length].to_vec()));
        }
    }

    fn file(text: &str) -> Entry {
        Entry::File { content: text.as_bytes().to_vec(), runs: false }
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_the_first_entry_of_a_path_stays() {
        let mut archive = Archive::default();
        archive.add("/b/c/d", file("text"));
        archive.add("/init", Entry::Link("bin/x".to_owned()));
        archive.add("/b/c/d", file("another"));
        archive.add("/dev/null", Entry::Device(1, 3));
        archive.add("/", Entry::Folder);
        let read = read(&archive.to_bytes());
        let told: Vec<(&str, u32, &[u8])> = read.iter().map(|(n, m, c)| (&n[..], *m, &c[..])).collect();
        let expected: [(&str, u32, &[u8]); 6] = [
            ("b", 0o040_755, b""),
            ("b/c", 0o040_755, b""),
            ("b/c/d", 0o100_644, b"text"),
            ("dev", 0o040_755, b""),
            ("dev/null", 0o020_600, b""),
            ("init", 0o120_777, b"bin/x"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let names = ["/a", "/b/a", "/c"];
        let mut one = Archive::default();
        let mut other = Archive::default();
        for name in names {
            one.add(name, file(name));
        }
        for name in names.iter().rev() {
            other.add(name, file(name));
        }
        assert_eq!(one.to_bytes(), other.to_bytes());
        assert_ne!(one.to_bytes(), Archive::default().to_bytes());
    }
}
