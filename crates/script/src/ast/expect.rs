//! What is expected, and of which kernels.

use mapcount_model::release::{Release, ReleaseRange};

use crate::ast::{Comparison, Name};
use crate::diagnostic::Span;

/// Something that holds at a point of the scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expect {
    /// Where the statement stands.
    pub span: Span,
    /// The statement without its comment, runs of blanks collapsed.
    pub text: Box<str>,
    /// Where it applies; everywhere if `None`.
    pub kernels: Option<KernelSet>,
    /// What is looked at.
    pub path: Path,
    /// How it is compared.
    pub op: Comparison,
    /// What it is compared with.
    pub value: Value,
    /// Where the value stands.
    pub value_span: Span,
}

/// What an expectation looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Path {
    /// `A.x[5].FIELD`: a page, or the folio that it belongs to.
    Page {
        /// The process.
        process: Name,
        /// Its mapping.
        mapping: Name,
        /// The page of the mapping.
        page: u64,
        /// One of [`crate::ast::fields::page`].
        field: FieldName,
    },
    /// `A.x.FIELD`: what smaps says of a mapping.
    Mapping {
        /// The process.
        process: Name,
        /// Its mapping.
        mapping: Name,
        /// One of [`crate::ast::fields::SMAPS`].
        field: FieldName,
    },
    /// `A.FIELD`: what smaps says of all mappings together.
    Process {
        /// The process.
        process: Name,
        /// One of [`crate::ast::fields::SMAPS`].
        field: FieldName,
    },
    /// `system.FIELD`.
    System {
        /// One of [`crate::ast::fields::system`].
        field: FieldName,
    },
}

impl Path {
    /// The field.
    pub fn field(&self) -> &FieldName {
        match self {
            Path::Page { field, .. }
            | Path::Mapping { field, .. }
            | Path::Process { field, .. }
            | Path::System { field } => field,
        }
    }

    /// Where it stands, without the field's index.
    pub fn span(&self) -> Span {
        let field = self.field().name.span;
        match self {
            Path::Page { process, .. } | Path::Mapping { process, .. } | Path::Process { process, .. } => {
                process.span.to(field)
            }
            Path::System { .. } => field,
        }
    }
}

/// The name of a field, with an index where the field is a list: `mm_ids[1]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldName {
    /// The name.
    pub name: Name,
    /// Which element. Present for lists, and only for them.
    pub index: Option<u32>,
}

/// What a field is compared with, or a tunable set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A number.
    Int(i64),
    /// `true` or `false`.
    Bool(bool),
    /// `null`: nobody, in `mm_ids`.
    Null,
    /// A word: a process in `mm_ids`, a kind of folio.
    Text(Name),
}

/// Kernels: those that any of the alternatives holds. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelSet {
    /// The alternatives, in the order of the file.
    pub alternatives: Vec<KernelAlternative>,
}

impl KernelSet {
    /// Whether the kernel `release`, built with `kconfig` and counting by `scheme`, is in the set.
    pub fn contains(&self, release: Release, kconfig: Option<&str>, scheme: &str) -> bool {
        self.alternatives.iter().any(|alternative| match alternative {
            KernelAlternative::Releases(range) => range.contains(release),
            KernelAlternative::Kconfig { series, kconfig: wanted } => {
                series.series() == release.series() && kconfig == Some(wanted.as_str())
            }
            KernelAlternative::Scheme(id) => id.as_str() == scheme,
        })
    }
}

/// One of the alternatives of a [`KernelSet`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelAlternative {
    /// `5.10`, `4.5..6.1`, `6.15..`, `..4.4`: series, both ends included.
    Releases(ReleaseRange),
    /// `7.2-no-page-mapcount`: a series built with an option that changes how it counts.
    Kconfig {
        /// The series.
        series: Release,
        /// The option.
        kconfig: Name,
    },
    /// `double-map`: every kernel that counts by this scheme.
    Scheme(Name),
}
