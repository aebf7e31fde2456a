//! Historical bugs that can be put in, to show that each would be found.
//!
//! The product's rules stay clean: a mutant stands between the coordinator and the real planners and distorts what they
//! see or what they say (`planners`, `claims`, `candidates`), or weakens the executor or the collector, or is a switch turned off
//! where the bug is exactly one switch. [`crate::caught`] says by what each is caught.

mod candidates;
mod claims;
mod planners;

use domain::Switches;

/// Defines the mutants, with their numbers in the reliability rules.
macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal,)+) => {
        /// One bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Mutant {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its number, such as `B4`.
            #[must_use]
            pub fn number(self) -> &'static str {
                match self {
                    $(Self::$name => $number,)+
                }
            }
        }
    };
}

mutants! {
    /// The executor deletes pods by name, whichever incarnation that is, as Kubernetes does.
    DeleteByName = "M-A",
    /// The executor checks uids, and nothing else that a plan rests on.
    UnguardedWrites = "M-B",
    /// A claim is deleted because its owner is gone, whatever the set wants by then.
    CollectorAsksNobody = "M-C",
    /// Under OnDelete pods are updated one after another all the same.
    OnDeleteRolls = "M-D",
    /// Labels make a member, whoever controls the pod.
    LabelsDecide = "M-E",
    /// Pods are created although somebody has their name.
    TakenNamesIgnored = "M-F",
    /// kubernetes/kubernetes 67250, 60164, zookeeper-operator 547: a bad template is corrected, and its pod waited for.
    NeverHeals = "B4",
    /// kubernetes/kubernetes 137409, 137666: broken old pods use up the budget of the update that would mend them.
    BrokenPodsSpendTheBudget = "B5",
    /// kubernetes/kubernetes 119685: a pod below the partition comes back on the new revision.
    PartitionForgottenOnCreation = "B6",
    /// kubernetes/kubernetes 121534: scaled to 0 and up again, the low ordinals get the new revision.
    ForgetsCurrentAtZero = "B7",
    /// kubernetes/kubernetes 128529: the partition is taken for an ordinal where it is an index.
    PartitionAsOrdinal = "B8",
    /// kubernetes/kubernetes 70442: a pod lost during a rollout comes back on the old revision.
    LostPodComesBackOld = "B9",
    /// kubernetes/kubernetes 134773, 135017: an upgrade writes templates in another form, and every set rolls.
    TemplateReserialised = "B11",
    /// kubernetes/kubernetes 56355, 80698: revisions are created before the stored ones have been read.
    RevisionsUnread = "B12",
    /// kubernetes/kubernetes 61998, 58347: of equal revisions another is taken each time, and pods roll for ever.
    OldestRevisionIsNewest = "B13",
    /// kubernetes/kubernetes 73492: under OnDelete the current revision never advances.
    OnDeleteNeverPromotes = "B14",
    /// kubernetes/kubernetes 136831: an update is complete before `minReadySeconds` have passed.
    PromotesWhenReady = "B15",
    /// kubernetes/kubernetes 112307, 112066: `minReadySeconds` does not count in an update.
    MinReadyIgnored = "B16",
    /// kubernetes/kubernetes 123918: nobody looks again when a pod has become available by the passing of time.
    NeverLooksAgain = "B17",
    /// kubernetes/kubernetes 38418: only the next ordinal is ever created, a lost lower one is not.
    OnlyGrowsUpwards = "B18",
    /// kubernetes/kubernetes 44229, 44730: a successor starts while its predecessor terminates.
    SuccessorOfTerminating = "B19",
    /// kubernetes/kubernetes 57865: a set whose pods crash cannot be scaled down.
    BrokenPodsHoldScaleDown = "B20",
    /// kubernetes/kubernetes 118310, 121389, 124065: a pod that ended with 0 stays `Completed` for ever.
    SucceededPodsStay = "B21",
    /// kubernetes/kubernetes 89067: a pod that is refused again and again is made again without a pause.
    NoBackOff = "B22",
    /// kubernetes/kubernetes 74374, 83282, 93457: a pod is made while its claim goes, and waits for it for ever.
    ClaimWaitsIgnored = "B23",
    /// kubernetes/kubernetes 41153: the claim names of two sets meet, and the pod runs on the data of the other.
    ForeignClaimsShared = "B24",
    /// kubernetes/kubernetes 141094, 141906: `web-01` is taken for ordinal 1.
    LeadingZeros = "B26",
    /// kubernetes/kubernetes 126919: owners of claims are not changed, and pods are deleted all the same.
    OwnersNotChanged = "B28",
    /// kubernetes/kubernetes 54368, 74947, 31762: a machine that does not answer is taken for dead, and its pods for gone.
    SilenceIsDeath = "B29",
    /// Kruise 1480, 879, 196: the budget does not see that low ordinals are unavailable.
    BudgetIgnoresLowOrdinals = "B30",
    /// Kruise 2109: a pod that does not stop holds up every higher ordinal of a Parallel set.
    TerminatingPodHoldsParallel = "B31",
    /// Kruise 746: an unused reserved ordinal counts, and removing it would change the number of pods.
    ReservedOrdinalsAddReplicas = "B32",
    /// Kruise 1530, 1531: with reserved ordinals the claims of members are handed over as if they were out of range.
    ClaimRangeIgnoresReserved = "B33",
    /// Kruise 1134: with every pod unavailable a corrected template is never applied.
    OutageStopsUpdates = "B34",
    /// Kruise 1099, 313: the name of a terminating pod is used again before it is gone.
    NameReusedTooEarly = "B35",
    /// rabbitmq/cluster-operator 653: a decision about a spec that is no longer so is carried out.
    StaleSpec = "B37",
    /// zookeeper-operator 314: scaled down and up again, a live pod's claim is deleted.
    ClaimsNeverTakenBack = "B39",
    /// instaclustr/cassandra-operator 398: the collector acts on events, and one is missed.
    CollectorMissesEvents = "B40",
    /// instaclustr/cassandra-operator 402, 404, 407: the collector has a stale list of pods.
    CollectorIsStale = "B41",
    /// instaclustr/cassandra-operator 410: scaled up again half-way, a member stays on its way out.
    MemberStaysDecommissioned = "B42",
    /// k8ssandra/cass-operator 973: a list that could not be read counts as empty, and claims are deleted.
    UnknownIsGone = "B44",
    /// zookeeper-operator 513, 517: a pod is made on the claim of a former one, which is going.
    BootsOnOldClaim = "B45",
    /// opensearch-k8s-operator 1471: the budget is computed from a cache older than the last deletion.
    BudgetFromStaleCache = "B46",
    /// Anvil 702, 648: zero replicas create a pod that nobody asked for.
    ZeroMeansOne = "B48",
    /// Altinity clickhouse-operator 1995: success is reported although pods are missing.
    ReportsWhatIsWanted = "B50",
}

