//! One folio, with everything that can be said of it.

use mapcount_model::field::{Field, Scope, TABLE};
use mapcount_model::profile::Profile;
use mapcount_model::query::{Answer, Query};
use mapcount_model::units::{Level, Pfn};
use mapcount_model::verdict::{References, Verdict};

use super::extent::{By, Extent};
use super::frames::{Chunk, Frames};
use super::marks::{Head, Marks};
use super::procs::Process;
use super::unexpected::Holder;
use crate::Unavailable;

/// A part of a folio that a process maps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapper {
    /// The process.
    pub process: Process,
    /// Where and how.
    pub extent: Extent,
}

/// A folio as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The frame that was asked for.
    pub frame: u64,
    /// The first frame of its folio.
    pub first: u64,
    /// What the first page says.
    pub head: Head,
    /// The kernel's names of the flags of the first page that are set.
    pub flags: Vec<&'static str>,
    /// Words of the first pages, which hold the counters: those of a page one behind the other.
    pub words: Vec<Vec<u64>>,
    /// Raw values of the fields that this kernel keeps for it: of the whole, and of the page asked for.
    pub fields: Vec<(Field, i32)>,
    /// Map counts of its pages, in runs of equal ones: how many pages, and the count.
    pub mapcounts: Vec<(u64, Answer<i64>)>,
    /// What the kernel's own functions would answer.
    pub answers: Vec<(Query, Answer<i64>)>,
    /// Its pages that any entry maps.
    pub mapped_pages: Answer<u32>,
    /// Its references, by who holds them; `None` for what no process can map.
    pub references: Option<References>,
    /// Who may hold what is not explained.
    pub holder: Option<Holder>,
    /// Whether it can be split.
    pub split: Option<Verdict>,
    /// Whether it can be migrated.
    pub migrate: Option<Verdict>,
    /// Whether a write fault on the page asked for may reuse it: mapped by a PTE, and as a whole.
    pub reuse: Option<[Verdict; 2]>,
    /// Who maps it, where that was looked for.
    pub mappers: Vec<Mapper>,
    /// The inode number of its memory cgroup, if it is charged to one.
    pub cgroup: Option<u64>,
    /// Readings until two in a row agreed and its counters fitted together.
    pub readings: u32,
    /// Whether they did in the end.
    pub stable: bool,
}

/// How often a folio is read until it is called unstable.
const READINGS: u32 = 8;

/// Pages whose words are shown.
const SHOWN: u64 = 4;

/// Looks at the folio of a frame; `None` if there is no `struct page`.
pub(crate) fn look(frames: &mut Frames, profile: &Profile, frame: u64) -> Result<Option<View>, Unavailable> {
    let mut last: Option<View> = None;
    for reading in 1..=READINGS {
        let Some(first) = first_of(frames, frame)? else { return Ok(None) };
        let step = frames.chunk_frames();
        let end = (first + 1).next_multiple_of(step);
        let mut seen = None;
        frames.visit(first..end, &mut |marks, chunk| {
            if chunk.first == first {
                seen = view(marks, profile, &chunk, frame);
            }
        })?;
        let Some((view, fits)) = seen else { continue };
        let same = last.as_ref().is_some_and(|last| last.words == view.words && last.fields == view.fields);
        let stable = same && fits;
        last = Some(View { readings: reading, stable, ..view });
        if stable {
            break;
        }
    }
    Ok(last)
}

/// The first frame of the folio that a frame belongs to.
pub(crate) fn first_of(frames: &mut Frames, frame: u64) -> Result<Option<u64>, Unavailable> {
    if frames.lacks(frame) {
        return Ok(None);
    }
    let mut address = None;
    frames.visit(frame..frame + 1, &mut |marks, chunk| {
        address = Some(marks.head_address(chunk.words, chunk.address));
    })?;
    Ok(address
        .map(|address| frames.frame_at(address))
        .filter(|first| *first <= frame)
        .or(address.map(|_| frame)))
}

fn view(marks: &Marks, profile: &Profile, chunk: &Chunk<'_>, frame: u64) -> Option<(View, bool)> {
    let first = chunk.first;
    let head = marks.head(chunk.words)?;
    // Where a folio was split meanwhile, the page is none of its.
    if frame >= first + head.pages() {
        return None;
    }
    let shown = head.pages().min(SHOWN).min(chunk.frames(marks));
    let words = chunk.words.chunks_exact(marks.page_words).take(shown as usize).map(<[u64]>::to_vec);
    let mut view = View {
        frame,
        first,
        head,
        flags: marks.flags.names(head.flags),
        words: words.collect(),
        fields: Vec::new(),
        mapcounts: Vec::new(),
        answers: Vec::new(),
        mapped_pages: Answer::Unknown,
        references: None,
        holder: None,
        split: None,
        migrate: None,
        reuse: None,
        mappers: Vec::new(),
        cgroup: None,
        readings: 0,
        stable: false,
    };
    let fits = chunk.ask(marks, profile, (first, &head), |subject, counters| {
        let page = Pfn((frame - first) as u32);
        let kept = subject.scheme.info().fields;
        for row in TABLE.iter().filter(|row| marks.places.get(row.field).is_some()) {
            let of_whole = row.scope == Scope::LargeFolio;
            let is_kept = kept.contains(&row.field) || !of_whole && row.field != Field::AnonExclusive;
            if is_kept && (!of_whole || head.order > 0) {
                use mapcount_model::counters::Counters as _;
                let at = if of_whole || row.field == Field::Refcount { Pfn(0) } else { page };
                view.fields.push((row.field, counters.read(row.field, at)));
            }
        }
        for query in Query::ALL {
            view.answers.push((*query, subject.ask(*query, page)));
        }
        let counted = head.pages().min(chunk.frames(marks));
        for index in 0..counted {
            let count = subject.ask(Query::PageMapcount, Pfn(index as u32));
            match view.mapcounts.last_mut() {
                Some((pages, last)) if *last == count => *pages += 1,
                _ => view.mapcounts.push((1, count)),
            }
        }
        view.mapped_pages = subject.mapped_pages();
        view.references = subject.references();
        let unexplained = view.references.filter(|references| references.unexplained() != 0);
        view.holder = unexplained.map(|references| Holder::of(&references, &head, marks.flags.locked));
        view.split = Some(subject.can_split());
        view.migrate = Some(subject.can_migrate());
        view.reuse = Some([Level::Pte, Level::Pmd].map(|level| subject.may_reuse(page, level)));
        subject.is_consistent()
    });
    Some((view, fits.unwrap_or(true)))
}

/// The part of an extent that lies in the frames of a folio.
pub(crate) fn within(extent: &Extent, first: u64, pages: u64) -> Option<Extent> {
    let (from, to) = (extent.frame.max(first), extent.end().min(first + pages));
    (from < to).then(|| Extent {
        page: extent.page + (from - extent.frame),
        frame: from,
        pages: (to - from) as u32,
        ..*extent
    })
}

impl View {
    /// The verdict on reuse for the entry that maps the page asked for, where one is known that does.
    pub fn reuse_as_mapped(&self) -> Option<(By, Verdict)> {
        let maps = |mapper: &&Mapper| (mapper.extent.frame..mapper.extent.end()).contains(&self.frame);
        let by = self.mappers.iter().find(maps)?.extent.by;
        let [by_pte, as_whole] = self.reuse?;
        Some((by, if by == By::Pte { by_pte } else { as_whole }))
    }
}
