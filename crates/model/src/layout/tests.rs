use super::{Layout, known, layout};
use crate::field::{Field, TABLE};
use crate::release::Release;

/// Every series there was from 2.6.38 to 7.3.
fn all() -> Vec<Layout<'static>> {
    releases().into_iter().map(layout).collect()
}

fn releases() -> Vec<Release> {
    let majors = [(3, 19), (4, 20), (5, 19), (6, 19), (7, 3)];
    let mut releases = vec![Release::new(2, 6, 38), Release::new(2, 6, 39)];
    for (major, last) in majors {
        releases.extend((0..=last).map(|minor| Release::new(major, minor, 0)));
    }
    releases
}

fn of(text: &str) -> Layout<'static> {
    layout(Release::parse(text).expect("a release"))
}

/// Bytes from the head of the first place of each field.
fn offsets(layout: &Layout, fields: &[Field]) -> Vec<Option<u16>> {
    let first = |&field| layout.of(field).next().map(|member| member.from_head(layout.page_bytes));
    fields.iter().map(first).collect()
}

fn named(layout: &Layout, name: &str) -> Option<u16> {
    let member = layout.members.iter().find(|member| member.name == name)?;
    Some(member.from_head(layout.page_bytes))
}

#[test]
fn members_stay_in_their_page() {
    for layout in all() {
        for member in &layout.members {
            let end = u16::from(member.offset) + u16::from(member.bytes);
            assert!(end <= layout.page_bytes, "{}: {member:?}", layout.kernel);
            assert!(member.page <= 3, "{}: {member:?}", layout.kernel);
            let aligned = member.offset % member.bytes.min(8) == 0;
            assert!(aligned, "{}: {member:?}", layout.kernel);
            if let Some((low, high)) = member.bits {
                assert!(low <= high && high < member.bytes * 8, "{}: {member:?}", layout.kernel);
            }
        }
        assert!(!layout.sources.is_empty());
    }
}

#[test]
fn counters_never_share_storage() {
    for layout in all() {
        let counted: Vec<_> = layout.members.iter().filter(|member| member.field.is_some()).collect();
        for (index, a) in counted.iter().enumerate() {
            for b in &counted[index + 1..] {
                assert!(!a.overlaps(b), "{}: {a:?} and {b:?}", layout.kernel);
            }
        }
    }
}

#[test]
fn plain_members_are_declared_once() {
    for layout in all() {
        for (index, a) in layout.members.iter().enumerate() {
            for b in &layout.members[index + 1..] {
                assert!((a.page, a.name) != (b.page, b.name), "{}: {a:?} and {b:?}", layout.kernel);
            }
        }
    }
}

#[test]
fn the_field_table_and_the_layouts_name_the_same_fields() {
    for release in releases() {
        let layout = layout(release);
        for row in TABLE {
            let name = row.names.iter().find(|(_, range)| range.contains(release));
            let places: Vec<_> = layout.of(row.field).collect();
            match name {
                Some((name, _)) => {
                    let found = places.iter().any(|member| member.name == *name);
                    assert!(found, "{}: {name} of the table is not in {places:?}", layout.kernel);
                }
                None => assert!(places.is_empty(), "{}: not in the table: {places:?}", layout.kernel),
            }
        }
    }
}

const COUNTERS: &[Field] = &[
    Field::Refcount,
    Field::Mapcount,
    Field::EntireMapcount,
    Field::NrPagesMapped,
    Field::LargeMapcount,
    Field::Pincount,
    Field::MmIdMapcount0,
    Field::MmIdMapcount1,
    Field::MmId0,
    Field::MmId1,
    Field::Deferred,
];

/// From BTF where the kernel has it, from builds of the source otherwise; `-` is a field that it lacks.
#[test]
fn offsets_are_those_read_from_kernels() {
    const NO: Option<u16> = None;
    const fn at(offset: u16) -> Option<u16> {
        Some(offset)
    }
    #[rustfmt::skip]
    let expected = [
        ("2.6.39", [at(8), at(12), NO, NO, NO, NO, NO, NO, NO, NO, NO]),
        ("4.4", [at(28), at(24), NO, NO, NO, NO, NO, NO, NO, NO, NO]),
        ("4.5", [at(28), at(24), at(72), NO, NO, NO, NO, NO, NO, NO, at(136)]),
        ("4.9", [at(28), at(24), at(72), NO, NO, NO, NO, NO, NO, NO, at(136)]),
        ("5.10", [at(52), at(48), at(84), NO, NO, at(144), NO, NO, NO, NO, at(152)]),
        ("6.1", [at(52), at(48), at(84), NO, NO, at(88), NO, NO, NO, NO, at(152)]),
        ("6.2", [at(52), at(48), at(84), at(88), NO, at(92), NO, NO, NO, NO, at(152)]),
        ("6.3", [at(52), at(48), at(84), at(88), NO, at(92), NO, NO, NO, NO, at(144)]),
        ("6.6", [at(52), at(48), at(88), at(92), NO, at(96), NO, NO, NO, NO, at(144)]),
        ("6.8", [at(52), at(48), at(88), at(92), NO, at(96), NO, NO, NO, NO, at(144)]),
        ("6.9", [at(52), at(48), at(88), at(92), NO, at(96), NO, NO, NO, NO, at(144)]),
        ("6.11", [at(52), at(48), at(84), at(88), at(80), at(92), NO, NO, NO, NO, at(144)]),
        ("6.12.107", [at(52), at(48), at(84), at(88), at(80), at(92), NO, NO, NO, NO, at(144)]),
        ("6.14", [at(52), at(48), at(84), at(88), at(80), at(92), NO, NO, NO, NO, at(144)]),
    ];
    for (release, expected) in expected {
        assert_eq!(offsets(&of(release), COUNTERS), expected, "{release}");
    }
    let newest = [52, 48, 88, 84, 80, 92, 96, 100, 104, 108, 144].map(Some);
    for release in ["6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3"] {
        assert_eq!(offsets(&of(release), COUNTERS), newest, "{release}");
    }
}

