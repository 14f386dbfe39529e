//! The commands `explain`, `kernels`, `schemes`, `layout` and `diff`, against what stands in `cmd-explain`.
//! `TRYCMD=overwrite` renews it.

#[test]
fn commands_print_what_was_reviewed() {
    trycmd::TestCases::new().case("tests/cmd-explain/*.trycmd");
}

#[test]
fn no_line_of_an_answer_is_wider_than_a_page() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd-explain");
    for case in ["explain", "tables", "diff"] {
        let file = folder.join(format!("{case}.trycmd"));
        let text = std::fs::read_to_string(&file).expect("readable");
        for (number, line) in text.lines().enumerate() {
            // Commands and the errors of the command line are as long as they are.
            let free = ["$ ", "error: ", "mapcount: "].iter().any(|start| line.starts_with(start));
            assert!(free || line.chars().count() <= 100, "{case}:{}: {line}", number + 1);
        }
    }
}
