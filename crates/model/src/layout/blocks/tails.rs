//! What a compound page keeps in the words of its tail pages.

use super::{Block, FLAGS, V3_1, V4_18, V6_1, V6_15, block, flag, high, list, low, part, word};
use crate::field::{Field, OPEN};
use crate::layout::Member;

const LRU_ORDER: &str = "set_compound_order(), of page[1].lru (include/linux/mm.h, before v4.0)";
const V4_5_DEFERRED: &str = "page_deferred_list() (mm/huge_memory.c, v4.5, v4.9)";
const V4_16: &str = "the posting of the struct page reshuffle, its base (include/linux/mm_types.h, v4.17)";
const V5_7: &str = "the posting that added the pin count (include/linux/mm_types.h, v5.7); v5.10 and its BTF";
const V5_18: &str = "struct page (include/linux/mm_types.h, commit 5232c63f46fd for v5.18; v6.1 and its BTF)";
const V6_2: &str = "struct page (include/linux/mm_types.h, v6.2)";
const V6_3: &str = "first tail in struct folio (include/linux/mm_types.h, v6.3; members in v6.5)";
const V6_6: &str = "first tail in struct folio (include/linux/mm_types.h, v6.6, v6.8, v6.9)";
const V6_10: &str = "first tail in struct folio (include/linux/mm_types.h, v6.11 to v6.14; BTF of v6.12)";

