//! A view on a screen, 80 columns by 24 lines or more.

use mapcount_kernel::inspect::{By, Look, Usage};
use mapcount_model::query::Answer;
use mapcount_model::verdict::Verdict;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::state::{ACROSS, Level, State};

pub(super) fn draw(state: &State, frame: &mut Frame<'_>) {
    let areas = Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]);
    let [title, body, keys] = areas.areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(Line::styled(heading(state), bold)), title);
    match state.level {
        Level::Processes => table(frame, body, PROCESSES, processes(state), state.at()),
        Level::Mappings => table(frame, body, MAPPINGS, mappings(state), state.at()),
        Level::Folios => map(frame, body, state),
        Level::Folio => {
            let lines: Vec<Line<'_>> =
                folio_lines(state).into_iter().skip(state.at()).map(Line::from).collect();
            frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), body);
        }
    }
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Paragraph::new(help(state)).style(reversed), keys);
}

fn heading(state: &State) -> String {
    let order = if state.by_size { "by size" } else { "by waste" };
    let process =
        state.process().map_or(String::new(), |(process, _)| format!("{} {}", process.pid, process.comm));
    let mapping =
        state.mapping().map_or(String::new(), |mapping| format!("{:#x}", mapping.area.start * 4096));
    match state.level {
        Level::Processes => format!("{} processes, {order}", state.processes.len()),
        Level::Mappings => format!("{process}: {} mappings, {order}", state.mappings.len()),
        Level::Folios => format!("{process}, {mapping}: {} folios, a sign each", state.pieces.len()),
        Level::Folio => {
            let frame = state.folio.as_ref().map_or(0, |folio| folio.frame);
            format!("{process}, {mapping}: frame {frame:#x}")
        }
    }
}

fn help(state: &State) -> String {
    if let Some(trouble) = &state.trouble {
        return format!(" {trouble}");
    }
    let keys = match state.level {
        Level::Processes => " ↑↓ choose  Enter mappings  s sort  r refresh  q quit",
        Level::Mappings => " ↑↓ choose  Enter folios  Esc back  s sort  r refresh  q quit",
        Level::Folios => " ←↑↓→ choose  Enter folio  Esc back  r refresh  q quit",
        Level::Folio => " ↑↓ scroll  Esc back  r refresh  q quit",
    };
    keys.to_owned()
}

const PROCESSES: &str = "     PID PROGRAM              RSS kB     HELD kB PARTIAL  PINNED     PSS kB";
const MAPPINGS: &str = "ADDRESS        ACCESS    RSS kB    HELD kB PARTIAL  PINNED NAME";

fn numbers(usage: &Usage, width: usize) -> String {
    format!(
        "{:>width$} {:>width$} {:>7} {:>7}",
        usage.rss() * 4,
        usage.held * 4,
        usage.partial_folios(),
        usage.pinned
    )
}

/// Pss in kB; where pages have no map counts of their own, by the average of each folio.
fn pss(usage: &Usage) -> String {
    match usage.pss_bytes() {
        0 => format!("~{}", usage.pss_average_bytes() / 1024),
        bytes => (bytes / 1024).to_string(),
    }
}

fn processes(state: &State) -> Vec<(String, bool)> {
    let line = |(process, usage): &(_, Usage)| {
        let process: &mapcount_kernel::inspect::procs::Process = process;
        let name: String =
            process.comm.chars().map(|c| if c.is_control() { '?' } else { c }).take(15).collect();
        let text = format!("{:>8} {name:<15} {} {:>10}", process.pid, numbers(usage, 11), pss(usage));
        (text, usage.held > 0)
    };
    state.processes.iter().map(line).collect()
}

fn mappings(state: &State) -> Vec<(String, bool)> {
    let line = |mapping: &mapcount_kernel::inspect::Mapping| {
        let area = &mapping.area;
        let name: String = area.name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let address = format!("{:#x}", area.start * 4096);
        (
            format!("{address:<14} {}  {} {name}", area.access, numbers(&mapping.usage, 10)),
            mapping.usage.held > 0,
        )
    };
    state.mappings.iter().map(line).collect()
}

/// The line that the shown part starts with, so that the chosen one is in it.
fn first(at: usize, room: usize) -> usize {
    at.saturating_sub(room.saturating_sub(1))
}

fn table(frame: &mut Frame<'_>, area: Rect, head: &str, lines: Vec<(String, bool)>, at: usize) {
    let room = usize::from(area.height).saturating_sub(1);
    let from = first(at, room);
    let mut shown = vec![Line::styled(head.to_owned(), Style::new().add_modifier(Modifier::DIM))];
    for (index, (text, wastes)) in lines.into_iter().enumerate().skip(from).take(room) {
        let style = if wastes { Style::new().fg(Color::Yellow) } else { Style::new() };
        let style = if index == at { style.add_modifier(Modifier::REVERSED) } else { style };
        shown.push(Line::styled(text, style));
    }
    frame.render_widget(Paragraph::new(shown), area);
}

