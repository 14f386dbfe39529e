//! What a guest says over its second serial port: frames with a number, a length and a checksum, so that a byte
//! that is lost or changed on the way is noticed.
//!
//! A frame: [`MAGIC`], its number, kind, length of its payload, payload, CRC-32 of all that from the number on.
//! Numbers are little endian.

use std::fmt;

const MAGIC: [u8; 4] = *b"\x16mc\x02";
/// Bytes before the payload.
pub(super) const HEAD: usize = 4 + 4 + 1 + 4;
/// Longest payload.
pub(super) const MOST: usize = 32 << 10;

/// Something that a guest says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Frame {
    /// The guest runs: its release, as uname says it.
    Hello(String),
    /// The command was started.
    Started,
    /// It wrote to its standard output.
    Stdout(Vec<u8>),
    /// It wrote to its standard error.
    Stderr(Vec<u8>),
    /// The guest is alive; said every second.
    Beat,
    /// A file that the command left in its working directory: path in it, and length. `Content` follows.
    File {
        /// Its path in the working directory.
        path: String,
        /// Its length in bytes.
        length: u64,
    },
    /// The next bytes of the file.
    Content(Vec<u8>),
    /// A file that the command left outside of its working directory, which is not brought back.
    Left(String),
    /// The command ended.
    Ended(Ended),
}

/// How a command in a guest ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Its exit code, where no signal ended it.
    pub code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<u8>,
    /// What the kernel says in /proc/sys/kernel/tainted.
    pub tainted: u64,
}

/// What arrived is not what was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Corrupt(String);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Frame {
    const fn kind(&self) -> u8 {
        match self {
            Frame::Hello(_) => 1,
            Frame::Started => 2,
            Frame::Stdout(_) => 3,
            Frame::Stderr(_) => 4,
            Frame::Beat => 5,
            Frame::File { .. } => 6,
            Frame::Content(_) => 7,
            Frame::Left(_) => 8,
            Frame::Ended(_) => 9,
        }
    }

    fn payload(&self) -> Vec<u8> {
        match self {
            Frame::Started | Frame::Beat => Vec::new(),
            Frame::Hello(text) | Frame::Left(text) => text.as_bytes().to_vec(),
            Frame::Stdout(bytes) | Frame::Stderr(bytes) | Frame::Content(bytes) => bytes.clone(),
            Frame::File { path, length } => [&length.to_le_bytes()[..], path.as_bytes()].concat(),
            Frame::Ended(ended) => {
                let told = |value: Option<u8>| [u8::from(value.is_some()), value.unwrap_or(0)];
                [&told(ended.code)[..], &told(ended.signal), &ended.tainted.to_le_bytes()].concat()
            }
        }
    }

    fn read(kind: u8, payload: &[u8]) -> Option<Frame> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(match kind {
            1 => Frame::Hello(text(payload)?),
            2 if payload.is_empty() => Frame::Started,
            3 => Frame::Stdout(payload.to_vec()),
            4 => Frame::Stderr(payload.to_vec()),
            5 if payload.is_empty() => Frame::Beat,
            6 => {
                let (length, path) = payload.split_at_checked(8)?;
                Frame::File { path: text(path)?, length: u64::from_le_bytes(length.try_into().ok()?) }
            }
            7 => Frame::Content(payload.to_vec()),
            8 => Frame::Left(text(payload)?),
            9 => {
                let told = |at: usize| match payload.get(at..at + 2)? {
                    [0, 0] => Some(None),
                    [1, value] => Some(Some(*value)),
                    _ => None,
                };
                let tainted = u64::from_le_bytes(payload.get(4..)?.try_into().ok()?);
                Frame::Ended(Ended { code: told(0)?, signal: told(2)?, tainted })
            }
            _ => return None,
        })
    }

    /// The frame's bytes as the `number`th that is sent. Payloads have at most [`MOST`] bytes; text is cut there.
    pub(super) fn to_bytes(&self, number: u32) -> Vec<u8> {
        let mut bytes = vec![0; HEAD];
        bytes.extend_from_slice(&self.payload());
        bytes.truncate(HEAD + MOST);
        seal(self.kind(), number, &mut bytes);
        bytes
    }
}

/// Kinds of frames that a guest sends while a command runs, without allocating memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Live {
    /// [`Frame::Stdout`]
    Stdout = 3,
    /// [`Frame::Stderr`]
    Stderr = 4,
    /// [`Frame::Beat`]
    Beat = 5,
}

/// Makes a frame of a payload that has [`HEAD`] bytes of room before it.
pub(super) fn seal(kind: u8, number: u32, bytes: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len() - HEAD).expect("at most MOST");
    let head = &mut bytes[..HEAD];
    head[..4].copy_from_slice(&MAGIC);
    head[4..8].copy_from_slice(&number.to_le_bytes());
    head[8] = kind;
    head[9..].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32(&bytes[MAGIC.len()..]);
    bytes.extend_from_slice(&checksum.to_le_bytes());
}

