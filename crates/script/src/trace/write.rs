//! Writing a trace: one JSON object a line, without spaces, the keys always in the same order.

use std::io;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{FolioRow, Mapping, Step, System};

/// Writes `step` as one line. The same step gives the same bytes, always.
///
/// # Errors
/// Those of `out`.
pub fn write_line(step: &Step, mut out: impl io::Write) -> io::Result<()> {
    // The line is put together first: `out` may be a pipe, and thousands of small writes are slow.
    let mut line = serde_json::to_vec(step)?;
    line.push(b'\n');
    out.write_all(&line)
}

impl Serialize for Mapping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(vmas) = &self.vmas {
            map.serialize_entry("vmas", vmas)?;
        }
        if let Some(runs) = &self.map {
            map.serialize_entry("map", runs)?;
        }
        for (key, number) in self.numbers() {
            if let Some(number) = number {
                map.serialize_entry(key, &number)?;
            }
        }
        map.end()
    }
}

impl Serialize for System {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, number) in self.numbers() {
            if let Some(number) = number {
                map.serialize_entry(key, &number)?;
            }
        }
        map.end()
    }
}

impl Serialize for FolioRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("count", &self.count)?;
        map.serialize_entry("order", &self.order)?;
        for (key, cell) in self.cells() {
            map.serialize_entry(key, &cell)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, write_line};

    /// The example of the language's description, on one line.
    const EXAMPLE: &str = concat!(
        r#"{"v":1,"kernel":"6.18","scheme":"mm-id","scenario":"seed","step":0,"op":"A: fork B","outcome":"ok","#,
        r#""processes":{"A":{"x":{"vmas":[[0,512,"rw-p"]],"map":[[0,512,0]],"#,
        r#""rss_kb":2048,"pss_kb":1024,"shared_kb":2048,"private_kb":0,"#,
        r#""anon_huge_kb":2048,"shmem_pmd_kb":0,"file_pmd_kb":0}}},"#,
        r#""folios":[{"id":0,"count":1,"order":9,"kind":"anon","refcount":2,"tail_refcount":[[511,0]],"#,
        r#""mapcount_raw":[[512,-1]],"entire_mapcount_raw":1,"nr_pages_mapped_raw":8388608,"#,
        r#""large_mapcount_raw":1,"pincount":0,"mm_ids":["A","B"],"mm_id_mapcount_raw":[0,0],"#,
        r#""maybe_shared":true,"deferred":true,"anon_exclusive":[[512,0]],"swapcache":false,"#,
        r#""kpagecount":[[512,2]],"folio_mapcount":2,"expected_refcount":2}],"#,
        r#""refused":[{"id":0,"why":"refcount 514, expected 513"}],"#,
        r#""system":{"anon_mapped":512,"file_mapped":0,"anon_thps":1,"shmem_pmdmapped":0,"file_pmdmapped":0}}"#,
        "\n"
    );

    #[test]
    fn the_example_of_the_contract_is_written_byte_for_byte() {
        let recording = read(EXAMPLE.as_bytes(), "example").unwrap();
        assert_eq!(recording.ignored, []);
        let mut out = Vec::new();
        write_line(&recording.steps[0], &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), EXAMPLE);
    }
}
