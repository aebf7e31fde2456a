//! Checks the shape of an object: fields that do not exist, and values of the wrong type.
//!
//! The Kubernetes types know the fields of every struct and drop what they do not know. They are read here through a
//! deserializer of our own that walks a JSON value, sees each struct's list of fields, and takes note of every other
//! key with its full path.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, MapAccess, SeqAccess, Unexpected};
use serde_json::Value;

use super::suggest;
use super::violation::{Report, VIOLATIONS_MAX, Violation, ViolationKind};

/// Reads `value` as a `T`, only to see whether it can be. Members of the root called in `ignored` are left out.
pub(super) fn check<T: DeserializeOwned>(value: &Value, ignored: &'static [&'static str], report: &mut Report) {
    let seen = RefCell::new(Seen { ignored, ..Seen::default() });
    // A type error ends the reading, so the broken place is skipped and everything is read again.
    for _ in 0..VIOLATIONS_MAX {
        let root = Trail { parent: None, step: Step::Root, fields: Cell::new(&[]), value };
        let Err(mismatch) = T::deserialize(Strict { value, trail: &root, seen: &seen }) else { break };
        let path = mismatch.path.unwrap_or_default();
        let mut violation = Violation::new(ViolationKind::TypeError, path.clone(), mismatch.message);
        violation.hint = mismatch.hint;
        report.push(violation);
        if path.is_empty() || !seen.borrow_mut().broken.insert(path) {
            break;
        }
    }
    for violation in seen.into_inner().unknown {
        report.push(violation);
    }
}

#[derive(Default)]
struct Seen {
    /// Members of the root that are not looked at.
    ignored: &'static [&'static str],
    /// Paths that are known to be wrong.
    broken: BTreeSet<String>,
    unknown: Vec<Violation>,
    unknown_paths: BTreeSet<String>,
}

enum Step<'a> {
    Root,
    Member(&'a str),
    Item(usize),
}

/// The way from the root to a value.
pub(super) struct Trail<'a> {
    parent: Option<&'a Trail<'a>>,
    step: Step<'a>,
    /// The fields of the struct at this place, once that is known.
    fields: Cell<&'static [&'static str]>,
    value: &'a Value,
}

impl Trail<'_> {
    pub(super) fn path(&self) -> String {
        let mut path = self.parent.map(Trail::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Member(name) if path.is_empty() => name.clone_into(&mut path),
            Step::Member(name) => path = format!("{path}.{name}"),
            Step::Item(index) => path = format!("{path}[{index}]"),
        }
        path
    }

    /// The structs around this place, nearest first, with their fields.
    pub(super) fn around(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(self.parent, |trail| trail.parent)
    }

    pub(super) fn fields(&self) -> &'static [&'static str] {
        self.fields.get()
    }

    pub(super) fn value(&self) -> &Value {
        self.value
    }
}

/// Why a value is not of the type that belongs there.
#[derive(Debug)]
struct Mismatch {
    path: Option<String>,
    message: String,
    hint: Option<String>,
}

impl Mismatch {
    fn at(mut self, trail: &Trail<'_>) -> Self {
        self.path.get_or_insert_with(|| trail.path());
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: None, message: message.to_string(), hint: None }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(&found, &expected.to_string())
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(&found, &expected.to_string())
    }
}

fn mismatch(found: &Unexpected<'_>, expected: &str) -> Mismatch {
    let wanted = match expected {
        "i32" | "i64" | "a 32-bit integer" => "an integer",
        "IntOrString" => "an integer or a string",
        "Quantity" => "a quantity such as 512Mi",
        "Time" | "MicroTime" => "a time such as 2026-01-02T15:04:05Z",
        "f64" => "a number",
        other => other,
    };
    let is_integer = matches!(found, Unexpected::Str(text) if text.parse::<i64>().is_ok());
    let scalar = matches!(found, Unexpected::Bool(_) | Unexpected::Signed(_) | Unexpected::Unsigned(_));
    let hint = if wanted == "an integer" && is_integer {
        Some("write it without quotes".to_owned())
    } else if wanted == "a string" && (scalar || matches!(found, Unexpected::Float(_))) {
        Some("write it in quotes".to_owned())
    } else {
        None
    };
    Mismatch { path: None, message: format!("must be {wanted}, not {found}"), hint }
}

struct Strict<'a> {
    value: &'a Value,
    trail: &'a Trail<'a>,
    seen: &'a RefCell<Seen>,
}

impl Strict<'_> {
    fn wrong(&self, expected: &str) -> Mismatch {
        mismatch(&unexpected(self.value), expected).at(self.trail)
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Other("null"),
        Value::Bool(flag) => Unexpected::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Unexpected::Signed(integer),
            (None, Some(integer)) => Unexpected::Unsigned(integer),
            (None, None) => Unexpected::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Other("a list"),
        Value::Object(_) => Unexpected::Other("an object"),
    }
}

/// Whole numbers of which JSON says `1.0` are integers.
#[expect(clippy::cast_possible_truncation, reason = "whole and within the exact range")]
pub(super) fn whole(number: f64) -> Option<i64> {
    const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT_INTEGER_MAX).then_some(number as i64)
}

