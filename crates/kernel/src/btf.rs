//! BTF, the description that a kernel carries of its own types: where a member lies, by its name.
//!
//! The reader trusts nothing: a blob may be cut off, its types may contain themselves, its numbers may be of
//! any size. What makes no sense is an error or is not found; work and memory stay bounded by the blob's size.
//! Format: Documentation/bpf/btf.rst (v7.2).

mod blob;
#[cfg(test)]
pub(crate) mod build;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::Unavailable;
use blob::{Blob, Mapped};

pub use walk::{Flat, Place};

/// Where a running kernel shows its own types.
pub const LIVE: &str = "/sys/kernel/btf/vmlinux";

/// The largest blob that is read. A distribution's kernel has about 6 MiB; with all of its modules ten times that.
const MOST_BYTES: u64 = 256 << 20;

/// The number of a type; 0 is `void`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TypeId(u32);

/// What sort of type it is; only the kinds that matter here are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Int,
    Pointer,
    Array,
    Struct,
    Union,
    Enum,
    Enum64,
    Float,
    /// A typedef, a qualifier or a tag: stands for another type.
    Alias,
    /// Declarations, functions, variables.
    Other,
}

/// The types of a kernel.
pub struct Btf {
    data: Blob,
    /// Where each type starts in `data`, from type 1 on.
    starts: Vec<u32>,
    /// The strings: from here to here in `data`.
    strings: (usize, usize),
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf").field("types", &self.starts.len()).finish_non_exhaustive()
    }
}

/// Why a blob is no BTF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BtfError {
    /// It does not begin as BTF does.
    NotBtf,
    /// It is of a machine with the other byte order.
    BigEndian,
    /// A version that this reader does not know.
    Version(u8),
    /// It ends before the part named.
    CutOff(&'static str),
    /// A type of a kind that this reader does not know; what follows it cannot be found.
    UnknownKind {
        /// The number of the type.
        id: u32,
        /// Its kind.
        kind: u8,
    },
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BtfError::NotBtf => f.write_str("it does not begin as BTF does"),
            BtfError::BigEndian => f.write_str("it is BTF of a big-endian machine"),
            BtfError::Version(version) => write!(f, "it is BTF of version {version}, not 1"),
            BtfError::CutOff(part) => write!(f, "it ends before its {part} do"),
            BtfError::UnknownKind { id, kind } => write!(f, "type {id} is of the unknown kind {kind}"),
        }
    }
}

impl std::error::Error for BtfError {}

/// A type's fixed part: name, kind, count and flag, size or type.
#[derive(Clone, Copy)]
struct Head {
    name: u32,
    kind: Kind,
    count: usize,
    flag: bool,
    /// The size in bytes, or the type that it refers to.
    size_or_type: u32,
    /// Where what follows it starts.
    rest: usize,
}

const HEAD_BYTES: usize = 12;

impl Btf {
    /// The types in `data`: a blob of BTF, or an ELF file (a vmlinux) with a section `.BTF`.
    ///
    /// # Errors
    /// If it is not well-formed.
    pub fn parse(data: Vec<u8>) -> Result<Btf, BtfError> {
        Btf::of(Blob::Read(match section(&data) {
            Some((from, to)) => data[from..to].to_vec(),
            None => data,
        }))
    }

    fn of(data: Blob) -> Result<Btf, BtfError> {
        match u16_at(&data, 0) {
            Some(0xeb9f) => {}
            Some(0x9feb) => return Err(BtfError::BigEndian),
            _ => return Err(BtfError::NotBtf),
        }
        match data.get(2) {
            Some(1) => {}
            Some(version) => return Err(BtfError::Version(*version)),
            None => return Err(BtfError::CutOff("header")),
        }
        let number = |at| u32_at(&data, at).map(|n| n as usize).ok_or(BtfError::CutOff("header"));
        let header = number(4)?;
        let part = |offset: usize, length: usize, name| {
            let from = header.checked_add(offset);
            let to = from.and_then(|from| from.checked_add(length));
            match (from, to) {
                (Some(from), Some(to)) if to <= data.len() => Ok((from, to)),
                _ => Err(BtfError::CutOff(name)),
            }
        };
        let types = part(number(8)?, number(12)?, "types")?;
        let strings = part(number(16)?, number(20)?, "strings")?;
        let starts = starts(&data, types)?;
        Ok(Btf { data, starts, strings })
    }

