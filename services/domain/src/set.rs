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

/// What happens when a rollout makes no progress before its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeadlinePolicy {
    /// It is said, and the set stays as it is.
    #[default]
    Hold,
    /// The template goes back to the one of the current revision.
    Revert,
}

/// How long an ordinal may take, where the manifest does not say; the default of a Deployment. Seconds.
pub const PROGRESS_DEADLINE_SECONDS_DEFAULT: u32 = 600;

/// The part of a spec that the planners decide by.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Ordinals that are left out, ascending, each once. The range grows by as many as lie in it, so that the set has
    /// its number of pods and no other ordinal moves. Ours.
    pub reserved: Vec<Ordinal>,
    /// Whether updates stand still. Ours.
    pub paused: bool,
    /// Seconds an ordinal may take to become available; 0 for no deadline. Ours.
    pub progress_deadline_seconds: u32,
    /// What happens after them. Ours.
    pub progress_deadline_policy: DeadlinePolicy,
}

impl Default for SetSpec {
    fn default() -> Self {
        Self {
            replicas: 0,
            start: Ordinal::default(),
            policy: PodManagementPolicy::default(),
            strategy: UpdateStrategy::default(),
            min_ready_seconds: 0,
            revision_history_limit: 0,
            retention: RetentionPolicy::default(),
            reserved: Vec::new(),
            paused: false,
            progress_deadline_seconds: PROGRESS_DEADLINE_SECONDS_DEFAULT,
            progress_deadline_policy: DeadlinePolicy::default(),
        }
    }
}

impl SetSpec {
    /// The ordinals the set should have, ascending. Ends at [`Ordinal::MAX`].
    pub fn ordinals(&self) -> impl DoubleEndedIterator<Item = Ordinal> + Clone {
        let end = self.end().min(u64::from(Ordinal::MAX.0) + 1);
        let end = u32::try_from(end).expect("at most 2^31");
        (self.start.0..end).map(Ordinal).filter(|ordinal| !self.is_reserved(*ordinal))
    }

    /// How many ordinals the set should have: `replicas`, or fewer where the range would go beyond [`Ordinal::MAX`].
    #[must_use]
    pub fn size(&self) -> u32 {
        self.last().map_or(0, |last| self.index(last) + 1)
    }

    /// The last ordinal the set should have; none without replicas.
    #[must_use]
    pub fn last(&self) -> Option<Ordinal> {
        self.ordinals().next_back()
    }

    /// Whether the set should have this ordinal.
    #[must_use]
    pub fn contains(&self, ordinal: Ordinal) -> bool {
        ordinal >= self.start && self.index(ordinal) < self.replicas && !self.is_reserved(ordinal)
    }

    /// Position in the range: how many ordinals of the set are lower. Without reserved ones it is ordinal - start.
    /// Partitions count in it.
    #[must_use]
    pub fn index(&self, ordinal: Ordinal) -> u32 {
        let below = |bound: Ordinal| self.reserved.partition_point(|reserved| *reserved < bound);
        let left_out = below(ordinal).saturating_sub(below(self.start));
        ordinal.0.saturating_sub(self.start.0).saturating_sub(u32::try_from(left_out).unwrap_or(u32::MAX))
    }

    /// The ordinal at a position, whether the set has so many or not; may be beyond [`Ordinal::MAX`].
    #[must_use]
    pub fn ordinal_at(&self, index: u32) -> u64 {
        // Left-out ordinals ascend, and so does what the set has below each: those with no more than `index` are passed.
        let from = self.reserved.partition_point(|reserved| *reserved < self.start);
        let passed = self.reserved[from..].partition_point(|reserved| self.index(*reserved) <= index);
        u64::from(self.start.0) + u64::from(index) + passed as u64
    }

    /// Whether the ordinal is left out.
    #[must_use]
    pub fn is_reserved(&self, ordinal: Ordinal) -> bool {
        self.reserved.binary_search(&ordinal).is_ok()
    }

    /// Where ordinals begin, above `first` and up to `last`, that are treated otherwise than the one before: because they are
    /// in range and that is not, or the other way round, or because the partition ends there. Ascending, each once.
    pub(crate) fn bounds_within(&self, first: Ordinal, last: Ordinal) -> Vec<u64> {
        // One just below begins another at `first` itself: no bound.
        let from = self.reserved.partition_point(|reserved| *reserved < first);
        let until = self.reserved.partition_point(|reserved| *reserved <= last);
        let left_out = self.reserved[from..until].iter().map(|reserved| u64::from(reserved.0));
        let left_out = left_out.flat_map(|reserved| [reserved, reserved + 1]);
        let range = [u64::from(self.start.0), self.end(), self.ordinal_at(self.partition())];
        let mut bounds: Vec<u64> = left_out.chain(range).collect();
        bounds.retain(|bound| u64::from(first.0) < *bound && *bound <= u64::from(last.0));
        bounds.sort_unstable();
        bounds.dedup();
        bounds
    }

    /// The first ordinal above the range.
    fn end(&self) -> u64 {
        self.replicas.checked_sub(1).map_or(u64::from(self.start.0), |last| self.ordinal_at(last) + 1)
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
        assert_eq!((far.size(), far.last()), (1, Some(Ordinal::MAX)));
    }

    #[test]
    fn reserved_ordinals_are_left_out_and_move_nobody() {
        let of = |replicas, start, reserved: &[u32]| {
            let reserved = reserved.iter().copied().map(Ordinal).collect();
            SetSpec { replicas, start: Ordinal(start), reserved, ..SetSpec::default() }
        };
        for (replicas, start, reserved, expected) in [
            (3, 0, &[][..], &[0, 1, 2][..]),
            (3, 0, &[1], &[0, 2, 3]),
            (3, 0, &[0, 1, 2], &[3, 4, 5]),
            (3, 0, &[3], &[0, 1, 2]),
            (2, 0, &[1, 2], &[0, 3]),
            (3, 5, &[0, 1, 6], &[5, 7, 8]),
            (0, 0, &[0], &[]),
        ] {
            let spec = of(replicas, start, reserved);
            let ordinals: Vec<u32> = spec.ordinals().map(|ordinal| ordinal.0).collect();
            assert_eq!(ordinals, expected, "{replicas} from {start} without {reserved:?}");
            assert_eq!(spec.size(), replicas);
            assert_eq!(spec.last().map(|last| last.0), expected.last().copied());
            for (index, ordinal) in (0..).zip(expected) {
                assert_eq!((spec.index(Ordinal(*ordinal)), spec.ordinal_at(index)), (index, u64::from(*ordinal)));
            }
            let contained: Vec<u32> = (0..20).filter(|ordinal| spec.contains(Ordinal(*ordinal))).collect();
            assert_eq!(contained, expected);
        }
    }
    /// Against counting one by one, for every choice of left-out ordinals among the first eight.
    #[test]
    fn the_ordinal_at_a_position_is_the_one_that_counting_finds() {
        for (left_out, start) in (0..256_u32).flat_map(|left_out| [0, 1, 3].map(|start| (left_out, start))) {
            let reserved: Vec<_> = (0..8).filter(|ordinal| left_out & (1 << ordinal) != 0).map(Ordinal).collect();
            let spec = SetSpec { start: Ordinal(start), reserved, ..SetSpec::default() };
            let counted = (start..).filter(|ordinal| !spec.is_reserved(Ordinal(*ordinal)));
            for (index, ordinal) in (0..12).zip(counted) {
                assert_eq!(spec.ordinal_at(index), u64::from(ordinal), "{index} from {start} without {left_out:#b}");
            }
        }
    }
}
