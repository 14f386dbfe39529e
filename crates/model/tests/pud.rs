//! PUD mappings of files (DAX): counted as the whole, and in no statistic of PMDs.

use mapcount_model::counters::{Counters, Plain};
use mapcount_model::field::Field;
use mapcount_model::profile::Profile;
use mapcount_model::query::{Answer, Tally};
use mapcount_model::rmap::Rmap;
use mapcount_model::scheme::Mapper;
use mapcount_model::stats::{Stat, Stats};
use mapcount_model::units::{Folio, Kind, MmId, Order, Pfn};

#[test]
fn a_pud_counts_the_pages_as_mapped_and_no_pmd() {
    for name in ["6.15", "7.3", "7.3-no-page-mapcount"] {
        let kernel = Profile::resolve(name).expect("a kernel");
        let folio = Folio { head: Pfn(0), order: Order(6), kind: Kind::File };
        let (counters, stats) = (Plain::new(folio.pages()), Stats::default());
        let rmap = Rmap {
            scheme: kernel.scheme,
            policy: &kernel.policy,
            counters: &counters,
            stats: &stats,
            calls: None,
        };
        kernel.scheme.prep_folio(&counters, folio);
        for mm in [1, 2] {
            rmap.folio_add_file_rmap_pud(folio, &Mapper::new(MmId(mm)));
        }
        assert_eq!(counters.read(Field::EntireMapcount, folio.head), 1, "{name}");
        assert_eq!(
            kernel.scheme.folio_mapcount(&counters, folio, &mut Tally::off()),
            Answer::Exact(2),
            "{name}"
        );
        assert_eq!(stats.get(Stat::FileMapped), i64::from(folio.pages()), "{name}");
        assert_eq!(stats.get(Stat::FilePmdMapped), 0, "{name}");
        for mm in [1, 2] {
            rmap.folio_remove_rmap_pud(folio, &Mapper::new(MmId(mm)));
        }
        assert_eq!(counters.read(Field::LargeMapcount, folio.head), -1, "{name}");
        assert_eq!((stats.get(Stat::FileMapped), stats.get(Stat::FilePmdMapped)), (0, 0), "{name}");
    }
}
