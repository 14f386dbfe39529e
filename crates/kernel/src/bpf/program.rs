//! The program, as instructions: `for entry in entries { copy(entry.address, area + entry.place, entry.bytes) }`.
//!
//! It and this process share an area, the value of an array map:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 | how many entries there are to do |
//! | 8 | written by the program: the `task_struct` of who runs it |
//! | 64 | the entries: address, place in the data, bytes; written by the program: 0 or an error |
//! | 4096 | the data |
//!
//! The verifier follows the loop entry by entry, so that their number is bounded, and wants place and length
//! bounded by masks: what they allow together is the size of the area.

/// Where the program writes the `task_struct`.
pub(super) const TASK_AT: usize = 8;
/// Where the entries start.
pub(super) const ENTRY_AT: usize = 64;
/// Words of an entry.
pub(super) const ENTRY_WORDS: usize = 4;
/// The most entries. The verifier takes time for each.
pub(super) const ENTRIES: usize = 64;
/// Where the data starts.
pub(super) const DATA_AT: usize = 4096;
/// The bytes of data that a run may fill.
pub(super) const DATA_BYTES: usize = 256 << 10;
/// What bounds a copy's length for the verifier: a bit mask, so that it is more than [`DATA_BYTES`].
const LENGTHS: usize = 2 * DATA_BYTES - 8;
/// What bounds where a copy starts.
const PLACES: usize = DATA_BYTES - 8;
/// The size of the area: whatever the masks let through lies in it. Up to 5.10 a map's value is at most 4 MiB.
pub(super) const AREA_BYTES: usize = DATA_AT + PLACES + LENGTHS + 16;

// The entries end before the data, and whatever the masks let through before the area.
const _: () = assert!(ENTRY_AT + ENTRIES * ENTRY_WORDS * 8 <= DATA_AT);
const _: () = assert!(DATA_AT + PLACES + LENGTHS <= AREA_BYTES && AREA_BYTES <= 4 << 20);
const _: () = assert!(DATA_BYTES & LENGTHS == DATA_BYTES);

/// bpf_get_current_task().
const GET_CURRENT_TASK: i32 = 35;
/// bpf_probe_read_kernel(), 5.5 on.
const PROBE_READ_KERNEL: i32 = 113;

/// Says that an immediate value is a map's file and the address of its first value is meant.
const MAP_VALUE: u8 = 2;

const fn instruction(code: u8, dst: u8, src: u8, offset: i16, imm: i32) -> u64 {
    code as u64
        | (dst as u64) << 8
        | (src as u64) << 12
        | (offset as u16 as u64) << 16
        | (imm as u32 as u64) << 32
}

const fn copy(dst: u8, src: u8) -> u64 {
    instruction(0xbf, dst, src, 0, 0)
}

const fn set(dst: u8, imm: i32) -> u64 {
    instruction(0xb7, dst, 0, 0, imm)
}

const fn add(dst: u8, src: u8) -> u64 {
    instruction(0x0f, dst, src, 0, 0)
}

const fn add_number(dst: u8, imm: i32) -> u64 {
    instruction(0x07, dst, 0, 0, imm)
}

const fn and(dst: u8, imm: i32) -> u64 {
    instruction(0x57, dst, 0, 0, imm)
}

const fn shift_left(dst: u8, imm: i32) -> u64 {
    instruction(0x67, dst, 0, 0, imm)
}

const fn load(dst: u8, src: u8, offset: usize) -> u64 {
    instruction(0x79, dst, src, offset as i16, 0)
}

const fn store(dst: u8, src: u8, offset: usize) -> u64 {
    instruction(0x7b, dst, src, offset as i16, 0)
}

const fn call(helper: i32) -> u64 {
    instruction(0x85, 0, 0, 0, helper)
}

/// Jumps over `over` instructions if `a >= b`, unsigned.
const fn if_at_least(a: u8, b: u8, over: i16) -> u64 {
    instruction(0x3d, a, b, over, 0)
}

const fn if_at_least_number(a: u8, imm: i32, over: i16) -> u64 {
    instruction(0x35, a, 0, over, imm)
}

const fn jump(over: i16) -> u64 {
    instruction(0x05, 0, 0, over, 0)
}

const EXIT: u64 = instruction(0x95, 0, 0, 0, 0);

/// Registers that calls leave alone: the area, the number of the entry, the entry.
const AREA: u8 = 6;
const INDEX: u8 = 7;
const ENTRY: u8 = 8;

/// The program for the map whose file is `map`.
pub(super) fn code(map: i32) -> Vec<u64> {
    vec![
        instruction(0x18, AREA, MAP_VALUE, 0, map),
        0,
        call(GET_CURRENT_TASK),
        store(AREA, 0, TASK_AT),
        set(INDEX, 0),
        // The loop, which ends behind the jump.
        load(1, AREA, 0),
        if_at_least(INDEX, 1, 15),
        if_at_least_number(INDEX, ENTRIES as i32, 14),
        copy(ENTRY, INDEX),
        shift_left(ENTRY, (ENTRY_WORDS * 8).trailing_zeros() as i32),
        add(ENTRY, AREA),
        load(1, ENTRY, ENTRY_AT + 8),
        and(1, PLACES as i32),
        add(1, AREA),
        add_number(1, DATA_AT as i32),
        load(2, ENTRY, ENTRY_AT + 16),
        and(2, LENGTHS as i32),
        load(3, ENTRY, ENTRY_AT),
        call(PROBE_READ_KERNEL),
        store(ENTRY, 0, ENTRY_AT + 24),
        add_number(INDEX, 1),
        jump(-17),
        set(0, 0),
        EXIT,
    ]
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn jumps_stay_within_the_program() {
        let code = code(3);
        for (at, instruction) in code.iter().enumerate() {
            if matches!(*instruction as u8, 0x05 | 0x35 | 0x3d) {
                let target = at as i64 + 1 + i64::from((*instruction >> 16) as i16);
                assert!((0..code.len() as i64).contains(&target), "{at}");
            }
        }
    }
}
