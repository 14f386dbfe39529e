//! The words that every page has, the head and the tails.

use super::{Block, FLAGS, V2_6_39, V3_1, V4_18, V6_1, V6_15, block, flag, high, list, low, word};
use crate::field::{Field, OPEN};

const TAILS: &[u8] = &[1, 2];

/// The blocks.
pub(super) static BLOCKS: &[Block] = &[
    block(
        OPEN,
        (3, 0),
        &[0],
        V2_6_39,
        &[
            word(0, "flags", ""),
            low(1, "_count", "").counts(Field::Refcount),
            high(1, "_mapcount", "").counts(Field::Mapcount),
            word(2, "private", "of a page in the swap cache: its swap entry"),
            word(3, "mapping", ""),
            word(4, "index", ""),
            list(5, "lru", ""),
        ],
    ),
    block(
        OPEN,
        (3, 0),
        TAILS,
        V2_6_39,
        &[
            word(0, "flags", ""),
            low(1, "_count", "pins of this tail").counts(Field::Refcount),
            high(1, "_mapcount", "-1 while the huge page is not split").counts(Field::Mapcount),
            word(2, "first_page", "the head"),
        ],
    ),
    block(
        (3, 1),
        (4, 17),
        &[0],
        V3_1,
        &[
            word(0, "flags", ""),
            word(1, "mapping", ""),
            word(2, "index", ""),
            low(3, "_mapcount", "").counts(Field::Mapcount),
            list(4, "lru", ""),
            word(6, "private", "of a page in the swap cache: its swap entry"),
        ],
    ),
    // v3.19.8 has it; Linux commit 1306a85aed3e (v3.19).
    block((3, 19), (4, 17), &[0], V3_1, &[word(7, "mem_cgroup", "")]),
    block((3, 1), (4, 17), TAILS, V3_1, &[word(0, "flags", "")]),
    block(
        (3, 1),
        (3, 1),
        TAILS,
        V3_1,
        &[low(3, "_mapcount", "-1 while the huge page is not split").counts(Field::Mapcount)],
    ),
    block(
        (3, 2),
        (4, 4),
        TAILS,
        V3_1,
        &[low(3, "_mapcount", "3.2 to 4.4: counts the pins of this tail while the huge page is not split")
            .counts(Field::Mapcount)],
    ),
    block((4, 5), (4, 17), TAILS, V3_1, &[low(3, "_mapcount", "").counts(Field::Mapcount)]),
    block((3, 1), (4, 5), &[0], V3_1, &[high(3, "_count", "").counts(Field::Refcount)]),
    block(
        (3, 1),
        (3, 1),
        TAILS,
        V3_1,
        &[high(3, "_count", "pins of this tail; its stable releases may do as 3.2 (unverified)")
            .counts(Field::Refcount)],
    ),
    block((3, 2), (4, 5), TAILS, V3_1, &[high(3, "_count", "always 0").counts(Field::Refcount)]),
    block((4, 6), (4, 17), &[0], V3_1, &[high(3, "_refcount", "").counts(Field::Refcount)]),
    block((4, 6), (4, 17), TAILS, V3_1, &[high(3, "_refcount", "always 0").counts(Field::Refcount)]),
    block((3, 1), (4, 3), TAILS, V3_1, &[word(6, "first_page", "the head")]),
    block((4, 4), (4, 17), TAILS, V3_1, &[word(4, "compound_head", "the head, with bit 0 set")]),
    block(
        (4, 18),
        OPEN,
        &[0],
        V4_18,
        &[
            word(0, "flags", ""),
            list(1, "lru", ""),
            word(3, "mapping", ""),
            word(4, "index", ""),
            word(5, "private", "of a page in the swap cache: its swap entry"),
            low(6, "_mapcount", "").counts(Field::Mapcount),
            low(6, "page_type", "of a page that is never mapped; from 6.12 on of hugetlb as well"),
            high(6, "_refcount", "").counts(Field::Refcount),
        ],
    ),
    block((4, 18), (5, 10), &[0], V4_18, &[word(7, "mem_cgroup", "")]),
    // Linux commit bcfe06bf2622 (v5.11).
    block((5, 11), OPEN, &[0], V4_18, &[word(7, "memcg_data", "")]),
    block(
        (5, 18),
        OPEN,
        &[0],
        V6_1,
        &[low(2, "mlock_count", "of an mlocked folio, which is on no LRU list")],
    ),
    // "mm/swap: use dedicated entry for swap in folio" was pulled for v6.6-rc1.
    block((6, 6), OPEN, &[0], V6_1, &[word(5, "swap", "")]),
    // Linux commit 169004265860 (v6.2); v6.1 has no such member.
    block((6, 2), OPEN, &[0], V6_1, &[word(4, "share", "of a DAX page")]),
    block((7, 3), OPEN, &[0], V6_15, &[word(5, "migrate_info", "")]),
    block(
        (5, 19),
        OPEN,
        &[0],
        FLAGS,
        &[flag("PG_anon_exclusive", "each page has its own, tails too").counts(Field::AnonExclusive)],
    ),
    block(
        (4, 18),
        (6, 0),
        TAILS,
        V4_18,
        &[word(0, "flags", ""), word(1, "compound_head", "the head, with bit 0 set")],
    ),
    block((6, 1), OPEN, &[1], V6_1, &[word(0, "_flags_1", "")]),
    block((6, 1), (6, 1), &[1], V6_1, &[word(1, "__head", "the head, with bit 0 set")]),
    block((6, 1), (6, 1), &[2], V6_1, &[word(0, "flags", "")]),
    block((6, 2), OPEN, &[1], V6_1, &[word(1, "_head_1", "the head, with bit 0 set")]),
    block((6, 2), OPEN, &[2], V6_1, &[word(0, "_flags_2", ""), word(1, "_head_2", "as _head_1")]),
    block((6, 15), OPEN, &[3], V6_15, &[word(0, "_flags_3", ""), word(1, "_head_3", "as _head_1")]),
    block((6, 1), (7, 0), TAILS, V6_1, &[word(1, "compound_head", "")]),
    block((6, 15), (7, 0), &[3], V6_15, &[word(1, "compound_head", "")]),
    block(
        (7, 1),
        OPEN,
        &[1, 2, 3],
        V6_15,
        &[word(1, "compound_info", "pointer to the head or address mask, with bit 0 set")],
    ),
    block(
        (4, 18),
        (6, 14),
        TAILS,
        V4_18,
        &[
            low(6, "_mapcount", "").counts(Field::Mapcount),
            high(6, "_refcount", "always 0").counts(Field::Refcount),
        ],
    ),
    block(
        (6, 15),
        OPEN,
        &[1],
        V6_15,
        &[
            low(6, "_mapcount_1", "_mapcount of this tail").counts(Field::Mapcount),
            high(6, "_refcount_1", "_refcount of this tail, always 0").counts(Field::Refcount),
        ],
    ),
    block(
        (6, 15),
        OPEN,
        &[2, 3],
        V6_15,
        &[
            low(6, "_mapcount", "").counts(Field::Mapcount),
            high(6, "_refcount", "always 0").counts(Field::Refcount),
        ],
    ),
];
