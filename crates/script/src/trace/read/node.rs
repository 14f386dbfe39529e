//! The objects of a trace, read key by key. Done by hand rather than derived, for three things that
//! derived code does not do: keys that nobody knows are noted, null is not taken for absent, and what
//! is absurd is refused at the place where it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// So many different unknown keys are noted; a file with more is no trace.
const MAX_IGNORED: usize = 100;

/// So much of an unknown key is kept.
const MAX_KEY: usize = 60;

/// What is known while a trace is read.
#[derive(Default)]
pub(super) struct Context {
    /// Where reading stands: `folios[3].refcount`. Left as it was by what fails, so it is the error's place.
    pub(super) path: String,
    /// What would mend the error, if whoever found it knew.
    pub(super) help: Option<String>,
    /// Unknown keys, and the line where each stood first.
    pub(super) ignored: BTreeMap<String, u64>,
    /// The number that this line's step has to have, if the line before could be read so far.
    pub(super) expected_step: Option<u64>,
    /// The same for the line that follows.
    pub(super) next_step: Option<u64>,
    /// The least number that the next step may have.
    pub(super) least_step: u64,
    line: u64,
}

impl Context {
    pub(super) fn start_line(&mut self, line: u64) {
        self.expected_step = if self.line == 0 { Some(0) } else { self.next_step.take() };
        self.line = line;
        self.path.clear();
        self.help = None;
    }

    fn enter(&mut self, part: fmt::Arguments<'_>) -> usize {
        let length = self.path.len();
        let separator = if length == 0 { "" } else { "." };
        self.path.push_str(&format!("{separator}{part}"));
        length
    }

    fn leave(&mut self, length: usize) {
        self.path.truncate(length);
    }

    fn ignore(&mut self, place: &str, key: &str) {
        let key: String = key.chars().take(MAX_KEY).flat_map(char::escape_debug).collect();
        let key = format!("{place}{key}");
        if self.ignored.len() < MAX_IGNORED {
            self.ignored.entry(key).or_insert(self.line);
        }
    }

    /// An error together with what would mend it.
    pub(super) fn error<E: Error>(&mut self, message: impl fmt::Display, help: impl Into<String>) -> E {
        self.help = Some(help.into());
        E::custom(message)
    }
}

/// Anything that is read with the context at hand.
pub(super) trait Node: Sized {
    fn read<'de, D: Deserializer<'de>>(context: &mut Context, deserializer: D) -> Result<Self, D::Error>;
}

/// An object with known keys.
pub(super) trait Object: Default {
    /// What messages call it, and what stands before its unknown keys.
    const WHAT: &'static str;
    const PLACE: &'static str;

    /// Takes the value of `key` from `map`; `false`, with nothing taken, if the key is unknown.
    fn fill<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        context: &mut Context,
    ) -> Result<bool, A::Error>;

    /// Looks at the whole, once all keys are there; `seen` are those that were known.
    fn check<E: Error>(&self, seen: &[String], context: &mut Context) -> Result<(), E>;
}

/// Refuses an object that lacks one of `keys`.
pub(super) fn require<E: Error>(
    keys: &[&str],
    what: &str,
    seen: &[String],
    context: &mut Context,
) -> Result<(), E> {
    match keys.iter().find(|key| seen.iter().all(|seen| seen != *key)) {
        None => Ok(()),
        Some(key) => Err(context.error(
            format_args!("{what} has no `{key}`"),
            format!(
                "each needs {}",
                keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
            ),
        )),
    }
}

/// The value of the current key; null is none.
pub(super) fn value<'de, T: Deserialize<'de>, A: MapAccess<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
    map.next_value().map(Some)
}

/// The value of the current key, which is a node.
pub(super) fn node<'de, T: Node, A: MapAccess<'de>>(
    map: &mut A,
    context: &mut Context,
) -> Result<Option<T>, A::Error> {
    map.next_value_seed(NodeSeed::new(context)).map(Some)
}

/// Reads a node with its context.
pub(super) struct NodeSeed<'c, T>(&'c mut Context, PhantomData<T>);

impl<'c, T> NodeSeed<'c, T> {
    pub(super) fn new(context: &'c mut Context) -> NodeSeed<'c, T> {
        NodeSeed(context, PhantomData)
    }
}

impl<'de, T: Node> DeserializeSeed<'de> for NodeSeed<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::read(self.0, deserializer)
    }
}

pub(super) fn read_object<'de, T: Object, D: Deserializer<'de>>(
    context: &mut Context,
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_map(ObjectVisitor(context, PhantomData))
}

struct ObjectVisitor<'c, T>(&'c mut Context, PhantomData<T>);

impl<'de, T: Object> Visitor<'de> for ObjectVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object: {}", T::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let context = self.0;
        let mut object = T::default();
        let mut seen: Vec<String> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(
                    context.error(format_args!("the key `{key}` for the second time"), "leave one of them")
                );
            }
            let length = context.enter(format_args!("{key}"));
            if object.fill(&key, &mut map, context)? {
                seen.push(key);
            } else {
                map.next_value::<IgnoredAny>()?;
                context.ignore(T::PLACE, &key);
            }
            context.leave(length);
        }
        object.check(&seen, context)?;
        Ok(object)
    }
}

/// An object whose keys are names.
impl<T: Node> Node for BTreeMap<String, T> {
    fn read<'de, D: Deserializer<'de>>(context: &mut Context, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor(context, PhantomData))
    }
}

struct NamedVisitor<'c, T>(&'c mut Context, PhantomData<T>);

impl<'de, T: Node> Visitor<'de> for NamedVisitor<'_, T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose keys are names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BTreeMap<String, T>, A::Error> {
        let context = self.0;
        let mut named = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if named.contains_key(&name) {
                return Err(
                    context.error(format_args!("the name `{name}` for the second time"), "leave one of them")
                );
            }
            let length = context.enter(format_args!("{name}"));
            let value = map.next_value_seed(NodeSeed::new(context))?;
            context.leave(length);
            named.insert(name, value);
        }
        Ok(named)
    }
}

/// A list.
impl<T: Node> Node for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(context: &mut Context, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(context, PhantomData))
    }
}

struct ListVisitor<'c, T>(&'c mut Context, PhantomData<T>);

impl<'de, T: Node> Visitor<'de> for ListVisitor<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let context = self.0;
        let mut list = Vec::new();
        loop {
            let length = context.path.len();
            context.path.push_str(&format!("[{}]", list.len()));
            match seq.next_element_seed(NodeSeed::new(context))? {
                Some(element) => list.push(element),
                None => {
                    context.leave(length);
                    return Ok(list);
                }
            }
            context.leave(length);
        }
    }
}
