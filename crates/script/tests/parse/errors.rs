//! What is said of what does not parse.

use mapcount_script::parse::parse;

/// The only error of `source`, as `line:column: error: message`, and its help.
fn error_in(source: &[u8]) -> (String, Option<String>) {
    let Err(errors) = parse(source) else { panic!("{:?} parses", String::from_utf8_lossy(source)) };
    assert_eq!(errors.count(), 1, "{:?}: {errors}", String::from_utf8_lossy(source));
    let error = &errors.shown[0];
    let rendered = error.render("dir/a.mc", source, false);
    assert!(
        rendered.contains(&format!("--> dir/a.mc:{}:{}\n", error.span.line, error.span.column)),
        "{rendered}"
    );
    assert!(!error.label.is_empty(), "{rendered}");
    (error.to_string(), error.help.clone())
}

fn check(table: &[(&str, &str)]) {
    for (source, expected) in table {
        assert_eq!(error_in(source.as_bytes()).0, *expected, "{source:?}");
    }
}

#[test]
fn statements() {
    check(&[
        ("wirte", "1:1: error: `wirte` begins no statement"),
        ("\n\n  ?", "3:3: error: expected a statement, found `?`"),
        ("read x", "1:1: error: `read` begins no statement"),
        ("=> ok", "1:1: error: expected a statement, found `=>`"),
        ("9: read x", "1:1: error: `9` is no name"),
        ("system: read x", "1:1: error: `system` is no process"),
        ("A:", "1:3: error: expected something that a process does, found the end of the line"),
        ("A: # read x", "1:3: error: expected something that a process does, found the end of the line"),
        ("A: rea x", "1:4: error: expected something that a process does, found `rea`"),
        ("A: split A.x", "1:4: error: expected something that a process does, found `split`"),
        ("kernel:", "1:8: error: expected something that the kernel does, found the end of the line"),
        ("kernel: splt A.x", "1:9: error: expected something that the kernel does, found `splt`"),
        ("kernel: read x", "1:9: error: expected something that the kernel does, found `read`"),
        ("A: exit x", "1:9: error: unexpected `x`"),
        (
            "A: exit =>",
            "1:11: error: expected `ok`, `any` or the name of an error, found the end of the line",
        ),
        ("A: exit => eagain", "1:12: error: expected `ok`, `any` or the name of an error, found `eagain`"),
        ("A: exit => ok ok", "1:15: error: unexpected `ok`"),
        ("A: exit = ok", "1:9: error: unexpected `=`"),
        ("A: fork B; A: exit", "1:10: error: unexpected `;`"),
    ]);
}

#[test]
fn directives() {
    check(&[
        ("title x", "1:7: error: expected a text in double quotes, found `x`"),
        ("title \"x", "1:9: error: the text does not end"),
        ("title \"é\\n\"", "1:9: error: unknown escape"),
        ("title \"x\\", "1:9: error: unknown escape"),
        ("title \"é\" y", "1:11: error: unexpected `y`"),
        ("title \"x\"\ntitle \"y\"", "2:1: error: `title` is given twice"),
        ("pmd_order 0", "1:11: error: an order cannot be 0"),
        ("pmd_order 10", "1:11: error: an order cannot be 10"),
        ("pmd_order", "1:10: error: expected an order, found the end of the line"),
        ("nodes 0", "1:7: error: a number of nodes cannot be 0"),
        ("nodes 1025", "1:7: error: a number of nodes cannot be 1025"),
        ("nodes two", "1:7: error: expected a number of nodes, found `two`"),
        ("nodes 2x", "1:7: error: `2x` is no number"),
        ("A: exit\nnodes 2", "2:1: error: `nodes` behind the first step"),
        (
            "kernels",
            "1:8: error: expected a kernel such as `5.10`, `4.5..6.1` or `double-map`, found the end of the line",
        ),
        ("kernels 6", "1:9: error: `6` is no series of releases"),
        ("kernels 6.1.7", "1:9: error: `6.1.7` is no series of releases"),
        ("kernels 2.6.38.1", "1:9: error: `2.6.38.1` is no series of releases"),
        ("kernels 6.1..4.5", "1:9: error: no kernel is in `6.1..4.5`"),
        ("kernels ..", "1:9: error: `..` names no kernel"),
        ("kernels 6.1+", "1:9: error: `6.1+` is no series of releases"),
        ("kernels 7.2-", "1:9: error: `7.2-` is no kernel"),
        ("kernels Double-Map", "1:9: error: `Double-Map` is no kernel"),
        ("kernels -x", "1:9: error: `-x` is no kernel"),
        (
            "kernels 6.1,",
            "1:13: error: expected a kernel such as `5.10`, `4.5..6.1` or `double-map`, found the end of the line",
        ),
        ("kernels 6.1 6.2", "1:13: error: unexpected `6`"),
    ]);
}