/// The blocks.
pub(super) static BLOCKS: &[Block] = &[
    // The first tail page: order and destructor.
    block(
        OPEN,
        (3, 0),
        &[1],
        LRU_ORDER,
        &[word(5, "lru.next (dtor)", "the destructor"), word(6, "lru.prev (order)", "the order as a number")],
    ),
    block(
        (3, 1),
        (3, 19),
        &[1],
        LRU_ORDER,
        &[word(4, "lru.next (dtor)", "the destructor"), word(5, "lru.prev (order)", "the order as a number")],
    ),
    block((4, 0), (4, 3), &[1], V3_1, &[word(4, "compound_dtor", ""), word(5, "compound_order", "")]),
    block((4, 4), (4, 15), &[1], V3_1, &[low(5, "compound_dtor", ""), high(5, "compound_order", "")]),
    // "mm: store compound_dtor / compound_order as bytes", posted 2017-12-20 for v4.16.
    block(
        (4, 16),
        (4, 17),
        &[1],
        V4_16,
        &[
            part(40, 1, "compound_dtor", "a byte since 4.16"),
            part(41, 1, "compound_order", "a byte since 4.16"),
        ],
    ),
    block(
        (4, 18),
        (6, 2),
        &[1],
        V4_18,
        &[part(16, 1, "compound_dtor", ""), part(17, 1, "compound_order", "")],
    ),
    block((6, 3), (6, 5), &[1], V6_3, &[part(16, 1, "_folio_dtor", ""), part(17, 1, "_folio_order", "")]),
    block((6, 6), OPEN, &[1], V6_1, &[word(0, "order", "").bits(0, 7)]),
    // The first tail page: counters.
    block((4, 5), (4, 17), &[1], V3_1, &[low(1, "compound_mapcount", "").counts(Field::EntireMapcount)]),
    // The reshuffle of struct page (last posting 2018-05-18) went into v4.18.
    block((4, 18), (6, 2), &[1], V4_18, &[high(2, "compound_mapcount", "").counts(Field::EntireMapcount)]),
    // Linux commit 1378a5ee451a (v5.9).
    block((5, 9), (5, 17), &[1], V4_18, &[low(3, "compound_nr", "")]),
    block(
        (5, 18),
        (6, 1),
        &[1],
        V5_18,
        &[
            low(3, "compound_pincount", "5.18+, of any order").counts(Field::Pincount),
            high(3, "compound_nr", ""),
        ],
    ),
    block(
        (6, 2),
        (6, 2),
        &[1],
        V6_2,
        &[
            low(3, "subpages_mapcount", "").counts(Field::NrPagesMapped),
            high(3, "compound_pincount", "").counts(Field::Pincount),
            low(4, "compound_nr", ""),
        ],
    ),
    block(
        (6, 3),
        (6, 5),
        &[1],
        V6_3,
        &[
            high(2, "_entire_mapcount", "").counts(Field::EntireMapcount),
            low(3, "_nr_pages_mapped", "").counts(Field::NrPagesMapped),
            high(3, "_pincount", "").counts(Field::Pincount),
            low(4, "_folio_nr_pages", ""),
        ],
    ),
    block(
        (6, 6),
        (6, 9),
        &[1],
        V6_6,
        &[
            word(2, "_folio_avail", "spare"),
            low(3, "_entire_mapcount", "").counts(Field::EntireMapcount),
            high(3, "_nr_pages_mapped", "").counts(Field::NrPagesMapped),
            low(4, "_pincount", "").counts(Field::Pincount),
            high(4, "_folio_nr_pages", ""),
        ],
    ),
    block(
        (6, 10),
        (6, 14),
        &[1],
        V6_10,
        &[
            low(2, "_large_mapcount", "6.10 by its mm/rmap.c").counts(Field::LargeMapcount),
            high(2, "_entire_mapcount", "").counts(Field::EntireMapcount),
            low(3, "_nr_pages_mapped", "").counts(Field::NrPagesMapped),
            high(3, "_pincount", "").counts(Field::Pincount),
            low(4, "_folio_nr_pages", ""),
        ],
    ),
    block(
        (6, 15),
        OPEN,
        &[1],
        V6_15,
        &[
            low(2, "_large_mapcount", "").counts(Field::LargeMapcount),
            high(2, "_nr_pages_mapped", "never written with CONFIG_NO_PAGE_MAPCOUNT")
                .counts(Field::NrPagesMapped),
            low(3, "_entire_mapcount", "").counts(Field::EntireMapcount),
            high(3, "_pincount", "").counts(Field::Pincount),
            low(4, "_mm_id_mapcount[0]", "").counts(Field::MmIdMapcount0),
            high(4, "_mm_id_mapcount[1]", "").counts(Field::MmIdMapcount1),
            low(5, "_mm_id[0]", "").bits(0, 30).counts(Field::MmId0),
            high(5, "_mm_id[1]", "").bits(0, 30).counts(Field::MmId1),
            word(5, "_mm_ids", "both ids and their flags as one word; 6.15 by the date of its commit"),
            word(5, "FOLIO_MM_IDS_LOCK_BITNUM", "held while the slots and _large_mapcount change")
                .bits(31, 31),
            word(5, "FOLIO_MM_IDS_SHARED_BIT", "").bits(63, 63).counts(Field::MaybeShared),
            low(7, "_nr_pages", "in the first tail's memcg_data"),
        ],
    ),
    // The first tail page: flags.
    block(
        (4, 5),
        (5, 9),
        &[1],
        FLAGS,
        &[flag("PG_double_map", "the bit of PG_private_2; of PG_workingset from 5.10 on")
            .counts(Field::DoubleMap)],
    ),
    block(
        (5, 10),
        (6, 1),
        &[1],
        FLAGS,
        &[flag("PG_double_map", "the bit of PG_workingset").counts(Field::DoubleMap)],
    ),
    // Linux commit eac96c3efdb5 (v5.15-rc7).
    block((5, 15), OPEN, &[1], FLAGS, &[flag("PG_has_hwpoisoned", "")]),
    // Linux commit de53c05f2ae3 (v6.6).
    block((6, 6), OPEN, &[1], FLAGS, &[flag("PG_large_rmappable", "the bit of PG_workingset")]),
    block(
        (6, 12),
        OPEN,
        &[1],
        FLAGS,
        &[flag("PG_partially_mapped", "the bit of PG_reclaim").counts(Field::PartiallyMapped)],
    ),
    // The second and third tail page.
    block(
        (5, 7),
        (5, 17),
        &[2],
        V5_7,
        &[low(2, "hpage_pinned_refcount", "only of orders above 1").counts(Field::Pincount)],
    ),
    block(
        (4, 5),
        (4, 17),
        &[2],
        V4_5_DEFERRED,
        &[list(1, "page_deferred_list()", "no name yet: mapping and index of this page")
            .counts(Field::Deferred)],
    ),
    block((4, 18), (6, 2), &[2], V4_18, &[list(3, "deferred_list", "").counts(Field::Deferred)]),
    block((6, 3), OPEN, &[2], V6_1, &[list(2, "_deferred_list", "").counts(Field::Deferred)]),
    block((6, 2), (6, 14), &[2], V6_1, HUGETLB),
    block((6, 15), OPEN, &[3], V6_15, HUGETLB),
];

/// What hugetlb keeps in a tail page.
const HUGETLB: &[Member<'static>] = &[
    word(2, "_hugetlb_subpool", "hugetlb only"),
    word(3, "_hugetlb_cgroup", "hugetlb only"),
    word(4, "_hugetlb_cgroup_rsvd", "hugetlb only"),
    word(5, "_hugetlb_hwpoison", "hugetlb only"),
];
