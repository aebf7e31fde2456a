//! Publications as effects: done once per operation, fenced, within one store; all of it across restarts.

use domain::Timestamp;
use domain::zone::{Publication, ZoneChange};

use super::fixture::{facts, options, pod};
use crate::publisher::{OPERATIONS_MAX, PublishError, Publisher, Served};
use crate::wire::Name;
use crate::zone::Zone;

/// Publications with a journal on disk, reopened at will.
struct Kept {
    directory: tempfile::TempDir,
    publisher: Publisher,
}

impl Kept {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let publisher = Self::open(&directory);
        Self { directory, publisher }
    }

    fn open(directory: &tempfile::TempDir) -> Publisher {
        let zone = Zone::new(options("cluster.local")).unwrap();
        Publisher::open(zone, Some(directory.path().join("names")), Timestamp(1_700_000_000_000)).unwrap()
    }

    fn reopen(&mut self) {
        self.publisher = Self::open(&self.directory);
    }

    /// Publishes all facts there are, or a change to the generation before, from `store` at (epoch, generation).
    fn publish(
        &self,
        operation: &str,
        (store, epoch, generation): (&str, u64, u64),
        full: bool,
        ordinal: u8,
    ) -> Result<Served, PublishError> {
        let mut change = if full { facts() } else { ZoneChange::default() };
        change.pods.push(pod(&format!("web-{ordinal}"), &format!("10.244.9.{ordinal}"), "app=nginx", "nginx"));
        self.publisher.publish(Publication {
            operation_id: operation.into(),
            store: store.into(),
            epoch,
            generation,
            base_generation: (!full).then(|| generation - 1),
            change,
        })
    }

    fn serves(&self, ordinal: u8) -> bool {
        let name = Name::from_text(&format!("web-{ordinal}.nginx.default.svc.cluster.local")).unwrap();
        self.publisher.snapshot().tree.get(name.wire()).is_some()
    }
}

#[test]
fn a_repeated_publication_gets_its_recorded_answer_and_has_no_second_effect() {
    let mut kept = Kept::new();
    kept.publish("op-1", ("s", 5, 1), true, 3).unwrap();
    let second = kept.publish("op-2", ("s", 5, 2), false, 4).unwrap();
    let third = kept.publish("op-3", ("s", 5, 3), false, 5).unwrap();
    for _ in 0..3 {
        assert_eq!(kept.publish("op-2", ("s", 5, 2), false, 6), Ok(second), "although a later one was done");
        assert_eq!(kept.publish("op-3", ("s", 5, 3), false, 6), Ok(third));
        assert!(!kept.serves(6), "no second effect");
        let late = kept.publish("op-4", ("s", 5, 2), false, 6);
        assert!(matches!(late, Err(PublishError::Fenced { .. })), "another operation: {late:?}");
        kept.reopen();
    }
    for generation in 4..=u64::try_from(OPERATIONS_MAX).unwrap() + 3 {
        kept.publish(&format!("op-{generation}"), ("s", 5, generation), false, 3).unwrap();
    }
    for _ in 0..2 {
        let forgotten = kept.publish("op-3", ("s", 5, 3), false, 6);
        assert!(matches!(forgotten, Err(PublishError::Fenced { .. })), "beyond the bound: {forgotten:?}");
        assert!(kept.publish("op-4", ("s", 5, 4), false, 6).is_ok(), "within the bound");
        kept.reopen();
    }
}

#[test]
fn a_store_made_anew_takes_over_and_the_one_before_is_refused_from_then_on() {
    let mut kept = Kept::new();
    kept.publish("publish/9/1", ("old", 9, 1), true, 3).unwrap();
    kept.publish("publish/9/2", ("old", 9, 2), false, 4).unwrap();
    let late = kept.publish("publish/8/9", ("old", 8, 9), true, 5).unwrap_err();
    let file = kept.directory.path().join("names");
    assert!(late.to_string().contains(&format!("remove {}", file.display())), "names the remedy: {late}");
    let change = kept.publish("publish/1/3", ("new", 1, 3), false, 5);
    assert!(matches!(change, Err(PublishError::BaseMismatch { .. })), "another store begins with all: {change:?}");
    // Same epoch, generation and operation id as the other store had: a publication of its own all the same.
    kept.publish("publish/9/2", ("new", 9, 2), true, 5).unwrap();
    assert!(kept.serves(5) && !kept.serves(4));
    for _ in 0..2 {
        for (epoch, generation) in [(9, 2), (10, 1)] {
            let old = kept.publish("publish/9/2", ("old", epoch, generation), true, 6);
            assert!(matches!(old, Err(PublishError::Replaced { .. })), "{old:?}");
        }
        let late = kept.publish("publish/9/1", ("new", 9, 1), true, 6);
        assert!(matches!(late, Err(PublishError::Fenced { .. })), "{late:?}");
        assert_eq!(kept.publisher.store(), "new");
        assert!(kept.serves(5) && !kept.serves(6));
        kept.reopen();
    }
    // A coordinator of an earlier version does not name its store.
    kept.publish("publish/9/3", ("", 9, 3), false, 6).unwrap();
    assert!(kept.serves(6));
    assert_eq!(kept.publisher.store(), "new");
}
