//! Two lists of ranges laid over each other: both sides cut where either is, never page by page.

/// A range with what it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<T> {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) item: T,
}

/// Calls `each` for every range in which neither side changes and at least one has something: start,
/// end, and what either side has there. Spans are taken by their starts; where those of one side
/// overlap, the first wins.
pub(super) fn overlay<A: Copy, B: Copy>(
    mut a: Vec<Span<A>>,
    mut b: Vec<Span<B>>,
    mut each: impl FnMut(u64, u64, Option<Span<A>>, Option<Span<B>>),
) {
    a.retain(|span| span.start < span.end);
    b.retain(|span| span.start < span.end);
    a.sort_by_key(|span| span.start);
    b.sort_by_key(|span| span.start);
    let (mut i, mut j, mut position) = (0, 0, 0);
    loop {
        while a.get(i).is_some_and(|span| span.end <= position) {
            i += 1;
        }
        while b.get(j).is_some_and(|span| span.end <= position) {
            j += 1;
        }
        let (left, right) = (a.get(i).copied(), b.get(j).copied());
        let starts = [left.map(|span| span.start.max(position)), right.map(|span| span.start.max(position))];
        let Some(start) = starts.into_iter().flatten().min() else { return };
        let left = left.filter(|_| starts[0] == Some(start));
        let right = right.filter(|_| starts[1] == Some(start));
        let ends = [left.map(|span| span.end), right.map(|span| span.end)];
        // A side that begins only later cuts the other one there.
        let later = starts.into_iter().flatten().filter(|other| *other > start);
        let end = ends.into_iter().flatten().chain(later).min().unwrap_or(start);
        each(start, end, left, right);
        position = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{Span, overlay};

    fn spans(list: &[(u64, u64)]) -> Vec<Span<usize>> {
        list.iter()
            .enumerate()
            .map(|(item, (start, pages))| Span { start: *start, end: start + pages, item })
            .collect()
    }

    proptest! {
        /// The ranges say of each page what a search of both lists says of it.
        #[test]
        fn every_page_is_seen_once(
            a in proptest::collection::vec((0_u64..40, 0_u64..12), 0..8),
            b in proptest::collection::vec((0_u64..40, 0_u64..12), 0..8),
        ) {
            let covered = |list: &[(u64, u64)], page| list.iter().any(|(start, n)| (*start..start + n).contains(&page));
            let mut next = 0;
            let mut seen = Vec::new();
            overlay(spans(&a), spans(&b), |start, end, left, right| {
                assert!(start >= next && end > start);
                next = end;
                for page in start..end {
                    assert!(left.is_none_or(|span| (span.start..span.end).contains(&page)));
                    seen.push((page, left.is_some(), right.is_some()));
                }
            });
            for page in 0..60 {
                let expected = (covered(&a, page), covered(&b, page));
                let found = seen.iter().find(|(seen, _, _)| *seen == page).map(|(_, l, r)| (*l, *r));
                prop_assert_eq!(found.unwrap_or((false, false)), expected);
            }
            prop_assert!(seen.iter().all(|(_, left, right)| *left || *right));
        }
    }
}
