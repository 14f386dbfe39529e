//! `/proc/vmstat`: the statistics of the whole system, in the trace's units.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use mapcount_script::trace::System;

use super::unreadable;
use crate::Unavailable;

const PATH: &str = "/proc/vmstat";

/// Writing it folds what CPUs have counted but not added to the sums yet (4.6 on).
const REFRESH: &str = "/proc/sys/vm/stat_refresh";

/// The file, and that which brings it up to date.
pub(crate) struct Vmstat {
    file: File,
    refresh: Option<File>,
    text: Vec<u8>,
}

impl Vmstat {
    /// Opens it.
    pub(crate) fn open() -> Result<Vmstat, Unavailable> {
        let file = File::open(PATH).map_err(|error| unreadable(PATH, &error))?;
        let refresh = File::options().write(true).open(REFRESH).ok();
        Ok(Vmstat { file, refresh, text: vec![0; 16 << 10] })
    }

    /// The statistics now. All are in pages or in PMD-mapped folios as the trace has them: the kernel counted
    /// the latter in folios up to 5.11 and in pages since, but has always shown folios here
    /// (vmstat_item_print_in_thp(), include/linux/mmzone.h, v6.1, v7.2).
    pub(crate) fn read(&mut self) -> Result<System, Unavailable> {
        if let Some(refresh) = &self.refresh {
            // A statistic that is negative makes it fail, and is folded all the same.
            let _ = refresh.write_at(b"1", 0);
        }
        let length = self.fill().map_err(|error| unreadable(PATH, &error))?;
        Ok(parse(&self.text[..length]))
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            if filled == self.text.len() {
                self.text.resize(filled * 2, 0);
            }
            match self.file.read_at(&mut self.text[filled..], filled as u64) {
                Ok(0) => return Ok(filled),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn parse(text: &[u8]) -> System {
    let mut system = System::default();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(space) = line.iter().position(|byte| *byte == b' ') else { continue };
        let place = match &line[..space] {
            b"nr_anon_pages" => &mut system.anon_mapped,
            b"nr_mapped" => &mut system.file_mapped,
            b"nr_anon_transparent_hugepages" => &mut system.anon_thps,
            b"nr_shmem_pmdmapped" => &mut system.shmem_pmdmapped,
            b"nr_file_pmdmapped" => &mut system.file_pmdmapped,
            _ => continue,
        };
        *place = std::str::from_utf8(&line[space + 1..]).ok().and_then(|number| number.trim().parse().ok());
    }
    system
}

#[cfg(test)]
mod tests {
    use mapcount_script::trace::System;

    use super::parse;

    #[test]
    fn the_five_of_the_trace_are_found_and_no_others() {
        let text = b"nr_free_pages 5\nnr_anon_pages 512\nnr_mapped 7\nnr_shmem_pmdmapped 0\n\
            nr_anon_transparent_hugepages 1\nnr_anon_pages_x 3\nnr_file_pmdmapped x\n";
        let expected = System {
            anon_mapped: Some(512),
            file_mapped: Some(7),
            anon_thps: Some(1),
            shmem_pmdmapped: Some(0),
            file_pmdmapped: None,
        };
        assert_eq!(parse(text), expected);
    }
}
