//! What both planners are told about a set.

mod action;
mod spec;
#[cfg(test)]
mod tests;

use domain::{
    Cause, Failures, Intent, Ordinal, Outage, Phase, Pod, PodRun, Pods, RevisionName, SetRef, SetSpec, SetStatus,
    Snapshot, SteadyPods, Stuck, Switches, TargetRange, Uid,
};

use super::{Violations, to_timestamp};
use crate::proto::planning::v1 as proto;

/// Pods of one snapshot that may be in runs: a run costs nothing to send, and an answer may have to name each of them. More
/// than a store holds.
const STEADY_PODS_MAX: u64 = 500_000;

/// Notes a violation unless `number` can be an ordinal.
pub(super) fn ordinal(violations: &mut Violations, field: &str, number: u32) -> Ordinal {
    violations.require(number <= Ordinal::MAX.0, field, "must be at most 2147483647");
    Ordinal(number)
}

/// Notes a violation if `text` is empty.
fn filled(violations: &mut Violations, field: &str, text: String) -> String {
    violations.require(!text.is_empty(), field, "is required");
    text
}

/// Checks that targets ascend without gaps.
pub(super) fn check_targets(violations: &mut Violations, targets: &[TargetRange]) {
    for (place, pair) in targets.windows(2).enumerate() {
        if u64::from(pair[1].first.0) != u64::from(pair[0].last.0) + 1 {
            violations.add(format!("targets[{}].first", place + 1), "must follow the last of the range before");
        }
    }
}

impl From<SetRef> for proto::SetRef {
    fn from(set: SetRef) -> Self {
        Self { namespace: set.namespace, name: set.name, uid: set.uid.0 }
    }
}

impl TryFrom<proto::SetRef> for SetRef {
    type Error = Violations;

    fn try_from(set: proto::SetRef) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        for (field, label) in [("namespace", &set.namespace), ("name", &set.name)] {
            if let Err(error) = domain::is_dns_label(label) {
                violations.add(field, error.to_string());
            }
        }
        let uid = Uid(filled(&mut violations, "uid", set.uid));
        violations.finish(Some(Self { namespace: set.namespace, name: set.name, uid }))
    }
}

impl From<Intent> for proto::Intent {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::Keep => Self::Keep,
            Intent::Drain => Self::Drain,
            Intent::Delete => Self::Delete,
        }
    }
}

impl TryFrom<proto::Intent> for Intent {
    type Error = Violations;

    fn try_from(intent: proto::Intent) -> Result<Self, Violations> {
        match intent {
            proto::Intent::Unspecified => Err(Violations::of("", "is required")),
            proto::Intent::Keep => Ok(Self::Keep),
            proto::Intent::Drain => Ok(Self::Drain),
            proto::Intent::Delete => Ok(Self::Delete),
        }
    }
}

impl From<Phase> for proto::Phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Running => Self::Running,
            Phase::Succeeded => Self::Succeeded,
            Phase::Failed => Self::Failed,
            Phase::Unknown => Self::Unknown,
        }
    }
}

impl TryFrom<proto::Phase> for Phase {
    type Error = Violations;

    fn try_from(phase: proto::Phase) -> Result<Self, Violations> {
        match phase {
            proto::Phase::Unspecified => Err(Violations::of("", "is required")),
            proto::Phase::Pending => Ok(Self::Pending),
            proto::Phase::Running => Ok(Self::Running),
            proto::Phase::Succeeded => Ok(Self::Succeeded),
            proto::Phase::Failed => Ok(Self::Failed),
            proto::Phase::Unknown => Ok(Self::Unknown),
        }
    }
}

impl From<SetStatus> for proto::SetStatus {
    fn from(status: SetStatus) -> Self {
        Self {
            observed_generation: status.observed_generation,
            replicas: status.replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            current_replicas: status.current_replicas,
            updated_replicas: status.updated_replicas,
            current_revision: status.current_revision.to_string(),
            update_revision: status.update_revision.to_string(),
            collision_count: status.collision_count,
        }
    }
}

impl TryFrom<proto::SetStatus> for SetStatus {
    type Error = Violations;

