//! What operations report while they run: phases with the raw counters then, refusals, known mistakes.

use super::{Machine, Quirk};
use crate::event::{Event, FolioImage, Phase, Refusal};
use crate::field::{Field, Scope};
use crate::units::{Folio, MmId, PageRange};

impl Machine {
    /// Lets operations report their phases.
    pub fn watch(&self, on: bool) {
        self.watched.set(on);
    }

    /// Reports a phase of an operation on `pages`, where somebody watches.
    #[inline]
    pub fn phase(&self, phase: Phase, mm: Option<MmId>, pages: PageRange) {
        if self.watched.get() {
            let folios = self.image(pages);
            self.events.borrow_mut().push(Event { phase, mm, folios });
        }
    }

    /// The phases since this was asked last.
    pub fn take_events(&self) -> Vec<Event> {
        self.events.take()
    }

    /// Notes that a folio was left as it was.
    pub fn refuse(&self, refusal: Refusal) {
        self.refusals.borrow_mut().push(refusal);
    }

    /// The refusals since this was asked last.
    pub fn take_refusals(&self) -> Vec<Refusal> {
        self.refusals.take()
    }

    /// Notes that a known mistake of this kernel happened to a folio.
    pub fn note(&self, quirk: Quirk, folio: Folio) {
        let mut quirks = self.quirks.borrow_mut();
        quirks.happened[quirk as usize] = true;
        quirks.pages.extend(folio.range().iter().map(|page| (page, quirk)));
    }

    /// Whether a known mistake of this kernel ever happened.
    pub fn has_quirk(&self, quirk: Quirk) -> bool {
        self.quirks.borrow().happened[quirk as usize]
    }

    /// Whether it happened to a folio, or to the one that it was a piece of or was moved from.
    pub fn has_quirk_on(&self, quirk: Quirk, folio: Folio) -> bool {
        let quirks = self.quirks.borrow();
        !quirks.pages.is_empty() && folio.range().iter().any(|page| quirks.pages.contains(&(page, quirk)))
    }

    /// Forgets what happened to a folio, which is freed.
    pub(super) fn forget_quirks(&self, folio: Folio) {
        let mut quirks = self.quirks.borrow_mut();
        if !quirks.pages.is_empty() {
            quirks.pages.retain(|(page, _)| !folio.range().contains(*page));
        }
    }

    /// Lets what happened to a folio go on with the one that it is moved to.
    pub fn move_quirks(&self, old: Folio, new: Folio) {
        for quirk in Quirk::ALL {
            if self.has_quirk_on(quirk, old) {
                self.note(quirk, new);
            }
        }
    }

    /// The raw counters of the folios within `pages`.
    pub fn image(&self, pages: PageRange) -> Vec<FolioImage> {
        let mut images: Vec<FolioImage> = Vec::new();
        let mut page = pages.first;
        while pages.contains(page) {
            let Some(folio) = self.frames.folio(page) else {
                page = page.add(1);
                continue;
            };
            let image = self.folio_image(folio);
            let adjoins = |last: &FolioImage| last.folio.head.0 + last.count * folio.pages() == folio.head.0;
            let same = images.last_mut().filter(|last| last.is_alike(&image) && adjoins(last));
            match same {
                Some(last) => last.count += 1,
                None => images.push(image),
            }
            page = folio.head.add(folio.pages());
        }
        images
    }

    fn folio_image(&self, folio: Folio) -> FolioImage {
        let of_large = self.scheme.info().fields.iter().copied();
        let fields = [Field::Refcount, Field::Mapcount]
            .into_iter()
            .chain(of_large)
            .filter(|field| self.has_field(folio, *field));
        let runs = |field: Field| {
            let pages = match field.row().scope {
                Scope::Page => folio.range(),
                Scope::LargeFolio => PageRange::one(folio.head),
            };
            let mut runs: Vec<(PageRange, i32)> = Vec::new();
            for page in pages.iter() {
                let value = self.counters.read(field, page);
                match runs.last_mut().filter(|(_, last)| *last == value) {
                    Some((run, _)) => run.len += 1,
                    None => runs.push((PageRange::one(page), value)),
                }
            }
            (field, runs)
        };
        FolioImage { folio, count: 1, fields: fields.map(runs).collect() }
    }
}
