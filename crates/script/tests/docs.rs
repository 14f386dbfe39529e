//! The documents say what is: examples run, names are complete, the numbers of each scheme's page hold.

use std::fs;
use std::path::{Path, PathBuf};

use mapcount_model::field::{Field, Scope};
use mapcount_model::profile::Profile;
use mapcount_model::scheme;
use mapcount_script::ast::{
    Advice, Comparison, FileKind, Hold, Huge, MthpMode, Protection, ShmemMthpMode, Thp, ThpMode, Word, fields,
};
use mapcount_script::parse::parse;
use mapcount_script::run::{Options, Runner};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn document(name: &str) -> String {
    fs::read_to_string(docs().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a scenario on a kernel; what is wrong, in words.
fn run(source: &str, kernel: &Profile) -> Vec<String> {
    let scenario = parse(source.as_bytes())
        .unwrap_or_else(|errors| panic!("{}", errors.render("document", source.as_bytes(), false)));
    let Some(mut runner) = Runner::new(&scenario, kernel, Options::default()).expect("its kernels exist")
    else {
        return Vec::new();
    };
    let findings = runner.run(|_, _| {});
    findings.iter().map(|finding| format!("{}: {}", kernel.name, finding.diagnostic.message)).collect()
}

#[test]
fn examples_of_the_language_run_on_every_kernel() {
    let text = document("language.md");
    let mut examples = 0;
    for block in text.split("```mc\n").skip(1) {
        let source = block.split("```").next().expect("the block ends");
        for kernel in Profile::all().iter().chain(&Profile::all_schemes()) {
            assert_eq!(run(source, kernel), Vec::<String>::new());
        }
        examples += 1;
    }
    assert!(examples > 0);
}

#[test]
fn the_language_names_everything_that_can_be_said() {
    let text = document("language.md");
    let system = fields::system();
    for field in fields::page().chain(fields::SMAPS.iter().copied()).chain(system) {
        let named = format!("`{}{}`", field.name, if field.elements.is_some() { "[0]" } else { "" });
        assert!(text.contains(&named), "{named} is not in language.md");
    }
    fn words<W: Word>() -> impl Iterator<Item = &'static str> {
        W::ALL.iter().map(|word| word.word())
    }
    let words = words::<Advice>()
        .chain(words::<FileKind>())
        .chain(words::<Hold>())
        .chain(words::<Huge>())
        .chain(words::<MthpMode>())
        .chain(words::<Protection>())
        .chain(words::<ShmemMthpMode>())
        .chain(words::<Thp>())
        .chain(words::<ThpMode>())
        .chain(words::<Comparison>());
    for word in words {
        let whole =
            text.split(|c: char| c.is_whitespace() || "`|\\=[]".contains(c)).any(|found| found == word);
        assert!(whole || text.contains(&format!("`{word}`")), "{word} is not in language.md");
    }
}

#[test]
fn every_verb_that_a_scenario_uses_is_described() {
    let text = document("language.md");
    for topic in ["files", "recorded", "seeds", "walks"] {
        let folder = docs().join("../scenarios").join(topic);
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            if path.extension().is_none_or(|extension| extension != "mc") {
                continue;
            }
            let source = fs::read_to_string(&path).expect("it can be read");
            for line in source.lines().filter(|line| !line.starts_with(['#', 't', 'e'])) {
                let Some((subject, verb)) = line.split_once(": ") else { continue };
                let verb = verb.split_whitespace().next().expect("a verb");
                let subject = if subject == "kernel" { subject } else { "A" };
                assert!(text.contains(&format!("`{subject}: {verb}")), "{subject}: {verb} is not described");
            }
        }
    }
}

#[test]
fn every_scheme_has_a_page_that_names_its_fields() {
    for scheme in scheme::ALL {
        let info = scheme.info();
        let text = document(&format!("schemes/{}.md", info.id));
        assert!(text.starts_with(&format!("# `{}`: ", info.id)), "{}", info.id);
        for heading in ["## Fields and equations", "## Transitions", "## The walk", "## Sources"] {
            assert!(text.contains(heading), "{}: no `{heading}`", info.id);
        }
        assert!(text.contains("cannot answer"), "{}", info.id);
        assert!(document("schemes/README.md").contains(&format!("({}.md)", info.id)), "{}", info.id);
        // Fields that the scheme has for counting mappings; pins and queues are everybody's.
        let everybody = [Field::Pincount, Field::Deferred, Field::PartiallyMapped, Field::AnonExclusive];
        for field in info.fields.iter().filter(|field| !everybody.contains(field)) {
            assert_eq!(field.row().scope, Scope::LargeFolio);
            if *field == Field::MaybeShared {
                continue; // a bit without a name of its own in the structure
            }
            let release = Profile::resolve(info.id).expect("a scheme").release;
            let name = match field.row().names {
                [] => field.key(),
                _ => field.kernel_name(release),
            };
            let word = name.split('[').next().expect("a name");
            assert!(text.contains(word), "{}: {word} is not on its page", info.id);
        }
    }
}

/// The rows of the table of the walk: its cells, the header first.
fn walk(text: &str) -> Vec<Vec<String>> {
    let behind = text.split("## The walk").nth(1).expect("the heading");
    let rows =
        behind.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_numbers_of_each_scheme_hold() {
    for scheme in scheme::ALL {
        let id = scheme.info().id;
        let rows = walk(&document(&format!("schemes/{id}.md")));
        let mut source = String::from("A: mmap x pmd thp\n");
        let mut numbers = 0;
        for row in &rows[2..] {
            let step = row[0].split('`').nth(1).expect("a step in backticks");
            source += &format!("{step} => any\n");
            for (name, value) in rows[0].iter().zip(row).skip(1).filter(|(_, value)| *value != "–") {
                let path = name.trim_matches('`');
                let path = if path.starts_with('[') { format!("A.x{path}") } else { path.to_owned() };
                source += &format!("expect {path} == {value}\n");
                numbers += 1;
            }
        }
        assert_eq!(rows.len(), 9, "{id}");
        assert!(numbers > 40, "{id}: {numbers}");
        let kernel = Profile::resolve(id).expect("a scheme");
        assert_eq!(run(&source, &kernel), Vec::<String>::new(), "{id}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut pages = vec!["language.md".to_owned(), "schemes/README.md".to_owned()];
    pages.extend(scheme::ALL.iter().map(|scheme| format!("schemes/{}.md", scheme.info().id)));
    for page in pages {
        let text = document(&page);
        let folder = docs().join(&page).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().expect("it ends");
            let file = target.split('#').next().expect("a file");
            assert!(file.is_empty() || folder.join(file).exists(), "{page}: {target}");
        }
    }
}
