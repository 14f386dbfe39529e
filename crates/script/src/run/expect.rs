//! Expectations: what a scenario says must hold at a point.

use std::fmt;

use mapcount_model::field::{Field, Scope};
use mapcount_model::machine::Machine;
use mapcount_model::query::{Query, Tally};
use mapcount_model::smaps::{Smaps, smaps};
use mapcount_model::stats::Stat;
use mapcount_model::units::{Folio, Kind, Pfn};

use super::{Finding, FindingKind, Process, Runner, Window, applies, check_names, history_notes};
use crate::ast::{Comparison, Expect, FieldName, Name, Path, Value};
use crate::diagnostic::Diagnostic;

/// The value of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Found {
    Number(i64),
    Flag(bool),
    Word(String),
    Nobody,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Number(number) => write!(f, "{number}"),
            Found::Flag(flag) => write!(f, "{flag}"),
            Found::Word(word) => f.write_str(word),
            Found::Nobody => f.write_str("null"),
        }
    }
}

/// The value, and the counter that it was read from where it was one.
struct Looked {
    found: Found,
    counter: Option<(Field, Pfn)>,
}

impl Runner<'_> {
    pub(super) fn expect(&mut self, expect: &Expect) -> Result<(), Box<Finding>> {
        if let Some(kernels) = &expect.kernels {
            check_names(kernels)?;
            if !applies(kernels, &self.profile) {
                return Ok(());
            }
        }
        self.evaluated += 1;
        let looked = self.look(expect)?;
        let holds = match (&looked.found, &expect.value) {
            (Found::Number(found), Value::Int(value)) => expect.op.holds(*found, *value),
            // A flag may be written as a number and the other way round, as language.md's own example does.
            (Found::Flag(found), Value::Int(value)) => expect.op.holds(i64::from(*found), *value),
            (Found::Number(found), Value::Bool(value)) => expect.op.holds(*found, i64::from(*value)),
            (Found::Flag(found), Value::Bool(value)) => expect.op.holds(i64::from(*found), i64::from(*value)),
            (Found::Word(found), Value::Text(value)) => equal(expect.op, found == value.as_str()),
            (Found::Nobody, Value::Null) => equal(expect.op, true),
            _ => equal(expect.op, false),
        };
        if holds {
            return Ok(());
        }
        let message = format!("expected {}, found {}", expectation(expect), looked.found);
        let label = format!("is {} on {}", looked.found, self.profile.name);
        let mut diagnostic = Diagnostic::error(message, expect.path.span(), label);
        if let Some((field, page)) = looked.counter {
            diagnostic.notes.extend(history_notes(self, field, page));
        }
        Err(Box::new(Finding { kind: FindingKind::Expectation, diagnostic }))
    }

    fn look(&self, expect: &Expect) -> Result<Looked, Box<Finding>> {
        let plain = |found| Looked { found, counter: None };
        Ok(match &expect.path {
            Path::System { field } => {
                let stat = Stat::by_key(field.name.as_str()).expect("the parser knows the statistics");
                plain(Found::Number(self.machine.stats.get(stat)))
            }
            Path::Process { process, field } => {
                let process = self.process(process)?;
                let sum = process.windows.values().map(|window| self.smaps_kb(process, window, field)).sum();
                plain(Found::Number(sum))
            }
            Path::Mapping { process, mapping, field } => {
                let window = self.window(process, mapping)?;
                plain(Found::Number(self.smaps_kb(self.process(process)?, &window, field)))
            }
            Path::Page { process, mapping, page, field } => {
                self.look_at_page((process, mapping, *page), field, expect)?
            }
        })
    }

    fn smaps_kb(&self, process: &Process, window: &Window, field: &FieldName) -> i64 {
        let vmas = process.mm.vmas.borrow();
        let kb = |numbers: Smaps| match field.name.as_str() {
            "rss_kb" => numbers.rss >> 10,
            "pss_kb" => numbers.pss_kb(),
            "shared_kb" => numbers.shared >> 10,
            "private_kb" => numbers.private >> 10,
            "anon_huge_kb" => numbers.anon_huge >> 10,
            "shmem_pmd_kb" => numbers.shmem_pmd >> 10,
            "file_pmd_kb" => numbers.file_pmd >> 10,
            other => unreachable!("the parser knows the numbers of smaps, not {other}"),
        };
        let areas = vmas.overlapping(window.start, window.start + window.room);
        areas.iter().map(|area| kb(smaps(&self.machine, &process.mm, area)) as i64).sum()
    }

    fn look_at_page(
        &self,
        (process, mapping, index): (&Name, &Name, u64),
        field: &FieldName,
        expect: &Expect,
    ) -> Result<Looked, Box<Finding>> {
        let window = self.window(process, mapping)?;
        let wrong = |message: String, label: &str| {
            let diagnostic = Diagnostic::error(message, expect.path.span(), label);
            Box::new(Finding { kind: FindingKind::Expectation, diagnostic })
        };
        if index >= window.room {
            let message = format!("`{}` has {} pages", mapping.as_str(), window.pages);
            return Err(Finding::scenario(Diagnostic::error(message, expect.path.span(), "behind its end")));
        }
        let entry = self.process(process)?.mm.table.read(window.start + index);
        if !entry.is_present() {
            let message =
                format!("page {index} of `{}` is not mapped in `{}`", mapping.as_str(), process.as_str());
            return Err(wrong(message, "no page here"));
        }
        let page = entry.page();
        let folio = self.machine.folio(page);
        if let Some(looked) = self.look_at_counter(folio, page, field) {
            return Ok(looked);
        }
        let message = format!(
            "{} counts by {} and has no `{}` for a folio of order {}",
            self.profile.name,
            self.profile.scheme.info().id,
            field.name.as_str(),
            folio.order.0
        );
        let mut finding = wrong(message, "not a field of this kernel");
        finding.diagnostic =
            finding.diagnostic.help("name the kernels that have it, `expect[6.15..] …`, or another field");
        Err(finding)
    }

    fn look_at_counter(&self, folio: Folio, page: Pfn, field: &FieldName) -> Option<Looked> {
        let m = &self.machine;
        let name = field.name.as_str();
        let raw = |field: Field, at: Pfn| Looked {
            found: number_or_flag(field, m.counters().read(field, at)),
            counter: Some((field, at)),
        };
        if let Some(query) = Query::by_key(name) {
            let value = m.ask(query, page, &mut Tally::off()).value()?;
            let held = if query == Query::ExpectedRefcount { self.held(folio) } else { 0 };
            return Some(Looked {
                found: Found::Number(value + held),
                counter: counter_of(m, query, folio, page),
            });
        }
        match (name, field.index) {
            ("id", _) => None,
            ("order", _) => Some(Looked { found: Found::Number(i64::from(folio.order.0)), counter: None }),
            ("kind", _) => Some(Looked { found: Found::Word(folio.kind.name().to_owned()), counter: None }),
            ("swapcache", _) => Some(Looked { found: Found::Flag(m.swap.holds(folio)), counter: None }),
            ("tail_refcount", _) => (page != folio.head).then(|| raw(Field::Refcount, page)),
            ("mm_ids", Some(slot)) => {
                let field = [Field::MmId0, Field::MmId1][slot as usize];
                m.has_field(folio, field).then(|| {
                    let id = m.counters().read(field, folio.head) as u32;
                    let owner = self.processes.iter().find(|(_, process)| process.mm.id.0 == id);
                    let found = owner.map_or(Found::Nobody, |(name, _)| Found::Word(name.clone()));
                    Looked { found, counter: Some((field, folio.head)) }
                })
            }
            ("mm_id_mapcount_raw", Some(slot)) => {
                let field = [Field::MmIdMapcount0, Field::MmIdMapcount1][slot as usize];
                m.has_field(folio, field).then(|| raw(field, folio.head))
            }
            _ => {
                let field = Field::by_key(name)?;
                let at = match field.row().scope {
                    Scope::Page if field != Field::Refcount => page,
                    _ => folio.head,
                };
                m.has_field(folio, field).then(|| raw(field, at))
            }
        }
    }

    /// References of the folio that the scenario holds.
    fn held(&self, folio: Folio) -> i64 {
        if folio.kind == Kind::Zero {
            return 0;
        }
        super::observe::held_references(&self.machine).get(&folio.head).copied().unwrap_or(0)
    }
}

