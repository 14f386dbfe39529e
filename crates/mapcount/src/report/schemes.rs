//! The schemes of counting: a list of all, each in full, and a glossary of their fields.

use std::fmt::Write as _;

use mapcount_model::field::{Field, Scope, TABLE};
use mapcount_model::release::Release;
use mapcount_model::scheme::{ALL, Capabilities, Info, Scheme};

use super::layout::Style;
use super::text::{Mark, aside, list, marked, paragraph};

/// A paragraph for each scheme, oldest first.
pub fn table(style: Style) -> String {
    let mut out = String::new();
    for scheme in ALL {
        let info = scheme.info();
        let head = format!("{:<25}{}", info.id, kernels(info));
        let _ = writeln!(out, "{}", marked(style, Mark::Answer, &head));
        paragraph(&mut out, "    ", "    ", info.title);
    }
    out.push('\n');
    out.push_str(
        "`mapcount schemes ID` tells one in full, `mapcount schemes --fields` what the counters are.\n",
    );
    out
}

fn kernels(info: &Info) -> String {
    match info.kernels {
        Some(kernels) => kernels.to_string(),
        None => format!("no kernel; runs with the behaviour of {}", info.runs_as),
    }
}

/// All that is known of a scheme.
pub fn one(scheme: &dyn Scheme, style: Style) -> String {
    let info = scheme.info();
    let mut out = format!("{}\n", marked(style, Mark::Answer, info.id));
    paragraph(&mut out, "  ", "  ", info.title);
    paragraph(&mut out, "  kernels: ", "  ", &kernels(info));
    section(&mut out, style, "fields");
    let release = names_of(info);
    let always = [Field::Refcount, Field::Mapcount];
    for field in always.iter().chain(info.fields) {
        let row = field.row();
        let initial = match field {
            Field::Refcount => "1, of tails 0".to_owned(),
            _ => row.initial.to_string(),
        };
        let place = match row.scope {
            Scope::Page => "each page",
            Scope::LargeFolio => "large folio",
        };
        let name = field.kernel_name(release);
        let _ = writeln!(out, "    {name:<24}{:<24}{place:<13}starts at {initial}", row.key);
        aside(&mut out, style, "      ", "      ", row.meaning.trim());
    }
    section(&mut out, style, "equations at rest (P_i: PTEs of page i, D: PMDs, N: pages, DM: PG_double_map)");
    bullets(&mut out, info.equations);
    section(&mut out, style, "laws that are checked after every step");
    for law in info.laws {
        paragraph(&mut out, &format!("    {:<15}", law.name()), "                   ", law.meaning().trim());
    }
    if !info.breaks.is_empty() {
        section(&mut out, style, "laws that it breaks by design");
        for (law, how) in info.breaks {
            let text = format!("{} But {how}.", sentence(law.meaning().trim()));
            paragraph(&mut out, &format!("    {:<15}", law.name()), "                   ", &text);
        }
    }
    if !info.cannot.is_empty() {
        section(&mut out, style, "what it cannot");
        bullets(&mut out, info.cannot);
    }
    section(&mut out, style, "how it is built");
    bullets(&mut out, &structure(info.capabilities));
    section(&mut out, style, "sources");
    bullets(&mut out, info.sources);
    out
}

/// The release whose names its fields have.
fn names_of(info: &Info) -> Release {
    let newest = Release::new(u16::MAX, 0, 0);
    match info.kernels {
        Some(kernels) => kernels.to.unwrap_or(newest),
        None => Release::parse(info.runs_as).unwrap_or(newest),
    }
}

fn section(out: &mut String, style: Style, title: &str) {
    let _ = writeln!(out, "\n  {}", marked(style, Mark::Answer, title));
}

fn bullets<T: AsRef<str>>(out: &mut String, texts: &[T]) {
    for text in texts {
        paragraph(out, "    - ", "      ", text.as_ref());
    }
}

fn sentence(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

fn structure(capabilities: Capabilities) -> Vec<&'static str> {
    let Capabilities {
        pmd_split_splits_folio,
        needs_vma_pages,
        page_mapcounts,
        reference_per_vma,
        bias_is_not_restored,
        hugetlb_counts_in_head,
    } = capabilities;
    let pick = |yes: bool, texts: [&'static str; 2]| texts[usize::from(!yes)];
    let mut texts = vec![
        pick(
            pmd_split_splits_folio,
            [
                "splitting a PMD splits the folio, for everybody",
                "splitting a PMD concerns its own process alone",
            ],
        ),
        pick(
            page_mapcounts,
            ["each page of a large folio has a map count", "pages of a large folio have no map counts"],
        ),
        pick(
            reference_per_vma,
            ["a VMA owns one reference on a large folio", "a page-table entry owns one reference"],
        ),
    ];
    texts.push(pick(
        hugetlb_counts_in_head,
        [
            "the head's _mapcount counts the mappings of a hugetlb folio",
            "a hugetlb folio is counted as a whole, in none of its pages' _mapcount",
        ],
    ));
    if needs_vma_pages {
        texts.push("it has to be told how many pages of the folio a VMA maps before and after a change");
    }
    if bias_is_not_restored {
        texts.push(
            "migration does not set the bias again: what PMDs and PTEs map is then counted twice as mapped",
        );
    }
    texts
}

/// Every counter and flag.
pub fn fields(style: Style) -> String {
    let mut out = String::new();
    for row in TABLE {
        let place = match (row.scope, row.flag) {
            (Scope::Page, false) => "a counter of each page",
            (Scope::Page, true) => "a flag of each page",
            (Scope::LargeFolio, false) => "a counter of a large folio",
            (Scope::LargeFolio, true) => "a flag of a large folio",
        };
        let head = format!("{:<25}{place}, starts at {}", row.key, row.initial);
        let _ = writeln!(out, "{}", marked(style, Mark::Answer, &head));
        paragraph(&mut out, "    ", "    ", row.meaning.trim());
        let names: Vec<String> = row
            .names
            .iter()
            .map(|(name, kernels)| match (kernels.from, kernels.to) {
                (None, None) => format!("{name} (all kernels)"),
                _ => format!("{name} ({kernels})"),
            })
            .collect();
        let names = if names.is_empty() { "no kernel has it".to_owned() } else { list(&names) };
        aside(&mut out, style, "    in kernels: ", "    ", &names);
        let of: Vec<&str> = ALL
            .iter()
            .filter(|scheme| scheme.info().fields.contains(&row.field))
            .map(|scheme| scheme.info().id)
            .collect();
        let of = if of.is_empty() { "all".to_owned() } else { list(&of) };
        aside(&mut out, style, "    schemes: ", "    ", &of);
    }
    out
}
