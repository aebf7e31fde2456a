//! When probes run, and what their results do (pod rules, 7.1).

use std::time::Duration;

use domain::Timestamp;

use super::{Action, Intent, Pass};
use crate::kubelet::probing::{ProbeKind, ProbeOutcome, Verdict};
use crate::kubelet::record::Stop;
use crate::spec::{Container, Probe, Role, positive_grace};

/// A container that is not ready this soon after its start is no reason for a warning.
const BEGINNING: Duration = Duration::from_secs(1);

impl<'a> Pass<'a> {
    /// Starts what is due, and brings readiness up to date.
    pub(super) fn probe(&mut self) {
        let pod = self.view.pod;
        for (_, container) in pod.containers().filter(|(role, _)| *role != Role::Init) {
            for kind in ProbeKind::ALL {
                if let Some(probe) = kind.of(container) {
                    self.schedule(container, kind, probe);
                }
            }
            let Some((record, memory)) = self.entry(&container.name) else { continue };
            let started = Self::is_started(record) && record.post_started;
            // A container that a probe or a hook condemned is not ready any more; one that ends with its pod drains,
            // and its readiness keeps telling.
            let condemned = memory.stop.is_some() && !matches!(self.view.intent, Intent::Stop { .. });
            let Some((record, _)) = self.entry(&container.name) else { continue };
            if !started || condemned {
                record.ready = false;
            } else if container.readiness_probe.is_none() {
                record.ready = true;
            }
        }
    }

    fn schedule(&mut self, container: &Container, kind: ProbeKind, probe: &Probe) {
        let now = self.now();
        let ends = matches!(self.view.intent, Intent::Stop { .. }) || self.record.outcome.is_some();
        let spread = self.spread(container, kind, probe);
        let Some((record, memory)) = self.entry(&container.name) else { return };
        let Some(running_since) = record.running_since.filter(|_| record.post_started) else { return };
        let wanted = match kind {
            ProbeKind::Startup => record.started_at.is_none() && !ends && memory.stop.is_none(),
            ProbeKind::Liveness => record.started_at.is_some() && !ends && memory.stop.is_none(),
            ProbeKind::Readiness => record.started_at.is_some(),
        };
        if !wanted {
            return;
        }
        let begun = running_since.plus(probe.initial_delay());
        let first = begun.max(record.started_at.unwrap_or_default()).max(spread.unwrap_or_default());
        let instance = record.instance.unwrap_or(0);
        let state = &mut memory.probes[kind as usize];
        let due = state.due(first, probe.period(), now);
        let next = state.next();
        if due {
            self.actions.push(Action::Probe { container: container.name.clone(), instance, kind });
        }
        // A run that is under way wakes by its result.
        if let Some(next) = next.filter(|next| *next > now) {
            self.wake(next);
        }
    }

    /// After the runtime itself has started, first probes of pods found running are spread over a period, always the
    /// same way.
    fn spread(&self, container: &Container, kind: ProbeKind, probe: &Probe) -> Option<Timestamp> {
        let fresh = self.memory_of(container).probes[kind as usize].next().is_none();
        if !self.memory.adopted || !fresh {
            return None;
        }
        let text = format!("{}/{}/{kind:?}", self.view.pod.metadata.uid, container.name);
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
        });
        let period = u64::try_from(probe.period().as_millis()).unwrap_or(u64::MAX).max(1);
        Some(self.now().plus(Duration::from_millis(hash % period)))
    }

    pub(super) fn probed(&mut self, name: &str, instance: u32, kind: ProbeKind, outcome: &ProbeOutcome) {
        let pod = self.view.pod;
        let Some((_, container)) = pod.container(name) else { return };
        let Some(probe) = kind.of(container) else { return };
        let now = self.now();
        let Some((record, memory)) = self.run_of(name, instance).filter(|(record, _)| record.running()) else { return };
        let state = &mut memory.probes[kind as usize];
        let extra = state.is_extra();
        let verdict = state.record(kind, probe, outcome);
        let age = record.running_since.map_or(Duration::ZERO, |since| now.since(since));
        let begins = kind != ProbeKind::Liveness && !record.ready && age < BEGINNING;
        if kind != ProbeKind::Liveness && !record.ready && matches!(outcome, ProbeOutcome::Failed(_)) {
            state.hurry(probe.period(), now);
        }
        match (kind, verdict) {
            (_, Verdict::Unchanged) => {}
            (ProbeKind::Readiness, Verdict::Passing) => record.ready = true,
            (ProbeKind::Readiness, Verdict::Failing) => record.ready = false,
            (ProbeKind::Startup, Verdict::Passing) => {
                record.started_at.get_or_insert(now);
            }
            (ProbeKind::Liveness, Verdict::Passing) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, Verdict::Failing) => self.condemn(container, kind, probe),
        }
        match outcome {
            ProbeOutcome::Passed(warning) if warning.is_empty() => {}
            ProbeOutcome::Passed(warning) => self.warn("ProbeWarning", format!("{} probe: {warning}", kind.title())),
            // That a server does not listen in its first moments is no news.
            ProbeOutcome::Failed(_) if extra || begins => {}
            ProbeOutcome::Failed(why) => self.warn("Unhealthy", format!("{} probe failed: {why}", kind.title())),
            ProbeOutcome::Impossible(why) => {
                self.warn("Unhealthy", format!("{} probe could not be run: {why}", kind.title()));
            }
        }
    }

    fn condemn(&mut self, container: &Container, kind: ProbeKind, probe: &Probe) {
        let own = probe.termination_grace_period_seconds.map(positive_grace);
        let grace = own.unwrap_or_else(|| self.view.pod.grace_seconds());
        let grace_end = self.now().plus(Duration::from_secs(grace));
        let ends = matches!(self.view.intent, Intent::Stop { .. });
        let why = format!("failed {} probe", kind.title().to_lowercase());
        let Some((record, memory)) = self.entry(&container.name) else { return };
        if ends || memory.stop.is_some() {
            return;
        }
        record.ready = false;
        memory.stop = Some(Stop::new(why.clone(), grace_end, true));
        self.tell("Killing", format!("Container {} {why}, will be restarted", container.name));
    }
}