/// Bugs that cannot be put in here, and why; with the mutant of the simulation that stands for one, where there is one.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("B1", "a machine starts a pod: the planners never do; MachineTrustsCache in tests/simulation"),
    ("B2", "two passes of one machine's agent"),
    ("B3", "a restart of the machine's agent"),
    ("B10", "pods are built by the coordinator: MixedTemplates in tests/simulation"),
    ("B25", "a rule of admission: the planners are given valid names"),
    ("B27", "who is a member is decided before the planners are asked: OrphansGoUnseen in tests/simulation"),
    ("B36", "the planners are shown one set, with its own mark: MarkOutlivesItsSet in tests/simulation"),
    ("B38", "claims grow by an operation of their own: TornResize in tests/simulation"),
    ("B43", "the planners keep nothing in memory: PhaseBeforeCommit in tests/simulation"),
    ("B47", "no planner writes labels of objects that exist"),
    ("B49", "no planner edits a pod in place: EditedInPlace in tests/simulation"),
    ("B51", "reconnecting machines"),
    ("B52", "durability of the store: DiskLies in tests/simulation"),
];

impl Mutant {
    /// The switches that the planners see with this bug.
    #[must_use]
    pub(crate) fn switches(self, switches: Switches) -> Switches {
        match self {
            Self::NeverHeals => Switches { heal_broken_pods: false, ..switches },
            Self::ForgetsCurrentAtZero => Switches { keep_current_at_zero: false, ..switches },
            Self::PromotesWhenReady => Switches { promote_when_available: false, ..switches },
            Self::BrokenPodsHoldScaleDown => Switches { remove_broken_condemned: false, ..switches },
            Self::NoBackOff => Switches { back_off_failed_pods: false, ..switches },
            Self::ForeignClaimsShared => Switches { refuse_foreign_claims: false, ..switches },
            Self::ClaimsNeverTakenBack => Switches { withdraw_claim_references: false, ..switches },
            _ => switches,
        }
    }
}
