//! Reports in every format. What is written depends on the report alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use super::sheet::{Cell, Column, Report, Sheet, Unit};
use crate::report::layout::Style;
use crate::report::text::{Mark, marked, paragraph};

/// How a report is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// For people; sizes in kB, as in smaps. `~` marks an estimate, `-` what cannot be known.
    #[default]
    Table,
    /// One JSON object; sizes in bytes.
    Json,
    /// A JSON object for each row.
    Jsonl,
    /// Comma-separated values, a header for each sheet.
    Csv,
    /// For Prometheus: OpenMetrics text.
    Openmetrics,
}

/// A report as text.
pub fn write(report: &Report, format: Format, style: Style) -> String {
    match format {
        Format::Table => table(report, style),
        Format::Json => json(report),
        Format::Jsonl => jsonl(report),
        Format::Csv => csv(report),
        Format::Openmetrics => openmetrics(report),
    }
}

/// The name of a column with its unit.
fn name(column: &Column) -> String {
    match column.unit {
        Unit::Bytes => format!("{}_bytes", column.key),
        _ => column.key.to_owned(),
    }
}

fn table(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for sheet in report.sheets.iter().filter(|sheet| !sheet.rows.is_empty()) {
        let _ = writeln!(out, "{}", marked(style, Mark::Answer, &sheet.title));
        grid(&mut out, sheet, style);
        out.push('\n');
    }
    for note in &report.notes {
        paragraph(&mut out, "", "", note);
    }
    let about: Vec<String> = report.about.iter().map(|(key, text)| format!("{key}: {text}")).collect();
    if !about.is_empty() {
        paragraph(&mut out, "", "  ", &about.join("; "));
    }
    out
}

fn human(cell: &Cell, unit: Unit) -> String {
    let number = |number: i64| if unit == Unit::Bytes { number / 1024 } else { number };
    match cell {
        Cell::Text(text) => text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        Cell::Number(value) => number(*value).to_string(),
        Cell::Estimate(value) => format!("~{}", number(*value)),
        Cell::Unknown => "-".to_owned(),
    }
}

/// Sheets with more columns than this leave out those that say nothing.
const WIDE: usize = 10;

/// The width that reports are made for.
const LINE: usize = 100;

/// For people, columns of wide sheets that say nothing (0 everywhere, or not known) are left out.
fn grid(out: &mut String, sheet: &Sheet, style: Style) {
    let says = |at: usize| {
        let is_label = matches!(sheet.columns[at].unit, Unit::Label | Unit::Text);
        is_label
            || sheet.columns.len() <= WIDE
            || sheet.rows.iter().any(|row| !matches!(row[at], Cell::Number(0) | Cell::Unknown))
    };
    let shown: Vec<usize> = (0..sheet.columns.len()).filter(|at| says(*at)).collect();
    let heads: Vec<String> = shown.iter().map(|at| head(&sheet.columns[*at])).collect();
    let rows: Vec<Vec<String>> = sheet
        .rows
        .iter()
        .map(|row| shown.iter().map(|at| human(&row[*at], sheet.columns[*at].unit)).collect())
        .collect();
    let below = |at: usize| rows.iter().map(|row| row[at].width()).max().unwrap_or(0);
    let needed: Vec<usize> = (0..shown.len()).map(below).collect();
    let at_once: usize = heads.iter().zip(&needed).map(|(head, needed)| 1 + head.width().max(*needed)).sum();
    // In a wide sheet heads stand in several lines, no wider than what is below them where their words allow it.
    let heads: Vec<Vec<String>> = heads
        .iter()
        .zip(&needed)
        .map(|(head, needed)| if 1 + at_once > LINE { folded(head, *needed) } else { vec![head.clone()] })
        .collect();
    let of_head = |lines: &Vec<String>| lines.iter().map(|line| line.width()).max().unwrap_or(0);
    let widths: Vec<usize> =
        heads.iter().zip(&needed).map(|(lines, needed)| of_head(lines).max(*needed)).collect();
    let mut line = |cells: Vec<&str>, is_head: bool| {
        let mut text = String::from(" ");
        for ((cell, width), at) in cells.iter().zip(&widths).zip(&shown) {
            let blanks = " ".repeat(width - cell.width());
            let left = matches!(sheet.columns[*at].unit, Unit::Label | Unit::Text);
            let padded = if left { format!(" {cell}{blanks}") } else { format!(" {blanks}{cell}") };
            text.push_str(&padded);
        }
        let text = text.trim_end();
        let marked = if is_head { marked(style, Mark::Aside, text) } else { text.to_owned() };
        let _ = writeln!(out, "{marked}");
    };
    let height = heads.iter().map(Vec::len).max().unwrap_or(0);
    for number in (1..=height).rev() {
        let part = |lines: &'_ Vec<String>| lines.len().checked_sub(number);
        line(heads.iter().map(|lines| part(lines).map_or("", |at| lines[at].as_str())).collect(), true);
    }
    for row in &rows {
        line(row.iter().map(String::as_str).collect(), false);
    }
}