#[test]
fn regions_and_numbers() {
    check(&[
        ("A: read", "1:8: error: expected a mapping, found the end of the line"),
        ("A: read 5", "1:9: error: expected a mapping, found `5`"),
        ("A: read x[5..5]", "1:11: error: no page is in `5..5`"),
        ("A: read x[7..5]", "1:11: error: no page is in `7..5`"),
        ("A: read x[..5]", "1:11: error: expected the number of a page, found `..`"),
        ("A: read x[]", "1:11: error: expected the number of a page, found `]`"),
        ("A: read x[1", "1:12: error: expected `]`, found the end of the line"),
        ("A: read x[0x]", "1:11: error: `0x` is no number"),
        ("A: read x[-1]", "1:11: error: expected the number of a page, found `-`"),
        ("A: read x[4503599627370496]", "1:11: error: the number of a page cannot be 4503599627370496"),
        (
            "A: read x[18446744073709551616]",
            "1:11: error: the number of a page cannot be 18446744073709551616",
        ),
        ("A: read x[0..4503599627370497]", "1:14: error: the end of a range cannot be 4503599627370497"),
        ("A: read x [3]", "1:11: error: unexpected `[`"),
        ("A: read A. x", "1:12: error: expected a mapping, found `x`"),
        ("A: read B.x", "1:9: error: `A` cannot reach into `B`"),
        ("A: read system.x", "1:9: error: `system` is no process"),
        ("A: read A.x.y", "1:12: error: unexpected `.`"),
        ("A: fill x", "1:10: error: expected a byte, found the end of the line"),
        ("A: fill x 256", "1:11: error: a byte cannot be 256"),
        ("A: fork A", "1:9: error: `A` cannot be its own child"),
        ("A: fork kernel", "1:9: error: `kernel` is no process"),
        ("A: fork 2", "1:9: error: expected the name of the child, found `2`"),
        ("A: mprotect x rx", "1:15: error: expected `ro`, `rw` or `none`, found `rx`"),
        ("A: mremap x y[0]", "1:13: error: expected `to`, found `y`"),
        ("A: mremap x to y", "1:16: error: a target is one page"),
        ("A: mremap x to B.y[0]", "1:16: error: `A` cannot reach into `B`"),
    ]);
}

#[test]
fn sizes() {
    check(&[
        (
            "A: mmap x",
            "1:10: error: expected a size such as `64K`, `16p` or `pmd`, found the end of the line",
        ),
        ("A: mmap x thp", "1:11: error: expected a size such as `64K`, `16p` or `pmd`, found `thp`"),
        ("A: mmap x 4096", "1:11: error: `4096` is no size"),
        ("A: mmap x 4k", "1:11: error: `4k` is no size"),
        ("A: mmap x 6K", "1:11: error: `6K` is not a multiple of 4K"),
        ("A: mmap x 0K", "1:11: error: a size of zero"),
        ("A: mmap x 0pmd", "1:11: error: a size of zero"),
        ("A: reserve x 17179869184G", "1:14: error: `17179869184G` is too large"),
        ("A: reserve x 99999999999999999999p", "1:14: error: `99999999999999999999p` is too large"),
        ("A: reserve x 4503599627370496p", "1:14: error: `4503599627370496p` is too large"),
        ("A: reserve x 8796093022208pmd", "1:14: error: `8796093022208pmd` is too large"),
        ("kernel: mthp 12K always", "1:14: error: no folio has 12K"),
    ]);
    parse(b"pmd_order 4\nA: reserve x 8796093022208pmd").expect("it fits where PMDs are small");
}

#[test]
fn mappings() {
    check(&[
        ("A: mmap 2M thp", "1:9: error: expected a name, found `2M`"),
        ("A: mmap x 2M thpp", "1:14: error: expected an option of `mmap`, found `thpp`"),
        ("A: mmap x 2M thp nothp", "1:18: error: `nothp` does not go with what stands before it"),
        ("A: mmap x 2M shared shared", "1:21: error: `shared` does not go with what stands before it"),
        ("A: mmap x 2M ro ro", "1:17: error: `ro` does not go with what stands before it"),
        ("A: mmap x 2M dax hugetlb", "1:18: error: `hugetlb` does not go with what stands before it"),
        ("A: mmap x 2M of f dax", "1:19: error: `dax` does not go with what stands before it"),
        ("A: mmap x 2M dax pud pmd", "1:22: error: expected an option of `mmap`, found `pmd`"),
        ("A: userfault x clone", "1:16: error: expected `copy`, `zeropage` or `move`, found `clone`"),
        ("A: mmap x 2M hugetlb thp", "1:22: error: `thp` does not go with what stands before it"),
        ("A: mmap x 2M thp hugetlb", "1:18: error: `hugetlb` does not go with what stands before it"),
        ("A: mmap x 2M of f hugetlb", "1:19: error: `hugetlb` does not go with what stands before it"),
        ("A: mmap x 2M of f of g", "1:19: error: `of` does not go with what stands before it"),
        ("A: mmap x 2M of", "1:16: error: expected a file, found the end of the line"),
        ("A: mmap x 2M from 3", "1:14: error: `from` without a file"),
    ]);
}

