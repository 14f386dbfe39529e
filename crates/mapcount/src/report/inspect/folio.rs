//! Sheets about one folio.

use mapcount_kernel::inspect::{By, View};
use mapcount_model::query::Answer;
use mapcount_model::release::Release;
use mapcount_model::verdict::Verdict;

use super::machine::columns;
use super::sheet::{Cell, Column, Report, Sheet, Unit};

columns! { FOLIO:
    "frame" Label "The frame that was asked for.",
    "first" Label "The first frame of its folio.",
    "kind" Label "What it is used for.",
    "order" Label "Base-2 logarithm of its pages.",
    "memory" Bytes "Its bytes.",
    "mapped" Bytes "Bytes of it that any entry maps.",
    "held" Bytes "Bytes of it that nobody maps.",
    "stable" Text "Whether two readings in a row agreed.",
    "cgroup" Text "The inode number of the memory cgroup that it is charged to.",
    "flags" Text "The flags of its first page.",
}

columns! { REFERENCES:
    "holder" Label "Who holds references.",
    "references" Count "How many.",
    "meaning" Text "What it is.",
}

columns! { VERDICTS:
    "question" Label "What the kernel might want to do.",
    "answer" Label "Whether it could now.",
    "reason" Label "Why.",
    "meaning" Text "Why, in words.",
}

columns! { MAPPERS:
    "pid" Label "The process.",
    "comm" Label "The name of its program.",
    "address" Label "Where it maps it.",
    "maps" Bytes "How much of it.",
    "by" Label "By which entries.",
}

columns! { FIELDS:
    "field" Label "The counter.",
    "name" Label "The kernel's name of it.",
    "raw" Count "The value as it is stored.",
}

columns! { MAPCOUNTS:
    "page" Label "Pages of the folio.",
    "mapcount" Count "Entries that map each of them.",
}

columns! { ANSWERS:
    "query" Label "What the kernel asks its counters.",
    "function" Label "The kernel's function.",
    "answer" Count "Its answer.",
}

columns! { WORDS:
    "page" Label "Which page of the folio.",
    "w0" Text "Word 0.",
    "w1" Text "Word 1.",
    "w2" Text "Word 2.",
    "w3" Text "Word 3.",
    "w4" Text "Word 4.",
    "w5" Text "Word 5.",
    "w6" Text "Word 6.",
    "w7" Text "Word 7.",
}

fn answer(answer: Answer<i64>) -> Cell {
    match answer {
        Answer::Exact(value) => Cell::Number(value),
        Answer::Estimate(value) => Cell::Estimate(value),
        Answer::Unknown => Cell::Unknown,
    }
}

/// All that is known of a folio; `release` says which names its fields have.
pub fn folio(report: &mut Report, view: &View, release: Release) {
    let pages = view.head.pages();
    let mapped = match view.mapped_pages {
        Answer::Exact(mapped) => Cell::pages(mapped.into()),
        Answer::Estimate(mapped) => Cell::pages(mapped.into()).estimated(true),
        Answer::Unknown => Cell::Unknown,
    };
    let held = match &mapped {
        Cell::Number(mapped) => Cell::Number((pages as i64 * 4096) - mapped),
        Cell::Estimate(mapped) => Cell::Estimate((pages as i64 * 4096) - mapped),
        _ => Cell::Unknown,
    };
    let mut sheet = Sheet::new("folio", "The folio", FOLIO);
    sheet.push(vec![
        format!("{:#x}", view.frame).into(),
        format!("{:#x}", view.first).into(),
        view.head.used.name().into(),
        view.head.order.to_string().into(),
        Cell::pages(pages),
        mapped,
        held,
        if view.stable { "yes" } else { "no" }.into(),
        view.cgroup.map_or("-".to_owned(), |inode| inode.to_string()).into(),
        view.flags.join(" ").into(),
    ]);
    report.sheets.push(sheet);
    references(report, view);
    verdicts(report, view);
    mappers(report, view);
    counters(report, view, release);
}