/// The head of a column for people.
fn head(column: &Column) -> String {
    let unit = if column.unit == Unit::Bytes { " kB" } else { "" };
    format!("{}{unit}", column.key.replace('_', " "))
}

/// Words in lines that are no longer than `width`, unless a word is.
fn folded(words: &str, width: usize) -> Vec<String> {
    let longest = words.split(' ').map(|word| word.width()).max().unwrap_or(0);
    let mut lines: Vec<String> = Vec::new();
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width.max(longest) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The members of a row; an estimate has a second member that says so.
fn members(sheet: &Sheet, row: &[Cell]) -> String {
    let mut members = Vec::new();
    for (column, cell) in sheet.columns.iter().zip(row) {
        let name = name(column);
        let value = match cell {
            Cell::Text(text) => quoted(text),
            Cell::Number(value) | Cell::Estimate(value) => value.to_string(),
            Cell::Unknown => "null".to_owned(),
        };
        members.push(format!("{}:{value}", quoted(&name)));
        if matches!(cell, Cell::Estimate(_)) {
            members.push(format!("{}:true", quoted(&format!("{name}_estimated"))));
        }
    }
    members.join(",")
}

fn json(report: &Report) -> String {
    let mut parts: Vec<String> =
        report.about.iter().map(|(key, text)| format!("{}:{}", quoted(key), quoted(text))).collect();
    let notes: Vec<String> = report.notes.iter().map(|note| quoted(note)).collect();
    parts.push(format!("\"notes\":[{}]", notes.join(",")));
    for sheet in &report.sheets {
        let rows: Vec<String> = sheet.rows.iter().map(|row| format!("{{{}}}", members(sheet, row))).collect();
        parts.push(format!("{}:[{}]", quoted(sheet.key), rows.join(",")));
    }
    format!("{{{}}}\n", parts.join(","))
}

fn jsonl(report: &Report) -> String {
    let mut out = String::new();
    if !report.about.is_empty() {
        let about = report.about.iter().map(|(key, text)| format!(",{}:{}", quoted(key), quoted(text)));
        let _ = writeln!(out, "{{\"sheet\":\"source\"{}}}", about.collect::<String>());
    }
    for sheet in &report.sheets {
        for row in &sheet.rows {
            let _ = writeln!(out, "{{\"sheet\":{},{}}}", quoted(sheet.key), members(sheet, row));
        }
    }
    out
}

fn csv(report: &Report) -> String {
    let field = |text: &str| {
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let mut sheets = Vec::new();
    if !report.about.is_empty() {
        let (heads, texts): (Vec<&str>, Vec<String>) =
            report.about.iter().map(|(key, text)| (*key, field(text))).unzip();
        sheets.push(format!("sheet,{}\r\nsource,{}\r\n", heads.join(","), texts.join(",")));
    }
    for sheet in &report.sheets {
        let heads: Vec<String> = sheet.columns.iter().map(name).collect();
        let mut out = format!("sheet,{}\r\n", heads.join(","));
        for row in &sheet.rows {
            let cells = row.iter().map(|cell| match cell {
                Cell::Text(text) => field(text),
                Cell::Number(value) | Cell::Estimate(value) => value.to_string(),
                Cell::Unknown => String::new(),
            });
            let _ = write!(out, "{},{}\r\n", sheet.key, cells.collect::<Vec<_>>().join(","));
        }
        sheets.push(out);
    }
    sheets.join("\r\n")
}

/// A metric family for each column of numbers, labelled by the sheet's labels. Sheets with the same labels in two rows
/// (which would be the same metric twice) have their numbers added up.
fn openmetrics(report: &Report) -> String {
    let mut out = String::new();
    let about: Vec<String> =
        report.about.iter().map(|(key, text)| format!("{key}=\"{}\"", label(text))).collect();
    if !about.is_empty() {
        out.push_str(
            "# TYPE mapcount_source gauge\n# HELP mapcount_source What the report was computed from.\n",
        );
        let _ = writeln!(out, "mapcount_source{{{}}} 1", about.join(","));
    }
    for sheet in &report.sheets {
        for (at, column) in sheet.columns.iter().enumerate() {
            if matches!(column.unit, Unit::Bytes | Unit::Count) {
                family(&mut out, sheet, at, column);
            }
        }
    }
    out.push_str("# EOF\n");
    out
}

fn family(out: &mut String, sheet: &Sheet, at: usize, column: &Column) {
    let mut samples: Vec<(String, i64)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for row in &sheet.rows {
        let Some(value) = row[at].value() else { continue };
        let labels = sheet.columns.iter().zip(row).filter(|(column, _)| column.unit == Unit::Label);
        let labels: Vec<String> = labels
            .map(|(column, cell)| match cell {
                Cell::Text(text) => format!("{}=\"{}\"", column.key, label(text)),
                other => format!("{}=\"{}\"", column.key, other.value().unwrap_or(0)),
            })
            .collect();
        let labels = labels.join(",");
        match places.get(&labels) {
            Some(place) => samples[*place].1 = samples[*place].1.saturating_add(value),
            None => {
                places.insert(labels.clone(), samples.len());
                samples.push((labels, value));
            }
        }
    }
    if samples.is_empty() {
        return;
    }
    let family = format!("mapcount_{}_{}", sheet.key, name(column));
    let _ = writeln!(out, "# TYPE {family} gauge");
    if column.unit == Unit::Bytes {
        let _ = writeln!(out, "# UNIT {family} bytes");
    }
    let _ = writeln!(out, "# HELP {family} {}", label(column.help));
    for (labels, value) in samples {
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(out, "{family}{braces} {value}");
    }
}

/// A label's value or a help text with what the format escapes.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{Format, folded, write};
    use crate::report::inspect::sheet::{Cell, Column, Report, Sheet, Unit};
    use crate::report::layout::Style;

    const COLUMNS: &[Column] = &[
        Column { key: "comm", unit: Unit::Label, help: "The program." },
        Column { key: "rss", unit: Unit::Bytes, help: "Mapped." },
        Column { key: "folios", unit: Unit::Count, help: "How many." },
        Column { key: "why", unit: Unit::Text, help: "The reason." },
    ];

    fn report() -> Report {
        let mut sheet = Sheet::new("things", "Things", COLUMNS);
        sheet.push(vec!["a,\"b\"".into(), Cell::pages(2), Cell::Estimate(3), "it\nis".into()]);
        sheet.push(vec!["c".into(), Cell::Unknown, Cell::Number(0), "".into()]);
        Report {
            about: vec![("kernel", "6.18".to_owned())],
            sheets: vec![sheet],
            notes: vec!["A note.".to_owned()],
        }
    }

    fn text(format: Format) -> String {
        write(&report(), format, Style::Plain)
    }

    #[test]
    fn tables_are_aligned_and_mark_estimates() {
        assert_eq!(
            text(Format::Table),
            "Things\n  comm  rss kB folios why\n  a,\"b\"      8     ~3 it?is\n  c          -      0\n\nA note.\nkernel: 6.18\n"
        );
    }

    #[test]
    fn heads_of_wide_tables_stand_in_several_lines() {
        assert_eq!(folded("unmapped in partial kB", 7), ["unmapped", "in", "partial", "kB"]);
        assert_eq!(folded("by pmd kB", 6), ["by pmd", "kB"]);
        assert_eq!(folded("pid", 1), ["pid"]);
        const MANY: &[Column] = &[Column { key: "a_long_head_of_words", unit: Unit::Count, help: "." }; 9];
        let mut sheet = Sheet::new("many", "Many", MANY);
        sheet.push((0..9u64).map(|number| Cell::from(number + 1)).collect());
        let report = Report { sheets: vec![sheet], ..Report::default() };
        let text = write(&report, Format::Table, Style::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 8, "{text}");
        assert!(lines[1].starts_with("      a     a") && lines[6].starts_with("      1     2"), "{text}");
        assert!(lines.iter().all(|line| line.len() < 60), "{text}");
    }

    #[test]
    fn json_is_json() {
        let value: serde_json::Value = serde_json::from_str(&text(Format::Json)).expect("JSON");
        assert_eq!(value["things"][0]["rss_bytes"], 8192);
        assert_eq!(value["things"][0]["folios_estimated"], true);
        assert_eq!(value["things"][0]["comm"], "a,\"b\"");
        assert_eq!(value["things"][1]["rss_bytes"], serde_json::Value::Null);
        for line in text(Format::Jsonl).lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(row["sheet"] == "source", row["kernel"] == "6.18", "{row}");
            assert!(row["sheet"] == "source" || row["sheet"] == "things", "{row}");
        }
    }

    #[test]
    fn csv_quotes_what_it_has_to() {
        assert_eq!(
            text(Format::Csv),
            "sheet,kernel\r\nsource,6.18\r\n\r\nsheet,comm,rss_bytes,folios,why\r\nthings,\"a,\"\"b\"\"\",8192,3,\"it\nis\"\r\nthings,c,,0,\r\n"
        );
    }

    #[test]
    fn metrics_have_type_unit_and_help() {
        let text = text(Format::Openmetrics);
        assert!(text.contains("# TYPE mapcount_things_rss_bytes gauge\n# UNIT mapcount_things_rss_bytes bytes\n# HELP mapcount_things_rss_bytes Mapped.\n"));
        assert!(text.contains("mapcount_things_rss_bytes{comm=\"a,\\\"b\\\"\"} 8192\n"));
        assert!(text.contains("mapcount_things_folios{comm=\"c\"} 0\n"));
        assert!(!text.contains("mapcount_things_rss_bytes{comm=\"c\"}"), "unknown is left out");
        assert!(text.ends_with("# EOF\n"));
    }
}