    fn try_from(status: proto::SetStatus) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        violations.require(status.observed_generation >= 0, "observed_generation", "must be at least 0");
        violations.finish(Some(Self {
            observed_generation: status.observed_generation,
            replicas: status.replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            current_replicas: status.current_replicas,
            updated_replicas: status.updated_replicas,
            current_revision: RevisionName(status.current_revision.into()),
            update_revision: RevisionName(status.update_revision.into()),
            collision_count: status.collision_count,
        }))
    }
}

impl From<Pod> for proto::Pod {
    fn from(pod: Pod) -> Self {
        Self {
            ordinal: pod.ordinal.0,
            uid: pod.uid.0,
            version: pod.version,
            phase: proto::Phase::from(pod.phase).into(),
            ready: pod.ready,
            ready_since: pod.ready_since.map(to_timestamp),
            terminating: pod.terminating,
            revision: pod.revision.map(|revision| revision.to_string()).unwrap_or_default(),
            created_at: Some(to_timestamp(pod.created_at)),
            cause: cause(pod.cause),
            stops_by: pod.stops_by.map(to_timestamp),
        }
    }
}

impl TryFrom<proto::Pod> for Pod {
    type Error = Violations;

    fn try_from(pod: proto::Pod) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let ordinal = ordinal(&mut violations, "ordinal", pod.ordinal);
        let uid = Uid(filled(&mut violations, "uid", pod.uid));
        let phase = violations.enumeration::<proto::Phase, _>("phase", pod.phase);
        let ready_since = violations.timestamp("ready_since", pod.ready_since);
        let revision = (!pod.revision.is_empty()).then(|| RevisionName(pod.revision.into()));
        let created_at = violations.timestamp("created_at", pod.created_at).unwrap_or_default();
        let cause = from_cause(pod.cause);
        let stops_by = violations.timestamp("stops_by", pod.stops_by);
        let (version, ready, terminating) = (pod.version, pod.ready, pod.terminating);
        violations.finish(phase.map(|phase| Self {
            ordinal,
            uid,
            version,
            phase,
            ready,
            ready_since,
            terminating,
            stops_by,
            revision,
            created_at,
            cause,
        }))
    }
}

impl From<SteadyPods> for proto::SteadyPods {
    fn from(run: SteadyPods) -> Self {
        Self {
            first: run.first.0,
            last: run.last.0,
            revision: run.revision.to_string(),
            ready_since: run.ready_since.map(to_timestamp),
        }
    }
}

impl TryFrom<proto::SteadyPods> for SteadyPods {
    type Error = Violations;

    fn try_from(run: proto::SteadyPods) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let first = ordinal(&mut violations, "first", run.first);
        let last = ordinal(&mut violations, "last", run.last);
        violations.require(first <= last, "last", "must not be below first");
        let revision = RevisionName(filled(&mut violations, "revision", run.revision).into());
        let ready_since = violations.timestamp("ready_since", run.ready_since);
        violations.finish(Some(Self { first, last, revision, ready_since }))
    }
}

/// The pods that are told one by one and those in runs, as one list.
fn all_pods(violations: &mut Violations, alone: Vec<Pod>, runs: &[SteadyPods], spec: Option<&SetSpec>) -> Pods {
    let Some(spec) = spec.filter(|_| violations.0.is_empty()) else { return Pods::default() };
    let together: u64 = runs.iter().map(|run| u64::from(run.last.0 - run.first.0) + 1).sum();
    if together > STEADY_PODS_MAX {
        violations.add("steady", format!("has {together} pods, may have at most {STEADY_PODS_MAX}"));
        return Pods::default();
    }
    let steady = |pod: &&Pod| {
        let behind = runs.partition_point(|run| run.first <= pod.ordinal);
        behind.checked_sub(1).is_some_and(|place| pod.ordinal <= runs[place].last)
    };
    if let Some(twice) = alone.iter().find(steady) {
        violations.add("pods", format!("has ordinal {}, which is one of steady", twice.ordinal));
    }
    Pods::of(alone, runs, spec)
}