fn references(report: &mut Report, view: &View) {
    let Some(found) = view.references else { return };
    let mut sheet = Sheet::new("reference", "Its references", REFERENCES);
    let pins = match found.pins {
        Answer::Exact(1) => "1 pin".to_owned(),
        Answer::Exact(pins) => format!("{pins} pins"),
        Answer::Estimate(1) => "about 1 pin of 1024 references".to_owned(),
        Answer::Estimate(pins) => format!("about {pins} pins of 1024 references each"),
        Answer::Unknown => "this kernel does not tell pins from other references".to_owned(),
    };
    let rest = match (found.rest, view.holder) {
        (0, _) | (_, None) => String::new(),
        (_, Some(holder)) => holder.text().to_owned(),
    };
    let rows = [
        ("all", found.all, String::new()),
        ("mappings", found.mappings, "page-table entries that map it".to_owned()),
        ("page-cache", found.pagecache, "the page cache".to_owned()),
        ("swap-cache", found.swapcache, "the swap cache".to_owned()),
        ("private", found.private, "private data of its file system".to_owned()),
        ("pins", found.pinned, pins),
        ("rest", found.rest, rest),
    ];
    for (name, count, meaning) in rows {
        sheet.push(vec![name.into(), Cell::Number(count), meaning.into()]);
    }
    report.sheets.push(sheet);
}

fn verdicts(report: &mut Report, view: &View) {
    let mut sheet = Sheet::new("verdict", "What the kernel could do with it now", VERDICTS);
    let mut add = |question: &str, verdict: Verdict| {
        let can = verdict.can.map_or("unknown", |can| if can { "yes" } else { "no" });
        sheet.push(vec![question.into(), can.into(), verdict.why.key().into(), verdict.why.text().into()]);
    };
    if let Some(verdict) = view.split {
        add("can be split", verdict);
    }
    if let Some(verdict) = view.migrate {
        add("can be migrated", verdict);
    }
    match (view.reuse_as_mapped(), view.reuse) {
        (Some((By::Pte, verdict)), _) => add("COW may reuse the page", verdict),
        (Some((_, verdict)), _) => add("COW may reuse the folio", verdict),
        (None, Some([by_pte, _])) => add("COW may reuse the page", by_pte),
        (None, None) => {}
    }
    report.sheets.push(sheet);
}

fn mappers(report: &mut Report, view: &View) {
    let mut sheet = Sheet::new("mapper", "Who maps it", MAPPERS);
    for mapper in &view.mappers {
        let by = match mapper.extent.by {
            By::Pte => "PTE",
            By::Pmd => "PMD",
            By::Pud => "PUD",
        };
        sheet.push(vec![
            mapper.process.pid.to_string().into(),
            mapper.process.comm.as_str().into(),
            format!("{:#x}", mapper.extent.page * 4096).into(),
            Cell::pages(mapper.extent.pages.into()),
            by.into(),
        ]);
    }
    report.sheets.push(sheet);
}

fn counters(report: &mut Report, view: &View, release: Release) {
    let mut fields = Sheet::new("field", "Its counters, as they are stored", FIELDS);
    for (field, raw) in &view.fields {
        let name = field.kernel_name(release);
        fields.push(vec![field.key().into(), name.into(), Cell::Number((*raw).into())]);
    }
    let mut answers = Sheet::new("query", "What the kernel's functions answer", ANSWERS);
    for (query, value) in &view.answers {
        let name = query.name_in(release).map_or("", |name| name.text);
        answers.push(vec![query.key().into(), name.into(), answer(*value)]);
    }
    let mut counts = Sheet::new("mapcount", "Map counts of its pages", MAPCOUNTS);
    let mut first = 0;
    for (pages, count) in &view.mapcounts {
        let name = if *pages == 1 { first.to_string() } else { format!("{first}..{}", first + pages) };
        counts.push(vec![name.into(), answer(*count)]);
        first += pages;
    }
    let mut words = Sheet::new("word", "Words of its first struct pages", WORDS);
    for (page, values) in view.words.iter().enumerate() {
        let mut cells = vec![page.to_string().into()];
        let value = |at: usize| values.get(at).map_or(String::new(), |word| format!("{word:016x}"));
        cells.extend((0..8).map(|at| Cell::from(value(at))));
        words.push(cells);
    }
    report.sheets.extend([fields, answers, counts, words]);
}
