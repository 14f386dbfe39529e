//! Where the archive is: what apt is configured to use, else the public archive.

use std::path::Path;

/// The parts of the archive that are apart from each other on servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Releases and backports.
    Main,
    /// Security updates.
    Security,
}

/// The public archive.
const MAIN: &str = "https://deb.debian.org/debian";
const SECURITY: &str = "https://deb.debian.org/debian-security";

/// Where both parts of the archive are; the first that answers is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirrors {
    main: Vec<String>,
    security: Vec<String>,
}

impl Mirrors {
    /// What the files in apt's folder `apt` (`/etc/apt`) name, then the public archive.
    pub fn configured(apt: &Path) -> Mirrors {
        let mut found = Vec::new();
        let mut files = vec![apt.join("sources.list")];
        if let Ok(entries) = apt.join("sources.list.d").read_dir() {
            let mut more: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            more.sort();
            files.extend(more);
        }
        for file in files {
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            match file.extension().and_then(|ending| ending.to_str()) {
                Some("list") => found.extend(one_line_style(&text)),
                Some("sources") => found.extend(deb822_style(&text)),
                _ => {}
            }
        }
        Mirrors::of(&found)
    }

    /// Servers that have both parts at these addresses.
    pub fn at(main: &str, security: &str) -> Mirrors {
        Mirrors { main: vec![main.to_owned()], security: vec![security.to_owned()] }
    }

    fn of(entries: &[Entry]) -> Mirrors {
        let part = |security: bool, public: &str| {
            let mut addresses: Vec<String> = Vec::new();
            let fits = |entry: &&Entry| entry.is_debian() && entry.is_security() == security;
            // Other archives use Debian's names of suites too; one with Debian's name in its path comes first.
            let (likely, others): (Vec<&Entry>, Vec<&Entry>) =
                entries.iter().filter(fits).partition(|entry| entry.address.contains("debian"));
            let named = likely.into_iter().chain(others).map(|entry| entry.address.trim_end_matches('/'));
            for address in named.chain([public]) {
                if !addresses.iter().any(|known| known == address) {
                    addresses.push(address.to_owned());
                }
            }
            addresses
        };
        Mirrors { main: part(false, MAIN), security: part(true, SECURITY) }
    }

    /// The addresses to ask for `part`, in this order.
    pub(super) fn addresses(&self, part: Part) -> &[String] {
        match part {
            Part::Main => &self.main,
            Part::Security => &self.security,
        }
    }
}

/// An archive that apt is configured to use.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    address: String,
    suites: Vec<String>,
    components: Vec<String>,
}

impl Entry {
    fn is_debian(&self) -> bool {
        const NAMES: [&str; 4] = ["stable", "testing", "unstable", "oldstable"];
        let is_ours = |suite: &String| {
            let name = suite.split(['-', '/']).next().unwrap_or(suite);
            NAMES.contains(&name) || super::suites::NAMES.contains(&name)
        };
        let reachable =
            ["http://", "https://", "file:"].iter().any(|scheme| self.address.starts_with(scheme));
        reachable && self.suites.iter().any(is_ours) && self.components.iter().any(|name| name == "main")
    }

    fn is_security(&self) -> bool {
        self.suites.iter().any(|suite| suite.ends_with("-security") || suite.ends_with("/updates"))
    }
}

/// `deb [options] address suite components…`
fn one_line_style(text: &str) -> Vec<Entry> {
    let lines = text.lines().filter_map(|line| {
        let line = line.split('#').next()?.trim().strip_prefix("deb")?;
        let line = line.strip_prefix([' ', '\t'])?.trim_start();
        let rest = match line.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => line,
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        Some(Entry { address: words.next()?, suites: vec![words.next()?], components: words.collect() })
    });
    lines.collect()
}

/// Paragraphs of `Types:`, `URIs:`, `Suites:`, `Components:`.
fn deb822_style(text: &str) -> Vec<Entry> {
    let without_comments: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let text = without_comments.join("\n");
    let mut entries = Vec::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| -> Vec<String> {
            let lines = paragraph.lines().skip_while(|line| {
                !line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
            });
            let value =
                lines.enumerate().take_while(|(index, line)| *index == 0 || line.starts_with([' ', '\t']));
            let value = value.map(|(index, line)| match index {
                0 => line.split_once(':').map_or("", |(_, rest)| rest),
                _ => line,
            });
            value.flat_map(str::split_whitespace).map(str::to_owned).collect()
        };
        let is_off = field("Enabled").iter().any(|word| word.eq_ignore_ascii_case("no"));
        if is_off || !field("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        let (suites, components) = (field("Suites"), field("Components"));
        entries.extend(field("URIs").into_iter().map(|address| Entry {
            address,
            suites: suites.clone(),
            components: components.clone(),
        }));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::{MAIN, Mirrors, Part, SECURITY, deb822_style, one_line_style};

    #[test]
    fn nothing_configured_means_the_public_archive() {
        let mirrors = Mirrors::of(&[]);
        assert_eq!(mirrors, Mirrors::at(MAIN, SECURITY));
        assert_eq!(mirrors.addresses(Part::Security), [SECURITY]);
    }

    #[test]
    fn lines_and_paragraphs_name_the_same_servers() {
        let lines = "# deb http://no.example/debian bookworm main\n\
            deb [arch=amd64 signed-by=/a] http://a.example/debian/ bookworm main contrib\n\
            deb-src http://b.example/debian bookworm main\n\
            deb http://c.example/sec bookworm-security main\n\
            deb http://d.example/tools bookworm-tools stable # main\n";
        let paragraphs = "Types: deb deb-src\nURIs: http://a.example/debian\nSuites: bookworm\n bookworm-updates\n\
            # a comment\nComponents: main\n\nTypes: deb\nURIs: http://c.example/sec\nSuites: bookworm-security\n\
            Components: main\n\nTypes: deb\nEnabled: no\nURIs: http://e.example/debian\nSuites: sid\nComponents: main\n";
        let expected = Mirrors {
            main: vec!["http://a.example/debian".to_owned(), MAIN.to_owned()],
            security: vec!["http://c.example/sec".to_owned(), SECURITY.to_owned()],
        };
        assert_eq!(Mirrors::of(&one_line_style(lines)), expected);
        assert_eq!(Mirrors::of(&deb822_style(paragraphs)), expected);
    }

    #[test]
    fn another_archive_with_the_same_suites_is_asked_last() {
        let lines = "deb https://tools.example bookworm main\ndeb http://a.example/debian bookworm main\n";
        let mirrors = Mirrors::of(&one_line_style(lines));
        assert_eq!(mirrors.addresses(Part::Main), ["http://a.example/debian", "https://tools.example", MAIN]);
    }
}
