//! What is present in a mapping: runs of pages.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The word of a run of swap entries.
pub const SWAP: &str = "swap";

const SAME: &str = "same";

/// A run of pages of a mapping: `[0,512,0]`, `[0,16,7,"same"]` or `[0,16,"swap"]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapRun {
    /// The first page, counted from the start of the mapping.
    pub first: u64,
    /// How many pages.
    pub pages: u64,
    /// What they hold.
    pub what: Present,
}

/// What the pages of a run hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Present {
    /// Consecutive frames from this one on.
    Frames(u64),
    /// Each page this one frame (KSM, the zero page).
    Same(u64),
    /// An entry that is no mapping, by its word: [`SWAP`], and whatever other kinds there may be.
    Entry(Cow<'static, str>),
}

impl Present {
    /// Swap entries.
    pub const fn swap() -> Present {
        Present::Entry(Cow::Borrowed(SWAP))
    }

    /// What the page `offset` pages into the run holds: a frame or a word.
    pub fn at(&self, offset: u64) -> Present {
        match self {
            Present::Frames(frame) => Present::Frames(frame.saturating_add(offset)),
            other => other.clone(),
        }
    }
}

impl MapRun {
    /// The page behind the last.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.pages)
    }
}

/// Appends `pages` pages from `first` on, joined to the last run where the two are one run.
pub fn push_map(runs: &mut Vec<MapRun>, first: u64, pages: u64, what: Present) {
    if pages == 0 {
        return;
    }
    // A single page that maps a frame is a run of consecutive frames, whichever way it was said.
    let what = match what {
        Present::Same(frame) if pages == 1 => Present::Frames(frame),
        other => other,
    };
    if let Some(last) = runs.last_mut().filter(|last| last.end() == first)
        && let Some(joined) = join((&last.what, last.pages), (&what, pages))
    {
        last.pages = last.pages.saturating_add(pages);
        last.what = joined;
        return;
    }
    runs.push(MapRun { first, pages, what });
}

/// What two adjoining runs, each with its pages, hold as one run.
fn join((a, a_pages): (&Present, u64), (b, b_pages): (&Present, u64)) -> Option<Present> {
    let joins = match (a, b) {
        (Present::Frames(a), Present::Frames(b)) if a.checked_add(a_pages) == Some(*b) => {
            return Some(Present::Frames(*a));
        }
        (Present::Frames(a), Present::Frames(b)) => a == b && a_pages == 1 && b_pages == 1,
        (Present::Frames(a), Present::Same(b)) => a == b && a_pages == 1,
        (Present::Same(a), Present::Frames(b)) => a == b && b_pages == 1,
        (Present::Same(a), Present::Same(b)) => a == b,
        (Present::Entry(a), Present::Entry(b)) => a == b,
        _ => false,
    };
    match a {
        _ if !joins => None,
        Present::Frames(frame) => Some(Present::Same(*frame)),
        other => Some(other.clone()),
    }
}

impl fmt::Display for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Present::Frames(frame) => write!(f, "frame {frame}"),
            Present::Same(frame) => write!(f, "frame {frame} (the same throughout)"),
            Present::Entry(word) => f.write_str(word),
        }
    }
}

impl Serialize for MapRun {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let length = if matches!(self.what, Present::Same(_)) { 4 } else { 3 };
        let mut seq = serializer.serialize_seq(Some(length))?;
        seq.serialize_element(&self.first)?;
        seq.serialize_element(&self.pages)?;
        match &self.what {
            Present::Frames(frame) => seq.serialize_element(frame)?,
            Present::Same(frame) => {
                seq.serialize_element(frame)?;
                seq.serialize_element(SAME)?;
            }
            Present::Entry(word) => seq.serialize_element(word)?,
        }
        seq.end()
    }
}

impl<'de> Deserialize<'de> for MapRun {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MapRun, D::Error> {
        deserializer.deserialize_seq(RunVisitor)
    }
}

