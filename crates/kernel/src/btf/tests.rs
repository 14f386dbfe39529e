use mapcount_model::profile::Profile;
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

use super::build::{Builder, KERNELS, kernel};
use super::{Btf, BtfError, LIVE, Place};
use crate::fields::Fields;
use crate::layout::layout;

fn parsed(blob: Vec<u8>) -> Btf {
    Btf::parse(blob).expect("well-formed")
}

#[test]
fn members_are_found_through_members_without_a_name() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    let alias = builder.alias(int);
    let array = builder.array(alias, 2);
    let inner = builder.structure("", 16, &[("a", int, 0), ("b", array, 32)]);
    let named = builder.structure("list", 8, &[("next", int, 0), ("prev", alias, 32)]);
    builder.structure("page", 40, &[("x", int, 0), ("", inner, 64), ("l", named, 192)]);
    builder.enumeration("pageflags", &[("PG_a", 0), ("PG_b", 6)]);
    let btf = parsed(builder.blob());
    let page = btf.structure("page").expect("defined");
    let at = |name| btf.member(page, name).map(|place: Place| (place.offset, place.bytes));
    assert_eq!(at("x"), Some((0, 4)));
    assert_eq!(at("a"), Some((8, 4)));
    assert_eq!(at("b"), Some((12, 8)));
    assert_eq!(at("b[1]"), Some((16, 4)));
    assert_eq!(at("l.prev"), Some((28, 4)));
    for missing in ["y", "b[2]", "a[0]", "l.x", "b[", "b[-1]", "next", ""] {
        assert_eq!(at(missing), None, "{missing}");
    }
    assert_eq!(btf.enumerator("pageflags", "PG_b"), Some(6));
    assert_eq!(btf.enumerator("pageflags", "PG"), None);
    assert_eq!(btf.structure("pag"), None);
    assert_eq!(btf.size(page), Some(40));
}

#[test]
fn bit_fields_are_found_in_both_ways_of_writing_them() {
    let mut builder = Builder::new();
    let int = builder.int(4);
    let plain = builder.blob().len();
    builder.structure("old", 8, &[("whole", int, 32)]);
    builder.structure("page", 8, &[("narrow", int, 3 << 24 | 37)]);
    let mut blob = builder.blob();
    // The flag of the second structure, behind the first one and its name.
    let strings = Builder::new().blob().len() + "int\0".len();
    let info = plain - strings + 24 + 24 + 4;
    blob[info + 3] |= 0x80;
    let btf = parsed(blob);
    let page = btf.structure("page").expect("defined");
    let place = btf.member(page, "narrow").expect("there");
    assert_eq!((place.offset, place.bits, place.bytes), (4, Some((5, 3)), 1));
}

#[test]
fn types_that_contain_themselves_come_to_an_end() {
    let mut builder = Builder::new();
    let own = builder.next();
    let many: Vec<(&str, u32, u32)> = (0..5000).map(|_| ("", own, 0)).collect();
    builder.structure("page", 64, &many);
    let alias = builder.next();
    builder.alias(alias);
    let array = builder.next();
    builder.array(array, 3);
    let (a, b) = (builder.next(), builder.next() + 1);
    builder.structure("folio", 64, &[("", b, 0), ("", b, 0)]);
    builder.structure("", 64, &[("", a, 0), ("", a, 0)]);
    let btf = parsed(builder.blob());
    let mut members = 0;
    for name in ["page", "folio"] {
        let id = btf.structure(name).expect("defined");
        assert_eq!(btf.member(id, "flags"), None);
        btf.each_member(id, |_| members += 1);
    }
    assert_eq!(members, 0);
    btf.ask_everything();
    // Without a bound none of this would end.
    assert!(Fields::of(&btf).is_err());
}

#[test]
fn what_is_no_btf_says_why() {
    let blob = kernel(KERNELS[0].1);
    let error = |data: &[u8]| Btf::parse(data.to_vec()).expect_err("not well-formed");
    assert_eq!(error(b""), BtfError::NotBtf);
    assert_eq!(error(b"\xeb\x9f\x01\0"), BtfError::BigEndian);
    assert_eq!(error(b"\x9f\xeb\x02\0"), BtfError::Version(2));
    assert_eq!(error(&blob[..10]), BtfError::CutOff("header"));
    assert_eq!(error(&blob[..100]), BtfError::CutOff("types"));
    assert_eq!(error(&blob[..blob.len() - 1]), BtfError::CutOff("strings"));
    let mut unknown = blob.clone();
    unknown[24 + 7] = 0x1e;
    assert_eq!(error(&unknown), BtfError::UnknownKind { id: 1, kind: 0x1e });
}