#[test]
fn words_around_the_counters_are_where_btf_says() {
    #[rustfmt::skip]
    let expected: &[(&str, &[(&str, u16)])] = &[
        ("2.6.39", &[("private", 16), ("mapping", 24), ("index", 32), ("lru", 40), ("lru.prev (order)", 104)]),
        ("4.5", &[("mapping", 8), ("compound_head", 96), ("compound_dtor", 104), ("compound_order", 108)]),
        ("5.10", &[("mapping", 24), ("private", 40), ("compound_head", 72), ("compound_order", 81), ("compound_nr", 88)]),
        ("6.1", &[("mapping", 24), ("compound_head", 72), ("compound_order", 81), ("compound_nr", 92), ("mlock_count", 16)]),
        ("6.2", &[("compound_order", 81), ("compound_nr", 96)]),
        ("6.8", &[("_folio_avail", 80), ("_folio_nr_pages", 100), ("order", 64)]),
        ("6.12", &[("mapping", 24), ("compound_head", 72), ("order", 64), ("_folio_nr_pages", 96), ("_hugetlb_subpool", 144)]),
        ("6.16", &[("mapping", 24), ("compound_head", 72), ("_mm_ids", 104), ("_nr_pages", 120), ("_hugetlb_subpool", 208)]),
        ("7.0", &[("compound_head", 72), ("_mm_ids", 104), ("_nr_pages", 120), ("mlock_count", 16)]),
        ("7.1", &[("compound_info", 72), ("_mm_ids", 104), ("_nr_pages", 120), ("mlock_count", 16)]),
        ("7.3", &[("compound_info", 72), ("_nr_pages", 120), ("migrate_info", 40), ("_hugetlb_hwpoison", 232)]),
    ];
    for (release, members) in expected {
        for &(name, offset) in *members {
            assert_eq!(named(&of(release), name), Some(offset), "{release}: {name}");
        }
    }
}

#[test]
fn flags_have_their_numbers_where_they_were_recorded() {
    let bit = |release: &str, field| of(release).of(field).next().expect("the field").bits;
    assert_eq!(bit("5.10", Field::DoubleMap), Some((6, 6)));
    assert_eq!(bit("6.1", Field::DoubleMap), Some((6, 6)));
    assert_eq!(bit("6.1", Field::AnonExclusive), Some((17, 17)));
    assert_eq!(bit("6.12", Field::PartiallyMapped), Some((16, 16)));
    assert_eq!(bit("7.3", Field::AnonExclusive), Some((11, 11)));
    assert_eq!(bit("7.3", Field::MaybeShared), Some((63, 63)));
    assert_eq!(bit("4.9", Field::DoubleMap), None);
    assert_eq!(bit("6.8", Field::AnonExclusive), None);
}

#[test]
fn only_the_pages_before_the_pairing_of_words_are_56_bytes() {
    assert_eq!(of("2.6.38").page_bytes, 56);
    assert_eq!(of("3.0").page_bytes, 56);
    assert_eq!(of("3.1").page_bytes, 64);
    assert_eq!(of("7.3").page_bytes, 64);
}

#[test]
fn a_tails_own_reference_count_starts_at_zero() {
    let layout = of("7.3");
    let initial: Vec<_> = layout.of(Field::Refcount).map(|member| member.initial()).collect();
    assert_eq!(initial, [Some(1), Some(0), Some(0), Some(0)]);
}

#[test]
fn what_is_known_is_what_the_releases_have() {
    let known = known();
    for layout in all() {
        for member in &layout.members {
            let found = known.iter().find(|known| (known.page, known.name) == (member.page, member.name));
            let found = found.unwrap_or_else(|| panic!("{}: {member:?}", layout.kernel));
            assert_eq!(
                (found.field, found.flag),
                (member.field, member.flag),
                "{}: {member:?}",
                layout.kernel
            );
        }
    }
    let newest = known.iter().find(|member| member.name == "_entire_mapcount").expect("6.3 has it");
    assert_eq!((newest.page, newest.offset), (1, 24), "as in the newest, not in 6.3");
}