struct RunVisitor;

impl<'de> Visitor<'de> for RunVisitor {
    type Value = MapRun;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[first page, pages, frame], with \"same\" behind it, or [first page, pages, word]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<MapRun, A::Error> {
        let short = |length| A::Error::invalid_length(length, &RunVisitor);
        let first: u64 = seq.next_element()?.ok_or_else(|| short(0))?;
        let pages: u64 = seq.next_element()?.ok_or_else(|| short(1))?;
        let mut what = seq.next_element::<Third>()?.ok_or_else(|| short(2))?.0;
        if let Present::Frames(frame) = what {
            match seq.next_element::<String>()?.as_deref() {
                None => {}
                Some(SAME) => what = Present::Same(frame),
                Some(word) => {
                    let message = format!("{word:?} behind a frame, where only {SAME:?} may stand");
                    return Err(A::Error::custom(message));
                }
            }
        }
        let last_frame = match what {
            Present::Frames(frame) => frame.checked_add(pages),
            _ => Some(0),
        };
        if pages == 0 {
            return Err(A::Error::custom("a run of 0 pages"));
        }
        if first.checked_add(pages).is_none() || last_frame.is_none() {
            return Err(A::Error::custom(format_args!("a run of {pages} pages: there are none so many")));
        }
        Ok(MapRun { first, pages, what })
    }
}

/// The third element of a run: a frame or a word.
struct Third(Present);

impl<'de> Deserialize<'de> for Third {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Third, D::Error> {
        deserializer.deserialize_any(ThirdVisitor)
    }
}

struct ThirdVisitor;

impl Visitor<'_> for ThirdVisitor {
    type Value = Third;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame or a word such as \"swap\"")
    }

    fn visit_u64<E: Error>(self, frame: u64) -> Result<Third, E> {
        Ok(Third(Present::Frames(frame)))
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Third, E> {
        match word {
            SWAP => Ok(Third(Present::swap())),
            SAME | "" => {
                Err(E::custom(format_args!("{word:?} in place of a frame or of a word such as {SWAP:?}")))
            }
            other => Ok(Third(Present::Entry(Cow::Owned(other.to_owned())))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MapRun, Present, push_map};

    #[test]
    fn runs_are_read_and_written_as_the_trace_has_them() {
        let text = r#"[[0,512,0],[512,16,600,"same"],[528,4,"swap"],[532,1,"migration"]]"#;
        let runs: Vec<MapRun> = serde_json::from_str(text).unwrap();
        assert_eq!(runs[1], MapRun { first: 512, pages: 16, what: Present::Same(600) });
        assert_eq!(runs[2].what, Present::swap());
        assert_eq!(serde_json::to_string(&runs).unwrap(), text);
    }

    #[test]
    fn runs_that_say_nothing_sensible_are_refused() {
        for text in [
            "[0,0,0]",
            "[0,1]",
            "[-1,1,0]",
            r#"[0,1,0,"other"]"#,
            r#"[0,1,"same"]"#,
            r#"[0,1,"swap","same"]"#,
            r#"[0,2,0,"same",1]"#,
            "[18446744073709551615,1,0]",
            "[0,2,18446744073709551615]",
            "[0,1,1.5]",
            "[0,1,null]",
        ] {
            assert!(serde_json::from_str::<MapRun>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pages_join_into_runs() {
        let mut runs = Vec::new();
        for (page, frame) in [(0, 4), (1, 5), (2, 6), (3, 9), (4, 9), (5, 9), (7, 10)] {
            push_map(&mut runs, page, 1, Present::Same(frame));
        }
        push_map(&mut runs, 8, 2, Present::swap());
        push_map(&mut runs, 10, 1, Present::swap());
        assert_eq!(
            serde_json::to_string(&runs).unwrap(),
            r#"[[0,3,4],[3,3,9,"same"],[7,1,10],[8,3,"swap"]]"#
        );
    }
}
