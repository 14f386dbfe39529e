//! Expectations.

use crate::ast::fields::{self, FieldWord};
use crate::ast::{Comparison, Expect, FieldName, Name, Pages, Path, Value, Word};
use crate::diagnostic::{Diagnostic, closest, shown};
use crate::lex::{Mark, Parsed};
use crate::parse::operand::listing;
use crate::parse::{Statement, collapse};

/// What a field belongs to.
#[derive(Clone, Copy)]
enum Owner {
    Page,
    Smaps,
    System,
}

impl Owner {
    fn fields(self) -> Vec<FieldWord> {
        match self {
            Owner::Page => fields::page().collect(),
            Owner::Smaps => fields::SMAPS.to_vec(),
            Owner::System => fields::system().collect(),
        }
    }

    fn field(self, name: &str) -> Option<FieldWord> {
        let named = |field: &FieldWord| field.name == name;
        match self {
            Owner::Page => fields::page().find(named),
            Owner::Smaps => fields::SMAPS.iter().copied().find(named),
            Owner::System => fields::system().find(named),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Owner::Page => "a field of a page or folio",
            Owner::Smaps => "a field of a mapping or process",
            Owner::System => "a field of the system",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Owner::Page => "A.x[0].",
            Owner::Smaps => "A.x.",
            Owner::System => "system.",
        }
    }
}

impl Statement<'_, '_> {
    /// What comes behind `expect`.
    pub(super) fn expect(&mut self, start: Mark) -> Parsed<Expect> {
        let mut kernels = None;
        self.cursor.skip_blanks();
        if self.cursor.eat("[") {
            kernels = Some(self.kernel_set()?);
            self.symbol("]")?;
        }
        let path = self.path()?;
        let operator = self.cursor.mark();
        let op = self.comparison()?;
        let operator = self.cursor.span_from(operator);
        let value_start = self.cursor.mark();
        let value = self.value()?;
        let value_span = self.cursor.span_from(value_start);
        if op.is_ordered() && !matches!(value, Value::Int(_)) {
            let message = format!("`{op}` compares numbers");
            let error = Diagnostic::error(message, value_span, "expected a number").also(operator, "");
            return Err(error.help("other values are equal or not: `==`, `!=`").into());
        }
        let span = self.cursor.span_from(start);
        let text = collapse(self.cursor.text_from(start));
        self.end()?;
        Ok(Expect { span, text, kernels, path, op, value, value_span })
    }

    fn path(&mut self) -> Parsed<Path> {
        let first = self.name("a process or `system`")?;
        if first.as_str() == "system" {
            self.dot()?;
            return Ok(Path::System { field: self.field(Owner::System)? });
        }
        let process = self.process_name(first.as_str(), first.span)?;
        self.dot()?;
        let second = self.cursor.here();
        let mapping = self.member("a mapping or a field")?;
        let pages_start = self.cursor.here();
        match self.pages()? {
            Some(Pages::One(page)) => {
                self.dot()?;
                Ok(Path::Page { process, mapping, page, field: self.field(Owner::Page)? })
            }
            Some(_) => {
                let span = self.cursor.span_from(pages_start);
                Err(Diagnostic::error("an expectation looks at one page", span, "expected `[PAGE]`").into())
            }
            None if self.cursor.eat(".") => {
                Ok(Path::Mapping { process, mapping, field: self.field(Owner::Smaps)? })
            }
            None => {
                self.cursor.back(second);
                Ok(Path::Process { process, field: self.field(Owner::Smaps)? })
            }
        }
    }

    fn field(&mut self, owner: Owner) -> Parsed<FieldName> {
        let name = self.member(owner.name())?;
        let Some(field) = owner.field(name.as_str()) else { return Err(no_field(owner, &name)) };
        let index_start = self.cursor.here();
        let given = self.cursor.eat("[");
        match (field.elements, given) {
            (None, false) => Ok(FieldName { name, index: None }),
            (Some(elements), true) => {
                let index = self.number_in("an index", 0, u64::from(elements) - 1)?;
                self.symbol("]")?;
                // Lossless: less than `elements`.
                Ok(FieldName { name, index: Some(index as u32) })
            }
            (Some(_), false) => {
                let message = format!("`{name}` is a list");
                Err(Diagnostic::error(message, name.span, "expected an index")
                    .help(format!("its first element is `{name}[0]`"))
                    .into())
            }
            (None, true) => {
                let span = self.cursor.span_from(index_start);
                Err(Diagnostic::error(format!("`{name}` is no list"), span, "expected no index").into())
            }
        }
    }

    fn comparison(&mut self) -> Parsed<Comparison> {
        self.cursor.skip_blanks();
        // The longer ones stand before the shorter ones with which they begin.
        if let Some(op) = Comparison::ALL.iter().copied().find(|op| self.cursor.eat(op.word())) {
            return Ok(op);
        }
        let error = self.cursor.expected(&listing(Comparison::ALL.iter().map(|op| op.word())));
        if self.cursor.peek() == b'=' {
            return Err(error.help("equal is `==`").into());
        }
        Err(error)
    }

    /// `-1`, `0x800000`, `true`, `null`, a word.
    pub(super) fn value(&mut self) -> Parsed<Value> {
        const WHAT: &str = "a number, `true`, `false`, `null` or a name";
        let start = self.cursor.mark();
        let negative = self.cursor.eat("-");
        if negative || self.cursor.peek().is_ascii_digit() {
            let most = i64::MAX as u64 + u64::from(negative);
            if negative && !self.cursor.peek().is_ascii_digit() {
                return Err(self.cursor.expected("a number"));
            }
            let magnitude = self.number_in("a value", 0, most)?;
            return Ok(Value::Int(if negative {
                0i64.wrapping_sub_unsigned(magnitude)
            } else {
                magnitude as i64
            }));
        }
        let word = self.cursor.word();
        match word {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            _ => {
                self.cursor.back(start);
                self.name(WHAT).map(Value::Text)
            }
        }
    }
}

fn no_field(owner: Owner, name: &Name) -> Box<Diagnostic> {
    let word = name.as_str();
    let error = Diagnostic::error(
        format!("unknown field `{}`", shown(word)),
        name.span,
        format!("expected {}", owner.name()),
    );
    let others = [Owner::Page, Owner::Smaps, Owner::System];
    if let Some(other) = others.into_iter().find(|other| other.field(word).is_some()) {
        return error.help(format!("it is {}: `{}{word}`", other.name(), other.example())).into();
    }
    let fields = owner.fields();
    match closest(word, fields.iter().map(|field| field.name)) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")).into(),
        None => {
            let names: Vec<_> = fields.iter().map(|field| field.name).collect();
            error.note(format!("the fields are {}", names.join(", "))).into()
        }
    }
}