    /// The types in the file `path`.
    ///
    /// # Errors
    /// If it cannot be read or is no BTF.
    pub fn read(path: &Path) -> Result<Btf, Unavailable> {
        let is_live = path == Path::new(LIVE);
        let remedy = |otherwise: &str| {
            if is_live {
                "use a kernel with CONFIG_DEBUG_INFO_BTF=y and mount sysfs on /sys"
            } else {
                otherwise
            }
            .to_owned()
        };
        let unreadable = |error: io::Error| {
            Unavailable::new(format!("{}: {error}", path.display()), remedy("name a file with BTF"))
        };
        let file = fs::File::open(path).map_err(unreadable)?;
        // Another file may become shorter while it is mapped.
        let mapped = if is_live { Mapped::live(&file).ok() } else { None };
        let parsed = match mapped {
            Some(mapped) => Btf::of(Blob::Mapped(mapped)),
            None => {
                let length = file.metadata().map_or(0, |metadata| metadata.len().min(MOST_BYTES));
                let mut data = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
                file.take(MOST_BYTES).read_to_end(&mut data).map_err(unreadable)?;
                Btf::parse(data)
            }
        };
        parsed.map_err(|error| {
            Unavailable::new(
                format!("{}: {error}", path.display()),
                remedy("name a blob of BTF or a vmlinux with a section .BTF"),
            )
        })
    }

    /// The types of the running kernel.
    ///
    /// # Errors
    /// If it shows none.
    pub fn live() -> Result<Btf, Unavailable> {
        Btf::read(Path::new(LIVE))
    }

    /// How many types there are, `void` left out.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no type.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn head(&self, id: TypeId) -> Option<Head> {
        let index = (id.0 as usize).checked_sub(1)?;
        head_at(&self.data, *self.starts.get(index)? as usize).map(|(head, _)| head)
    }

    /// The string at `offset`; empty if there is none.
    fn text(&self, offset: u32) -> &str {
        let (from, to) = self.strings;
        let Some(bytes) = from.checked_add(offset as usize).and_then(|from| self.data.get(from..to)) else {
            return "";
        };
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        std::str::from_utf8(&bytes[..end]).unwrap_or("")
    }

    /// Whether the string at `offset` is `name`; cheaper than reading it.
    fn is_named(&self, offset: u32, name: &str) -> bool {
        let start = self.strings.0.checked_add(offset as usize);
        let found =
            start.and_then(|start| self.data.get(start..start.checked_add(name.len())?.checked_add(1)?));
        found.is_some_and(|found| found.ends_with(&[0]) && found.starts_with(name.as_bytes()))
    }

    fn find(&self, name: &str, wanted: impl Fn(&Head) -> bool) -> Option<TypeId> {
        let matches = |start: &u32| {
            head_at(&self.data, *start as usize)
                .is_some_and(|(head, _)| wanted(&head) && self.is_named(head.name, name))
        };
        let index = self.starts.iter().position(matches)?;
        Some(TypeId(u32::try_from(index).ok()?.checked_add(1)?))
    }

    /// The structure of this name, if it is defined (not only declared).
    pub fn structure(&self, name: &str) -> Option<TypeId> {
        self.find(name, |head| head.kind == Kind::Struct && head.count > 0)
    }

    /// The value of `enumerator` in the enumeration `name`.
    pub fn enumerator(&self, name: &str, enumerator: &str) -> Option<i64> {
        let id = self.find(name, |head| matches!(head.kind, Kind::Enum | Kind::Enum64) && head.count > 0)?;
        let head = self.head(id)?;
        let bytes = if head.kind == Kind::Enum { 8 } else { 12 };
        (0..head.count).find_map(|index| {
            let at = head.rest + index * bytes;
            if !self.is_named(u32_at(&self.data, at)?, enumerator) {
                return None;
            }
            let low = u32_at(&self.data, at + 4)?;
            match head.kind {
                Kind::Enum64 => {
                    Some((u64::from(u32_at(&self.data, at + 8)?) << 32 | u64::from(low)).cast_signed())
                }
                // The flag says that the values are signed.
                _ if head.flag => Some(i64::from(low.cast_signed())),
                _ => Some(i64::from(low)),
            }
        })
    }
}

