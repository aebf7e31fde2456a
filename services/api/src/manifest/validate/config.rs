//! ConfigMaps and Secrets.

use serde_json::Value;

use super::super::Kind;
use super::super::field::Field;
use super::super::violation::Report;

/// The most bytes of all values of one object.
const DATA_BYTES_MAX: usize = 1 << 20;

/// The longest key, in bytes.
const KEY_LENGTH_MAX: usize = 253;

pub(super) fn validate(kind: Kind, object: &Field<'_>, report: &mut Report) {
    let (data, binary) = (object.get("data"), object.get("binaryData"));
    let mut bytes = 0;
    for (key, value) in data.entries().chain(binary.entries()) {
        let is_key = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let path = data.entry(key).path;
        if key.is_empty() || !key.bytes().all(is_key) {
            let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
            report.invalid(&path, &Value::from(key), why);
        } else if key.len() > KEY_LENGTH_MAX {
            report.invalid(&path, &Value::from(key), format_args!("must be no more than {KEY_LENGTH_MAX} characters"));
        } else if key == "." || key == ".." || key.starts_with("..") {
            report.invalid(&path, &Value::from(key), "must not start with '..'");
        }
        bytes += value.as_str().map_or(0, str::len);
    }
    for (key, value) in binary.entries() {
        if data.value.get(key).is_some() {
            report.invalid(&data.entry(key).path, value, "duplicate of key present in binaryData");
        }
    }
    // A Secret's values are written in base64.
    let bytes = if kind == Kind::Secret { bytes / 4 * 3 } else { bytes };
    if bytes > DATA_BYTES_MAX {
        let message = format!("Too long: may not be more than {DATA_BYTES_MAX} bytes");
        report.push(super::super::Violation::new(super::super::ViolationKind::Invalid, data.path, message));
    }
}
