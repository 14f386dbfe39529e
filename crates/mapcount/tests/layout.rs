//! The pictures of the layouts against the files beside this one. `MAPCOUNT_BLESS=1` renews them.

mod common;

use std::path::Path;

use common::compare_or_bless;
use mapcount::report::layout::{Style, WIDTH, render};
use mapcount_model::layout::layout;
use mapcount_model::release::Release;

/// A release of each layout that there was.
const RELEASES: &[&str] = &[
    "2.6.38", "3.1", "3.2", "4.0", "4.4", "4.5", "4.6", "4.16", "4.18", "5.7", "5.10", "5.18", "6.1", "6.2",
    "6.3", "6.8", "6.12", "6.15", "7.0", "7.2", "7.3",
];

fn picture(release: &str, style: Style) -> String {
    render(&layout(Release::parse(release).expect("a release")), style)
}

#[test]
fn pictures_are_as_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout");
    let compare = |release: &&str| {
        compare_or_bless(&folder.join(format!("{release}.txt")), &picture(release, Style::Plain)).err()
    };
    let differing: Vec<String> = RELEASES.iter().filter_map(compare).collect();
    assert!(differing.is_empty(), "{}\nMAPCOUNT_BLESS=1 renews them", differing.join("\n"));
}

#[test]
fn pictures_fit_and_their_boxes_are_aligned() {
    for release in RELEASES {
        let picture = picture(release, Style::Plain);
        assert!(picture.lines().all(|line| line.chars().count() <= WIDTH), "{release}");
        let mut borders = Vec::new();
        for line in picture.lines().filter(|line| line.chars().any(|c| "┌│└".contains(c))) {
            let at: Vec<usize> =
                line.chars().enumerate().filter(|(_, c)| "┌┬┐│└┴┘".contains(*c)).map(|(at, _)| at).collect();
            if line.contains('┌') {
                borders = at;
            } else {
                assert_eq!(at, borders, "{release}: {line}");
            }
        }
        assert!(!borders.is_empty(), "{release}");
    }
}

#[test]
fn colour_adds_escapes_and_nothing_else() {
    for release in RELEASES {
        let coloured = picture(release, Style::Color);
        let plain = common::without_escapes(&coloured);
        assert_ne!(coloured, plain, "{release}");
        assert_eq!(plain, picture(release, Style::Plain), "{release}");
    }
}
