//! The waist's hugetlb functions, for every scheme: what they count and what they leave alone.

use mapcount_model::counters::{Counters, Plain};
use mapcount_model::field::{Field, Scope};
use mapcount_model::machine::config::Config;
use mapcount_model::machine::vma::Protection;
use mapcount_model::machine::{Machine, Mode};
use mapcount_model::ops::fault::{Access, touch};
use mapcount_model::ops::{exit, fork, hugetlb, munmap};
use mapcount_model::profile::Profile;
use mapcount_model::rmap::{MaybePinned, Rmap};
use mapcount_model::scheme::Mapper;
use mapcount_model::stats::{Stat, Stats};
use mapcount_model::units::{Folio, Kind, MmId, Order, Pfn};

const ORDER: Order = Order(4);

/// What maps the whole folio, for a scheme that counts areas too.
fn mapper(mm: u32, pages: (u32, u32)) -> Mapper {
    Mapper { mm: MmId(mm), vma_pages_before: pages.0, vma_pages_after: pages.1 }
}

#[test]
fn mapping_and_unmapping_leave_nothing_and_touch_no_statistic() {
    for profile in Profile::all_schemes() {
        let (counters, stats) = (Plain::new(ORDER.pages()), Stats::default());
        let scheme = profile.scheme;
        let rmap = Rmap { scheme, policy: &profile.policy, counters: &counters, stats: &stats, calls: None };
        let folio = Folio { head: Pfn(0), order: ORDER, kind: Kind::Hugetlb };
        let name = scheme.info().id;
        scheme.prep_folio(&counters, folio);
        rmap.hugetlb_add_new_anon_rmap(folio, &mapper(1, (0, ORDER.pages())));
        let exclusive = rmap.exclusive(folio.range());
        assert_eq!(exclusive, u32::from(profile.policy.anon_exclusive), "{name}");
        let refused = rmap.hugetlb_try_dup_anon_rmap(folio, &mapper(2, (0, ORDER.pages())), true);
        assert_eq!(refused, Err(MaybePinned), "{name}");
        let dup = rmap.hugetlb_try_dup_anon_rmap(folio, &mapper(2, (0, ORDER.pages())), false);
        assert_eq!((dup, rmap.exclusive(folio.range())), (Ok(()), 0), "{name}");
        for field in scheme.info().fields.iter().copied() {
            let counts = matches!(field, Field::EntireMapcount | Field::LargeMapcount);
            if field.row().scope == Scope::LargeFolio {
                let expected = if counts { 1 } else { field.row().initial };
                assert_eq!(counters.read(field, folio.head), expected, "{name} {}", field.key());
            }
        }
        for mm in [1, 2] {
            rmap.hugetlb_remove_rmap(folio, &mapper(mm, (ORDER.pages(), 0)));
        }
        let empty = counters.scan(Field::Mapcount, folio.range()).empty;
        assert_eq!(empty, ORDER.pages(), "{name}");
        for field in [Field::EntireMapcount, Field::LargeMapcount] {
            assert_eq!(counters.read(field, folio.head), -1, "{name} {}", field.key());
        }
        for stat in [Stat::AnonMapped, Stat::AnonThps, Stat::FileMapped] {
            assert_eq!(stats.get(stat), 0, "{name} {}", stat.key());
        }
    }
}

#[test]
fn the_pool_shrinks_to_what_is_used_or_promised_and_later_further() {
    let m = Machine::new(&Profile::newest(), Config::new(ORDER.0), Mode::Checked);
    let mm = m.add_mm();
    let pages = u64::from(ORDER.pages());
    m.set_hugetlb_pool(5);
    hugetlb::map(&m, &mm, (pages, 3 * pages), Protection::READ_WRITE, false).expect("three of five");
    touch(&m, &mm, (pages, 1), Access::Write).expect("promised");
    m.set_hugetlb_pool(0);
    let counts = m.hugetlb.counts();
    assert_eq!((counts.pages, counts.surplus, counts.reserved), (3, 3, 2), "one used, two promised");
    let child = fork::fork(&m, &mm).expect("room");
    assert!(touch(&m, &child, (pages, 1), Access::Write).is_err(), "nothing is promised to a copy");
    munmap::unmap(&m, &mm, (3 * pages, pages)).expect("a whole page");
    assert_eq!((m.hugetlb.counts().pages, m.hugetlb.counts().reserved), (2, 1));
    exit::exit(&m, &mm);
    assert_eq!((m.hugetlb.counts().pages, m.hugetlb.free_pages()), (1, 0), "the child has it still");
    exit::exit(&m, &child);
    assert_eq!((m.hugetlb.counts().pages, m.frames.used()), (0, 0));
}
