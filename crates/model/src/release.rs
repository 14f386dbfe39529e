//! Kernel releases and ranges of them.

use std::fmt;

/// A kernel release: `6.12.107` is 6, 12, 107; `6.12` is 6, 12, 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Release {
    /// First number.
    pub major: u16,
    /// Second number. 2.6.38 is written `2.6.38` and stored as 2, 6, 38.
    pub minor: u16,
    /// Third number, 0 if left out.
    pub patch: u16,
}

impl Release {
    /// The release `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Release {
        Release { major, minor, patch }
    }

    /// Reads `6.12`, `6.12.107`, `2.6.39.3`, and what distributions append (`5.10.0-32-cloud-amd64`,
    /// `6.12.107+deb13`). Of four numbers the last is dropped: 2.6.x counted its stable releases there.
    pub fn parse(text: &str) -> Option<Release> {
        let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        if !matches!(text[digits..].chars().next(), None | Some('-' | '+' | '~' | '_')) {
            return None;
        }
        let mut numbers = text[..digits].split('.').map(str::parse::<u16>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = numbers.next().transpose().ok()?.unwrap_or(0);
        let rest = [numbers.next().transpose().ok()?, numbers.next().transpose().ok()?];
        if rest[1].is_some() || (rest[0].is_some() && major != 2) {
            return None;
        }
        Some(Release { major, minor, patch })
    }

    /// The numbers that name a series of stable releases: 6.12 of 6.12.107, 2.6.39 of 2.6.39.3.
    pub const fn series(self) -> (u16, u16, u16) {
        (self.major, self.minor, if self.major < 3 { self.patch } else { 0 })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch != 0 {
            write!(f, ".{}", self.patch)?;
        }
        Ok(())
    }
}

/// A range of releases, both ends included. The ends name series: `..6.1` holds 6.1.190 too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ReleaseRange {
    /// The first series, open if `None`.
    pub from: Option<Release>,
    /// The last series, open if `None`.
    pub to: Option<Release>,
}

impl ReleaseRange {
    /// Whether `release` lies in the range.
    pub fn contains(&self, release: Release) -> bool {
        self.from.is_none_or(|from| release.series() >= from.series())
            && self.to.is_none_or(|to| release.series() <= to.series())
    }
}

impl fmt::Display for ReleaseRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(from) = self.from {
            write!(f, "{from}")?;
            if self.to == self.from {
                return Ok(());
            }
        }
        f.write_str("..")?;
        if let Some(to) = self.to {
            write!(f, "{to}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Release, ReleaseRange};

    #[test]
    fn releases_are_read_as_distributions_write_them() {
        for (text, expected) in [
            ("6.12", Some(Release::new(6, 12, 0))),
            ("6.12.107+deb13-cloud-amd64", Some(Release::new(6, 12, 107))),
            ("5.10.0-32-cloud-amd64", Some(Release::new(5, 10, 0))),
            ("2.6.39.3", Some(Release::new(2, 6, 39))),
            ("7.2.13-no-page-mapcount", Some(Release::new(7, 2, 13))),
            ("7.3-rc7", Some(Release::new(7, 3, 0))),
            ("6", None),
            ("6.x", None),
            ("6.1.2.3", None),
            ("", None),
            ("6.12beta", None),
            ("99999.1", None),
        ] {
            assert_eq!(Release::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_range_holds_the_stable_releases_of_its_last_series() {
        let range = ReleaseRange { from: Release::parse("4.5"), to: Release::parse("6.1") };
        assert!(range.contains(Release::new(6, 1, 190)));
        assert!(range.contains(Release::new(4, 5, 7)));
        assert!(!range.contains(Release::new(4, 4, 300)));
        assert!(!range.contains(Release::new(6, 2, 0)));
        let old = ReleaseRange { from: None, to: Release::parse("2.6.38") };
        assert!(!old.contains(Release::new(2, 6, 39)));
    }
}