/// Both directions of a message whose fields have the same names and types on both sides.
macro_rules! same_fields {
    ($type:ident: $($field:ident)+) => {
        impl From<$type> for proto::$type {
            fn from(value: $type) -> Self {
                Self { $($field: value.$field,)+ }
            }
        }

        impl From<proto::$type> for $type {
            fn from(value: proto::$type) -> Self {
                Self { $($field: value.$field,)+ }
            }
        }
    };
}

same_fields! { Switches:
    heal_broken_pods
    promote_when_available
    keep_current_at_zero
    count_observed_pods
    current_from_pods
    remove_broken_condemned
    back_off_failed_pods
    break_cold_start
    recreate_together
    watch_progress
    refuse_foreign_claims
    withdraw_claim_references
    wait_for_claims
    publish_conditions
    tell_waits
    protect_revisions
    classless_before_default
    delete_in_order
    refuse_long_names
    recreate_at_last_revision
    isolate_refusals
    visit_every_member
    freeze_revisions_of_deleted
    adopt_revisions_by_name
    write_zero_counters
    delete_once
}

impl From<Failures> for proto::Failures {
    fn from(failures: Failures) -> Self {
        Self { ordinal: failures.ordinal.0, count: failures.count, last_at: Some(to_timestamp(failures.last_at)) }
    }
}

impl TryFrom<proto::Failures> for Failures {
    type Error = Violations;

    fn try_from(failures: proto::Failures) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let ordinal = ordinal(&mut violations, "ordinal", failures.ordinal);
        violations.require(failures.count >= 1, "count", "must be at least 1");
        violations.require(failures.last_at.is_some(), "last_at", "is required");
        let last_at = violations.timestamp("last_at", failures.last_at);
        violations.finish(last_at.map(|last_at| Self { ordinal, count: failures.count, last_at }))
    }
}

impl From<Outage> for proto::Outage {
    fn from(outage: Outage) -> Self {
        Self { ordinal: outage.ordinal.0, since: Some(to_timestamp(outage.since)) }
    }
}

impl TryFrom<proto::Outage> for Outage {
    type Error = Violations;

    fn try_from(outage: proto::Outage) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let ordinal = ordinal(&mut violations, "ordinal", outage.ordinal);
        violations.require(outage.since.is_some(), "since", "is required");
        let since = violations.timestamp("since", outage.since);
        violations.finish(since.map(|since| Self { ordinal, since }))
    }
}

impl From<Stuck> for proto::Stuck {
    fn from(stuck: Stuck) -> Self {
        Self { ordinal: stuck.ordinal.0, since: Some(to_timestamp(stuck.since)), cause: cause(stuck.cause) }
    }
}

impl TryFrom<proto::Stuck> for Stuck {
    type Error = Violations;

    fn try_from(stuck: proto::Stuck) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let ordinal = ordinal(&mut violations, "ordinal", stuck.ordinal);
        violations.require(stuck.since.is_some(), "since", "is required");
        let since = violations.timestamp("since", stuck.since);
        violations.finish(since.map(|since| Self { ordinal, since, cause: from_cause(stuck.cause) }))
    }
}

/// Both directions of the class of cause. One that only a later version knows is no cause.
macro_rules! causes {
    ($($cause:ident)+) => {
        fn cause(cause: Option<Cause>) -> i32 {
            let cause = match cause {
                None => proto::Cause::Unspecified,
                $(Some(Cause::$cause) => proto::Cause::$cause,)+
            };
            cause.into()
        }

        fn from_cause(number: i32) -> Option<Cause> {
            match proto::Cause::try_from(number) {
                Err(_) | Ok(proto::Cause::Unspecified) => None,
                $(Ok(proto::Cause::$cause) => Some(Cause::$cause),)+
            }
        }
    };
}

causes! { Placement Volume Image Configuration Hook CrashLoop Readiness Dns Termination Name }

