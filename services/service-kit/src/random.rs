//! Randomness, as a seam.
//!
//! Identities are made deep inside of plain functions that build objects. So the source belongs to the thread, not to a
//! handle that each of them would have to be given; a simulation, which has one thread, replaces it and takes the same
//! course every time.

use std::cell::RefCell;

use uuid::{Builder, Uuid};

/// Where sixteen random bytes come from.
type Source = Box<dyn FnMut() -> [u8; 16]>;

thread_local! {
    static SOURCE: RefCell<Option<Source>> = const { RefCell::new(None) };
}

/// A random identity (RFC 9562, version 4): the system's randomness, unless this thread has another source.
#[must_use]
pub fn uuid() -> Uuid {
    let replaced = SOURCE.with_borrow_mut(|source| source.as_mut().map(|source| source()));
    replaced.map_or_else(Uuid::new_v4, |bytes| Builder::from_random_bytes(bytes).into_uuid())
}

/// The same as the text that objects carry.
#[must_use]
pub fn uid() -> String {
    uuid().to_string()
}

/// Takes the randomness of this thread from `source`, from now on.
pub fn replace(source: impl FnMut() -> [u8; 16] + 'static) {
    SOURCE.with_borrow_mut(|current| *current = Some(Box::new(source)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_source_decides_and_only_for_its_thread() {
        let replaced = || {
            let mut next = 0;
            replace(move || {
                next += 1;
                [next; 16]
            });
            [uid(), uid()]
        };
        let first = std::thread::spawn(replaced).join().expect("it ends");
        assert_eq!(first, std::thread::spawn(replaced).join().expect("it ends"));
        assert_eq!(first[0], "01010101-0101-4101-8101-010101010101");
        assert_ne!(uid(), uid());
    }
}
