//! What the kernel does, or is told to do.

use crate::ast::{Beyond, FileKind, Huge, KernelVerb, MAX_PAGES, Pages, Region, Word, words};
use crate::diagnostic::{Diagnostic, shown};
use crate::lex::Parsed;
use crate::parse::operand::listing_verbs;
use crate::parse::{MAX_NODES, Statement, process};

words! {
    enum Verb {
        File = "file",
        Truncate = "truncate",
        Punch = "punch",
        DropCaches = "drop_caches",
        Split = "split",
        PutBack = "putback",
        Migrate = "migrate",
        Poison = "poison",
        Uprobe = "uprobe",
        Khugepaged = "khugepaged",
        Ksm = "ksm",
        Swap = "swap",
        Hugetlb = "hugetlb",
        Thp = "thp",
        Mthp = "mthp",
        ShmemMthp = "shmem_mthp",
        Tune = "tune",
        Lru = "lru",
    }

    enum Switch {
        On = "on",
        Off = "off",
    }
}

impl Verb {
    const fn form(self) -> &'static str {
        match self {
            Verb::File => "file F SIZE tmpfs|memfd|ext4|xfs|fsdax [huge=always|never|within_size|advise]",
            Verb::Truncate => "truncate F SIZE",
            Verb::Punch => "punch F[a..b]",
            Verb::DropCaches => "drop_caches 1|2|3",
            Verb::Split => "split P.REGION [order N] [at PAGE] [list]",
            Verb::PutBack => "putback",
            Verb::Migrate => "migrate P.REGION to NODE [all]|device",
            Verb::Poison => "poison P.REGION",
            Verb::Uprobe => "uprobe P.REGION",
            Verb::Khugepaged => "khugepaged P.REGION",
            Verb::Ksm => "ksm PASSES",
            Verb::Swap => "swap on [SIZE]|off",
            Verb::Hugetlb => "hugetlb N",
            Verb::Thp => "thp always|madvise|never",
            Verb::Mthp => "mthp SIZE always|madvise|inherit|never",
            Verb::ShmemMthp => "shmem_mthp SIZE always|inherit|within_size|advise|never",
            Verb::Tune => "tune KEY VALUE",
            Verb::Lru => "lru hold|auto|drain",
        }
    }
}

/// Whether the kernel can do what `word` says.
pub(super) fn is_verb(word: &str) -> bool {
    Verb::from_word(word).is_some()
}

impl Statement<'_, '_> {
    /// What comes behind `kernel:`.
    pub(super) fn kernel_action(&mut self) -> Parsed<KernelVerb> {
        let start = self.cursor.mark();
        let word = self.cursor.word();
        let Some(verb) = Verb::from_word(word) else {
            self.cursor.back(start);
            let error =
                self.unexpected("something that the kernel does", Verb::ALL.iter().map(|verb| verb.word()));
            if process::is_verb(word) {
                return Err(error.help(format!("`{word}` is for a process: `A: {word} …`")).into());
            }
            return Err(listing_verbs(error, Verb::ALL.iter().map(|verb| verb.word())));
        };
        self.kernel_operands(verb)
            .map_err(|error| error.note(format!("the form is `kernel: {}`", verb.form())).into())
    }