/// Takes frames out of bytes as they arrive.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
    /// The number that the next frame has to have.
    number: u32,
}

impl Decoder {
    /// Takes `bytes`, and gives the frames that they complete.
    ///
    /// # Errors
    /// Where a byte was lost or changed. Before the first frame anything may come: firmware and the kernel
    /// look at the port as well.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Corrupt> {
        self.buffer.extend_from_slice(bytes);
        if self.number == 0 {
            self.skip_noise();
        }
        let mut frames = Vec::new();
        while let Some((frame, length)) = self.first()? {
            frames.push(frame);
            self.buffer.drain(..length);
            self.number += 1;
        }
        Ok(frames)
    }

    fn skip_noise(&mut self) {
        let start = self.buffer.windows(MAGIC.len()).position(|window| window == MAGIC);
        // The last bytes may be the beginning of the magic number.
        let noise = start.unwrap_or(self.buffer.len().saturating_sub(MAGIC.len() - 1));
        self.buffer.drain(..noise);
    }

    /// The first frame in the buffer, where it is complete, and its length.
    fn first(&self) -> Result<Option<(Frame, usize)>, Corrupt> {
        let corrupt = |what: &str| Corrupt(format!("{what} in frame {} of the serial line", self.number));
        let Some(head) = self.buffer.get(..HEAD) else { return Ok(None) };
        let (magic, head) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(corrupt("no beginning"));
        }
        let number = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let length = u32::from_le_bytes([head[5], head[6], head[7], head[8]]) as usize;
        if length > MOST {
            return Err(corrupt("a wrong length"));
        }
        let end = HEAD + length;
        let Some(checksum) = self.buffer.get(end..end + 4) else { return Ok(None) };
        if crc32(&self.buffer[MAGIC.len()..end]).to_le_bytes() != checksum {
            return Err(corrupt("a wrong checksum"));
        }
        if number != self.number {
            return Err(corrupt(&format!("the number {number}")));
        }
        let frame = Frame::read(head[4], &self.buffer[HEAD..end]).ok_or_else(|| corrupt("nothing known"))?;
        Ok(Some((frame, end + 4)))
    }
}

/// CRC-32 as Ethernet has it (polynomial 0xedb88320, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    let step = |crc: u32, &byte: &u8| TABLE[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Ended, Frame, HEAD, Live, crc32, seal};

    fn all() -> Vec<Frame> {
        vec![
            Frame::Hello("6.12.1".to_owned()),
            Frame::Started,
            Frame::Stdout(b"one\ntwo\n".to_vec()),
            Frame::Stderr(vec![0, 255, 22]),
            Frame::Beat,
            Frame::File { path: "a/b.jsonl".to_owned(), length: 3 },
            Frame::Content(b"abc".to_vec()),
            Frame::Left("/tmp/x".to_owned()),
            Frame::Ended(Ended { code: Some(1), signal: None, tainted: 512 }),
        ]
    }

    #[test]
    fn frames_of_a_running_command_are_those_that_are_read() {
        let payload = b"text".to_vec();
        for (live, frame) in [
            (Live::Stdout, Frame::Stdout(payload.clone())),
            (Live::Stderr, Frame::Stderr(payload.clone())),
            (Live::Beat, Frame::Beat),
        ] {
            let mut bytes = vec![0; HEAD];
            bytes.extend_from_slice(if frame == Frame::Beat { b"" } else { &payload });
            seal(live as u8, 7, &mut bytes);
            assert_eq!(bytes, frame.to_bytes(7));
        }
    }

    fn sent(frames: &[Frame]) -> Vec<u8> {
        (0..).zip(frames).flat_map(|(number, frame)| frame.to_bytes(number)).collect()
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn frames_arrive_as_they_were_sent_however_they_are_cut() {
        let bytes = [b"\x16noise\x16mc", &sent(&all())[..]].concat();
        for size in [1, 2, 7, 64, bytes.len()] {
            let mut decoder = Decoder::default();
            let frames = bytes.chunks(size).map(|chunk| decoder.push(chunk).expect("whole"));
            assert_eq!(frames.collect::<Vec<_>>().concat(), all(), "in pieces of {size}");
        }
    }

    #[test]
    fn a_changed_or_missing_byte_is_never_taken_for_what_was_sent() {
        let bytes = sent(&all());
        let told = |bytes: &[u8]| Decoder::default().push(bytes);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            let mut missing = bytes.clone();
            missing.remove(at);
            for wrong in [changed, missing] {
                // A beginning that is not recognised is noise before the first frame; what follows has a
                // number that does not fit then.
                assert_ne!(told(&wrong), Ok(all()), "byte {at}");
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_rather_than_refused() {
        let bytes = Frame::Left("x".repeat(100_000)).to_bytes(0);
        assert_eq!(Decoder::default().push(&bytes).expect("whole").len(), 1);
    }
}
