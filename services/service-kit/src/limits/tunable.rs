//! The bounds that operators may set.

use std::str::FromStr;

use super::{
    CALLS_IN_FLIGHT_MAX, CONNECTIONS_MAX, REQUEST_HEADER_BYTES_MAX, STRANGERS_MAX, STREAMS_PER_CONNECTION_MAX,
    USER_CALLS_PER_SECOND_MAX,
};

/// Largest value of any limit: far above what one process can hold, far below where numbers overflow.
const VALUE_MAX: u32 = 1 << 24;

/// The bounds of one server. Their meanings and defaults are those of the constants in [`limits`](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: u32,
    /// Of these, connections on which nobody has been let in yet.
    pub strangers: u32,
    /// Calls of one connection at the same time.
    pub streams_per_connection: u32,
    /// Calls that have not been answered yet.
    pub calls_in_flight: u32,
    /// Headers of one request, in bytes.
    pub request_header_bytes: u32,
    /// Calls of one user per second.
    pub user_calls_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let count = |count: usize| u32::try_from(count).unwrap_or(VALUE_MAX);
        Self {
            connections: count(CONNECTIONS_MAX),
            strangers: count(STRANGERS_MAX),
            streams_per_connection: STREAMS_PER_CONNECTION_MAX,
            calls_in_flight: count(CALLS_IN_FLIGHT_MAX),
            request_header_bytes: REQUEST_HEADER_BYTES_MAX,
            user_calls_per_second: USER_CALLS_PER_SECOND_MAX,
        }
    }
}

/// A bound with the value that somebody wants, written `connections=2000`.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    bound: Bound,
    value: u32,
}

/// Where a bound is kept.
type Bound = fn(&mut Limits) -> &mut u32;

/// Every bound by the name that operators write.
const BOUNDS: [(&str, Bound); 6] = [
    ("connections", |all| &mut all.connections),
    ("strangers", |all| &mut all.strangers),
    ("streams-per-connection", |all| &mut all.streams_per_connection),
    ("calls-in-flight", |all| &mut all.calls_in_flight),
    ("request-header-bytes", |all| &mut all.request_header_bytes),
    ("user-calls-per-second", |all| &mut all.user_calls_per_second),
];

/// A text that is no [`Limit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no limit: write NAME=NUMBER, with a number from 1 to {VALUE_MAX} and a name among {}", BOUNDS.map(|(name, _)| name).join(", "))]
pub struct InvalidLimit {
    text: String,
}

impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (name, value) = text.split_once('=')?;
            let (_, bound) = BOUNDS.into_iter().find(|(known, _)| *known == name.trim())?;
            let value = value.trim().parse().ok().filter(|value| (1..=VALUE_MAX).contains(value))?;
            Some(Self { bound, value })
        };
        parse().ok_or_else(|| InvalidLimit { text: text.to_owned() })
    }
}

impl Limits {
    /// The defaults, with what somebody wants otherwise. The last word on a limit counts.
    #[must_use]
    pub fn with(limits: &[Limit]) -> Self {
        let mut all = Self::default();
        for limit in limits {
            *(limit.bound)(&mut all) = limit.value;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_can_be_set_and_nothing_else() {
        let set: Vec<Limit> = BOUNDS.iter().map(|(name, _)| format!("{name}=7").parse().expect("a limit")).collect();
        let all = Limits::with(&set);
        let seven = Limits {
            connections: 7,
            strangers: 7,
            streams_per_connection: 7,
            calls_in_flight: 7,
            request_header_bytes: 7,
            user_calls_per_second: 7,
        };
        assert_eq!(all, seven);
        assert_eq!(Limits::with(&[]), Limits::default());
        for wrong in ["", "connections", "connections=", "connections=0", "connections=-1", "friends=7"] {
            assert!(wrong.parse::<Limit>().expect_err(wrong).to_string().contains("calls-in-flight"), "{wrong}");
        }
    }
}
