//! How the trace numbers frames.

use std::collections::BTreeMap;

/// Frames, numbered anew in each step so that equal states print equal: folios in the order of first sight
/// (processes by name, mappings by name, pages in order), each at the next multiple of its own size.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// By first frame: frames whose numbers follow each other as they do. What is not in between has no number.
    runs: BTreeMap<u64, Run>,
    /// Where something was found or added last; most of what is asked is there or follows it.
    last: Option<(u64, Run)>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    /// The frame behind the last one.
    end: u64,
    /// The number of the first one.
    id: u64,
}

impl Frames {
    /// The number of the folio of `pages` pages whose first frame is `head`, and whether it was not seen before.
    pub fn number(&mut self, head: u64, pages: u64) -> (u64, bool) {
        let found = self.run_of(head);
        if let Some((first, run)) = found.filter(|(_, run)| head < run.end) {
            self.last = found;
            return (run.id + (head - first), false);
        }
        let id = self.next.next_multiple_of(pages.max(1));
        self.next = id + pages;
        let end = head + pages;
        let (first, run) = match found {
            Some((first, run)) if run.end == head && run.id + (head - first) == id => {
                (first, Run { end, ..run })
            }
            _ => (head, Run { end, id }),
        };
        self.runs.insert(first, run);
        self.last = Some((first, run));
        (id, true)
    }

    /// The number of the folio whose first frame is `head`, if it was seen.
    pub fn id_of(&self, head: u64) -> Option<u64> {
        let (first, run) = self.run_of(head)?;
        (head < run.end).then(|| run.id + (head - first))
    }

    /// The run that begins last of those that begin at or before a frame.
    fn run_of(&self, frame: u64) -> Option<(u64, Run)> {
        if let Some((first, run)) = self.last
            && (first..run.end).contains(&frame)
        {
            return self.last;
        }
        self.runs.range(..=frame).next_back().map(|(first, run)| (*first, *run))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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

    #[test]
    fn runs_are_numbered_as_their_folios_one_by_one() {
        let (mut frames, mut plain, mut next) = (Frames::default(), BTreeMap::new(), 0u64);
        // Folios of 1, 2 and 4 pages, met forwards, backwards and again.
        let heads = [8u64, 9, 10, 12, 16, 21, 22, 7, 0, 9, 16, 32, 40, 36, 26, 12];
        for (turn, head) in heads.into_iter().enumerate() {
            let pages = if head % 4 == 0 && turn > 2 { 4 } else { 1 };
            let is_new = !plain.contains_key(&head);
            let id = *plain.entry(head).or_insert_with(|| {
                let id = next.next_multiple_of(pages);
                next = id + pages;
                id
            });
            assert_eq!(frames.number(head, pages), (id, is_new), "frame {head}");
        }
        assert!(plain.iter().all(|(head, id)| frames.id_of(*head) == Some(*id)));
        assert_eq!(frames.id_of(25), None);
    }
}
