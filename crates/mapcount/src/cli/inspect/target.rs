//! What the command line names: addresses, frames, sizes.

/// An address of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// The process.
    pub(super) pid: u32,
    /// The address.
    pub(super) address: u64,
}

/// `PID:ADDRESS`; the address is hexadecimal, as /proc/PID/maps has it, with or without `0x`.
pub(super) fn place(text: &str) -> Result<Place, String> {
    let (pid, address) =
        text.split_once(':').ok_or("a process and an address are meant, such as 42:7f0012345000")?;
    let pid = pid.parse().map_err(|_| format!("`{pid}` is no process id"))?;
    let digits = address.strip_prefix("0x").unwrap_or(address);
    let address =
        u64::from_str_radix(digits, 16).map_err(|_| format!("`{address}` is no hexadecimal address"))?;
    Ok(Place { pid, address })
}

/// A frame's number, decimal or hexadecimal behind `0x`.
pub(super) fn frame(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    // What is larger has no address.
    number.ok().filter(|frame| *frame < 1 << 52).ok_or_else(|| format!("`{text}` is no page frame number"))
}

/// The order of a folio of this size: `64K`, `2M`, `1G`, or bytes.
pub(super) fn orders(text: &str) -> Result<u8, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_shl(shift));
    match bytes {
        Some(bytes) if bytes.is_power_of_two() && (8192..=1 << 30).contains(&bytes) => {
            Ok((bytes.ilog2() - 12) as u8)
        }
        _ => Err("a power of two from 8K to 1G is meant".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, frame, orders, place};

    #[test]
    fn places_frames_and_sizes_are_read() {
        assert_eq!(place("42:7f001000"), Ok(Place { pid: 42, address: 0x7f00_1000 }));
        assert_eq!(place("42:0x10"), Ok(Place { pid: 42, address: 16 }));
        assert!(place("42").is_err() && place("x:1").is_err() && place("1:z").is_err());
        assert_eq!((frame("77"), frame("0x10")), (Ok(77), Ok(16)));
        assert!(frame("0xffffffffffffffff").is_err() && frame("").is_err());
        assert_eq!((orders("64K"), orders("2M"), orders("8192")), (Ok(4), Ok(9), Ok(1)));
        assert!(orders("3K").is_err() && orders("").is_err() && orders("4K").is_err());
        assert!(orders("99999999999999999999G").is_err());
    }
}
