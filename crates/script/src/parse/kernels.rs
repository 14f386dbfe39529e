//! Sets of kernels.

use mapcount_model::release::{Release, ReleaseRange};

use crate::ast::{KernelAlternative, KernelSet, Name};
use crate::diagnostic::{Diagnostic, Span, shown};
use crate::lex::Parsed;
use crate::parse::Statement;

impl Statement<'_, '_> {
    /// `5.10, 6.15.., double-map`.
    pub(super) fn kernel_set(&mut self) -> Parsed<KernelSet> {
        let mut alternatives = Vec::new();
        loop {
            alternatives.push(self.alternative()?);
            self.cursor.skip_blanks();
            if !self.cursor.eat(",") {
                return Ok(KernelSet { alternatives });
            }
        }
    }

    fn alternative(&mut self) -> Parsed<KernelAlternative> {
        let start = self.cursor.mark();
        let text =
            self.cursor.run(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+'));
        if text.is_empty() {
            return Err(self.cursor.expected("a kernel such as `5.10`, `4.5..6.1` or `double-map`"));
        }
        let span = self.cursor.span_from(start);
        if let Some((from, to)) = text.split_once("..") {
            return range(from, to, span).map(KernelAlternative::Releases);
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let Some((number, kconfig)) = text.split_once('-') else {
                let only = Some(series(text, span)?);
                return Ok(KernelAlternative::Releases(ReleaseRange { from: only, to: only }));
            };
            let series = series(number, span)?;
            let kconfig = self.id(kconfig, text, span)?;
            return Ok(KernelAlternative::Kconfig { series, kconfig });
        }
        self.id(text, text, span).map(KernelAlternative::Scheme)
    }

    /// Small letters and digits, with `-` between.
    fn id(&mut self, id: &str, text: &str, span: Span) -> Parsed<Name> {
        let good = id.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        });
        if good && id.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Ok(Name { text: self.names.intern(id), span });
        }
        let message = format!("`{}` is no kernel", shown(text));
        Err(Diagnostic::error(message, span, "expected a release or the id of a scheme, in small letters")
            .into())
    }
}

fn range(from: &str, to: &str, span: Span) -> Parsed<ReleaseRange> {
    let end = |text: &str| if text.is_empty() { Ok(None) } else { series(text, span).map(Some) };
    let (from, to) = (end(from)?, end(to)?);
    match (from, to) {
        (None, None) => {
            Err(Diagnostic::error("`..` names no kernel", span, "expected a release before or behind it")
                .into())
        }
        (Some(first), Some(last)) if first.series() > last.series() => {
            let message = format!("no kernel is in `{first}..{last}`");
            let error =
                Diagnostic::error(message, span, format!("expected an end that is not before {first}"));
            Err(error.help(format!("did you mean `{last}..{first}`?")).into())
        }
        _ => Ok(ReleaseRange { from, to }),
    }
}

/// `6.12` or `2.6.38`. Stable releases are refused rather than taken for their series: a scenario that
/// names one expects more than ranges can say.
fn series(text: &str, span: Span) -> Parsed<Release> {
    let message = || format!("`{}` is no series of releases", shown(text));
    let only_digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let Some(release) = Release::parse(text).filter(|_| only_digits) else {
        return Err(
            Diagnostic::error(message(), span, "expected a release such as `6.12` or `2.6.38`").into()
        );
    };
    let (major, minor, patch) = release.series();
    let series = Release::new(major, minor, patch);
    if text.split('.').count() > if major < 3 { 3 } else { 2 } {
        return Err(Diagnostic::error(
            message(),
            span,
            "expected a series: all its stable releases count alike",
        )
        .help(format!("did you mean `{series}`?"))
        .into());
    }
    Ok(series)
}
