//! What processes do.

use crate::ast::{Backing, DaxAlign, Name, Pages, ProcessVerb, Region, Thp, Word, words};
use crate::diagnostic::{Diagnostic, Span, shown};
use crate::lex::Parsed;
use crate::parse::operand::listing_verbs;
use crate::parse::{Statement, kernel};

words! {
    enum Verb {
        Mmap = "mmap",
        Reserve = "reserve",
        Read = "read",
        Write = "write",
        Fill = "fill",
        Munmap = "munmap",
        Mprotect = "mprotect",
        Mlock = "mlock",
        Munlock = "munlock",
        Mremap = "mremap",
        Madvise = "madvise",
        Fork = "fork",
        Exit = "exit",
        Get = "get",
        Put = "put",
        Pin = "pin",
        Unpin = "unpin",
        SplitPmd = "split_pmd",
        Userfault = "userfault",
    }

    enum MmapWord {
        Of = "of",
        From = "from",
        Hugetlb = "hugetlb",
        Dax = "dax",
        Private = "private",
        Shared = "shared",
        Thp = "thp",
        NoThp = "nothp",
        ReadOnly = "ro",
    }
}

impl Verb {
    const fn form(self) -> &'static str {
        match self {
            Verb::Mmap => {
                "mmap x SIZE [of FILE [from PAGE] | hugetlb | dax [pte|pmd|pud]] [private|shared] [thp|nothp] [ro]"
            }
            Verb::Reserve => "reserve x SIZE",
            Verb::Read => "read REGION",
            Verb::Write => "write REGION",
            Verb::Fill => "fill REGION BYTE",
            Verb::Munmap => "munmap REGION",
            Verb::Mprotect => "mprotect REGION ro|rw|none",
            Verb::Mlock => "mlock REGION",
            Verb::Munlock => "munlock REGION",
            Verb::Mremap => "mremap REGION to x[PAGE]",
            Verb::Madvise => "madvise REGION ADVICE",
            Verb::Fork => "fork B",
            Verb::Exit => "exit",
            Verb::Get => "get REGION",
            Verb::Put => "put REGION",
            Verb::Pin => "pin REGION",
            Verb::Unpin => "unpin REGION",
            Verb::SplitPmd => "split_pmd REGION",
            Verb::Userfault => "userfault REGION copy|zeropage|move",
        }
    }
}

/// Whether a process can do what `word` says.
pub(super) fn is_verb(word: &str) -> bool {
    Verb::from_word(word).is_some()
}

/// What `mmap` has been told so far, and where.
#[derive(Default)]
struct Options {
    of: Option<(Name, Span)>,
    from: Option<(u64, Span)>,
    hugetlb: Option<Span>,
    dax: Option<(DaxAlign, Span)>,
    sharing: Option<(bool, Span)>,
    advice: Option<(Thp, Span)>,
    read_only: Option<Span>,
}

impl Options {
    /// Where something stands that `word` does not go with.
    fn conflict(&self, word: MmapWord) -> Option<Span> {
        let of = self.of.as_ref().map(|(_, span)| *span);
        let from = self.from.map(|(_, span)| span);
        let advice = self.advice.map(|(_, span)| span);
        let dax = self.dax.map(|(_, span)| span);
        match word {
            MmapWord::Of => of.or(self.hugetlb).or(dax),
            MmapWord::From => from.or(self.hugetlb).or(dax),
            MmapWord::Hugetlb => self.hugetlb.or(of).or(from).or(advice).or(dax),
            MmapWord::Dax => dax.or(of).or(from).or(self.hugetlb),
            MmapWord::Private | MmapWord::Shared => self.sharing.map(|(_, span)| span),
            MmapWord::Thp | MmapWord::NoThp => advice.or(self.hugetlb),
            MmapWord::ReadOnly => self.read_only,
        }
    }
}

impl Statement<'_, '_> {
    /// What comes behind `A:`.
    pub(super) fn process_action(&mut self, own: &Name) -> Parsed<ProcessVerb> {
        let start = self.cursor.mark();
        let word = self.cursor.word();
        let Some(verb) = Verb::from_word(word) else {
            self.cursor.back(start);
            let error =
                self.unexpected("something that a process does", Verb::ALL.iter().map(|verb| verb.word()));
            if kernel::is_verb(word) {
                return Err(error.help(format!("`{word}` is for the kernel: `kernel: {word} …`")).into());
            }
            return Err(listing_verbs(error, Verb::ALL.iter().map(|verb| verb.word())));
        };
        self.operands(verb, own).map_err(|error| error.note(format!("the form is `{}`", verb.form())).into())
    }

