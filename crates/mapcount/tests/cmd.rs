//! The command line: what it prints, and exit codes. `TRYCMD=overwrite` renews the files.

#[test]
fn commands_print_what_was_reviewed() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
