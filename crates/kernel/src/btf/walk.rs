//! Finding members: through members without a name, through typedefs, into arrays.

use super::{Btf, Kind, TypeId, u32_at};

/// Nested types that are followed; real ones nest ten deep at most. Cyclic ones end here.
const DEEPEST: u32 = 32;

/// Members that one search looks at; `struct page` has about 150. Types that contain themselves several times
/// would otherwise take for ever.
const MOST_MEMBERS: u32 = 1 << 16;

/// Where a member lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Bytes from the start of the structure; of a bit field to the byte that its first bit is in.
    pub offset: u64,
    /// Its size in bytes; of a bit field those that it touches.
    pub bytes: u64,
    /// Of a bit field: the first of its bits within those bytes, and how many they are.
    pub bits: Option<(u8, u8)>,
    /// Its type.
    pub type_id: TypeId,
}

/// A named member of a structure, however deep in members without a name it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flat<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it lies.
    pub place: Place,
}

impl Btf {
    /// The member `name` of the structure or union `of`. The name may lead on: `[1]` is an element of an array,
    /// `.x` a member of a member.
    pub fn member(&self, of: TypeId, name: &str) -> Option<Place> {
        let mut parts = name.split('.');
        let mut place = self.element(of, parts.next()?)?;
        for part in parts {
            let inner = self.element(place.type_id, part)?;
            place = Place { offset: place.offset.checked_add(inner.offset)?, ..inner };
        }
        Some(place)
    }

    /// The size of a type in bytes; `None` for what has none, or none that makes sense.
    pub fn size(&self, id: TypeId) -> Option<u64> {
        self.size_within(id, DEEPEST)
    }

    /// Calls `visit` with the named members of the structure `of`, in the order of its definition.
    pub fn each_member<'a>(&'a self, of: TypeId, mut visit: impl FnMut(Flat<'a>)) {
        let mut left = MOST_MEMBERS;
        self.walk(of, 0, DEEPEST, &mut left, &mut |flat| {
            visit(flat);
            None::<()>
        });
    }

    fn element(&self, of: TypeId, name: &str) -> Option<Place> {
        let (name, index) = match name.split_once('[') {
            Some((name, index)) => (name, Some(index.strip_suffix(']')?.parse::<u64>().ok()?)),
            None => (name, None),
        };
        let mut left = MOST_MEMBERS;
        let found =
            self.walk(of, 0, DEEPEST, &mut left, &mut |flat| (flat.name == name).then_some(flat.place))?;
        let Some(index) = index else { return Some(found) };
        let array = self.head(self.resolve(found.type_id)?).filter(|head| head.kind == Kind::Array)?;
        let element = TypeId(u32_at(&self.data, array.rest)?);
        let count = u64::from(u32_at(&self.data, array.rest + 8)?);
        let bytes = self.size(element)?;
        if index >= count {
            return None;
        }
        let offset = found.offset.checked_add(index.checked_mul(bytes)?)?;
        Some(Place { offset, bytes, bits: None, type_id: element })
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, mut id: TypeId) -> Option<TypeId> {
        for _ in 0..DEEPEST {
            match self.head(id) {
                Some(head) if head.kind == Kind::Alias => id = TypeId(head.size_or_type),
                Some(_) => return Some(id),
                None => return None,
            }
        }
        None
    }

    fn size_within(&self, id: TypeId, deepest: u32) -> Option<u64> {
        let left = deepest.checked_sub(1)?;
        let head = self.head(self.resolve(id)?)?;
        match head.kind {
            Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => {
                Some(u64::from(head.size_or_type))
            }
            Kind::Pointer => Some(8),
            Kind::Array => {
                let element = TypeId(u32_at(&self.data, head.rest)?);
                let count = u64::from(u32_at(&self.data, head.rest + 8)?);
                self.size_within(element, left)?.checked_mul(count)
            }
            Kind::Alias | Kind::Other => None,
        }
    }

    /// Shows `visit` each named member until it returns something.
    fn walk<'a, T>(
        &'a self,
        of: TypeId,
        base_bits: u64,
        deepest: u32,
        left: &mut u32,
        visit: &mut dyn FnMut(Flat<'a>) -> Option<T>,
    ) -> Option<T> {
        let deeper = deepest.checked_sub(1)?;
        let head = self.head(self.resolve(of)?)?;
        if !matches!(head.kind, Kind::Struct | Kind::Union) {
            return None;
        }
        for index in 0..head.count {
            *left = left.checked_sub(1)?;
            let at = head.rest + index * 12;
            let name = self.text(u32_at(&self.data, at)?);
            let type_id = TypeId(u32_at(&self.data, at + 4)?);
            let word = u32_at(&self.data, at + 8)?;
            let (offset, width) = if head.flag { (word & 0xff_ffff, word >> 24) } else { (word, 0) };
            let bits = base_bits.checked_add(u64::from(offset))?;
            let found = if name.is_empty() {
                self.walk(type_id, bits, deeper, left, visit)
            } else {
                self.place(type_id, bits, width).and_then(|place| visit(Flat { name, place }))
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The place of a member `bits` bits from the start, `width` bits wide (0: as its type is).
    fn place(&self, type_id: TypeId, bits: u64, width: u32) -> Option<Place> {
        let width = if width == 0 { self.odd_width(type_id) } else { Some(width as u8) };
        let offset = bits / 8;
        Some(match width {
            Some(width) => {
                let first = (bits % 8) as u8;
                let bytes = (u64::from(first) + u64::from(width)).div_ceil(8);
                Place { offset, bytes, bits: Some((first, width)), type_id }
            }
            None => Place { offset, bytes: self.size(type_id).unwrap_or(0), bits: None, type_id },
        })
    }

    /// The width of an integer that is narrower than its bytes, as bit fields were described before the flag.
    fn odd_width(&self, id: TypeId) -> Option<u8> {
        let head = self.head(self.resolve(id)?).filter(|head| head.kind == Kind::Int)?;
        let width = u32_at(&self.data, head.rest)? & 0xff;
        (width != 0 && width != head.size_or_type.checked_mul(8)?).then_some(width as u8)
    }
}