    fn operands(&mut self, verb: Verb, own: &Name) -> Parsed<ProcessVerb> {
        Ok(match verb {
            Verb::Mmap => self.mmap()?,
            Verb::Reserve => ProcessVerb::Reserve { name: self.name("a name")?, size: self.size()? },
            Verb::Read => ProcessVerb::Read(self.own_region(own)?),
            Verb::Write => ProcessVerb::Write(self.own_region(own)?),
            Verb::Fill => {
                let region = self.own_region(own)?;
                // Lossless: at most 255.
                ProcessVerb::Fill(region, self.number_in("a byte", 0, 255)? as u8)
            }
            Verb::Munmap => ProcessVerb::Munmap(self.own_region(own)?),
            Verb::Mprotect => ProcessVerb::Mprotect(self.own_region(own)?, self.choice()?),
            Verb::Mlock => ProcessVerb::Mlock(self.own_region(own)?),
            Verb::Munlock => ProcessVerb::Munlock(self.own_region(own)?),
            Verb::Mremap => {
                let from = self.own_region(own)?;
                self.keyword("to")?;
                let (to, page) = self.target(own)?;
                ProcessVerb::Mremap { from, to, page }
            }
            Verb::Madvise => ProcessVerb::Madvise(self.own_region(own)?, self.choice()?),
            Verb::Fork => ProcessVerb::Fork(self.child(own)?),
            Verb::Exit => ProcessVerb::Exit,
            Verb::Get => ProcessVerb::Get(self.own_region(own)?),
            Verb::Put => ProcessVerb::Put(self.own_region(own)?),
            Verb::Pin => ProcessVerb::Pin(self.own_region(own)?),
            Verb::Unpin => ProcessVerb::Unpin(self.own_region(own)?),
            Verb::SplitPmd => ProcessVerb::SplitPmd(self.own_region(own)?),
            Verb::Userfault => ProcessVerb::Userfault(self.own_region(own)?, self.choice()?),
        })
    }

    fn mmap(&mut self) -> Parsed<ProcessVerb> {
        let name = self.name("a name")?;
        let size = self.size()?;
        let options = self.mmap_options()?;
        let backing = match (options.of, options.from, options.hugetlb) {
            (Some((file, _)), from, _) => Backing::File { file, from_page: from.map_or(0, |(page, _)| page) },
            (None, Some((_, span)), _) => {
                return Err(
                    Diagnostic::error("`from` without a file", span, "expected `of FILE` as well").into()
                );
            }
            (None, None, Some(_)) => Backing::Hugetlb,
            (None, None, None) => options.dax.map_or(Backing::Anon, |(align, _)| Backing::Dax(align)),
        };
        Ok(ProcessVerb::Mmap {
            name,
            size,
            backing,
            // A device cannot be mapped in another way.
            shared: options.sharing.map_or(options.dax.is_some(), |(shared, _)| shared),
            advice: options.advice.map(|(advice, _)| advice),
            read_only: options.read_only.is_some(),
        })
    }

    /// The words behind the size, in whatever order.
    fn mmap_options(&mut self) -> Parsed<Options> {
        let mut options = Options::default();
        while !self.cursor.at_end() && self.cursor.peek() != b'=' {
            let start = self.cursor.mark();
            let Some(word) = MmapWord::from_word(self.cursor.word()) else {
                self.cursor.back(start);
                let words = MmapWord::ALL.iter().map(|word| word.word());
                return Err(self.unexpected("an option of `mmap`", words));
            };
            let span = self.cursor.span_from(start);
            if let Some(other) = options.conflict(word) {
                let message = format!("`{word}` does not go with what stands before it");
                return Err(Diagnostic::error(message, span, "one of the two is too much")
                    .also(other, "")
                    .into());
            }
            match word {
                MmapWord::Of => options.of = Some((self.name("a file")?, self.cursor.span_from(start))),
                MmapWord::From => options.from = Some((self.page()?, self.cursor.span_from(start))),
                MmapWord::Hugetlb => options.hugetlb = Some(span),
                MmapWord::Dax => {
                    let align = self.dax_align();
                    options.dax = Some((align, self.cursor.span_from(start)));
                }
                MmapWord::Private => options.sharing = Some((false, span)),
                MmapWord::Shared => options.sharing = Some((true, span)),
                MmapWord::Thp => options.advice = Some((Thp::Huge, span)),
                MmapWord::NoThp => options.advice = Some((Thp::NoHuge, span)),
                MmapWord::ReadOnly => options.read_only = Some(span),
            }
        }
        Ok(options)
    }

    /// The alignment of a device, if it is said.
    fn dax_align(&mut self) -> DaxAlign {
        let start = self.cursor.mark();
        DaxAlign::from_word(self.cursor.word()).unwrap_or_else(|| {
            self.cursor.back(start);
            DaxAlign::Pmd
        })
    }

    /// Where `mremap` moves to.
    fn target(&mut self, own: &Name) -> Parsed<(Name, u64)> {
        let Region { mapping, pages, span, .. } = self.own_region(own)?;
        match pages {
            Pages::One(page) => Ok((mapping, page)),
            _ => Err(Diagnostic::error(
                "a target is one page",
                span,
                "expected the page where the target begins",
            )
            .help(format!("its first page is `{}[0]`", shown(mapping.as_str())))
            .into()),
        }
    }

    fn child(&mut self, own: &Name) -> Parsed<Name> {
        let word = self.name("the name of the child")?;
        let child = self.process_name(word.as_str(), word.span)?;
        if child == *own {
            let message = format!("`{}` cannot be its own child", shown(own.as_str()));
            return Err(Diagnostic::error(message, child.span, "expected another name").into());
        }
        Ok(child)
    }
}
