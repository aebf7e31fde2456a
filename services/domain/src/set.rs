//! What a StatefulSet's spec asks for, after defaulting and validation.

use crate::Ordinal;

/// Order of creation and deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PodManagementPolicy {
    /// One pod after another: each waits until its predecessors are available.
    #[default]
    OrderedReady,
    /// All at once.
    Parallel,
}

/// How a changed template reaches the pods.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UpdateStrategy {
    /// Pods are replaced from the highest ordinal down. Without the block another rule selects the revision of a
    /// re-created pod (StatefulSet rules, section 9), so its absence is kept.
    RollingUpdate(Option<RollingUpdate>),
    /// Pods are replaced when somebody deletes them.
    OnDelete,
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self::RollingUpdate(Some(RollingUpdate::default()))
    }
}

/// Bounds of a rolling update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RollingUpdate {
    /// How many of the lowest indices (ordinal - start) stay on the current revision.
    pub partition: u32,
    /// How many pods may be unavailable for the update's sake; absent means 1.
    pub max_unavailable: Option<IntOrPercent>,
}

/// A number, or a share of the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntOrPercent {
    /// A number, at least 0.
    Int(u32),
    /// Percent, 0 to 100.
    Percent(u32),
}

impl IntOrPercent {
    /// The number this means for `total` replicas, rounded down, at least 1 (StatefulSet rules, section 8.2).
    #[must_use]
    pub fn of(self, total: u32) -> u32 {
        let number = match self {
            Self::Int(number) => number,
            Self::Percent(percent) => u32::try_from(u64::from(total) * u64::from(percent) / 100).unwrap_or(u32::MAX),
        };
        number.max(1)
    }
}

/// What becomes of a claim when its reason to exist ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RetentionRule {
    /// The claim stays until somebody deletes it.
    #[default]
    Retain,
    /// The claim is deleted after the pod or set that owned it is gone.
    Delete,
}

/// `spec.persistentVolumeClaimRetentionPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RetentionPolicy {
    /// When the set is deleted.
    pub when_deleted: RetentionRule,
    /// When the set is scaled down.
    pub when_scaled: RetentionRule,
}

/// The part of a spec that the planners decide by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetSpec {
    /// Number of pods; 0 to 2^31 - 1.
    pub replicas: u32,
    /// First ordinal.
    pub start: Ordinal,
    /// Order of creation and deletion.
    pub policy: PodManagementPolicy,
    /// How template changes are rolled out.
    pub strategy: UpdateStrategy,
    /// Seconds of uninterrupted readiness until a pod counts as available.
    pub min_ready_seconds: u32,
    /// Kept revisions that no pod uses; negative keeps all.
    pub revision_history_limit: i32,
    /// What becomes of claims.
    pub retention: RetentionPolicy,
}

impl SetSpec {
    /// The ordinals the set should have, ascending. Ends at [`Ordinal::MAX`].
    pub fn ordinals(&self) -> impl DoubleEndedIterator<Item = Ordinal> + Clone + use<> {
        let end = u64::from(self.start.0) + u64::from(self.replicas);
        let end = end.min(u64::from(Ordinal::MAX.0) + 1);
        let end = u32::try_from(end).expect("at most 2^31");
        (self.start.0..end).map(Ordinal)
    }

    /// The last ordinal the set should have; none without replicas.
    #[must_use]
    pub fn last(&self) -> Option<Ordinal> {
        self.ordinals().next_back()
    }

    /// Whether the set should have this ordinal.
    #[must_use]
    pub fn contains(&self, ordinal: Ordinal) -> bool {
        ordinal >= self.start && u64::from(ordinal.0) < u64::from(self.start.0) + u64::from(self.replicas)
    }

    /// Position in the range: ordinal - start. Partitions count in it.
    #[must_use]
    pub fn index(&self, ordinal: Ordinal) -> u32 {
        ordinal.0.saturating_sub(self.start.0)
    }

    /// How many of the lowest indices a rolling update leaves alone; 0 without a block, or under OnDelete.
    #[must_use]
    pub fn partition(&self) -> u32 {
        match &self.strategy {
            UpdateStrategy::RollingUpdate(Some(block)) => block.partition,
            UpdateStrategy::RollingUpdate(None) | UpdateStrategy::OnDelete => 0,
        }
    }

    /// How many pods may be unavailable for the update's sake; at least 1.
    #[must_use]
    pub fn max_unavailable(&self) -> u32 {
        match &self.strategy {
            UpdateStrategy::RollingUpdate(Some(RollingUpdate { max_unavailable: Some(value), .. })) => {
                value.of(self.replicas)
            }
            UpdateStrategy::RollingUpdate(_) | UpdateStrategy::OnDelete => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_down_and_are_at_least_one() {
        for (percent, total, expected) in [(25, 10, 2), (34, 3, 1), (99, 100, 99), (10, 3, 1), (100, 3, 3)] {
            assert_eq!(IntOrPercent::Percent(percent).of(total), expected, "{percent}% of {total}");
        }
        assert_eq!(IntOrPercent::Int(7).of(3), 7);
    }

    #[test]
    fn range_follows_start_and_never_overflows() {
        let spec = SetSpec { replicas: 3, start: Ordinal(5), ..SetSpec::default() };
        assert_eq!(spec.ordinals().collect::<Vec<_>>(), [Ordinal(5), Ordinal(6), Ordinal(7)]);
        let far = SetSpec { replicas: u32::MAX, start: Ordinal::MAX, ..SetSpec::default() };
        assert_eq!(far.ordinals().count(), 1);
    }
}
