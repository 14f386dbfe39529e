//! What a report consists of: sheets of rows and columns. Each column says what it is, once, and every format is written
//! from that.

/// What the values of a column are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A name that tells rows apart.
    Label,
    /// Words for people.
    Text,
    /// Bytes.
    Bytes,
    /// A number of things.
    Count,
}

/// A column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name in every format, without the unit: stable.
    pub key: &'static str,
    /// What its values are.
    pub unit: Unit,
    /// What it says, in a sentence.
    pub help: &'static str,
}

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// A name or words.
    Text(String),
    /// A number, in bytes where the column is.
    Number(i64),
    /// A number that is near the truth; the kernel does not keep what an exact one needs.
    Estimate(i64),
    /// It cannot be known.
    Unknown,
}

impl Cell {
    /// A number of pages in bytes.
    pub fn pages(pages: u64) -> Cell {
        Cell::number(pages.saturating_mul(4096))
    }

    /// A number.
    pub fn number(number: u64) -> Cell {
        Cell::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// The same, as an estimate if `is`.
    pub fn estimated(self, is: bool) -> Cell {
        match self {
            Cell::Number(number) if is => Cell::Estimate(number),
            other => other,
        }
    }

    /// The number, if it is one.
    pub const fn value(&self) -> Option<i64> {
        match self {
            Cell::Number(number) | Cell::Estimate(number) => Some(*number),
            Cell::Text(_) | Cell::Unknown => None,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::number(number)
    }
}

/// Rows of one kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sheet {
    /// Its name in every format: stable.
    pub key: &'static str,
    /// Its title for people.
    pub title: String,
    /// The columns.
    pub columns: &'static [Column],
    /// The rows, a cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

impl Sheet {
    /// A sheet without rows.
    pub fn new(key: &'static str, title: impl Into<String>, columns: &'static [Column]) -> Sheet {
        Sheet { key, title: title.into(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it does not have a cell for each column.
    pub fn push(&mut self, row: Vec<Cell>) {
        assert_eq!(row.len(), self.columns.len(), "a row of {}", self.key);
        self.rows.push(row);
    }

    /// Keeps the first rows, by falling value of a column.
    pub fn top(&mut self, column: &str, rows: usize) {
        let Some(at) = self.columns.iter().position(|known| known.key == column) else { return };
        self.rows.sort_by_key(|row| std::cmp::Reverse(row[at].value().unwrap_or(i64::MIN)));
        self.rows.truncate(rows);
    }
}

/// A report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// What it was computed from: a name and a text each.
    pub about: Vec<(&'static str, String)>,
    /// Its sheets.
    pub sheets: Vec<Sheet>,
    /// What the reader should know: sentences.
    pub notes: Vec<String>,
}
