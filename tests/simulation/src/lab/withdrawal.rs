//! S23: how soon the addresses of pods that go vanish from what the name server says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oracles::{State, Violation};

use super::Lab;

/// How long an address may be answered after its pod was asked to go: the published bound, after which the pod stops
/// whatever is answered.
const PUBLISHED_BOUND: Duration = Duration::from_secs(2);

/// The same while the last fault has ended only just: what it takes to notice that a connection is dead, to give up on a
/// publication and to begin another, comes on top.
const BOUND_AFTER_FAULTS: Duration = Duration::from_secs(20);

/// Which addresses are still to vanish.
#[derive(Debug, Default)]
pub(super) struct Withdrawal {
    staying: BTreeSet<String>,
    gone_at: BTreeMap<String, Duration>,
    longest: Duration,
    /// When faults ended; none while there are some.
    calm_since: Option<Duration>,
}

impl Withdrawal {
    /// Looks at what is stored after a commit.
    pub(super) fn look(&mut self, state: &State, now: Duration) {
        let pods = state.range("/objects/pods/".to_owned()..);
        let pods = pods.take_while(|(key, _)| key.starts_with("/objects/pods/")).map(|(_, stored)| &stored.value);
        let stay = pods.filter(|pod| oracles::text(pod, "/metadata/deletionTimestamp").is_empty());
        let staying: BTreeSet<String> = stay.map(|pod| oracles::text(pod, "/status/podIP").to_owned()).collect();
        for address in self.staying.difference(&staying) {
            self.gone_at.insert(address.clone(), now);
        }
        // A report that is made again late may take a pod its address for a moment.
        self.gone_at.retain(|address, _| !staying.contains(address));
        self.staying = staying;
    }

    /// Looks at an address that was answered.
    pub(super) fn answered(&mut self, address: &str, now: Duration) -> Result<(), Violation> {
        let Some(gone_at) = self.gone_at.get(address) else { return Ok(()) };
        let late = now.saturating_sub(*gone_at);
        self.longest = self.longest.max(late);
        let Some(calm_since) = self.calm_since else { return Ok(()) };
        let (from, bound) = match calm_since.is_zero() {
            true => (*gone_at, PUBLISHED_BOUND),
            false => ((*gone_at).max(calm_since), BOUND_AFTER_FAULTS),
        };
        if now.saturating_sub(from) <= bound {
            return Ok(());
        }
        let how = format!("{address} is answered {late:?} after its pod was asked to go, and no fault is left");
        Err(Violation { rule: "S23", how })
    }
}

impl Lab {
    /// Faults have ended, or there have been none from the beginning.
    pub fn calm(&self) {
        let inner = &mut *self.inner();
        inner.withdrawal.calm_since = Some(inner.now());
    }

    /// The longest for which an address was answered after its pod was asked to go.
    pub fn longest_withdrawal(&self) -> Duration {
        self.inner().withdrawal.longest
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is stored of one pod, which goes or stays.
    fn stored(address: &str, goes: bool) -> State {
        let mut value = json!({ "metadata": { "name": "web-0" }, "status": { "podIP": address } });
        if goes {
            value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let stored = oracles::Stored { bytes: value.to_string().into_bytes(), value: value.into(), revision: 1 };
        State::from([("/objects/pods/default/web-0".to_owned(), stored)])
    }

    #[test]
    fn an_address_is_to_vanish_with_its_pod_and_not_where_the_pod_has_it_again() {
        let late = Duration::from_secs(60);
        let answered = |looks: &[(&str, bool)]| {
            let mut withdrawal = Withdrawal { calm_since: Some(Duration::ZERO), ..Withdrawal::default() };
            looks.iter().for_each(|(address, goes)| withdrawal.look(&stored(address, *goes), Duration::ZERO));
            withdrawal.answered("10.77.0.8", late).is_ok()
        };
        assert!(answered(&[("10.77.0.8", false)]));
        assert!(!answered(&[("10.77.0.8", false), ("10.77.0.8", true)]));
        assert!(!answered(&[("10.77.0.8", false), ("10.77.0.5", false)]));
        assert!(answered(&[("10.77.0.8", false), ("10.77.0.5", false), ("10.77.0.8", false)]));
    }
}
