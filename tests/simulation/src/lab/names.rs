//! What the name server says, and who else speaks to executors.

use oracles::{Answer, Violation};

use super::{Ghost, Lab};

/// Annotation of a pod whose names are served before it is ready.
const SERVED_EARLY: &str = "setkeeper.dev/served-early";

impl Lab {
    /// Pods to ask about: those that are stored, and those that were.
    pub fn names_to_ask(&self) -> Vec<(String, String)> {
        let inner = &mut *self.inner();
        let pods = inner.history.state().range("/objects/pods/".to_owned()..);
        let pods = pods.take_while(|(key, _)| key.starts_with("/objects/pods/"));
        let found: Vec<_> = pods
            .filter_map(|(key, stored)| {
                let (_, namespace, name) = oracles::kind_and_name(key)?;
                let service = oracles::text(&stored.value, "/spec/subdomain");
                Some((format!("{namespace}/{name}"), format!("{name}.{service}.{namespace}.svc.cluster.local.")))
            })
            .collect();
        inner.known.extend(found.iter().map(|(identity, name)| format!("{identity} {name}")));
        let known = inner.known.iter().filter_map(|text| text.split_once(' '));
        known.map(|(identity, name)| (identity.to_owned(), name.to_owned())).collect()
    }

    /// An answer of the name server.
    pub fn answered(&self, answer: Answer) {
        let inner = &mut *self.inner();
        // While a set is started as a whole, its names are served before its pods are ready.
        let stored = inner.history.state().get(&format!("/objects/pods/{}", answer.identity));
        let early = stored.is_some_and(|pod| pod.value["metadata"]["annotations"][SERVED_EARLY] == "true");
        for address in answer.addresses.iter().filter(|_| early) {
            inner.machine.addresses.entry(address.clone()).and_modify(|(_, served)| *served = true);
        }
        let judged = oracles::s23_dns_truth(&answer, &inner.machine.addresses, inner.serial);
        inner.judge(judged);
        let now = inner.now();
        for address in &answer.addresses {
            let judged = inner.withdrawal.answered(address, now);
            inner.judge(judged);
        }
        inner.serial = answer.serial.or(inner.serial);
        inner.answers.insert(answer.identity.clone(), answer.addresses.iter().cloned().collect());
        if inner.asked_last.get(&answer.identity).is_none_or(|last| last.addresses != answer.addresses) {
            inner.note(&format!("DNS: {} is at {:?}", answer.identity, answer.addresses));
        }
        inner.asked_last.insert(answer.identity.clone(), answer);
    }

    /// The name server has started anew.
    pub fn names_restart(&self) {
        self.inner().serial = None;
    }

    /// What the name server says it serves.
    pub fn zone(&self, epoch: u64, generation: u64) {
        let inner = &mut *self.inner();
        let before = inner.zone;
        if (epoch, generation) < before {
            let how = format!("identity-dns serves ({epoch}, {generation}) after {before:?}");
            inner.judge(Err(Violation { rule: "S18", how }));
        }
        inner.checks += 1;
        inner.zone = (epoch, generation);
    }

    /// A coordinator of an earlier epoch to speak as, and a volume to speak of, if there was one and the executor has heard
    /// of a later one.
    pub fn ghost(&self) -> Option<Ghost> {
        let inner = &mut *self.inner();
        if !inner.ghosts || inner.executor_epoch < 2 {
            return None;
        }
        let state = inner.history.state();
        let (_, volume) = state.range("/objects/persistentvolumes/".to_owned()..).next()?;
        Some(Ghost {
            store: inner.store_id.clone()?,
            epoch: inner.executor_epoch - 1,
            volume: oracles::text(&volume.value, "/metadata/name").to_owned(),
            claim_uid: oracles::text(&volume.value, "/spec/claimRef/uid").to_owned(),
        })
    }

    /// Lets coordinators of earlier epochs speak.
    pub fn ghosts(&self, there: bool) {
        self.inner().ghosts = there;
    }
}
