//! The only way to a counter: the trait [`Counters`], with plain memory and recording memory behind it.
//!
//! A scheme of counting is written against `&dyn Counters` and sees nothing else, so that it cannot
//! look at page tables. All methods take `&self`: in the kernel these are atomics, here they are cells.

use std::cell::{Cell, RefCell, RefMut};
use std::hash::{Hash, Hasher};

use crate::event::Phase;
use crate::field::{Field, Scope, TABLE};
use crate::units::{PageRange, Pfn};

/// What an addition over a range of counters that start at −1 did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Crossed {
    /// Counters that went from −1 to 0 or above: first mappings.
    pub first: u32,
    /// Counters that went to −1 from above: last mappings.
    pub last: u32,
}

/// Sums over a range of counters, read one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scan {
    /// Sum of the raw values.
    pub sum: i64,
    /// Greatest raw value.
    pub max: i32,
    /// How many are −1.
    pub empty: u32,
}

/// Access to the counters of all folios.
///
/// A field of scope [`Scope::LargeFolio`] is addressed by the folio's first page.
pub trait Counters {
    /// The raw value.
    fn read(&self, field: Field, at: Pfn) -> i32;

    /// Adds `delta` and returns the new raw value.
    fn add(&self, field: Field, at: Pfn, delta: i32) -> i32;

    /// Stores a raw value.
    fn set(&self, field: Field, at: Pfn, value: i32);

    /// Adds `delta` (+1 or −1 in all schemes) to the field of each page.
    fn add_each(&self, field: Field, pages: PageRange, delta: i32) -> Crossed;

    /// Stores the same raw value in each page.
    fn set_each(&self, field: Field, pages: PageRange, value: i32);

    /// Reads each page's value and sums up.
    fn scan(&self, field: Field, pages: PageRange) -> Scan;

    /// A point between the writes of one change: who watches may look at the counters here.
    fn stage(&self, _stage: Phase) {}

    /// Takes the one bit lock that a scheme has on a folio (bit 31 of `_mm_ids` in `mm-id`).
    fn lock(&self, _head: Pfn) {}

    /// Gives the bit lock back.
    fn unlock(&self, _head: Pfn) {}
}

/// Counters that a machine can own: they grow with its memory, can be cloned and hashed.
pub trait CounterMemory: Counters {
    /// Makes room for frames `0 .. frames`, free ones with no references and no mappings.
    fn grow(&self, frames: u32);

    /// The step of a scenario that the next writes belong to.
    fn begin_step(&self, _step: u32) {}

    /// What was written so far, oldest first; `None` where nothing is recorded.
    fn log(&self) -> Option<Vec<Write>> {
        None
    }

    /// A copy of these counters (of a recording, its log too).
    fn boxed_clone(&self) -> Box<dyn CounterMemory>;

    /// Feeds every value to a hasher.
    fn hash_into(&self, state: &mut dyn Hasher);

    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// A recorded write: `field` of pages `pages` changed by `delta`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Write {
    /// The step of the scenario.
    pub step: u32,
    /// The field.
    pub field: Field,
    /// The pages, for a field of a large folio its first page.
    pub pages: PageRange,
    /// Value of each of these pages before.
    pub before: i32,
    /// Value of each of these pages after.
    pub after: i32,
}

/// Counters in plain memory, a column for each field, so that a range is a slice.
///
/// A column is there when something was written to it: a field that a kernel does not have costs nothing,
/// and behind a column's end stand the values of free frames.
#[derive(Clone, Default)]
pub struct Plain {
    columns: [RefCell<Vec<i32>>; Field::COUNT],
    frames: Cell<u32>,
    locked: Cell<Option<Pfn>>,
}

impl Plain {
    /// Counters for `frames` frames.
    pub fn new(frames: u32) -> Plain {
        let plain = Plain::default();
        plain.grow(frames);
        plain
    }

    /// Fields of large folios are stored for every second frame only: an order-1 folio is the smallest
    /// that has them, and it starts at an even frame.
    #[inline]
    fn slot(field: Field, at: Pfn) -> usize {
        at.index() >> COLUMNS[field as usize].shift
    }

