//! The file format of /proc/kcore: an ELF core file of 64 bits. Nothing in it is trusted.

use crate::btf::{u16_at, u32_at, u64_at};

/// A range of the kernel's addresses and where the file has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    /// The first address.
    pub(crate) address: u64,
    /// Where its first byte is in the file.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// The physical address, where the kernel says it (4.19 on, for memory).
    pub(crate) physical: Option<u64>,
}

impl Segment {
    /// The bytes from `address` to the segment's end, and where in the file they start.
    pub(crate) fn from(&self, address: u64) -> Option<(u64, u64)> {
        let inside = address.checked_sub(self.address).filter(|inside| *inside < self.bytes)?;
        Some((self.bytes - inside, self.offset.checked_add(inside)?))
    }
}

/// What the head of the file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Head {
    /// The memory.
    pub(crate) segments: Vec<Segment>,
    /// Where the notes are in the file: offset and length.
    pub(crate) notes: Vec<(u64, u64)>,
}

const LOAD: u32 = 1;
const NOTE: u32 = 4;

/// The bytes of the file's head that say how long its table of segments is.
pub(crate) const HEAD_BYTES: usize = 64;

/// How many bytes from the start of the file are needed to read it whole; `None` if this is no such file.
pub(crate) fn table_end(head: &[u8]) -> Option<u64> {
    // 64 bits, little-endian, version 1; a core file.
    if !head.starts_with(&[0x7f, b'E', b'L', b'F', 2, 1, 1]) || u16_at(head, 16)? != 4 {
        return None;
    }
    let entry = u64::from(u16_at(head, 54)?);
    let count = u64::from(u16_at(head, 56)?);
    if entry < 56 {
        return None;
    }
    u64_at(head, 32)?.checked_add(entry * count)
}

/// Reads the table of segments from the start of the file.
pub(crate) fn parse(data: &[u8]) -> Option<Head> {
    if table_end(data)? > data.len() as u64 {
        return None;
    }
    let table = usize::try_from(u64_at(data, 32)?).ok()?;
    let entry = usize::from(u16_at(data, 54)?);
    let mut head = Head::default();
    for index in 0..usize::from(u16_at(data, 56)?) {
        let at = table + index * entry;
        let word = |offset| u64_at(data, at + offset);
        let (offset, bytes) = (word(8)?, word(40)?);
        match u32_at(data, at)? {
            NOTE => head.notes.push((offset, word(32)?)),
            LOAD if bytes > 0 => {
                let physical = word(24)?;
                head.segments.push(Segment {
                    address: word(16)?,
                    offset,
                    bytes,
                    physical: (physical != u64::MAX && physical != 0).then_some(physical),
                });
            }
            _ => {}
        }
    }
    Some(head)
}

/// The text of the note VMCOREINFO (4.19 on): lines `KEY=value`.
pub(crate) fn vmcoreinfo(notes: &[u8]) -> Option<&str> {
    let mut rest = notes;
    loop {
        let name_bytes = u32_at(rest, 0)? as usize;
        let text_bytes = u32_at(rest, 4)? as usize;
        let text_at = 12_usize.checked_add(name_bytes.checked_next_multiple_of(4)?)?;
        let text = rest.get(text_at..text_at.checked_add(text_bytes)?)?;
        if rest.get(12..)?.starts_with(b"VMCOREINFO\0") {
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
            return std::str::from_utf8(&text[..end]).ok();
        }
        rest = rest.get(text_at.checked_add(text_bytes.checked_next_multiple_of(4)?)?..)?;
    }
}

/// The number behind `key=` in the text of VMCOREINFO: hexadecimal of symbols, decimal else.
pub(crate) fn entry(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    if key.starts_with("SYMBOL") { u64::from_str_radix(value, 16).ok() } else { value.parse().ok() }
}
