//! Statistics of the whole machine, as /proc/vmstat has them.

use std::cell::Cell;

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $variant:ident { $key:literal, $unit:literal }),+ $(,)?) => {
        /// A statistic of the whole machine.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Stat { $($(#[doc = $doc])+ $variant),+ }

        impl Stat {
            /// Every statistic, in the order of the trace.
            pub const ALL: &'static [Stat] = &[$(Stat::$variant),+];

            /// The key in traces and in `expect system.…`.
            pub const fn key(self) -> &'static str {
                match self { $(Stat::$variant => $key),+ }
            }

            /// What is counted.
            pub const fn unit(self) -> &'static str {
                match self { $(Stat::$variant => $unit),+ }
            }

            /// The statistic with this key.
            pub fn by_key(key: &str) -> Option<Stat> {
                Stat::ALL.iter().copied().find(|stat| stat.key() == key)
            }
        }
    };
}

stats! {
    /// NR_ANON_MAPPED (NR_ANON_PAGES before 4.8): anonymous pages that count as mapped.
    AnonMapped { "anon_mapped", "pages" },
    /// NR_FILE_MAPPED: file and shmem pages that count as mapped.
    FileMapped { "file_mapped", "pages" },
    /// NR_ANON_THPS: anonymous folios that a PMD maps. The kernel's unit was a folio up to 5.11 and is a
    /// page later; here it is a folio always, as /proc/vmstat prints it.
    AnonThps { "anon_thps", "folios" },
    /// NR_SHMEM_PMDMAPPED, in folios.
    ShmemPmdMapped { "shmem_pmdmapped", "folios" },
    /// NR_FILE_PMDMAPPED, in folios.
    FilePmdMapped { "file_pmdmapped", "folios" },
    /// NR_FOLL_PIN_ACQUIRED: pins taken, ever.
    PinsAcquired { "foll_pin_acquired", "pins" },
    /// NR_FOLL_PIN_RELEASED: pins dropped, ever.
    PinsReleased { "foll_pin_released", "pins" },
    /// PMDs split, ever (the event thp_split_pmd).
    PmdSplits { "thp_split_pmd", "events" },
    /// Folios split, ever (the event thp_split_page).
    FolioSplits { "thp_split_page", "events" },
    /// Folios queued for deferred split because they were partially mapped, ever (thp_deferred_split_page).
    DeferredSplits { "thp_deferred_split_page", "events" },
}

/// The values of all statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    values: [Cell<i64>; Stat::ALL.len()],
}

impl Stats {
    /// The value.
    pub fn get(&self, stat: Stat) -> i64 {
        self.values[stat as usize].get()
    }

    /// Adds to it.
    pub fn add(&self, stat: Stat, delta: i64) {
        let value = &self.values[stat as usize];
        value.set(value.get() + delta);
    }
}
