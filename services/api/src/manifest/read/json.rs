//! JSON values whose objects have every key once, and the text they are written in.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{DEPTH_MAX, DOCUMENTS_MAX, NODES_MAX, within_bounds};
use crate::manifest::violation::{Violation, ViolationKind};

/// Reads a stream of JSON objects; none if it is not JSON, so that it can be read as YAML.
pub(super) fn read_json(text: &str) -> Option<Result<Vec<(usize, Value)>, Violation>> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Strict>();
    let (mut documents, mut nodes, mut line, mut counted) = (Vec::new(), 0, 1, 0);
    loop {
        let start = stream.byte_offset();
        let blank = text[start..].len() - text[start..].trim_start().len();
        line += text[counted..start + blank].matches('\n').count();
        counted = start + blank;
        match stream.next() {
            None => return Some(Ok(documents)),
            Some(Ok(Strict(value))) => {
                if documents.len() >= DOCUMENTS_MAX || !within_bounds(&value, 0, &mut nodes) {
                    let message = format!(
                        "must have at most {DOCUMENTS_MAX} objects, {NODES_MAX} values and a depth of {DEPTH_MAX}"
                    );
                    return Some(Err(Violation::new(ViolationKind::Syntax, "", message)));
                }
                documents.push((line, value));
            }
            Some(Err(error)) if error.is_data() => {
                let mut violation = Violation::new(ViolationKind::Syntax, "", error.to_string());
                violation.line = Some(error.line());
                return Some(Err(violation));
            }
            Some(Err(_)) => return None,
        }
    }
}

/// A JSON value whose objects have no key twice.
pub(super) struct Strict(pub(super) Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        match crate::manifest::strict::whole(number) {
            Some(integer) => Ok(Value::from(integer)),
            None => Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("not a number that JSON has")),
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Strict(value) = map.next_value()?;
            if members.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate field \"{key}\"")));
            }
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}
