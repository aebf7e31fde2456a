//! Conversions between the wire and the domain.
//!
//! `TryFrom<proto>` collects every violation of a message at once; `From<domain>` cannot fail. A message that is
//! absent where the domain needs one, an enumeration at its zero value and a number out of range are violations; a
//! field that a later version has added is not.

mod identity_dns;
mod ordinal_scheduler;
pub(crate) mod planning;
mod update_planner;
mod volume_claim;

use std::fmt;

use domain::Timestamp;

/// How many violations are written out. A person reads a few.
const VIOLATIONS_MAX: usize = 50;

const NANOS_PER_MILLISECOND: i32 = 1_000_000;
const NANOS_PER_SECOND: i32 = 1_000_000_000;

/// What is wrong with a message: the path of each field, such as `snapshot.pods[3].uid`, and what is wrong with it.
/// Written out, of more than 50 the rest is only counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
pub struct Violations(pub Vec<(String, String)>);

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (field, message)) in self.0.iter().take(VIOLATIONS_MAX).enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{field}: {message}")?;
        }
        match self.0.len().saturating_sub(VIOLATIONS_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Violations {
    /// One violation.
    #[must_use]
    pub fn of(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self(vec![(field.into(), message.into())])
    }

    /// Notes one more.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push((field.into(), message.into()));
    }

    /// Notes a violation unless `fact` holds.
    pub fn require(&mut self, fact: bool, field: &str, message: &str) {
        if !fact {
            self.add(field, message);
        }
    }

    /// The value of a part, or none after noting its violations below `field`.
    pub fn part<T>(&mut self, field: &str, result: Result<T, Self>) -> Option<T> {
        let inner = match result {
            Ok(value) => return Some(value),
            Err(inner) => inner,
        };
        self.0.extend(inner.0.into_iter().map(|(path, message)| match path.as_str() {
            "" => (field.to_owned(), message),
            _ if path.starts_with('[') => (format!("{field}{path}"), message),
            _ => (format!("{field}.{path}"), message),
        }));
        None
    }

    /// Decodes a message that may be absent.
    pub fn optional<P, T: TryFrom<P, Error = Self>>(&mut self, field: &str, value: Option<P>) -> Option<T> {
        value.and_then(|value| self.part(field, T::try_from(value)))
    }

    /// Decodes a message that must be there.
    pub fn required<P, T: TryFrom<P, Error = Self>>(&mut self, field: &str, value: Option<P>) -> Option<T> {
        self.require(value.is_some(), field, "is required");
        self.optional(field, value)
    }

    /// Decodes every message of a list; those that are wrong are left out.
    pub fn list<P, T: TryFrom<P, Error = Self>>(&mut self, field: &str, values: Vec<P>) -> Vec<T> {
        let mut decoded = Vec::with_capacity(values.len());
        for (place, value) in values.into_iter().enumerate() {
            match T::try_from(value) {
                Ok(value) => decoded.push(value),
                Err(inner) => drop(self.part::<()>(&format!("{field}[{place}]"), Err(inner))),
            }
        }
        decoded
    }

    /// Decodes an enumeration: neither its zero value nor a number of a later version.
    pub fn enumeration<P: TryFrom<i32>, T: TryFrom<P, Error = Self>>(&mut self, field: &str, number: i32) -> Option<T> {
        let known = P::try_from(number).map_err(|_| Self::of("", format!("unknown value {number}")));
        self.part(field, known.and_then(T::try_from))
    }

    /// Decodes a timestamp.
    pub fn timestamp(&mut self, field: &str, value: Option<prost_types::Timestamp>) -> Option<Timestamp> {
        value.and_then(|value| self.part(field, from_timestamp(value)))
    }

    /// The value if nothing was wrong.
    ///
    /// # Errors
    /// Everything noted so far. A `value` of none counts as wrong.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

/// The wire form of a point in time.
#[must_use]
pub fn to_timestamp(time: Timestamp) -> prost_types::Timestamp {
    let milliseconds = i32::try_from(time.0.rem_euclid(1000)).expect("below 1000");
    prost_types::Timestamp { seconds: time.0.div_euclid(1000), nanos: milliseconds * NANOS_PER_MILLISECOND }
}

/// Reads a point in time; what is finer than a millisecond is cut off.
///
/// # Errors
/// Nanoseconds below 0 or above 999,999,999, or a time that milliseconds in 64 bits cannot hold.
pub fn from_timestamp(time: prost_types::Timestamp) -> Result<Timestamp, Violations> {
    if !(0..NANOS_PER_SECOND).contains(&time.nanos) {
        return Err(Violations::of("nanos", "must be 0 to 999999999"));
    }
    let milliseconds = i128::from(time.seconds) * 1000 + i128::from(time.nanos / NANOS_PER_MILLISECOND);
    i64::try_from(milliseconds).map(Timestamp).map_err(|_| Violations::of("seconds", "is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire() {
        for time in [0, 1, -1, 999, -1000, 1_780_000_000_123, i64::MIN, i64::MAX] {
            assert_eq!(from_timestamp(to_timestamp(Timestamp(time))), Ok(Timestamp(time)));
        }
        let far = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert_eq!(from_timestamp(far), Err(Violations::of("seconds", "is out of range")));
        let odd = prost_types::Timestamp { seconds: 0, nanos: -1 };
        assert_eq!(from_timestamp(odd), Err(Violations::of("nanos", "must be 0 to 999999999")));
    }
}
