//! What this process writes, until it is seen: whoever has encoded an object need not decode it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value;

/// An object as it is stored, and what it says.
pub(super) type Encoded = (Bytes, Value);

/// Objects of the commits under way, by where their bytes are in memory. Those that come back from a store elsewhere are
/// other bytes, and are decoded.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<HashMap<usize, Encoded>>);

/// Keeps the objects of one commit, which keeps their places in memory from being anyone else's.
pub(super) struct Kept<'a> {
    written: &'a Written,
    places: Vec<usize>,
}

impl Written {
    /// Keeps objects until they are taken, or this is dropped.
    pub(super) fn keep(&self, encoded: Vec<Encoded>) -> Kept<'_> {
        let places: Vec<_> = encoded.iter().map(|(bytes, _)| place(bytes)).collect();
        self.all().extend(places.iter().copied().zip(encoded));
        Kept { written: self, places }
    }

    /// What these very bytes say, if they were written here.
    pub(super) fn take(&self, bytes: &Bytes) -> Option<Value> {
        let (own, value) = self.all().remove(&place(bytes))?;
        // A part of them would begin at the same place.
        (own.len() == bytes.len()).then_some(value)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<usize, Encoded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let mut all = self.written.all();
        self.places.iter().for_each(|place| drop(all.remove(place)));
    }
}

fn place(bytes: &Bytes) -> usize {
    bytes.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_say_what_was_written_while_their_commit_is_under_way() {
        let written = Written::default();
        let bytes = Bytes::from(json!({ "a": 1 }).to_string());
        let kept = written.keep(vec![(bytes.clone(), json!({ "a": 1 }))]);
        assert_eq!(written.take(&Bytes::copy_from_slice(&bytes)), None, "the same elsewhere");
        assert_eq!(written.take(&bytes.clone()), Some(json!({ "a": 1 })));
        assert_eq!(written.take(&bytes), None, "it was taken");
        drop(kept);
        let kept = written.keep(vec![(bytes.clone(), json!({ "a": 1 }))]);
        assert_eq!(written.take(&bytes.slice(..3)), None);
        drop(kept);
        drop(written.keep(vec![(bytes.clone(), json!({ "a": 1 }))]));
        assert_eq!(written.take(&bytes), None, "its commit is over");
        assert!(written.all().is_empty());
    }
}
