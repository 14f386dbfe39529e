//! What a program needs to be loaded: its interpreter and its shared libraries, read from ELF; and a copy
//! without what no loader looks at.
//!
//! The layout is the generic ABI's (System V ABI, "Object Files" and "Program Loading"), 64 bits, little endian.

/// What is read from the head of an ELF file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Needs {
    /// The dynamic loader that the kernel starts (PT_INTERP); a static program has none.
    pub(super) interpreter: Option<String>,
    /// The libraries by name (DT_NEEDED).
    pub(super) libraries: Vec<String>,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
/// Longest name of a library or loader: the kernel's limit of a path.
const LONGEST_NAME: usize = 4096;

/// A part of the file that is mapped.
#[derive(Clone, Copy)]
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    length: u64,
}

/// What the ELF file `bytes` needs.
///
/// # Errors
/// Why it is no ELF file for this machine, or what in it points outside of it.
pub(super) fn needs(bytes: &[u8]) -> Result<Needs, String> {
    let segments = segments(bytes)?;
    let mut needs = Needs::default();
    if let Some(segment) = segments.iter().find(|segment| segment.kind == PT_INTERP) {
        needs.interpreter = Some(name(part(bytes, segment.offset, segment.length)?, 0)?);
    }
    let Some(dynamic) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else { return Ok(needs) };
    let (mut offsets, mut table, mut length) = (Vec::new(), None, 0);
    for entry in part(bytes, dynamic.offset, dynamic.length)?.chunks_exact(16) {
        let value = u64_at(entry, 8)?;
        match u64_at(entry, 0)? {
            DT_NULL => break,
            DT_NEEDED => offsets.push(value),
            DT_STRTAB => table = Some(value),
            DT_STRSZ => length = value,
            _ => {}
        }
    }
    if offsets.is_empty() {
        return Ok(needs);
    }
    let address = table.ok_or("its dynamic section has no string table")?;
    let strings = part(bytes, file_offset(&segments, address)?, length)?;
    for offset in offsets {
        let offset = usize::try_from(offset).map_err(|error| error.to_string())?;
        needs.libraries.push(name(strings, offset)?);
    }
    Ok(needs)
}

/// A copy of the ELF file `bytes` that ends behind its last mapped byte: without sections, symbols and debug
/// information, which neither kernel nor loader read.
///
/// # Errors
/// As [`needs`].
pub(super) fn without_sections(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let segments = segments(bytes)?;
    let ends = segments.iter().filter_map(|segment| segment.offset.checked_add(segment.length));
    let end = ends.max().ok_or("it has no segments")?;
    let mut copy = part(bytes, 0, end)?.to_vec();
    // e_shoff; e_shentsize, e_shnum and e_shstrndx: no section header table.
    for range in [40..48, 58..64] {
        copy.get_mut(range).ok_or("it is shorter than its header")?.fill(0);
    }
    Ok(copy)
}

fn segments(bytes: &[u8]) -> Result<Vec<Segment>, String> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err("it is no ELF file".to_owned());
    }
    if bytes.get(4..6) != Some(&[2, 1]) {
        return Err("it is no ELF file of 64 bits and little endian".to_owned());
    }
    let (offset, size, count) = (u64_at(bytes, 32)?, u16_at(bytes, 54)?, u16_at(bytes, 56)?);
    if size != 56 {
        return Err(format!("its program headers have {size} bytes, not 56"));
    }
    let headers = part(bytes, offset, u64::from(size) * u64::from(count))?;
    let segment = |header: &[u8]| {
        Ok(Segment {
            kind: u32_at(header, 0)?,
            offset: u64_at(header, 8)?,
            address: u64_at(header, 16)?,
            length: u64_at(header, 32)?,
        })
    };
    headers.chunks_exact(56).map(segment).collect()
}

/// Where in the file the byte lies that is mapped at `address`.
fn file_offset(segments: &[Segment], address: u64) -> Result<u64, String> {
    let holds = |segment: &&Segment| {
        segment.kind == PT_LOAD
            && address.checked_sub(segment.address).is_some_and(|distance| distance < segment.length)
    };
    let segment =
        segments.iter().find(holds).ok_or_else(|| format!("no segment has the address {address:#x}"))?;
    segment
        .offset
        .checked_add(address - segment.address)
        .ok_or_else(|| "a segment's offset overflows".to_owned())
}

fn part(bytes: &[u8], offset: u64, length: u64) -> Result<&[u8], String> {
    let range = || {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        bytes.get(start..end)
    };
    range().ok_or_else(|| format!("it says {length} bytes at {offset}, and has {} in all", bytes.len()))
}

/// The text at `offset` in `strings`, up to its zero byte.
fn name(strings: &[u8], offset: usize) -> Result<String, String> {
    let rest = strings.get(offset..).ok_or("a name lies outside of its strings")?;
    let rest = &rest[..rest.len().min(LONGEST_NAME)];
    let end = rest.iter().position(|&byte| byte == 0).ok_or("a name has no end")?;
    String::from_utf8(rest[..end].to_vec()).map_err(|_| "a name is not UTF-8".to_owned())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    let range = at.checked_add(N).and_then(|end| bytes.get(at..end));
    range
        .and_then(|range| range.try_into().ok())
        .ok_or_else(|| "it ends in the middle of a header".to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, String> {
    array(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::{needs, without_sections};

    fn this_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().expect("a path")).expect("readable")
    }

    #[test]
    fn this_program_needs_a_loader_and_the_c_library() {
        let needs = needs(&this_program()).expect("an ELF file");
        if let Some(interpreter) = &needs.interpreter {
            assert!(interpreter.starts_with('/'), "{interpreter}");
            assert!(!needs.libraries.is_empty());
        }
        assert!(
            needs.libraries.iter().all(|name| name.contains(".so") || name.contains("libc")),
            "{needs:?}"
        );
    }

    #[test]
    fn a_copy_without_sections_is_shorter_and_needs_the_same() {
        let whole = this_program();
        let copy = without_sections(&whole).expect("an ELF file");
        assert!(copy.len() < whole.len());
        assert_eq!(needs(&copy), needs(&whole));
    }

    #[test]
    fn whatever_is_changed_in_the_headers_nothing_panics() {
        let whole = this_program();
        let length = whole.len().min(1 << 20);
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let (mut read, mut refused) = (0, 0);
        for _ in 0..4_000 {
            let mut bytes = whole[..length].to_vec();
            for _ in 0..=random() % 4 {
                let at = usize::try_from(random()).expect("small") % 0x400;
                bytes[at] = u8::try_from(random() & 0xff).expect("a byte");
            }
            bytes.truncate(usize::try_from(random()).expect("small") % (2 * length) + 1);
            if needs(&bytes).is_ok() {
                read += 1
            } else {
                refused += 1
            }
            drop(without_sections(&bytes));
        }
        assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
    }

    #[test]
    fn what_is_no_program_is_told() {
        assert_eq!(needs(b"#!/bin/sh"), Err("it is no ELF file".to_owned()));
        assert!(needs(b"\x7fELF\x01\x01").is_err());
        assert!(needs(b"\x7fELF\x02\x01\x01").is_err());
    }
}