macro_rules! integers {
    ($($method:ident: $type:ty),*) => {$(
        fn $method<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            let number = match self.value {
                Value::Null => Some(0),
                Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
                _ => return Err(self.wrong("an integer")),
            };
            let fits = number.and_then(|number| <$type>::try_from(number).ok());
            let number = fits.ok_or_else(|| self.wrong("an integer"))?;
            visitor.visit_i64(i64::from(number)).map_err(|error: Mismatch| error.at(self.trail))
        }
    )*};
}

impl<'de> Deserializer<'de> for Strict<'_> {
    type Error = Mismatch;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let trail = self.trail;
        let result = match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => visitor.visit_i64(integer),
                (None, Some(integer)) => visitor.visit_u64(integer),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(_) => return self.deserialize_seq(visitor),
            Value::Object(_) => return self.deserialize_map(visitor),
        };
        result.map_err(|error: Mismatch| error.at(trail))
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let Value::Object(members) = self.value else { return Err(self.wrong("an object")) };
        self.trail.fields.set(fields);
        let known = |name: &&String| fields.contains(&name.as_str());
        for name in members.keys().filter(|name| !known(name)) {
            self.note_unknown(name);
        }
        let members = Members { entries: members.iter(), known: Some(fields), next: None, inside: &self };
        visitor.visit_map(members).map_err(|error| error.at(self.trail))
    }

    fn deserialize_map<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let Value::Object(members) = self.value else { return Err(self.wrong("an object")) };
        let members = Members { entries: members.iter(), known: None, next: None, inside: &self };
        visitor.visit_map(members).map_err(|error| error.at(self.trail))
    }

    fn deserialize_seq<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let Value::Array(items) = self.value else { return Err(self.wrong("a list")) };
        visitor
            .visit_seq(Items { items: items.iter().enumerate(), inside: &self })
            .map_err(|error| error.at(self.trail))
    }

    fn deserialize_bool<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            _ => Err(self.wrong("true or false")),
        }
    }

    fn deserialize_str<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Null => visitor.visit_str(""),
            Value::String(text) => visitor.visit_str(text).map_err(|error: Mismatch| error.at(self.trail)),
            _ => Err(self.wrong("a string")),
        }
    }

    fn deserialize_string<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    integers!(deserialize_i8: i8, deserialize_i16: i16, deserialize_i32: i32, deserialize_i64: i64,
        deserialize_u8: u8, deserialize_u16: u16, deserialize_u32: u32, deserialize_u64: i64);

    serde::forward_to_deserialize_any! {
        f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
    }
}

impl Strict<'_> {
    fn note_unknown(&self, name: &str) {
        let here =
            Trail { parent: Some(self.trail), step: Step::Member(name), fields: Cell::new(&[]), value: self.value };
        let path = here.path();
        let mut seen = self.seen.borrow_mut();
        let room = seen.unknown.len() < VIOLATIONS_MAX;
        if room && !seen.broken.contains(&path) && seen.unknown_paths.insert(path.clone()) {
            seen.unknown.push(suggest::unknown_field(name, path, &here));
        }
    }

    fn broken(&self, trail: &Trail<'_>) -> bool {
        let seen = self.seen.borrow();
        let ignored = match (&self.trail.step, &trail.step) {
            (Step::Root, Step::Member(name)) => seen.ignored.contains(name),
            _ => false,
        };
        ignored || (!seen.broken.is_empty() && seen.broken.contains(&trail.path()))
    }
}

struct Members<'a> {
    entries: serde_json::map::Iter<'a>,
    /// The fields of a struct; absent for a map, which takes any key.
    known: Option<&'static [&'static str]>,
    next: Option<(&'a str, &'a Value)>,
    inside: &'a Strict<'a>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        for (name, value) in self.entries.by_ref() {
            if self.known.is_some_and(|fields| !fields.contains(&name.as_str())) {
                continue;
            }
            let step = Step::Member(name);
            let trail = Trail { parent: Some(self.inside.trail), step, fields: Cell::new(&[]), value };
            if self.inside.broken(&trail) {
                continue;
            }
            self.next = Some((name, value));
            return match self.known {
                Some(_) => seed.deserialize(StrDeserializer::new(name)).map(Some),
                None => seed.deserialize(StringDeserializer::new(name.clone())).map(Some),
            };
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mismatch> {
        let (name, value) = self.next.take().expect("serde asks for a value only after its key");
        let step = Step::Member(name);
        let trail = Trail { parent: Some(self.inside.trail), step, fields: Cell::new(&[]), value };
        seed.deserialize(Strict { value, trail: &trail, seen: self.inside.seen }).map_err(|error| error.at(&trail))
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    inside: &'a Strict<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Mismatch;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mismatch> {
        for (index, value) in self.items.by_ref() {
            let step = Step::Item(index);
            let trail = Trail { parent: Some(self.inside.trail), step, fields: Cell::new(&[]), value };
            if self.inside.broken(&trail) {
                continue;
            }
            let strict = Strict { value, trail: &trail, seen: self.inside.seen };
            if value.is_null() {
                return Err(strict.wrong("an element"));
            }
            return seed.deserialize(strict).map(Some).map_err(|error| error.at(&trail));
        }
        Ok(None)
    }
}