/// Everything of a snapshot but pods.
pub(crate) fn without_pods(snapshot: &Snapshot) -> proto::Snapshot {
    proto::Snapshot {
        set: Some(snapshot.set.clone().into()),
        generation: snapshot.generation.0,
        spec: Some(snapshot.spec.clone().into()),
        intent: proto::Intent::from(snapshot.intent).into(),
        status: Some(snapshot.status.clone().into()),
        pods: Vec::new(),
        switches: Some(snapshot.switches.into()),
        now: Some(to_timestamp(snapshot.now)),
        failures: snapshot.failures.iter().copied().map(Into::into).collect(),
        formed: snapshot.formed.map(|ordinal| ordinal.0),
        cold_start: snapshot.cold_start,
        outages: snapshot.outages.iter().copied().map(Into::into).collect(),
        steady: Vec::new(),
        resumed_at: snapshot.resumed_at.map(to_timestamp),
        watched_since: snapshot.watched_since.map(to_timestamp),
    }
}

/// Every pod by itself.
impl From<Snapshot> for proto::Snapshot {
    fn from(snapshot: Snapshot) -> Self {
        let rest = without_pods(&snapshot);
        Self { pods: snapshot.pods.iter().flat_map(PodRun::pods).map(Into::into).collect(), ..rest }
    }
}

impl TryFrom<proto::Snapshot> for Snapshot {
    type Error = Violations;

    fn try_from(snapshot: proto::Snapshot) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let set = violations.required("set", snapshot.set);
        violations.require(snapshot.generation >= 0, "generation", "must be at least 0");
        let spec: Option<SetSpec> = violations.required("spec", snapshot.spec);
        let intent = violations.enumeration::<proto::Intent, _>("intent", snapshot.intent);
        let status = violations.optional("status", snapshot.status).unwrap_or_default();
        let in_order = snapshot.pods.windows(2).position(|pair| pair[0].ordinal >= pair[1].ordinal);
        if let Some(place) = in_order {
            violations.add(format!("pods[{}].ordinal", place + 1), "must be above the ordinal before");
        }
        let in_order = snapshot.steady.windows(2).position(|pair| pair[0].last >= pair[1].first);
        if let Some(place) = in_order {
            violations.add(format!("steady[{}].first", place + 1), "must be above the last of the run before");
        }
        let alone = violations.list("pods", snapshot.pods);
        let steady: Vec<SteadyPods> = violations.list("steady", snapshot.steady);
        let failures = violations.list("failures", snapshot.failures);
        let outages = violations.list("outages", snapshot.outages);
        let formed = snapshot.formed.map(|number| ordinal(&mut violations, "formed", number));
        let cold_start = snapshot.cold_start;
        let resumed_at = violations.timestamp("resumed_at", snapshot.resumed_at);
        let watched_since = violations.timestamp("watched_since", snapshot.watched_since);
        let switches = snapshot.switches.map(Into::into).unwrap_or_default();
        violations.require(snapshot.now.is_some(), "now", "is required");
        let now = violations.timestamp("now", snapshot.now);
        for (place, run) in steady.iter().enumerate() {
            let (Some(spec), Some(now)) = (&spec, now) else { continue };
            let available = run.lowest().available(spec.min_ready_seconds, now);
            let field = format!("steady[{place}].ready_since");
            violations.require(available, &field, "must be min_ready_seconds ago, or earlier");
        }
        let pods = all_pods(&mut violations, alone, &steady, spec.as_ref());
        let generation = domain::Generation(snapshot.generation);
        let whole = set.zip(spec).zip(intent).zip(now);
        violations.finish(whole.map(|(((set, spec), intent), now)| Self {
            set,
            generation,
            spec,
            intent,
            status,
            pods,
            failures,
            outages,
            formed,
            cold_start,
            resumed_at,
            watched_since,
            switches,
            now,
        }))
    }
}

impl From<TargetRange> for proto::TargetRange {
    fn from(range: TargetRange) -> Self {
        Self { first: range.first.0, last: range.last.0, revision: range.revision.to_string() }
    }
}

impl TryFrom<proto::TargetRange> for TargetRange {
    type Error = Violations;

    fn try_from(range: proto::TargetRange) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let first = ordinal(&mut violations, "first", range.first);
        let last = ordinal(&mut violations, "last", range.last);
        violations.require(first <= last, "last", "must not be below first");
        let revision = RevisionName(filled(&mut violations, "revision", range.revision).into());
        violations.finish(Some(Self { first, last, revision }))
    }
}