    /// A column with room for all frames.
    #[inline]
    fn column(&self, field: Field, slots: usize) -> RefMut<'_, Vec<i32>> {
        let mut column = self.columns[field as usize].borrow_mut();
        if column.len() < slots {
            self.lengthen(field, &mut column);
        }
        column
    }

    #[cold]
    fn lengthen(&self, field: Field, column: &mut Vec<i32>) {
        let Column { shift, free } = COLUMNS[field as usize];
        column.resize((self.frames.get() as usize).div_ceil(1 << shift), free);
    }
}

/// What the hot path needs of a field, apart from the table so that it is one word.
#[derive(Clone, Copy)]
struct Column {
    /// Binary logarithm of the frames that share a value.
    shift: u8,
    /// The value of a free frame.
    free: i32,
}

static COLUMNS: [Column; Field::COUNT] = {
    let mut columns = [Column { shift: 0, free: 0 }; Field::COUNT];
    let mut index = 0;
    while index < Field::COUNT {
        let row = &TABLE[index];
        let shift = match row.scope {
            Scope::Page => 0,
            Scope::LargeFolio => 1,
        };
        let free = if matches!(row.field, Field::Refcount) { 0 } else { row.initial };
        columns[index] = Column { shift, free };
        index += 1;
    }
    columns
};

impl Counters for Plain {
    #[inline]
    fn read(&self, field: Field, at: Pfn) -> i32 {
        debug_assert!(at.0 < self.frames.get(), "frame {} is not there", at.0);
        let column = self.columns[field as usize].borrow();
        column.get(Plain::slot(field, at)).copied().unwrap_or(COLUMNS[field as usize].free)
    }

    #[inline]
    fn add(&self, field: Field, at: Pfn, delta: i32) -> i32 {
        let slot = Plain::slot(field, at);
        let value = &mut self.column(field, slot + 1)[slot];
        // Wrapping as the kernel's atomics do: a counter that overflows is a law's business, not a panic.
        *value = value.wrapping_add(delta);
        *value
    }

    #[inline]
    fn set(&self, field: Field, at: Pfn, value: i32) {
        let slot = Plain::slot(field, at);
        self.column(field, slot + 1)[slot] = value;
    }

    fn add_each(&self, field: Field, pages: PageRange, delta: i32) -> Crossed {
        let column = &mut self.column(field, pages.indexes().end);
        let mut crossed = Crossed::default();
        for value in &mut column[pages.indexes()] {
            let before = *value;
            *value = before.wrapping_add(delta);
            crossed.first += u32::from(before < 0 && *value >= 0);
            crossed.last += u32::from(before >= 0 && *value < 0);
        }
        crossed
    }

    fn set_each(&self, field: Field, pages: PageRange, value: i32) {
        self.column(field, pages.indexes().end)[pages.indexes()].fill(value);
    }

    fn scan(&self, field: Field, pages: PageRange) -> Scan {
        let column = self.column(field, pages.indexes().end);
        let mut scan = Scan { sum: 0, max: i32::MIN, empty: 0 };
        for &value in &column[pages.indexes()] {
            scan.sum += i64::from(value);
            scan.max = scan.max.max(value);
            scan.empty += u32::from(value == -1);
        }
        scan
    }

    fn lock(&self, head: Pfn) {
        assert!(self.locked.get().is_none(), "the bit lock of a folio was taken twice");
        self.locked.set(Some(head));
    }

    fn unlock(&self, head: Pfn) {
        assert_eq!(self.locked.take(), Some(head), "the bit lock of another folio was given back");
    }
}

impl CounterMemory for Plain {
    fn grow(&self, frames: u32) {
        self.frames.set(self.frames.get().max(frames));
    }

    fn boxed_clone(&self) -> Box<dyn CounterMemory> {
        Box::new(self.clone())
    }

    fn hash_into(&self, mut state: &mut dyn Hasher) {
        // How long a column is does not matter.
        for (column, kept) in self.columns.iter().zip(&COLUMNS) {
            let column = column.borrow();
            let used = column.iter().rposition(|value| *value != kept.free).map_or(0, |last| last + 1);
            column[..used].hash(&mut state);
        }
    }

    fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.borrow().capacity() * size_of::<i32>()).sum()
    }
}

/// Plain counters that remember every write, for `explain` and for the history of a finding.
#[derive(Clone, Default)]
pub struct Recording {
    inner: Plain,
    step: Cell<u32>,
    writes: RefCell<Vec<Write>>,
}

