//! Steps as text.

use mapcount_model::event::Errno;
use mapcount_model::profile::Profile;
use mapcount_script::ast::{Scenario, Step};
use unicode_width::UnicodeWidthStr;

use super::lane::{Lane, Told};
use super::{Options, Style};
use crate::report::change::{Fact, Form, Place};
use crate::report::kernel_names::{KernelNames, LABEL, Set};
use crate::report::legend;
use crate::report::merge::{Shared, merge};
use crate::report::paint::{Lines, Phrase, Tone};

/// Columns before what belongs to a step.
const INDENT: usize = 4;
/// Columns before what is said of a place that is named by a word.
const WORDS: usize = 12;
/// Columns before what is said of a phase.
const PHASES: usize = 34;

/// What stands above the steps.
pub(super) fn head(
    out: &mut String,
    (scenario, name): (&Scenario, &str),
    profiles: &[Profile],
    names: &KernelNames,
    lanes: &[Lane<'_>],
    options: Options,
) {
    let style = options.style;
    let mut line = |indent: usize, phrase: Phrase| {
        let mut lines = Lines::new(out, style, &[], indent);
        lines.push(&phrase, 0);
        lines.end();
    };
    let title = Phrase::new(Tone::Heading, name).then(Tone::Plain, "on");
    line(
        0,
        match profiles {
            [profile] => {
                let info = profile.scheme.info();
                let title = title.then(Tone::Kernels, &profile.name).joined(":");
                let id = if info.id == profile.name { String::new() } else { format!("{}: ", info.id) };
                title.then(Tone::Plain, &format!("{id}{}", info.title))
            }
            _ => title.then(Tone::Kernels, &format!("{} kernels", profiles.len())),
        },
    );
    if let Some(title) = &scenario.title {
        line(0, Phrase::new(Tone::Plain, &format!("“{}”", shown(title))));
    }
    let skipped: Set = (0..lanes.len()).filter(|kernel| lanes[*kernel].is_skipped()).collect();
    if let Some(kernels) = scenario.kernels.as_ref().filter(|_| !skipped.is_empty()) {
        let all = (0..lanes.len()).collect();
        let which = if skipped.len() == lanes.len() {
            "here".to_owned()
        } else {
            format!("on {}", names.list(&skipped, &all))
        };
        let text = format!("skipped {which}: the scenario is for kernels {kernels}");
        line(0, Phrase::new(Tone::Alarm, &text));
    }
    if options.legend {
        out.push('\n');
        if profiles.len() > 1 {
            legend::schemes(out, style, names, profiles);
        } else {
            legend::counters(out, style, options.raw, lanes.iter().filter_map(Lane::runner));
        }
        let mut lines = Lines::new(out, style, &[], 0);
        out_note(&mut lines, profiles.len() > 1);
        lines.end();
    }
}

fn out_note(lines: &mut Lines<'_>, several: bool) {
    let mut note = "`1 → 2` was 1 before the step and is 2 after it; what is not mentioned did not change, \
                    or is `no` or 0 for a new folio."
        .to_owned();
    if several {
        note.push_str(
            " Kernels in front of a line: it holds for these alone. \
             What the counters count is told where one kernel runs (--kernel).",
        );
    }
    lines.push(&Phrase::new(Tone::Dim, &note), 0);
}

/// A title may hold what would act on a terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// That a kernel could not begin.
pub(super) fn stopped(out: &mut String, style: Style, names: &KernelNames, kernel: usize, message: &str) {
    let all = Set::new();
    let mut lines = Lines::new(
        out,
        style,
        &[(Tone::Kernels, &names.list(&Set::from([kernel]), &all)), (Tone::Plain, ": ")],
        INDENT,
    );
    lines.push(&Phrase::new(Tone::Alarm, message), 0);
    lines.end();
}

/// A step on all kernels.
pub(super) fn step(
    out: &mut String,
    step: &Step,
    told: Vec<(usize, Told)>,
    kernels: (&KernelNames, &Set),
    style: Style,
) {
    let index = told.first().map_or(0, |(_, told)| told.index);
    out.push('\n');
    let number = format!("{index:>2} ");
    let mut lines = Lines::new(out, style, &[(Tone::Dim, &number)], INDENT);
    lines.push(&Phrase::new(Tone::Heading, &step.text), 0);
    let ends = |told: &Told| told.outcome.map_or("ok", Errno::name);
    let first = told.first().map_or("ok", |(_, told)| ends(told));
    let same = told.iter().all(|(_, told)| ends(told) == first);
    if same && first != "ok" {
        lines.push(&Phrase::new(Tone::Alarm, &format!("=> {first}")), 1);
    }
    lines.end();
    let mut outcomes = Vec::new();
    let mut lists = Vec::new();
    for (kernel, told) in told {
        if !same && told.outcome.is_some() {
            let fact = Fact::new(Phrase::new(Tone::Alarm, ends(&told)));
            outcomes.push((kernel, vec![Place::word(Tone::Alarm, "ends", vec![fact])]));
        }
        let mut places = told.places;
        places.extend(told.wrong.map(|wrong| wrong_place("stopped", &wrong)));
        lists.push((kernel, places));
    }
    for shared in merge(outcomes).into_iter().chain(merge(lists)) {
        write(out, &shared, kernels, style);
    }
}

fn wrong_place(word: &str, message: &str) -> Place {
    Place::word(Tone::Alarm, word, vec![Fact::new(Phrase::new(Tone::Alarm, message))])
}

/// An expectation, where it does not hold.
pub(super) fn expectation(
    out: &mut String,
    told: Vec<(usize, Told)>,
    kernels: (&KernelNames, &Set),
    style: Style,
) {
    let place = |told: Told| told.wrong.iter().map(|wrong| wrong_place("wrong", wrong)).collect();
    for shared in merge(told.into_iter().map(|(kernel, told)| (kernel, place(told))).collect()) {
        write(out, &shared, kernels, style);
    }
}

fn write(out: &mut String, shared: &Shared, (names, alive): (&KernelNames, &Set), style: Style) {
    let place = &shared.place;
    let base = match place.form {
        Form::Block => INDENT + 2,
        Form::Word => WORDS,
        Form::Phase => PHASES,
    };
    let inline = place.form != Form::Block;
    if !inline || shared.facts.is_empty() {
        let mut lines = Lines::new(out, style, &[], INDENT);
        lines.push(&place.head, 0);
        if shared.kernels != *alive {
            let label = format!("[{}]", names.name(&shared.kernels, alive));
            lines.push(&Phrase::new(Tone::Kernels, &label), 2);
        }
        lines.end();
    }
    let label = |kernels: &Set| match !inline && *kernels == shared.kernels {
        true => String::new(),
        false => names.name(kernels, alive),
    };
    let groups: Vec<(String, Vec<&Fact>)> = shared
        .by_kernels(names, alive)
        .into_iter()
        .map(|(kernels, facts)| (label(&kernels), facts))
        .collect();
    let widest = groups.iter().map(|(label, _)| label.width()).filter(|width| *width <= LABEL).max();
    let labelled = groups.iter().any(|(label, _)| !label.is_empty());
    let column = if labelled { widest.filter(|width| *width > 0).map_or(2, |width| width + 2) } else { 0 };
    for (index, (label, facts)) in groups.into_iter().enumerate() {
        let word = if inline && index == 0 { place.head.plain() } else { String::new() };
        let tone = if inline { place.head.tone() } else { Tone::Plain };
        let lead = format!("{:INDENT$}{word}", "");
        let gap = " ".repeat(base.saturating_sub(lead.width()));
        let parts = [(tone, lead.as_str()), (Tone::Plain, gap.as_str()), (Tone::Kernels, label.as_str())];
        let mut lines = Lines::new(out, style, &parts, base + column);
        for fact in facts {
            lines.push(&fact.phrase, 3);
        }
        lines.end();
    }
}