    fn kernel_operands(&mut self, verb: Verb) -> Parsed<KernelVerb> {
        const MOST: u64 = u32::MAX as u64;
        // The casts are lossless: each number has just been bounded.
        Ok(match verb {
            Verb::File => self.file()?,
            Verb::Truncate => KernelVerb::Truncate { file: self.name("a file")?, size: self.size_or_zero()? },
            Verb::Punch => self.punch()?,
            Verb::DropCaches => KernelVerb::DropCaches(self.number_in("what to drop", 1, 3)? as u8),
            Verb::Split => self.split()?,
            Verb::PutBack => KernelVerb::PutBack,
            Verb::Migrate => {
                let region = self.foreign_region()?;
                self.keyword("to")?;
                if self.has_keyword(Beyond::Device.word()) {
                    return Ok(KernelVerb::Beyond(region, Beyond::Device));
                }
                let node = self.number_in("a node", 0, MAX_NODES - 1)? as u32;
                KernelVerb::Migrate { region, node, all: self.has_keyword("all") }
            }
            Verb::Poison => KernelVerb::Beyond(self.foreign_region()?, Beyond::Poison),
            Verb::Uprobe => KernelVerb::Beyond(self.foreign_region()?, Beyond::Uprobe),
            Verb::Khugepaged => KernelVerb::Khugepaged(self.foreign_region()?),
            Verb::Ksm => KernelVerb::Ksm(self.number_in("a number of passes", 1, MOST)? as u32),
            Verb::Swap => self.swap()?,
            Verb::Hugetlb => KernelVerb::Hugetlb(self.number_in("a number of pages", 0, MOST)? as u32),
            Verb::Thp => KernelVerb::Thp(self.choice()?),
            Verb::Mthp => KernelVerb::Mthp(self.folio_size()?, self.choice()?),
            Verb::ShmemMthp => KernelVerb::ShmemMthp(self.folio_size()?, self.choice()?),
            Verb::Tune => KernelVerb::Tune { key: self.name("a tunable")?, value: self.value()? },
            Verb::Lru => KernelVerb::Lru(self.choice()?),
        })
    }

    fn swap(&mut self) -> Parsed<KernelVerb> {
        if self.choice::<Switch>()? == Switch::Off {
            return Ok(KernelVerb::SwapOff);
        }
        // What follows is a size if it begins like one.
        self.cursor.skip_blanks();
        let size = self.cursor.peek().is_ascii_digit() || self.cursor.peek() == b'p';
        Ok(KernelVerb::SwapOn(if size { Some(self.size()?) } else { None }))
    }

    fn file(&mut self) -> Parsed<KernelVerb> {
        let name = self.name("a name")?;
        let size = self.size()?;
        let kind = self.choice()?;
        let start = self.cursor.mark();
        let mut huge = None;
        if self.has_keyword("huge") {
            self.symbol("=")?;
            huge = Some(self.choice::<Huge>()?);
            if matches!(kind, FileKind::Ext4 | FileKind::Xfs | FileKind::FsDax) {
                let span = self.cursor.span_from(start);
                return Err(Diagnostic::error(
                    format!("{kind} has no option `huge`"),
                    span,
                    "expected `tmpfs` with this",
                )
                .into());
            }
        }
        Ok(KernelVerb::File { name, size, kind, huge })
    }

    fn punch(&mut self) -> Parsed<KernelVerb> {
        let Region { process, mapping: file, pages, span } = self.region()?;
        if let Some(process) = process {
            return Err(
                Diagnostic::error("a file belongs to no process", process.span, "expected a file").into()
            );
        }
        match pages {
            Pages::One(page) => Ok(KernelVerb::Punch { file, start: page, end: page + 1 }),
            Pages::Range { start, end: Some(end) } => Ok(KernelVerb::Punch { file, start, end }),
            Pages::All | Pages::Range { end: None, .. } => {
                Err(Diagnostic::error("a hole has a beginning and an end", span, "expected `[a..b]`")
                    .help(format!("the first page alone is `{}[0..1]`", shown(file.as_str())))
                    .into())
            }
        }
    }

    fn split(&mut self) -> Parsed<KernelVerb> {
        let region = self.foreign_region()?;
        let (mut order, mut at, mut list) = (None, None, false);
        loop {
            if order.is_none() && self.has_keyword("order") {
                // Lossless: at most 9.
                order = Some(self.number_in("an order", 0, 9)? as u8);
            } else if at.is_none() && self.has_keyword("at") {
                at = Some(self.number_in("the number of a page", 0, MAX_PAGES - 1)?);
            } else if !list && self.has_keyword("list") {
                list = true;
            } else {
                return Ok(KernelVerb::Split { region, order, at, list });
            }
        }
    }
}