#[test]
fn kernel_verbs() {
    check(&[
        ("kernel: split x", "1:15: error: whose `x`?"),
        ("kernel: khugepaged x[0]", "1:20: error: whose `x`?"),
        ("kernel: split kernel.x", "1:15: error: `kernel` is no process"),
        ("kernel: split A.x order 10", "1:25: error: an order cannot be 10"),
        ("kernel: split A.x at 1 at 2", "1:24: error: unexpected `at`"),
        ("kernel: migrate x to 1", "1:17: error: whose `x`?"),
        ("kernel: migrate A.x 1", "1:21: error: expected `to`, found `1`"),
        ("kernel: migrate A.x to 1024", "1:24: error: a node cannot be 1024"),
        (
            "kernel: file f 2M nfs",
            "1:19: error: expected `tmpfs`, `memfd`, `ext4`, `xfs` or `fsdax`, found `nfs`",
        ),
        ("kernel: poison x", "1:16: error: whose `x`?"),
        ("kernel: file f 2M fsdax huge=never", "1:25: error: fsdax has no option `huge`"),
        ("kernel: file f 2M ext4 huge=always", "1:24: error: ext4 has no option `huge`"),
        ("kernel: file f 2M tmpfs huge always", "1:30: error: expected `=`, found `always`"),
        (
            "kernel: file f 2M tmpfs huge=maybe",
            "1:30: error: expected `always`, `never`, `within_size` or `advise`, found `maybe`",
        ),
        ("kernel: punch f", "1:15: error: a hole has a beginning and an end"),
        ("kernel: punch f[1..]", "1:15: error: a hole has a beginning and an end"),
        ("kernel: punch A.f[1..2]", "1:15: error: a file belongs to no process"),
        ("kernel: drop_caches 4", "1:21: error: what to drop cannot be 4"),
        ("kernel: ksm 0", "1:13: error: a number of passes cannot be 0"),
        ("kernel: swap yes", "1:14: error: expected `on` or `off`, found `yes`"),
        ("kernel: hugetlb 4294967296", "1:17: error: a number of pages cannot be 4294967296"),
        ("kernel: thp inherit", "1:13: error: expected `always`, `madvise` or `never`, found `inherit`"),
        ("kernel: lru", "1:12: error: expected `hold`, `auto` or `drain`, found the end of the line"),
        (
            "kernel: tune max_ptes_none",
            "1:27: error: expected a number, `true`, `false`, `null` or a name, found the end of the line",
        ),
    ]);
}

#[test]
fn expectations() {
    check(&[
        ("expect", "1:7: error: expected a process or `system`, found the end of the line"),
        ("expect[6.1 A.rss_kb == 0", "1:12: error: expected `]`, found `A`"),
        ("expect A", "1:9: error: expected `.`, found the end of the line"),
        ("expect kernel.x == 0", "1:8: error: `kernel` is no process"),
        ("expect A.x == 0", "1:10: error: unknown field `x`"),
        ("expect A.x[0] == 0", "1:15: error: expected `.`, found `==`"),
        ("expect A.x[0..4].refcount == 0", "1:11: error: an expectation looks at one page"),
        ("expect A.x[0].refcont == 0", "1:15: error: unknown field `refcont`"),
        ("expect A.x.refcount == 0", "1:12: error: unknown field `refcount`"),
        ("expect system.nonsense == 0", "1:15: error: unknown field `nonsense`"),
        ("expect A.x[0].mm_ids == A", "1:15: error: `mm_ids` is a list"),
        ("expect A.x[0].mm_ids[2] == A", "1:22: error: an index cannot be 2"),
        ("expect A.x[0].refcount[0] == 0", "1:23: error: `refcount` is no list"),
        ("expect A.x[0].refcount = 3", "1:24: error: expected `==`, `!=`, `<=`, `<`, `>=` or `>`, found `=`"),
        (
            "expect A.x[0].refcount",
            "1:23: error: expected `==`, `!=`, `<=`, `<`, `>=` or `>`, found the end of the line",
        ),
        ("expect A.x[0].refcount == -", "1:28: error: expected a number, found the end of the line"),
        (
            "expect A.x[0].refcount == 9223372036854775808",
            "1:27: error: a value cannot be 9223372036854775808",
        ),
        ("expect A.x[0].kind < anon", "1:22: error: `<` compares numbers"),
        ("expect A.x[0].refcount == 3 => ok", "1:29: error: unexpected `=>`"),
        ("expect A.x[0].refcount == 3.5", "1:28: error: unexpected `.`"),
    ]);
}

