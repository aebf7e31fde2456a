//! How far each replica is, and what follows from that for those who wait. Pure.

use std::collections::BTreeMap;

use super::NotPublished;
use crate::store::StoreRevision;

/// A point up to which names are to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Level {
    /// What is stored.
    pub(super) revision: StoreRevision,
    /// Number of the last announcement.
    pub(super) announcement: u64,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// What it has acknowledged.
    pub(super) served: Level,
    /// It has owed its acknowledgement for too long.
    pub(super) silent: Option<Silence>,
}

/// Why a replica is not waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    /// The last announcement that it was told in vain; 0 while it may still take it.
    pub(super) announcement: u64,
    /// What came of it.
    pub(super) why: String,
}

/// All replicas, by address.
#[derive(Debug, Clone, Default)]
pub(super) struct Roll {
    pub(super) replicas: BTreeMap<String, Progress>,
    /// Why none is known.
    pub(super) unknown: Option<String>,
}

impl Roll {
    /// The revision that is served: by every replica that answers; where none does, by the one that was told most.
    pub(super) fn published(&self) -> StoreRevision {
        let answering = self.answering().map(|replica| replica.served.revision).min();
        let furthest = || self.replicas.values().map(|replica| replica.served.revision).max();
        answering.or_else(furthest).unwrap_or_default()
    }

    /// Whether an announcement is served: by every replica that answers, and by one at least. Open where it may yet be;
    /// refused where none answers, and each was told in vain.
    pub(super) fn announced(&self, announcement: u64) -> Option<Result<(), NotPublished>> {
        let mut answering = self.answering().peekable();
        if answering.peek().is_some() {
            return answering.all(|replica| replica.served.announcement >= announcement).then_some(Ok(()));
        }
        let mut silences = self.replicas.values().filter_map(|replica| replica.silent.as_ref());
        let why = match silences.clone().next() {
            Some(silence) => Some(&silence.why).filter(|_| silences.all(|one| one.announcement >= announcement)),
            None => self.unknown.as_ref(),
        };
        why.map(|why| Err(NotPublished(why.clone())))
    }

    fn answering(&self) -> impl Iterator<Item = &Progress> {
        self.replicas.values().filter(|replica| replica.silent.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replicas as `revision:announcement` that they serve, and after a `!` the announcement they were told in vain.
    fn roll(replicas: &str) -> Roll {
        let number = |text: &str| text.parse::<u64>().unwrap();
        let one = |(place, text): (usize, &str)| {
            let (served, vain) = text.split_once('!').unwrap_or((text, ""));
            let (revision, announcement) = served.split_once(':').unwrap();
            let served = Level { revision: StoreRevision(number(revision)), announcement: number(announcement) };
            let silent = (!vain.is_empty()).then(|| Silence { announcement: number(vain), why: "away".to_owned() });
            (place.to_string(), Progress { served, silent })
        };
        Roll { replicas: replicas.split_whitespace().enumerate().map(one).collect(), unknown: None }
    }

    /// What is published, and what became of announcement 5.
    fn check(replicas: &str, published: u64, announced: &str) {
        let roll = roll(replicas);
        let became = match roll.announced(5) {
            None => "open",
            Some(Ok(())) => "served",
            Some(Err(_)) => "refused",
        };
        assert_eq!((roll.published().0, became), (published, announced), "{replicas:?}");
    }

    #[test]
    fn who_answers_is_waited_for_and_one_at_least_must() {
        check("", 0, "open");
        check("9:5", 9, "served");
        check("9:4", 9, "open");
        check("9:5 8:5", 8, "served");
        check("9:5 8:4", 8, "open");
        check("9:5 2:1!5", 9, "served");
        check("9:5 2:1!4", 9, "served");
        check("9:4 2:1!5", 9, "open");
    }

    #[test]
    fn where_none_answers_nothing_new_is_served_and_it_is_said_once_each_was_tried() {
        check("9:4!5", 9, "refused");
        check("9:4!4", 9, "open");
        check("9:4!5 7:3!4", 9, "open");
        check("9:4!6 7:3!5", 9, "refused");
    }

    #[test]
    fn a_name_without_addresses_is_the_cause() {
        let roll = Roll { unknown: Some("no address".to_owned()), ..Roll::default() };
        let why = roll.announced(1).expect("said").expect_err("refused").to_string();
        assert!(why.contains("no address"), "{why}");
    }
}
