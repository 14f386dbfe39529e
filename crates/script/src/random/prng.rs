//! Numbers that look random and follow from a seed alone.

/// A generator of numbers (SplitMix64: a counter and a mixing function, public domain).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prng(u64);

impl Prng {
    /// The generator of a seed.
    pub const fn new(seed: u64) -> Prng {
        Prng(seed)
    }

    /// The next number, any of 2^64.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        // Not quite even, by less than nobody can see for the small ends used here.
        self.number() % end
    }

    /// True `part` times out of `whole`.
    pub const fn chance(&mut self, part: u64, whole: u64) -> bool {
        self.below(whole) < part
    }

    /// One of these, which are not none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// The index of a weight, in proportion to it; not all are 0.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut at = self.below(sum);
        for (index, weight) in weights.iter().enumerate() {
            if at < u64::from(*weight) {
                return index;
            }
            at -= u64::from(*weight);
        }
        unreachable!("the number is below the sum")
    }
}

#[cfg(test)]
mod tests {
    use super::Prng;

    #[test]
    fn a_seed_gives_the_same_numbers_everywhere() {
        let mut prng = Prng::new(0);
        assert_eq!(prng.number(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(prng.number(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn weights_of_nought_are_never_drawn() {
        let mut prng = Prng::new(1);
        let mut seen = [0; 3];
        for _ in 0..1000 {
            seen[prng.weighted(&[1, 0, 3])] += 1;
        }
        assert!(seen[0] > 150 && seen[1] == 0 && seen[2] > 600, "{seen:?}");
    }
}
