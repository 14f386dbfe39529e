//! What /proc tells anybody of his own processes: sums that the kernel computed.

use std::fs;

use super::procs::Process;
use super::space::Missed;

/// The sums of a process, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Own {
    /// Mapped.
    pub rss: u64,
    /// Its share.
    pub pss: u64,
    /// Private.
    pub uss: u64,
    /// Anonymous.
    pub anon: u64,
    /// Anonymous and mapped by PMDs.
    pub anon_by_pmd: u64,
    /// Swapped out.
    pub swap: u64,
}

/// The sums of a process.
///
/// # Errors
/// If it is gone, or not ours.
pub fn own(process: &Process) -> Result<Own, Missed> {
    let path = format!("/proc/{}/smaps_rollup", process.pid);
    let text = fs::read_to_string(path).map_err(|error| Missed::of(process.pid, &error))?;
    if text.is_empty() { Err(Missed::NoMemory) } else { Ok(parse(&text)) }
}

fn parse(text: &str) -> Own {
    let mut own = Own::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next()) else { continue };
        let bytes = value.parse::<u64>().unwrap_or(0).saturating_mul(1024);
        match key {
            "Rss:" => own.rss = bytes,
            "Pss:" => own.pss = bytes,
            "Private_Clean:" | "Private_Dirty:" => own.uss += bytes,
            "Anonymous:" => own.anon = bytes,
            "AnonHugePages:" => own.anon_by_pmd = bytes,
            "Swap:" => own.swap = bytes,
            _ => {}
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::{Own, parse};

    #[test]
    fn sums_are_read() {
        let text = "55e-7ff ---p 0 0:0 0 [rollup]\nRss: 8 kB\nPss: 6 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 3 kB\nSwap: 2 kB\n";
        let own = parse(text);
        assert_eq!(own, Own { rss: 8192, pss: 6144, uss: 4096, swap: 2048, ..Own::default() });
        assert_eq!(parse("x"), Own::default());
    }
}
