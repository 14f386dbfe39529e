//! How the trace numbers frames.

use std::collections::BTreeMap;

/// Frames, numbered anew in each step so that equal states print equal: folios in the order of first sight
/// (processes by name, mappings by name, pages in order), each at the next multiple of its own size.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    ids: BTreeMap<u64, u64>,
    next: u64,
}

impl Frames {
    /// The number of the folio of `pages` pages whose first frame is `head`, and whether it was not seen before.
    pub fn number(&mut self, head: u64, pages: u64) -> (u64, bool) {
        if let Some(id) = self.ids.get(&head) {
            return (*id, false);
        }
        let id = self.next.next_multiple_of(pages.max(1));
        self.next = id + pages;
        self.ids.insert(head, id);
        (id, true)
    }

    /// The number of the folio whose first frame is `head`, if it was seen.
    pub fn id_of(&self, head: u64) -> Option<u64> {
        self.ids.get(&head).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    #[test]
    fn folios_get_the_next_multiple_of_their_size() {
        let mut frames = Frames::default();
        assert_eq!(frames.number(7, 1), (0, true));
        assert_eq!(frames.number(1024, 512), (512, true));
        assert_eq!(frames.number(7, 1), (0, false));
        assert_eq!(frames.number(9, 1), (1024, true));
        assert_eq!((frames.id_of(1024), frames.id_of(3)), (Some(512), None));
    }
}
