//! BTF made up for tests.

use super::{Btf, TypeId};

/// What kernels say of their types, as text: `struct NAME BYTES` and `enum NAME`, with lines `MEMBER OFFSET BYTES
/// [xCOUNT]` and `ENUMERATOR VALUE`. Printed from the BTF of Debian's kernels.
pub(crate) const KERNELS: [(&str, &str); 4] = [
    ("5.10.0-32-cloud-amd64", include_str!("../../tests/types/5.10.0-32-cloud-amd64.txt")),
    ("6.1.0-56-cloud-amd64", include_str!("../../tests/types/6.1.0-56-cloud-amd64.txt")),
    ("6.12.117+deb13-cloud-amd64", include_str!("../../tests/types/6.12.117+deb13-cloud-amd64.txt")),
    ("7.2.12+deb13-cloud-amd64", include_str!("../../tests/types/7.2.12+deb13-cloud-amd64.txt")),
];

/// A blob in the making.
pub(crate) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

/// A member: name, type, bits from the start.
pub(crate) type Member<'a> = (&'a str, u32, u32);

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder { types: Vec::new(), strings: vec![0], count: 0 }
    }

    fn text(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.types.extend_from_slice(&word.to_le_bytes()));
    }

    /// The number that the next type gets.
    pub(crate) fn next(&self) -> u32 {
        self.count + 1
    }

    fn add(&mut self, name: &str, info: u32, size_or_type: u32, rest: &[u32]) -> u32 {
        let name = self.text(name);
        self.words(&[name, info, size_or_type]);
        self.words(rest);
        self.count += 1;
        self.count
    }

    pub(crate) fn int(&mut self, bytes: u32) -> u32 {
        self.add("int", 1 << 24, bytes, &[bytes * 8])
    }

    pub(crate) fn array(&mut self, element: u32, count: u32) -> u32 {
        self.add("", 3 << 24, 0, &[element, element, count])
    }

    pub(crate) fn alias(&mut self, to: u32) -> u32 {
        self.add("alias", 8 << 24, to, &[])
    }

    pub(crate) fn structure(&mut self, name: &str, bytes: u32, members: &[Member<'_>]) -> u32 {
        let rest: Vec<u32> =
            members.iter().flat_map(|(name, of, bits)| [self.text(name), *of, *bits]).collect();
        self.add(name, 4 << 24 | members.len() as u32, bytes, &rest)
    }

    pub(crate) fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) -> u32 {
        let rest: Vec<u32> = values.iter().flat_map(|(name, value)| [self.text(name), *value]).collect();
        self.add(name, 6 << 24 | values.len() as u32, 4, &rest)
    }

    pub(crate) fn blob(&self) -> Vec<u8> {
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            blob.extend_from_slice(&word.to_le_bytes());
        }
        blob.extend_from_slice(&self.types);
        blob.extend_from_slice(&self.strings);
        blob
    }
}

/// The BTF of a kernel of [`KERNELS`]. The members of each word are in a structure without a name.
pub(crate) fn kernel(text: &str) -> Vec<u8> {
    let mut builder = Builder::new();
    // After the last definition an empty one, so that each is finished by the next.
    let lines: Vec<&str> = text.lines().chain(["struct end 0"]).collect();
    let starts: Vec<usize> = (0..lines.len()).filter(|index| !lines[*index].starts_with(' ')).collect();
    for pair in starts.windows(2) {
        let head: Vec<&str> = lines[pair[0]].split_whitespace().collect();
        let body: Vec<Vec<&str>> =
            lines[pair[0] + 1..pair[1]].iter().map(|line| line.split_whitespace().collect()).collect();
        let number = |text: &str| text.parse::<u32>().expect("a number");
        if head[0] == "enum" {
            let values: Vec<(&str, u32)> = body.iter().map(|line| (line[0], number(line[1]))).collect();
            builder.enumeration(head[1], &values);
            continue;
        }
        let mut words: Vec<(u32, Vec<Member<'_>>)> = Vec::new();
        for line in &body {
            let (offset, bytes) = (number(line[1]), number(line[2]));
            let of = match line.get(3) {
                Some(count) => {
                    let count = number(&count[1..]);
                    let element = builder.int(bytes / count);
                    let element = builder.alias(element);
                    builder.array(element, count)
                }
                None if bytes > 8 => builder.structure("list_head", bytes, &[("next", 1, 0)]),
                None => builder.int(bytes),
            };
            let member = (line[0], of, offset % 8 * 8);
            match words.iter_mut().find(|(word, _)| *word == offset / 8) {
                Some((_, members)) => members.push(member),
                None => words.push((offset / 8, vec![member])),
            }
        }
        let parts: Vec<Member<'_>> =
            words.iter().map(|(word, members)| ("", builder.structure("", 8, members), word * 64)).collect();
        builder.structure(head[1], number(head[2]), &parts);
    }
    builder.blob()
}

impl Btf {
    /// Asks all that can be asked, of every type.
    pub(crate) fn ask_everything(&self) -> usize {
        let mut answers = 0;
        for id in 0..=self.len() as u32 + 1 {
            let id = TypeId(id);
            answers += usize::from(self.size(id).is_some());
            for name in ["_refcount", "_mm_id[1]", "lru.next", "[", "a[99999999999999999999]", ""] {
                answers += usize::from(self.member(id, name).is_some());
            }
            self.each_member(id, |member| answers += usize::from(!member.name.is_empty()));
        }
        answers
    }
}
