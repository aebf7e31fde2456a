//! Objects in the JSON form of their Kubernetes kind.
//!
//! The public API carries an object as a `google.protobuf.Struct`, so that a manifest's JSON can be sent as it is. A
//! Struct knows only floating-point numbers; whole ones become integers again here.

use prost_types::value::Kind as ProtoKind;
use prost_types::{ListValue, Struct, Value as ProtoValue};
use serde_json::{Map, Number, Value};

/// Integers above this lose digits in a Struct. No Kubernetes field comes near.
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// Turns a JSON object into its wire form. Anything but an object becomes an empty Struct.
#[must_use]
pub fn to_struct(value: &Value) -> Struct {
    let fields = value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), to_proto(value)));
    Struct { fields: fields.collect() }
}

/// Turns a wire object into JSON.
#[must_use]
pub fn from_struct(object: Struct) -> Value {
    let fields = object.fields.into_iter().map(|(key, value)| (key, from_proto(value)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// The text at a JSON pointer; empty where there is none.
#[must_use]
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a JSON pointer; 0 where there is none.
#[must_use]
pub fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// The list at a JSON pointer; empty where there is none.
#[must_use]
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn to_proto(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => ProtoKind::NullValue(0),
        Value::Bool(flag) => ProtoKind::BoolValue(*flag),
        Value::Number(number) => ProtoKind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => ProtoKind::StringValue(text.clone()),
        Value::Array(items) => ProtoKind::ListValue(ListValue { values: items.iter().map(to_proto).collect() }),
        Value::Object(_) => ProtoKind::StructValue(to_struct(value)),
    };
    ProtoValue { kind: Some(kind) }
}

fn from_proto(value: ProtoValue) -> Value {
    match value.kind {
        None | Some(ProtoKind::NullValue(_)) => Value::Null,
        Some(ProtoKind::BoolValue(flag)) => Value::Bool(flag),
        Some(ProtoKind::NumberValue(number)) => from_number(number),
        Some(ProtoKind::StringValue(text)) => Value::String(text),
        Some(ProtoKind::ListValue(list)) => Value::Array(list.values.into_iter().map(from_proto).collect()),
        Some(ProtoKind::StructValue(object)) => from_struct(object),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "whole and within the exact range")]
fn from_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT_INTEGER_MAX {
        Value::Number(Number::from(number as i64))
    } else {
        Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_survives_the_wire() {
        let object = json!({"kind": "Pod", "n": 3, "f": 1.5, "list": [null, true, {"a": "b"}], "neg": -7});
        assert_eq!(from_struct(to_struct(&object)), object);
    }
}
