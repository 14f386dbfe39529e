//! The free blocks of one order: a bit for each place where one can start.

/// A set of block numbers that gives the lowest one first.
#[derive(Clone, Debug, Default)]
pub(super) struct FreeBlocks {
    words: Vec<u64>,
    /// No bit is set in a word in front of this one.
    first: usize,
}

impl FreeBlocks {
    /// Adds a block.
    pub(super) fn insert(&mut self, block: u32) {
        let word = block as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (block % 64);
        self.first = self.first.min(word);
    }

    /// Takes a block out; says whether it was there.
    pub(super) fn remove(&mut self, block: u32) -> bool {
        let Some(word) = self.words.get_mut(block as usize / 64) else { return false };
        let bit = 1 << (block % 64);
        let found = *word & bit != 0;
        *word &= !bit;
        found
    }

    /// Takes the lowest block out.
    pub(super) fn pop_first(&mut self) -> Option<u32> {
        while let Some(word) = self.words.get_mut(self.first) {
            if *word != 0 {
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                return Some(self.first as u32 * 64 + bit);
            }
            self.first += 1;
        }
        None
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::FreeBlocks;

    #[test]
    fn the_lowest_comes_first() {
        let mut free = FreeBlocks::default();
        for block in [700, 3, 64, 65] {
            free.insert(block);
        }
        assert_eq!(free.pop_first(), Some(3));
        assert!(free.remove(64) && !free.remove(64) && !free.remove(5000));
        assert_eq!(free.pop_first(), Some(65));
        free.insert(1);
        assert_eq!((free.pop_first(), free.pop_first(), free.pop_first()), (Some(1), Some(700), None));
    }
}
