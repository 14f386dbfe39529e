//! What the reader refuses and where, and how differences are told.

use mapcount_model::field::Field;
use mapcount_script::diff::{Kind, Options, diff, summary};
use mapcount_script::trace::{FieldValue, Recording, TraceError, read};

fn good(text: &str) -> Recording {
    read(text.as_bytes(), "t").unwrap_or_else(|errors| panic!("{}", errors[0]))
}

fn bad(bytes: &[u8]) -> Vec<TraceError> {
    read(bytes, "t").expect_err("it is wrong")
}

/// A step with this row of folios.
fn with_folio(row: &str) -> String {
    format!("{{\"step\":0,\"op\":\"A: write x\",\"folios\":[{row}]}}\n")
}

/// Each text has one error, which is told with these words.
fn are_told(cases: &[(String, &str)]) {
    for (text, expected) in cases {
        let errors = bad(text.as_bytes());
        let told = errors[0].to_string();
        assert!(told.contains(expected), "{text}\n  told: {told}\n  expected: {expected}");
        assert_eq!(errors.len(), 1, "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let step = r#"{"step":0,"op":"A: write x"}"#;
    let cases: &[(String, &str)] = &[
        (
            String::new(),
            "t:1:1: there is no step in it; a trace has one JSON object a line, one for each step",
        ),
        (r#"{"step":0}"#.into(), "t:1:10: the step has no `op`; each needs `step`, `op`"),
        (
            format!("{step}\n{step}\n"),
            "t:2:9: step: step 0 behind step 0; each step has one line, and steps are counted up; two recordings may have been put together",
        ),
        (
            format!("{step}\n{}", step.replace('0', "2")),
            "t:2:9: step: step 2 where step 1 has to come; a step that was not observed has a line too, with `step` and `op`",
        ),
        (
            format!("{step}\n[]"),
            "t:2:1: invalid type: sequence, expected an object: a step; each line is an object",
        ),
        (
            r#"{"step":-1,"op":""}"#.into(),
            "t:1:10: step: invalid value: integer `-1`, expected u64; `step` is a whole number, 0 or more",
        ),
        (
            r#"{"step":0,"op":"A","outcome":null}"#.into(),
            "t:1:33: outcome: invalid type: null, expected a string; text belongs here, or the key is left out",
        ),
        (r#"{"step":0,"op":"A","op":"A"}"#.into(), "the key `op` for the second time; leave one of them"),
        (r#"{"v":2,"step":0,"op":"A"}"#.into(), "version 2 of the format; this program reads version 1"),
        (
            r#"{"step":0,"op":"A"} x"#.into(),
            "trailing characters; each line is one JSON object and nothing else",
        ),
        (r#"{"step":0,"op":"A""#.into(), "the object has to end on the line where it begins"),
    ];
    are_told(cases);
}

#[test]
fn what_is_wrong_with_a_folio_is_told() {
    let cases: &[(String, &str)] = &[
        (
            with_folio(r#"{"id":0,"count":-1,"order":0}"#),
            "folios[0].count: invalid value: integer `-1`, expected u64",
        ),
        (with_folio(r#"{"id":0,"count":0,"order":0}"#), "0 folios of 1 pages from frame 0 on"),
        (
            with_folio(r#"{"id":0,"count":18446744073709551615,"order":9}"#),
            "folios of 512 pages from frame 0 on; `count` is how many",
        ),
        (with_folio(r#"{"id":0,"count":1,"order":200}"#), "a folio of order 200"),
        (
            with_folio(r#"{"id":1,"count":1,"order":1}"#),
            "a folio of 2 pages at frame 1; a folio begins at a multiple of its own size",
        ),
        (with_folio(r#"{"count":1,"order":1}"#), "the folio has no `id`"),
        (
            with_folio(r#"{"id":0,"count":3,"order":0},{"id":2,"count":1,"order":0}"#),
            "folio 2 begins before frame 3",
        ),
        (
            with_folio(r#"{"id":0,"count":1,"order":0,"kind":"cake"}"#),
            "\"cake\" is no kind of folio; the kinds are anon, file, shmem, hugetlb, ksm, zero",
        ),
        (
            with_folio(r#"{"id":0,"count":1,"order":1,"mapcount_raw":[[1,0]]}"#),
            "`mapcount_raw` is of 1 pages in a folio of order 1; it is a list over 2 pages",
        ),
        (
            with_folio(r#"{"id":0,"count":1,"order":0,"refcount":[[1,0]]}"#),
            "folios[0].refcount: invalid type: sequence, expected i64; a whole number belongs here, or the key is left out",
        ),
        (
            r#"{"step":0,"op":"A","processes":{"A":{"x":{"map":[[0,2,0],[1,1,9]]}}}}"#.into(),
            "processes.A.x.map: 1 pages from page 1 on, where at least one from page 2 on may stand",
        ),
    ];
    are_told(cases);
}

#[test]
fn columns_are_characters_and_bytes_that_are_no_text_are_found() {
    assert_eq!(bad("{\"op\":\"äöü\" x".as_bytes())[0].column, 13);
    let error = &bad(b"{\"step\":0,\"op\":\"\xff\"}")[0];
    assert_eq!((error.line, error.column), (1, 17));
    assert!(error.message.contains("not UTF-8"));
}

#[test]
fn one_mistake_is_one_error_and_many_are_cut_off() {
    let lines =
        ["{\"step\":0,\"op\":1}", "{\"op\":\"A\",\"step\":1}", "x", "{\"step\":3,\"op\":\"A\"}"].join("\r\n");
    let errors = bad(lines.as_bytes());
    assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(bad("x\n".repeat(1000).as_bytes()).len(), 20);
}

#[test]
fn huge_files_and_huge_runs_are_read_in_little_memory() {
    let row = r#"{"id":0,"count":8589934592,"order":30,"kpagecount":[[1073741824,1]]}"#;
    let step = good(&with_folio(row));
    assert_eq!(diff(&step.steps, &step.steps, &Options::default()), []);
    let other = good(&with_folio(&row.replace(",1]]", ",2]]")));
    let found = diff(&step.steps, &other.steps, &Options::default());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].pages.as_deref(), Some("pages 0..1073741824"));

    let mut long = b"{\"step\":0,\"op\":\"".to_vec();
    long.resize(100 << 20, b'a');
    let error = &bad(&long)[0];
    assert_eq!(error.column, 100 << 20);
    assert!(error.to_string().len() < 400);
    let nested = [b"{\"step\":0,\"op\":\"A\",\"more\":".to_vec(), vec![b'['; 1 << 20]].concat();
    assert_eq!(bad(&nested).len(), 1);
}

#[test]
fn unknown_keys_are_noted_once() {
    let text = concat!(
        r#"{"step":0,"op":"A","folios":[{"id":0,"count":1,"order":0,"new":{"a":[1]},"mm_id0":1}]}"#,
        "\n\n",
        r#"{"step":1,"op":"A","folios":[{"id":0,"count":1,"order":0,"new":null}],"tail":1}"#,
    );
    let recording = good(text);
    let ignored: Vec<String> =
        recording.ignored.iter().map(|key| format!("{} {}", key.line, key.key)).collect();
    assert_eq!(ignored, ["1 folios[].mm_id0", "1 folios[].new", "3 tail"]);
}

#[test]
fn differences_are_told_in_words() {
    let model = good(concat!(
        r#"{"step":0,"op":"A: mmap x 2M thp","outcome":"ok"}"#,
        "\n",
        r#"{"step":1,"op":"B: write x[10]","outcome":"ok","processes":{"A":{"x":{"vmas":[[0,512,"rw-p"]],"#,
        r#""map":[[0,512,0]],"pss_kb":2048},"y":{}},"C":{}},"#,
        r#""folios":[{"id":0,"count":1,"order":9,"kind":"anon","tail_refcount":[[511,0]],"mapcount_raw":[[512,0]],"#,
        r#""mm_ids":["A",null]},{"id":512,"count":8,"order":0,"kind":"anon","refcount":1}],"system":{"anon_thps":1}}"#,
    ));
    let recording = good(concat!(
        r#"{"step":0,"op":"A:  mmap x 2M thp"}"#,
        "\n",
        r#"{"step":1,"op":"B: write x[10]","outcome":"EAGAIN","processes":{"A":{"x":{"vmas":[[0,16,"rw-p"],[16,496,"r--p"]],"#,
        r#""map":[[0,10,0],[11,500,11],[511,1,"swap"]],"pss_kb":2044,"rss_kb":4},"y":{}},"B":{}},"#,
        r#""folios":[{"id":0,"count":1,"order":9,"kind":"anon","tail_refcount":[[510,0],[1,1]],"#,
        r#""mapcount_raw":[[10,0],[1,-1],[501,0]],"mm_ids":["A","B"],"maybe_shared":true},"#,
        r#"{"id":512,"count":2,"order":0,"kind":"anon","refcount":1},{"id":514,"count":4,"order":0,"refcount":2},"#,
        r#"{"id":518,"count":1,"order":1}],"system":{"anon_thps":0,"file_mapped":0}}"#,
        "\n",
        r#"{"step":2,"op":"A: exit"}"#,
    ));
    let found = diff(&model.steps, &recording.steps, &Options::default());
    let told: Vec<String> = found.iter().map(|difference| difference.to_string()).collect();
    let step = "step 1 `B: write x[10]`: ";
    let expected = [
        "outcome: model ok, recording EAGAIN",
        "A.x vmas: model 0..512 rw-p, recording 0..16 rw-p, 16..512 r--p",
        "A.x map, pages 10..11: model frame 10, recording not present",
        "A.x map, pages 511..512: model frame 511, recording swap",
        "A.x rss_kb: the model has no value, recording 4",
        "A.x pss_kb: model 2048, recording 2044",
        "process B: model not there, recording there",
        "process C: model there, recording not there",
        "folio 0 (order 9) tail_refcount, pages 511..512: model 0, recording 1",
        "folio 0 (order 9) mapcount_raw, pages 10..11: model 0, recording -1",
        "folio 0 (order 9) mm_ids: model [A,null], recording [A,B]",
        "folio 0 (order 9) maybe_shared: the model has no value, recording true",
        "folios 514..518 (order 0) refcount: model 1, recording 2",
        "folio 518 (order 1) order: model 0, recording 1",
        "system file_mapped: the model has no value, recording 0",
        "system anon_thps: model 1, recording 0",
    ];
    assert_eq!(told[..told.len() - 1], expected.map(|text| format!("{step}{text}")));
    assert_eq!(told[told.len() - 1], "step 2 `A: exit`: steps: model 2 steps, recording 3 steps");
    let summary = summary(&found).to_string();
    assert!(
        summary.starts_with("17 differences, the first in step 1 `B: write x[10]`: map 2, processes 2, "),
        "{summary}"
    );

    let options =
        Options { ignore: vec!["processes".into(), "folios".into(), "system".into()], ..Options::default() };
    assert_eq!(diff(&model.steps, &recording.steps, &options).len(), 2);
}

#[test]
fn a_recording_of_another_scenario_is_told_once() {
    let model = good("{\"step\":0,\"op\":\"A: write x\"}\n{\"step\":1,\"op\":\"A: exit\"}");
    let recording = good("{\"step\":0,\"op\":\"A: read x\"}");
    let found = diff(&model.steps, &recording.steps, &Options::default());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, Kind::OtherScenario);
    assert_eq!(
        found[0].to_string(),
        "step 0 `A: read x`: op: the recording is of another scenario: model `A: write x`, recording `A: read x`"
    );
}

#[test]
fn runs_that_differ_everywhere_are_cut_short() {
    let runs = |values: [i64; 2]| {
        let runs: Vec<String> = (0..512).map(|page| format!("[1,{}]", values[page % 2])).collect();
        good(&with_folio(&format!(r#"{{"id":0,"count":1,"order":9,"mapcount_raw":[{}]}}"#, runs.join(","))))
    };
    let found = diff(&runs([0, 1]).steps, &runs([1, 0]).steps, &Options::default());
    assert_eq!(found.len(), 4);
    assert_eq!(found[3].pages.as_deref(), Some("pages 3..4 and 508 more ranges"));
}

#[test]
fn one_frame_throughout_is_not_a_run_of_frames() {
    let mapped = |run: &str| {
        good(&format!(r#"{{"step":0,"op":"A: read x","processes":{{"A":{{"x":{{"map":[{run}]}}}}}}}}"#)).steps
    };
    let found = |ours, theirs| diff(&mapped(ours), &mapped(theirs), &Options::default()).len();
    assert_eq!(found("[0,4,7]", r#"[0,4,7,"same"]"#), 1);
    assert_eq!(found(r#"[0,4,7,"same"]"#, "[0,1,7],[1,3,8]"), 1);
    assert_eq!(found("[0,1,7]", r#"[0,1,7,"same"]"#), 0);
    assert_eq!(found("[0,4,7]", "[0,2,7],[2,2,9]"), 0);
    assert_eq!(found(r#"[0,4,"swap"]"#, r#"[0,4,"migration"]"#), 1);
}

/// The reader lets no such list pass, but steps need not come from the reader.
#[test]
fn lists_of_different_lengths_differ() {
    let long = good(&with_folio(r#"{"id":0,"count":1,"order":1,"mapcount_raw":[[2,0]]}"#)).steps;
    let mut short = long.clone();
    let row = &mut short[0].folios.as_mut().expect("it has a folio")[0];
    row.fields.insert(Field::Mapcount, FieldValue::Pages([(1, 0)].into_iter().collect()));
    let found = diff(&short, &long, &Options::default());
    assert_eq!(
        found[0].to_string(),
        "step 0 `A: write x`: folio 0 (order 1) mapcount_raw, pages 1..2: model nothing, recording 0"
    );
}
