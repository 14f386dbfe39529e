//! Files as editors and other systems write them, and files that are none.

use std::fmt::Write;

use mapcount_script::ast::{Item, Scenario};
use mapcount_script::diagnostic::SHOWN_ERRORS;
use mapcount_script::parse::{MAX_BYTES, check_length, parse};

use crate::tree::forget_places;

const PLAIN: &str = "title \"t\"\nA: mmap x 2M\nA: read x => any\nexpect A.rss_kb == 0\n";

fn without_places(source: &[u8]) -> Scenario {
    let mut scenario =
        parse(source).unwrap_or_else(|errors| panic!("{}", errors.render("test", source, false)));
    forget_places(&mut scenario);
    scenario
}

#[test]
fn line_ends_tabs_and_byte_order_marks_do_not_matter() {
    let plain = without_places(PLAIN.as_bytes());
    assert_eq!(plain.items.len(), 3);
    for variant in [
        PLAIN.replace('\n', "\r\n"),
        PLAIN.replace(' ', "\t"),
        PLAIN.replace(' ', "  "),
        PLAIN.replace('\n', " \t\n\n \n"),
        PLAIN.replace('\n', "#\n# comment \"é\n"),
        format!("\u{feff}{PLAIN}"),
        PLAIN.trim_end().to_owned(),
        format!("{}\r", PLAIN.trim_end()),
    ] {
        assert_eq!(without_places(variant.as_bytes()), plain, "{variant:?}");
    }
}

#[test]
fn a_byte_order_mark_takes_no_column() {
    let error = &parse(b"\xef\xbb\xbfA: rea x").expect_err("no verb").shown[0];
    assert_eq!((error.span.line, error.span.column, error.span.start, error.span.end), (1, 4, 6, 9));
}

#[test]
fn every_error_is_told_once_and_the_rest_is_counted() {
    let mut source = String::new();
    for _ in 0..25 {
        source.push_str("A: rea x\nA: read x\n");
    }
    let errors = parse(source.as_bytes()).expect_err("no such verb");
    assert_eq!((errors.shown.len(), errors.omitted, errors.complete), (SHOWN_ERRORS, 5, true));
    let lines: Vec<_> = errors.shown.iter().map(|error| error.span.line).collect();
    assert_eq!(lines, (0..20).map(|n| 2 * n + 1).collect::<Vec<_>>());
    assert!(errors.render("a.mc", source.as_bytes(), false).ends_with("\n\na.mc: and 5 more errors\n"));

    let errors = parse("?\n".repeat(5000).as_bytes()).expect_err("no statements");
    assert_eq!((errors.count(), errors.complete), (1000, false));
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    assert!(check_length(MAX_BYTES).is_ok());
    let refused = check_length(MAX_BYTES + 1).expect_err("too large");
    assert_eq!(
        refused.to_string(),
        "error: the file has 67108865 bytes, more than the 67108864 that a scenario may have"
    );
    let bytes = vec![b'\n'; MAX_BYTES as usize + 1];
    assert_eq!(parse(&bytes), Err(refused));
    assert!(parse(&bytes[1..]).is_ok());
}

#[test]
fn long_files_and_long_lines_are_read_in_linear_time() {
    let mut source = String::new();
    for n in 0..200_000 {
        writeln!(source, "A: write x[{n}]").expect("strings take everything");
    }
    assert_eq!(parse(source.as_bytes()).expect("it parses").items.len(), 200_000);
    let names: String = (0..200_000).fold(String::from("kernels s"), |mut list, n| {
        write!(list, ", s{n}").expect("strings take everything");
        list
    });
    assert_eq!(
        parse(names.as_bytes()).expect("it parses").kernels.expect("there are some").alternatives.len(),
        200_001
    );
    let long = format!("A: read x {}", "=".repeat(2_000_000));
    let errors = parse(long.as_bytes()).expect_err("garbage");
    assert_eq!(errors.shown[0].message, format!("unexpected `{}…`", "=".repeat(32)));
    assert!(errors.render("a.mc", long.as_bytes(), false).len() < 2000);
}

#[test]
fn names_share_their_text() {
    let scenario = parse(b"A: fork B\nA: fork B\n").expect("it parses");
    let names: Vec<_> = scenario
        .items
        .iter()
        .map(|item| match item {
            Item::Step(step) => match &step.action {
                mapcount_script::ast::Action::Process { name, .. } => name.text.as_ptr(),
                action => panic!("{action}"),
            },
            item => panic!("{item}"),
        })
        .collect();
    assert_eq!(names[0], names[1]);
}