/// The one counter that an answer was read from, if it was one.
fn counter_of(m: &Machine, query: Query, folio: Folio, page: Pfn) -> Option<(Field, Pfn)> {
    match query {
        Query::PageCount | Query::ExpectedRefcount => Some((Field::Refcount, folio.head)),
        Query::PageMapcount | Query::Kpagecount => Some((Field::Mapcount, page)),
        Query::FolioMapcount if m.has_field(folio, Field::LargeMapcount) => {
            Some((Field::LargeMapcount, folio.head))
        }
        _ => None,
    }
}

fn number_or_flag(field: Field, value: i32) -> Found {
    if field.row().flag && field.row().scope == Scope::LargeFolio {
        Found::Flag(value != 0)
    } else {
        Found::Number(i64::from(value))
    }
}

fn equal(op: Comparison, same: bool) -> bool {
    op.holds(0, i64::from(!same))
}

/// The expectation without its kernels.
fn expectation(expect: &Expect) -> String {
    let field = expect.path.field();
    let index = field.index.map_or(String::new(), |index| format!("[{index}]"));
    let path = match &expect.path {
        Path::Page { process, mapping, page, field } => {
            format!("{}.{}[{page}].{}", process.as_str(), mapping.as_str(), field.name.as_str())
        }
        Path::Mapping { process, mapping, field } => {
            format!("{}.{}.{}", process.as_str(), mapping.as_str(), field.name.as_str())
        }
        Path::Process { process, field } => format!("{}.{}", process.as_str(), field.name.as_str()),
        Path::System { field } => format!("system.{}", field.name.as_str()),
    };
    format!("{path}{index} {} {}", expect.op, expect.value)
}