/// Where each type starts.
fn starts(data: &[u8], (from, to): (usize, usize)) -> Result<Vec<u32>, BtfError> {
    let types = &data[..to];
    // Most types take 12 to 36 bytes.
    let mut starts = Vec::with_capacity((to - from) / 24);
    let mut at = from;
    while at < to {
        let id = starts.len() as u32 + 1;
        let (head, length) = match head_at(types, at) {
            Some(found) => found,
            None => {
                let kind = u32_at(types, at + 4).map(|info| (info >> 24 & 0x1f) as u8);
                let unknown = kind.filter(|kind| *kind == 0 || *kind > LAST_KIND);
                return Err(
                    unknown.map_or(BtfError::CutOff("types"), |kind| BtfError::UnknownKind { id, kind })
                );
            }
        };
        let next =
            head.rest.checked_add(length).filter(|next| *next <= to).ok_or(BtfError::CutOff("types"))?;
        starts.push(u32::try_from(at).map_err(|_| BtfError::CutOff("types"))?);
        at = next;
    }
    Ok(starts)
}

/// BTF_KIND_ENUM64.
const LAST_KIND: u8 = 19;

/// The type at `at` and the length of what follows its fixed part.
fn head_at(data: &[u8], at: usize) -> Option<(Head, usize)> {
    let info = u32_at(data, at.checked_add(4)?)?;
    let count = (info & 0xffff) as usize;
    let (kind, length) = match info >> 24 & 0x1f {
        1 => (Kind::Int, 4),
        2 => (Kind::Pointer, 0),
        3 => (Kind::Array, 12),
        4 => (Kind::Struct, 12 * count),
        5 => (Kind::Union, 12 * count),
        6 => (Kind::Enum, 8 * count),
        // Typedef, volatile, const, restrict; 18 is a type tag.
        8..=11 | 18 => (Kind::Alias, 0),
        // Forward declaration; function.
        7 | 12 => (Kind::Other, 0),
        // Prototype, variable, section, declaration tag.
        13 => (Kind::Other, 8 * count),
        14 | 17 => (Kind::Other, 4),
        15 => (Kind::Other, 12 * count),
        16 => (Kind::Float, 0),
        19 => (Kind::Enum64, 12 * count),
        _ => return None,
    };
    let head = Head {
        name: u32_at(data, at)?,
        kind,
        count,
        flag: info >> 31 == 1,
        size_or_type: u32_at(data, at.checked_add(8)?)?,
        rest: at + HEAD_BYTES,
    };
    Some((head, length))
}

/// Where the section `.BTF` of an ELF file of 64 bits lies in it.
fn section(data: &[u8]) -> Option<(usize, usize)> {
    if !data.starts_with(&[0x7f, b'E', b'L', b'F', 2, 1]) {
        return None;
    }
    let table = usize::try_from(u64_at(data, 0x28)?).ok()?;
    let entry_bytes = usize::from(u16_at(data, 0x3a)?);
    let count = usize::from(u16_at(data, 0x3c)?);
    let entry = |index: usize| table.checked_add(index.checked_mul(entry_bytes)?);
    let range = |at: usize| {
        let from = usize::try_from(u64_at(data, at.checked_add(0x18)?)?).ok()?;
        let bytes = usize::try_from(u64_at(data, at.checked_add(0x20)?)?).ok()?;
        let to = from.checked_add(bytes)?;
        (to <= data.len()).then_some((from, to))
    };
    let (names, names_end) = range(entry(usize::from(u16_at(data, 0x3e)?))?)?;
    (0..count).find_map(|index| {
        let at = entry(index)?;
        let name = names.checked_add(u32_at(data, at)? as usize)?;
        let found = data.get(name..names_end)?.starts_with(b".BTF\0");
        if found { range(at) } else { None }
    })
}

pub(crate) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    let bytes = data.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

pub(crate) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

pub(crate) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    let bytes = data.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}