/// The sign and the colour of a piece.
fn sign(look: Look) -> (&'static str, Color, &'static str) {
    match look {
        Look::Pmd => ("█", Color::Blue, "PMD"),
        Look::Pte => ("▪", Color::Green, "PTE"),
        Look::Shared => ("◆", Color::Magenta, "shared"),
        Look::Partial => ("▒", Color::Yellow, "partial"),
        Look::Pinned => ("!", Color::Red, "pinned"),
    }
}

fn map(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let mut legend: Vec<Span<'_>> = Vec::new();
    for look in [Look::Pmd, Look::Pte, Look::Shared, Look::Partial, Look::Pinned] {
        let (sign, color, name) = sign(look);
        legend.push(Span::styled(sign, Style::new().fg(color)));
        legend.push(Span::raw(format!(" {name}  ")));
    }
    let mut lines = vec![Line::from(legend)];
    let chosen = state.pieces.get(state.at());
    lines.push(Line::from(chosen.map_or(String::new(), |piece| {
        let by = match piece.extent.by {
            By::Pte => "PTEs",
            By::Pmd => "a PMD",
            By::Pud => "a PUD",
        };
        format!(
            "{:#x}: {} of {} pages, order {}, by {by}, frame {:#x}",
            piece.extent.page * 4096,
            piece.extent.pages,
            1u64 << piece.order,
            piece.order,
            piece.extent.frame
        )
    })));
    let room = usize::from(area.height).saturating_sub(lines.len());
    let from = first(state.at() / ACROSS, room);
    for (row, pieces) in state.pieces.chunks(ACROSS).enumerate().skip(from).take(room) {
        let address = pieces.first().map_or(0, |piece| piece.extent.page * 4096);
        let mut spans = vec![Span::raw(format!("{address:<14x} "))];
        for (column, piece) in pieces.iter().enumerate() {
            let (sign, color, _) = sign(piece.look);
            let style = Style::new().fg(color);
            let is_chosen = row * ACROSS + column == state.at();
            spans.push(Span::styled(
                sign,
                if is_chosen { style.add_modifier(Modifier::REVERSED) } else { style },
            ));
        }
        lines.push(Line::from(spans));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// What is said of the folio that is shown.
pub(super) fn folio_lines(state: &State) -> Vec<String> {
    let Some(folio) = &state.folio else { return Vec::new() };
    let mapped = match folio.mapped_pages {
        Answer::Exact(pages) => format!("{pages} mapped"),
        Answer::Estimate(pages) => format!("about {pages} mapped"),
        Answer::Unknown => "not known how many are mapped".to_owned(),
    };
    let mut lines = vec![
        format!(
            "{}, order {}, {} pages, {mapped}",
            folio.head.used.name(),
            folio.head.order,
            folio.head.pages()
        ),
        format!(
            "first frame {:#x}, {}",
            folio.first,
            if folio.stable { "stable" } else { "changing all the time" }
        ),
        format!("flags {}", folio.flags.join(" ")),
        String::new(),
    ];
    if let Some(found) = &folio.references {
        let pins = found.pins.value().map_or("?".to_owned(), |pins| pins.to_string());
        lines.push(format!(
            "references {} = mappings {} + page cache {} + swap cache {} + private {}",
            found.all, found.mappings, found.pagecache, found.swapcache, found.private
        ));
        lines.push(format!("           + pins {} ({pins}) + rest {}", found.pinned, found.rest));
        if let Some(holder) = folio.holder {
            lines.push(format!("    {}", holder.text()));
        }
    }
    let mut verdict = |question: &str, verdict: Option<Verdict>| {
        if let Some(Verdict { can, why }) = verdict {
            let answer = can.map_or("unknown", |can| if can { "yes" } else { "no" });
            lines.push(format!("{question:<15} {answer}: {}", why.text()));
        }
    };
    verdict("can be split", folio.split);
    verdict("can be migrated", folio.migrate);
    verdict("COW may reuse", folio.reuse_as_mapped().map(|(_, verdict)| verdict));
    lines.push(String::new());
    for mapper in &folio.mappers {
        let by = if mapper.extent.by == By::Pte { "PTEs" } else { "PMD" };
        lines.push(format!(
            "mapped by {} {} at {:#x}: {} pages, {by}",
            mapper.process.pid,
            mapper.process.comm,
            mapper.extent.page * 4096,
            mapper.extent.pages
        ));
    }
    for (page, words) in folio.words.iter().enumerate() {
        for (half, words) in words.chunks(4).enumerate() {
            let words: Vec<String> = words.iter().map(|word| format!("{word:016x}")).collect();
            lines.push(format!("page {page} w{}  {}", half * 4, words.join(" ")));
        }
    }
    for (field, raw) in &folio.fields {
        lines.push(format!("{:<20} {raw}", field.key()));
    }
    lines
}