#[test]
fn a_section_of_an_elf_file_is_found() {
    let blob = kernel(KERNELS[0].1);
    let names = b"\0.BTF\0";
    let mut elf = vec![0; 64];
    elf[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
    let (blob_at, names_at) = (64, 64 + blob.len());
    let table = names_at + names.len();
    elf[0x28..0x30].copy_from_slice(&(table as u64).to_le_bytes());
    elf[0x3a..0x40].copy_from_slice(&[64, 0, 2, 0, 1, 0]);
    elf.extend_from_slice(&blob);
    elf.extend_from_slice(names);
    for (name, at, length) in [(1_u32, blob_at, blob.len()), (0, names_at, names.len())] {
        let mut section = [0; 64];
        section[..4].copy_from_slice(&name.to_le_bytes());
        section[0x18..0x20].copy_from_slice(&(at as u64).to_le_bytes());
        section[0x20..0x28].copy_from_slice(&(length as u64).to_le_bytes());
        elf.extend_from_slice(&section);
    }
    assert!(parsed(elf.clone()).structure("page").is_some());
    for length in [10, 63, table, table + 70] {
        assert!(Btf::parse(elf[..length].to_vec()).is_err(), "{length}");
    }
}

/// Where the table of a release and the BTF of that release name the same member, they place it the same.
#[test]
fn kernels_have_their_words_where_the_table_says() {
    for (name, text) in KERNELS {
        let btf = parsed(kernel(text));
        let found = layout(&btf, name, "a test").expect("a kernel");
        let profile = Profile::resolve(name).expect("a kernel");
        let table = mapcount_model::layout::layout(profile.release);
        assert_eq!((found.page_bytes, found.has_folios), (table.page_bytes, table.has_folios), "{name}");
        for expected in table.members.iter().filter(|member| member.field.is_some()) {
            let is_it = |other: &&mapcount_model::layout::Member<'_>| {
                (other.page, other.name, other.field) == (expected.page, expected.name, expected.field)
            };
            let found = found.members.iter().find(is_it);
            let found = found.unwrap_or_else(|| panic!("{name}: no {expected:?} in {found:#?}"));
            assert_eq!(
                (found.offset, found.bytes, found.bits),
                (expected.offset, expected.bytes, expected.bits),
                "{name}: {expected:?}"
            );
        }
        let scheme = crate::live::by_members(&Fields::of(&btf).expect("a kernel")).expect("a scheme");
        assert_eq!(scheme.info().id, profile.scheme.info().id, "{name}");
    }
}

fn look_at(blob: Vec<u8>) {
    if let Ok(btf) = Btf::parse(blob) {
        let _ = Fields::of(&btf);
        let _ = layout(&btf, "a kernel", "a test");
        let _ = btf.enumerator("pageflags", "PG_head");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_looked_at_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic && bytes.len() > 24 {
            bytes[..8].copy_from_slice(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
            for at in [10, 11, 14, 15, 18, 19, 22, 23] {
                bytes[at] = 0;
            }
        }
        if let Ok(btf) = Btf::parse(bytes.clone()) {
            prop_assert!(btf.len() <= bytes.len() / 12);
            btf.ask_everything();
        }
        look_at(bytes);
    }

    #[test]
    fn kernels_with_bytes_changed_are_looked_at_without_harm(
        which in 0..KERNELS.len(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
        length in any::<proptest::sample::Index>(),
        cut in 0..4_u8,
    ) {
        let mut blob = kernel(KERNELS[which].1);
        for (at, byte) in changes {
            let at = at.index(blob.len());
            blob[at] = byte;
        }
        if cut == 0 {
            blob.truncate(length.index(blob.len()));
        }
        if let Ok(btf) = Btf::parse(blob.clone()) {
            btf.ask_everything();
        }
        look_at(blob);
    }
}

/// The blob of the kernel that runs, with random bytes changed.
#[test]
fn the_live_kernels_types_with_bytes_changed_are_looked_at_without_harm() {
    let Ok(blob) = std::fs::read(LIVE) else {
        eprintln!("btf: skipped: there is no {LIVE}");
        return;
    };
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    for round in 0..12 {
        let mut changed = blob.clone();
        for _ in 0..1 << round {
            let at = random() % changed.len();
            changed[at] = random() as u8;
        }
        if round % 3 == 2 {
            changed.truncate(random() % blob.len());
        }
        look_at(changed);
    }
}