#[test]
fn characters() {
    check(&[
        ("Ä: exit", "1:1: error: `Ä` (U+00C4) outside of a title or a comment"),
        ("title \"é\"\nA:\u{a0}exit", "2:3: error: `\\u{a0}` (U+00A0) outside of a title or a comment"),
        ("# a\u{7}b", "1:4: error: the character U+0007 is not allowed"),
        ("title \"é\u{1b}\"", "1:9: error: the character U+001B is not allowed"),
        ("A: exit # \u{202e}", "1:11: error: the character U+202E is not allowed"),
        ("A: exit\rA: exit", "1:8: error: the character U+000D is not allowed"),
        ("A: exit\u{0}", "1:8: error: the character U+0000 is not allowed"),
    ]);
    assert_eq!(error_in(b"A: exit\n# \xc3\xa9\xff").0, "2:4: error: not UTF-8");
    assert_eq!(error_in(b"A: exit # \xe2\x82").0, "1:11: error: not UTF-8");
}

#[test]
fn what_would_mend_it() {
    for (source, expected) in [
        ("A: wirte x", "did you mean `write`?"),
        ("A: split A.x", "`split` is for the kernel: `kernel: split …`"),
        ("kernel: splt A.x", "did you mean `split`?"),
        ("kernel: mmap x", "`mmap` is for a process: `A: mmap …`"),
        ("read x", "say who does it: `A: read …`"),
        ("truncate f 2M", "say who does it: `kernel: truncate …`"),
        ("titel \"x\"", "did you mean `title`?"),
        ("A: madvise x dontned", "did you mean `dontneed`?"),
        ("A: exit => eagain", "did you mean `EAGAIN`?"),
        ("A: mmap x 4k", "did you mean `4K`?"),
        ("A: mmap x 4", "4 pages are `4p`"),
        ("A: mmap x 2M thpp", "did you mean `thp`?"),
        ("A: read B.x", "if `B` is meant, let the line begin with `B:`"),
        ("A: read x [1]", "a region is written without blanks: `A.x[3]`"),
        ("A: read x[5..5]", "the end of a range is not in it: page 5 alone is `[5]`"),
        ("A: mremap x to y", "its first page is `y[0]`"),
        ("kernel: split x", "a mapping of process `A` is `A.x`"),
        ("kernels 6.1.7", "did you mean `6.1`?"),
        ("kernels 2.6.38.1", "did you mean `2.6.38`?"),
        ("kernels 6.1..4.5", "did you mean `4.5..6.1`?"),
        ("expect A.x[0].refcont == 0", "did you mean `refcount`?"),
        ("expect A.x.refcount == 0", "it is a field of a page or folio: `A.x[0].refcount`"),
        ("expect A.x[0].mm_ids == A", "its first element is `mm_ids[0]`"),
        ("expect A.x[0].refcount = 3", "equal is `==`"),
        ("title “x”", "write `\"`"),
    ] {
        assert_eq!(error_in(source.as_bytes()).1.as_deref(), Some(expected), "{source}");
    }
}

#[test]
fn a_whole_file_of_errors_as_it_is_shown() {
    let source = "nodes 2\nnodes 3\nA: mmap x 2M private shared\nA: read x\n\tkernel: split x[3] order 2 # why\nexpect A.x[0].kind > anon\n";
    let errors = parse(source.as_bytes()).expect_err("it has errors");
    let expected = "\
error: `nodes` is given twice
 --> a.mc:2:1
  |
1 | nodes 2
  | ----- first here
2 | nodes 3
  | ^^^^^ expected at most once

error: `shared` does not go with what stands before it
 --> a.mc:3:22
  |
3 | A: mmap x 2M private shared
  |              ------- ^^^^^^ one of the two is too much
  |
  = note: the form is `mmap x SIZE [of FILE [from PAGE] | hugetlb | dax [pte|pmd|pud]] [private|shared] [thp|nothp] [ro]`

error: whose `x`?
 --> a.mc:5:16
  |
5 |     kernel: split x[3] order 2 # why
  |                   ^ expected a process, `.` and its mapping
  |
  = note: the form is `kernel: split P.REGION [order N] [at PAGE] [list]`
  = help: a mapping of process `A` is `A.x`

error: `>` compares numbers
 --> a.mc:6:22
  |
6 | expect A.x[0].kind > anon
  |                    - ^^^^ expected a number
  |
  = help: other values are equal or not: `==`, `!=`
";
    assert_eq!(errors.render("a.mc", source.as_bytes(), false), expected);
}
