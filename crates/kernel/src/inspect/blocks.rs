//! Extents on their way from page tables to the counters of their folios: 8 bytes each, by the block of frames that they
//! start in.

use super::extent::{BLOCK, By, Extent};

/// An extent of a block. From the highest bit on: owner, first frame in the block, pages less one (of a PUD in units of
/// [`PUD_UNIT`]), first page modulo [`BLOCK`], level. So they are ordered by owner and by rising frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Packed(u64);

const BITS: u32 = BLOCK.trailing_zeros();
const PAGE_AT: u32 = 2;
const PAGES_AT: u32 = PAGE_AT + BITS;
const FRAME_AT: u32 = PAGES_AT + BITS;
const OWNER_AT: u32 = FRAME_AT + BITS;
const PUD_UNIT: u32 = 512;

/// Owners that can be told apart: more than there can be processes, or areas of one.
pub(super) const OWNERS: u32 = 1 << (u64::BITS - OWNER_AT);

impl Packed {
    fn of(extent: &Extent) -> Packed {
        let low = |value: u64| value & (BLOCK - 1);
        let (by, units) = match extent.by {
            By::Pte => (0, extent.pages),
            By::Pmd => (1, extent.pages),
            By::Pud => (2, extent.pages.div_ceil(PUD_UNIT)),
        };
        Packed(
            u64::from(extent.owner) << OWNER_AT
                | low(extent.frame) << FRAME_AT
                | low(u64::from(units) - 1) << PAGES_AT
                | low(extent.page) << PAGE_AT
                | by,
        )
    }

    fn field(self, at: u32) -> u64 {
        self.0 >> at & (BLOCK - 1)
    }

    /// Who maps it.
    pub(super) const fn owner(self) -> usize {
        (self.0 >> OWNER_AT) as usize
    }

    /// Its first frame, from the block's on.
    pub(super) fn frame(self) -> u64 {
        self.field(FRAME_AT)
    }

    /// How many pages, and which entries map them.
    pub(super) fn pages(self) -> (u32, By) {
        let units = self.field(PAGES_AT) as u32 + 1;
        match self.0 & 3 {
            0 => (units, By::Pte),
            1 => (units, By::Pmd),
            _ => (units * PUD_UNIT, By::Pud),
        }
    }

    /// The extent, in the block that starts at the frame `first`. Its page is known modulo [`BLOCK`] alone, which is
    /// enough to tell whether it is aligned.
    pub(super) fn extent(self, first: u64) -> Extent {
        let (pages, by) = self.pages();
        Extent {
            page: self.field(PAGE_AT),
            frame: first + self.frame(),
            pages,
            owner: self.owner() as u32,
            by,
        }
    }
}

/// Extents by blocks of frames.
pub(super) struct Blocks {
    blocks: Vec<Vec<Packed>>,
    count: usize,
}

impl Blocks {
    /// None yet.
    pub(super) const fn new() -> Blocks {
        Blocks { blocks: Vec::new(), count: 0 }
    }

    /// How many.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Adds an extent, which ends in the block that it starts in unless a PUD maps it.
    pub(super) fn add(&mut self, extent: &Extent) {
        debug_assert!(extent.owner < OWNERS && extent.pages > 0);
        let block = (extent.frame / BLOCK) as usize;
        if block >= self.blocks.len() {
            self.blocks.resize_with(block + 1, Vec::new);
        }
        self.blocks[block].push(Packed::of(extent));
        self.count += 1;
    }

    /// Takes the extents out, block by block: the first frame, and those that start there.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u64, Vec<Packed>)> {
        self.count = 0;
        let blocks = self.blocks.iter_mut().map(std::mem::take);
        (0u64..).step_by(BLOCK as usize).zip(blocks).filter(|(_, extents)| !extents.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Blocks, By, Extent, OWNERS};

    #[test]
    fn extents_come_out_as_they_went_in_by_blocks() {
        let extent = |page, frame, pages, owner, by| Extent { page, frame, pages, owner, by };
        let extents = [
            extent(5, BLOCK + 7, 1, 0, By::Pte),
            extent(0, 2 * BLOCK - 512, 512, 1, By::Pmd),
            extent(4095, BLOCK, 4096, OWNERS - 1, By::Pte),
            extent(512, 1 << 18, 1 << 18, 3, By::Pud),
            extent(77, 0, 3, 3, By::Pte),
        ];
        let mut blocks = Blocks::new();
        extents.iter().for_each(|extent| blocks.add(extent));
        assert_eq!(blocks.len(), extents.len());
        let mut found: Vec<Extent> = Vec::new();
        for (first, mut packed) in blocks.drain() {
            packed.sort_unstable();
            found.extend(packed.iter().map(|packed| packed.extent(first)));
        }
        assert_eq!(found, [extents[4], extents[0], extents[1], extents[2], extents[3]]);
        assert_eq!(blocks.len(), 0);
    }
}