impl Recording {
    /// Counters for `frames` frames.
    pub fn new(frames: u32) -> Recording {
        let recording = Recording::default();
        recording.grow(frames);
        recording
    }

    /// Records a change of a range, a row for each run of pages with the same old value, so that no
    /// change is lost and none is invented.
    fn record_runs(&self, field: Field, pages: PageRange, after: impl Fn(i32) -> i32) {
        let mut first = pages.first;
        let end = pages.first.add(pages.len);
        while first < end {
            let before = self.inner.read(field, first);
            let mut next = first.add(1);
            while next < end && self.inner.read(field, next) == before {
                next = next.add(1);
            }
            self.record(field, PageRange::new(first, next.0 - first.0), before, after(before));
            first = next;
        }
    }

    fn record(&self, field: Field, pages: PageRange, before: i32, after: i32) {
        if before != after {
            let write = Write { step: self.step.get(), field, pages, before, after };
            self.writes.borrow_mut().push(write);
        }
    }
}

impl Counters for Recording {
    fn read(&self, field: Field, at: Pfn) -> i32 {
        self.inner.read(field, at)
    }

    fn add(&self, field: Field, at: Pfn, delta: i32) -> i32 {
        let after = self.inner.add(field, at, delta);
        self.record(field, PageRange::one(at), after.wrapping_sub(delta), after);
        after
    }

    fn set(&self, field: Field, at: Pfn, value: i32) {
        let before = self.inner.read(field, at);
        self.inner.set(field, at, value);
        self.record(field, PageRange::one(at), before, value);
    }

    fn add_each(&self, field: Field, pages: PageRange, delta: i32) -> Crossed {
        self.record_runs(field, pages, |before| before.wrapping_add(delta));
        self.inner.add_each(field, pages, delta)
    }

    fn set_each(&self, field: Field, pages: PageRange, value: i32) {
        self.record_runs(field, pages, |_| value);
        self.inner.set_each(field, pages, value);
    }

    fn scan(&self, field: Field, pages: PageRange) -> Scan {
        self.inner.scan(field, pages)
    }

    fn lock(&self, head: Pfn) {
        self.inner.lock(head);
    }

    fn unlock(&self, head: Pfn) {
        self.inner.unlock(head);
    }
}

impl CounterMemory for Recording {
    fn grow(&self, frames: u32) {
        self.inner.grow(frames);
    }

    fn begin_step(&self, step: u32) {
        self.step.set(step);
    }

    fn log(&self) -> Option<Vec<Write>> {
        Some(self.writes.borrow().clone())
    }

    fn boxed_clone(&self) -> Box<dyn CounterMemory> {
        Box::new(self.clone())
    }

    fn hash_into(&self, state: &mut dyn Hasher) {
        self.inner.hash_into(state);
    }

    fn bytes(&self) -> usize {
        self.inner.bytes() + self.writes.borrow().capacity() * size_of::<Write>()
    }
}

#[cfg(test)]
mod tests {
    use super::{CounterMemory, Counters, Crossed, Plain, Recording};
    use crate::field::Field;
    use crate::units::{PageRange, Pfn};

    #[test]
    fn a_range_counts_what_crosses_minus_one() {
        let counters = Plain::new(8);
        let all = PageRange::new(Pfn(0), 8);
        counters.add(Field::Mapcount, Pfn(3), 1);
        assert_eq!(counters.add_each(Field::Mapcount, all, 1), Crossed { first: 7, last: 0 });
        assert_eq!(counters.add_each(Field::Mapcount, all, -1), Crossed { first: 0, last: 7 });
        let scan = counters.scan(Field::Mapcount, all);
        assert_eq!((scan.sum, scan.max, scan.empty), (-7, 0, 7));
    }

    #[test]
    fn a_recording_keeps_each_change_with_its_step_and_nothing_else() {
        let counters = Recording::new(8);
        counters.begin_step(4);
        counters.set(Field::LargeMapcount, Pfn(2), -1);
        assert_eq!(counters.log().expect("recorded").len(), 0, "the value was −1 already");
        counters.add_each(Field::Mapcount, PageRange::new(Pfn(0), 4), 1);
        let log = counters.log().expect("recorded");
        assert_eq!(log.len(), 1);
        assert_eq!((log[0].step, log[0].before, log[0].after), (4, -1, 0));
    }
}
