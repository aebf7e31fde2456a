//! Where Setkeeper does better than Kubernetes, as switches. A rule asks one switch, never for a profile's name.

use std::fmt;
use std::str::FromStr;

/// Defines the switches and both profiles: in `kubernetes` all are off, in `setkeeper` all are on.
macro_rules! switches {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// One switch per deviation (StatefulSet rules, section 18).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct Switches {
            $($(#[$doc])+ pub $name: bool,)+
        }

        impl Switches {
            /// Kubernetes 1.37 exactly, known defects included, in what is decided and in which order. Left out on purpose:
            /// - What only its API refuses does not occur: no quotas, no admission plug-ins, no refused deletion of a pod
            ///   (event `FailedDelete`).
            /// - When things happen is ours: a failed pass is repeated after 10 ms to 5 s, not 1000 s, and every set is
            ///   looked at again each minute, so that nothing waits for ever for an event that does not come.
            /// - `web-007` is never the pod of ordinal 7 (section 3.1): one pod per ordinal is what all else rests on.
            /// - A field that does not exist is refused, never dropped with a warning; and a claim template without a name is
            ///   told as that, not by the volume that it would have been (section 2.1).
            /// - Sizes have bounds (replicas, containers, templates), and suspicious manifests are warned of.
            pub const KUBERNETES: Self = Self { $($name: false,)+ };

            /// Every mend. The default.
            pub const SETKEEPER: Self = Self { $($name: true,)+ };
        }
    };
}

switches! {
    /// Replace pods of an outdated revision that are not healthy before waiting for them (section 17), and under Parallel no
    /// others beyond the budget: one that is ready and has yet to stay so serves somebody, where Kubernetes counts it as broken
    /// (section 8.4). One out of range that makes no headway holds up nobody either.
    heal_broken_pods,
    /// An update is complete only when its pods are available, not merely ready (section 10.3).
    promote_when_available,
    /// Scaling to 0 with a partition keeps the current revision (section 10.3).
    keep_current_at_zero,
    /// `currentReplicas` counts pods at the current revision, where Kubernetes subtracts one for every pod that an
    /// update deletes, whatever its revision (section 10.4).
    count_observed_pods,
    /// Where the status names no stored revision, the one that most pods carry is the current one, so that a set that
    /// is created again around running pods keeps its partition (section 5.3).
    current_from_pods,
    /// A pod out of range that is not healthy holds up no scale-down (section 7, rule C2: Kubernetes cannot scale a
    /// set whose pods crash to zero).
    remove_broken_condemned,
    /// The pod of an ordinal whose pods end again and again comes back after a growing delay (section 7.1).
    back_off_failed_pods,
    /// Pods of a set that were healthy together before start together where the lowest makes no headway alone: after a total
    /// outage, or a partial one.
    break_cold_start,
    /// A pod that has ended and is outdated is deleted once, where Kubernetes deletes it as the one and then, under Parallel,
    /// as the other, and tells both (sections 7, rule R1, and 8.2).
    delete_once,
    /// While revisions differ, members that an update may replace and that are missing within its budget come back together,
    /// where Kubernetes makes one after the other (section 8.5).
    recreate_together,
    /// A lost pod of a set without a `rollingUpdate` block comes back at the revision at which it stays, where Kubernetes
    /// creates it at the old one and, under Parallel, deletes it in the same pass (sections 8.4 and 9, scenario S-96).
    recreate_at_last_revision,
    /// A pod that cannot be created now counts as one that is missing, and nothing else: it leaves no claim behind, and a
    /// Parallel set goes on with all others. In Kubernetes a pass ends with it: after its batch under Parallel, at once
    /// under OrderedReady, with its claims made (sections 7 and 15, scenarios S-12 and S-13).
    isolate_refusals,
    /// An ordinal that is not available before its progress deadline is told, and reverts the update if the set says so.
    watch_progress,
    /// A claim that carries the labels of another set is not used (section 3.1).
    refuse_foreign_claims,
    /// A claim's reference to its condemned pod is withdrawn as soon as the pod is wanted again (section 11.3), and the
    /// claim is deleted only while it is not wanted; also while the set is being deleted, when Kubernetes looks at nothing
    /// any more (section 7, step 9).
    withdraw_claim_references,
    /// Labels and claims of every member are put right in each pass, where the walk of Kubernetes stops at the first pod
    /// that is not healthy, passes by those that have ended, and under Parallel comes to those that stop (section 7).
    visit_every_member,
    /// A set that is being deleted gets no new revision, and its status names those that it had, where Kubernetes goes on
    /// finding its update revision (section 7, step 9).
    freeze_revisions_of_deleted,
    /// A claim that is going, or waits to be collected, is a reason to wait and wakes its set, where Kubernetes fails or
    /// forgets (sections 7 and 15).
    wait_for_claims,
    /// A claim without a class takes a fitting volume without a class before it takes the default class (volume rules,
    /// section 2, scenario V-10).
    classless_before_default,
    /// A revision that nobody controls belongs to the set whose name it carries, where Kubernetes gives it to any set that
    /// selects its labels (section 4).
    adopt_revisions_by_name,
    /// The status has conditions, keeps those of others (section 10.2), and names the ordinal at which a partition lies
    /// (section 18).
    publish_conditions,
    /// What a set waits for is told as an event once it has waited for a while (section 14).
    tell_waits,
    /// Counters of the status that are zero are written like all others, where Kubernetes leaves out those of ready, current
    /// and updated pods (section 1.4).
    write_zero_counters,
    /// A revision that is current, wanted or carried by a pod cannot be deleted by hand (section 5.3).
    protect_revisions,
    /// A deletion that does not say how stops the pods in order before the set goes, where Kubernetes lets the set go at
    /// once and collects its pods in no order (section 12).
    delete_in_order,
    /// A name that no pod of the set could carry is refused (section 3.5).
    refuse_long_names,
}

/// A set of switches with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// Kubernetes 1.37 exactly, known defects included.
    Kubernetes,
    /// Every mend.
    #[default]
    Setkeeper,
}

impl Profile {
    /// What it switches on.
    #[must_use]
    pub fn switches(self) -> Switches {
        match self {
            Self::Kubernetes => Switches::KUBERNETES,
            Self::Setkeeper => Switches::SETKEEPER,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kubernetes => "kubernetes",
            Self::Setkeeper => "setkeeper",
        })
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        match text {
            "kubernetes" => Ok(Self::Kubernetes),
            "setkeeper" => Ok(Self::Setkeeper),
            _ => Err(UnknownProfile(text.to_owned())),
        }
    }
}

/// There is no such profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile {0:?}: write kubernetes or setkeeper")]
pub struct UnknownProfile(String);

impl Default for Switches {
    fn default() -> Self {
        Self::SETKEEPER
    }
}
