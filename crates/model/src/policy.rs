//! What kernels do, as data: a row for each behaviour that changed, with the release that changed it
//! and the source. Operations branch on these values, never on a scheme's identity.

mod anon;
mod collapse;
mod device;
mod file;
mod hugetlb;
mod ksm;
mod migrate;
mod reclaim;
mod references;
mod split;
mod values;

use std::fmt::Debug;

use crate::release::Release;
use anon::anon_rows;
use collapse::collapse_rows;
use device::device_rows;
use file::file_rows;
use hugetlb::hugetlb_rows;
use ksm::ksm_rows;
use migrate::migrate_rows;
use reclaim::reclaim_rows;
use references::references_rows;
use split::split_rows;
pub use values::{
    ClusterChoice, CollapseWritable, DebugfsSplit, DeferredQueue, FileFault, HugeZeroWrite, HugetlbDontNeed,
    HugetlbMigrate, HugetlbRestore, KsmProtNone, LargeReuse, LargeSwapTruncate, LruFlush, MadvFree,
    MigrateQueue, MlockBatch, PartialTruncate, Pin, PinMerge, PinRefuses, PmdCopy, PmdReuse, ReclaimSplits,
    ReclaimSplitsFiles, SharedTest, SmallReuse, SwapIn, SwapInFrees,
};

/// A row of the table: a value that holds from a release on.
#[derive(Clone, Copy, Debug)]
pub struct Since<T: 'static> {
    /// The first release.
    pub release: Release,
    /// The value.
    pub value: T,
    /// Where it was read.
    pub source: &'static str,
}

/// A row as text, for `mapcount kernels`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The policy's name.
    pub name: &'static str,
    /// What it is about.
    pub meaning: &'static str,
    /// Its value.
    pub value: String,
    /// Since which release it holds.
    pub since: Release,
    /// Where it was read.
    pub source: &'static str,
}

const fn at(major: u16, minor: u16) -> Release {
    Release::new(major, minor, 0)
}

const FIRST: Release = Release::new(2, 6, 38);

macro_rules! policies {
    ({} $($(#[doc = $doc:literal])+ $name:ident: $type:ty = [$(($release:expr, $value:expr, $source:literal)),+ $(,)?]),+ $(,)?) => {
        /// What one kernel does.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct Policy { $($(#[doc = $doc])+ pub $name: $type),+ }

        mod table {
            use super::{
                CollapseWritable, DebugfsSplit, DeferredQueue, FIRST, FileFault, HugeZeroWrite, HugetlbDontNeed, HugetlbMigrate,
                HugetlbRestore, KsmProtNone, LargeReuse, LargeSwapTruncate, LruFlush, MadvFree, MigrateQueue, PartialTruncate,
                Pin, PinMerge, PinRefuses, PmdCopy, PmdReuse, ReclaimSplits, ReclaimSplitsFiles, Release, SharedTest, Since,
                SmallReuse, SwapIn, SwapInFrees, ClusterChoice, MlockBatch, at,
            };
            $(
                #[allow(non_upper_case_globals)]
                pub(super) static $name: &[Since<$type>] = &[$(Since { release: $release, value: $value, source: $source }),+];
            )+
        }

        impl Policy {
            /// The policy of a release: for each row the newest entry that is not newer than it.
            pub fn of(release: Release) -> Policy {
                Policy { $($name: newest(table::$name, release).value),+ }
            }

            /// The rows that hold for a release, as text.
            pub fn rows(release: Release) -> Vec<Row> {
                vec![$({
                    let row = newest(table::$name, release);
                    Row { name: stringify!($name), meaning: concat!($($doc),+), value: format!("{:?}", row.value), since: row.release, source: row.source }
                }),+]
            }

            /// Every release at which some row changes, oldest first.
            pub fn changes() -> Vec<Release> {
                let mut releases = vec![$($($release),+),+];
                releases.sort_unstable();
                releases.dedup();
                releases
            }
        }
    };
}

fn newest<T>(rows: &'static [Since<T>], release: Release) -> &'static Since<T> {
    rows.iter().rev().find(|row| row.release <= release).unwrap_or(&rows[0])
}
// Each room hands its rows to the next one, the last one all of them to `policies`: so they become one struct.
anon_rows! { { references_rows split_rows migrate_rows collapse_rows ksm_rows reclaim_rows file_rows device_rows hugetlb_rows policies } }

#[cfg(test)]
mod tests {
    use super::{LargeReuse, LruFlush, Policy};
    use crate::release::Release;

    #[test]
    fn the_newest_row_that_is_not_newer_holds() {
        let old = Policy::of(Release::new(2, 6, 39));
        assert_eq!((old.lru_batch, old.lru_flush), (14, LruFlush::WhenFull));
        assert_eq!(Policy::of(Release::new(6, 8, 0)).large_reuse, LargeReuse::ExclusiveOrOnlyReference);
        assert_eq!(Policy::of(Release::new(6, 9, 0)).large_reuse, LargeReuse::Exclusive);
        assert_eq!(Policy::of(Release::new(7, 3, 0)).large_reuse, LargeReuse::ExclusiveOrOwned);
    }

    #[test]
    fn rows_are_in_order_and_say_where_they_come_from() {
        for release in Policy::changes() {
            for row in Policy::rows(release) {
                assert!(row.since <= release, "{}", row.name);
                assert!(!row.source.is_empty() && !row.meaning.is_empty(), "{}", row.name);
            }
        }
    }
}
