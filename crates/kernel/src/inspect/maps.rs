//! The areas of an address space, from /proc/PID/maps.

use std::fs;

use super::space::Missed;
use crate::vmemmap::PAGE;

/// An area.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Area {
    /// Its first page.
    pub start: u64,
    /// Behind its last page.
    pub end: u64,
    /// `rwxp`, as /proc shows it.
    pub access: String,
    /// The file, or what it is for; empty for anonymous memory.
    pub name: String,
}

/// The areas of a process, by rising address.
///
/// # Errors
/// If it is gone or closed to us.
pub fn areas(pid: u32) -> Result<Vec<Area>, Missed> {
    let text = fs::read(format!("/proc/{pid}/maps")).map_err(|error| Missed::of(pid, &error))?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Area> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let page = |text| u64::from_str_radix(text, 16).ok().map(|address| address / PAGE);
    let access = words.next()?.to_owned();
    let name = words.nth(3).unwrap_or("").trim_start().to_owned();
    Some(Area { start: page(start)?, end: page(end)?, access, name })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_may_have_blanks() {
        let area = parse("7f00000000-7f00002000 r-xp 00000000 00:1f 77                 /a b (deleted)");
        let area = area.expect("well-formed");
        assert_eq!((area.start, area.end, area.name.as_str()), (0x7f00000, 0x7f00002, "/a b (deleted)"));
        let anonymous = parse("1000-2000 rw-p 00000000 00:00 0 ").expect("well-formed");
        assert_eq!((anonymous.name.as_str(), anonymous.access.as_str()), ("", "rw-p"));
        assert_eq!(parse("x"), None);
    }
}
