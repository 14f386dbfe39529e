//! The modelled kernels: a table of all, and what is known of one.

use std::fmt::Write as _;

use mapcount_model::policy::{Policy, Row};
use mapcount_model::profile::Profile;
use mapcount_model::release::Release;

use super::layout::{Style, WIDTH};
use super::text::{Mark, aside, count, list, marked, paragraph, wrapped};

/// A line for each kernel.
pub fn table(kernels: &[Profile], style: Style) -> String {
    let mut out = String::new();
    let header =
        format!("{:<22}{:<18}{:<28}{}", "kernel", "scheme", "recorded", "changed since the one above");
    let _ = writeln!(out, "{}", marked(style, Mark::Answer, &header));
    for (index, profile) in kernels.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| &kernels[index]);
        let recorded = match profile.recordings().as_slice() {
            [] => "-".to_owned(),
            names => names.join(", "),
        };
        let scheme = profile.scheme.info().id;
        let line = format!("{:<22}{:<18}{:<28}{}", profile.name, scheme, recorded, news(profile, before));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
    let text = "A kernel between two of these is modelled as the older one, with what changed up to its own release. \
                `mapcount kernels 6.17` tells how a name resolves, `--policy` all that the kernel does.";
    paragraph(&mut out, "", "", text);
    out
}

/// What differs from the kernel above, in a few words.
fn news(profile: &Profile, before: Option<&Profile>) -> String {
    let Some(before) = before else { return String::new() };
    let rows = changed(before.release, profile.release).len() as i64;
    let scheme = before.scheme.info().id != profile.scheme.info().id;
    match (scheme, rows) {
        (true, 0) => "scheme".to_owned(),
        (true, _) => format!("scheme, {}", count(rows, "behaviour")),
        (false, 0) => "nothing".to_owned(),
        (false, _) => count(rows, "behaviour"),
    }
}

/// The rows of `to` that have another value than those of `from`, each with the old value.
fn changed(from: Release, to: Release) -> Vec<(Row, String)> {
    let pairs = Policy::rows(from).into_iter().zip(Policy::rows(to));
    pairs.filter(|(old, new)| old.value != new.value).map(|(old, new)| (new, old.value)).collect()
}

/// How a name resolves, and what is different from its neighbours.
pub fn one(profile: &Profile, style: Style) -> String {
    let scheme = profile.scheme.info();
    let mut out = format!("{}\n", marked(style, Mark::Answer, &profile.name));
    let by_scheme = profile.name == scheme.id;
    let mut base = match (by_scheme, profile.base == profile.release) {
        (true, _) => format!("a scheme; it runs with the behaviour of {}", profile.release),
        (false, true) => "a modelled release".to_owned(),
        (false, false) => format!("modelled as {}, the newest modelled release up to it", profile.base),
    };
    if profile.is_no_page_mapcount() {
        base.push_str(", built with CONFIG_NO_PAGE_MAPCOUNT");
    }
    line(&mut out, "kernel", &base);
    line(&mut out, "scheme", &format!("{}: {}", scheme.id, scheme.title));
    let recorded = match profile.recordings().as_slice() {
        [] if scheme.kernels.is_none() => "a proposal; no kernel counts so".to_owned(),
        [] => format!("nothing between {} and the next modelled release", profile.base),
        names => list(names),
    };
    line(&mut out, "recorded", &recorded);
    let own = changed(profile.base, profile.release);
    if profile.base != profile.release {
        differences(&mut out, &format!("differs from {} in", profile.base), &own, style);
    }
    if let Some(before) = profile.predecessor() {
        let before = Profile::resolve(&before.to_string()).expect("modelled");
        let news = changed(before.release, profile.base);
        // An option and a proposal are no successors of the release before.
        if before.scheme.info().id != scheme.id && !by_scheme && !profile.is_no_page_mapcount() {
            line(&mut out, "new scheme", &format!("{} counted by {}", before.name, before.scheme.info().id));
        }
        differences(&mut out, &format!("{} differs from {} in", profile.base, before.name), &news, style);
    }
    out
}

fn line(out: &mut String, what: &str, text: &str) {
    paragraph(out, &format!("  {what:<12}"), "              ", text);
}

fn differences(out: &mut String, what: &str, rows: &[(Row, String)], style: Style) {
    if rows.is_empty() {
        let _ = writeln!(out, "  {what} nothing that is modelled");
        return;
    }
    let _ = writeln!(out, "  {what}");
    for (row, old) in rows {
        paragraph(out, "    ", "      ", &format!("{}: {}, before {old}", row.name, row.value));
        aside(out, style, "      ", "      ", row.meaning.trim());
    }
}

/// All that a kernel does, a row each.
pub fn policy(profile: &Profile, style: Style) -> String {
    let mut out = String::from("  behaviour\n");
    let rows = Policy::rows(profile.release);
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let first = rows.iter().map(|row| row.since).min();
    for row in &rows {
        let since = match Some(row.since) == first {
            true => "from the start".to_owned(),
            false => format!("since {}", row.since),
        };
        let name = format!("    {:<width$}  ", row.name);
        let lines =
            wrapped(&name, &" ".repeat(name.len().min(WIDTH / 2)), &format!("{}, {since}", row.value));
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
        aside(&mut out, style, "      ", "      ", row.meaning.trim());
        aside(&mut out, style, "      ", "      ", row.source);
    }
    out
}
