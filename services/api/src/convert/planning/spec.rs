//! The spec.

use domain::{
    DeadlinePolicy, IntOrPercent, Ordinal, PodManagementPolicy, RetentionPolicy, RetentionRule, RollingUpdate, SetSpec,
    UpdateStrategy,
};

use super::ordinal;
use crate::convert::Violations;
use crate::proto::planning::v1 as proto;
use crate::proto::planning::v1::rolling_update::MaxUnavailable;

/// The highest value of the counts that manifests write as signed 32-bit numbers.
const COUNT_MAX: u32 = i32::MAX as u32;

fn count(violations: &mut Violations, field: &str, number: u32) -> u32 {
    violations.require(number <= COUNT_MAX, field, "must be at most 2147483647");
    number
}

impl From<PodManagementPolicy> for proto::PodManagementPolicy {
    fn from(policy: PodManagementPolicy) -> Self {
        match policy {
            PodManagementPolicy::OrderedReady => Self::OrderedReady,
            PodManagementPolicy::Parallel => Self::Parallel,
        }
    }
}

impl TryFrom<proto::PodManagementPolicy> for PodManagementPolicy {
    type Error = Violations;

    fn try_from(policy: proto::PodManagementPolicy) -> Result<Self, Violations> {
        match policy {
            proto::PodManagementPolicy::Unspecified => Err(Violations::of("", "is required")),
            proto::PodManagementPolicy::OrderedReady => Ok(Self::OrderedReady),
            proto::PodManagementPolicy::Parallel => Ok(Self::Parallel),
        }
    }
}

impl From<RetentionRule> for proto::RetentionRule {
    fn from(rule: RetentionRule) -> Self {
        match rule {
            RetentionRule::Retain => Self::Retain,
            RetentionRule::Delete => Self::Delete,
        }
    }
}

impl TryFrom<proto::RetentionRule> for RetentionRule {
    type Error = Violations;

    fn try_from(rule: proto::RetentionRule) -> Result<Self, Violations> {
        match rule {
            proto::RetentionRule::Unspecified => Err(Violations::of("", "is required")),
            proto::RetentionRule::Retain => Ok(Self::Retain),
            proto::RetentionRule::Delete => Ok(Self::Delete),
        }
    }
}

impl From<DeadlinePolicy> for proto::DeadlinePolicy {
    fn from(policy: DeadlinePolicy) -> Self {
        match policy {
            DeadlinePolicy::Hold => Self::Hold,
            DeadlinePolicy::Revert => Self::Revert,
        }
    }
}

impl TryFrom<proto::DeadlinePolicy> for DeadlinePolicy {
    type Error = Violations;

    fn try_from(policy: proto::DeadlinePolicy) -> Result<Self, Violations> {
        match policy {
            proto::DeadlinePolicy::Unspecified => Err(Violations::of("", "is required")),
            proto::DeadlinePolicy::Hold => Ok(Self::Hold),
            proto::DeadlinePolicy::Revert => Ok(Self::Revert),
        }
    }
}

impl From<RollingUpdate> for proto::RollingUpdate {
    fn from(block: RollingUpdate) -> Self {
        let max_unavailable = block.max_unavailable.map(|value| match value {
            IntOrPercent::Int(number) => MaxUnavailable::Number(number),
            IntOrPercent::Percent(percent) => MaxUnavailable::Percent(percent),
        });
        Self { partition: block.partition, max_unavailable }
    }
}

impl TryFrom<proto::RollingUpdate> for RollingUpdate {
    type Error = Violations;

    fn try_from(block: proto::RollingUpdate) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let partition = count(&mut violations, "partition", block.partition);
        let max_unavailable = block.max_unavailable.map(|value| match value {
            MaxUnavailable::Number(number) => IntOrPercent::Int(count(&mut violations, "number", number)),
            MaxUnavailable::Percent(percent) => {
                violations.require(percent <= 100, "percent", "must not be greater than 100");
                IntOrPercent::Percent(percent)
            }
        });
        violations.finish(Some(Self { partition, max_unavailable }))
    }
}

impl From<SetSpec> for proto::SetSpec {
    fn from(spec: SetSpec) -> Self {
        let (strategy, rolling_update) = match spec.strategy {
            UpdateStrategy::RollingUpdate(block) => (proto::UpdateStrategy::RollingUpdate, block),
            UpdateStrategy::OnDelete => (proto::UpdateStrategy::OnDelete, None),
        };
        Self {
            replicas: spec.replicas,
            start: spec.start.0,
            policy: proto::PodManagementPolicy::from(spec.policy).into(),
            strategy: strategy.into(),
            rolling_update: rolling_update.map(Into::into),
            min_ready_seconds: spec.min_ready_seconds,
            revision_history_limit: spec.revision_history_limit,
            when_deleted: proto::RetentionRule::from(spec.retention.when_deleted).into(),
            when_scaled: proto::RetentionRule::from(spec.retention.when_scaled).into(),
            reserved: spec.reserved.into_iter().map(|ordinal| ordinal.0).collect(),
            paused: spec.paused,
            progress_deadline_seconds: spec.progress_deadline_seconds,
            progress_deadline_policy: proto::DeadlinePolicy::from(spec.progress_deadline_policy).into(),
        }
    }
}

impl TryFrom<proto::SetSpec> for SetSpec {
    type Error = Violations;

    fn try_from(spec: proto::SetSpec) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let replicas = count(&mut violations, "replicas", spec.replicas);
        let start = Ordinal(count(&mut violations, "start", spec.start));
        let policy = violations.enumeration::<proto::PodManagementPolicy, _>("policy", spec.policy);
        let strategy = strategy(&mut violations, spec.strategy, spec.rolling_update);
        let when_deleted = violations.enumeration::<proto::RetentionRule, _>("when_deleted", spec.when_deleted);
        let when_scaled = violations.enumeration::<proto::RetentionRule, _>("when_scaled", spec.when_scaled);
        let ascending = spec.reserved.is_sorted_by(|a, b| a < b);
        violations.require(ascending, "reserved", "must ascend, each ordinal once");
        let reserved = spec.reserved.iter().map(|number| ordinal(&mut violations, "reserved", *number)).collect();
        let deadline_policy = spec.progress_deadline_policy;
        let deadline_policy =
            violations.enumeration::<proto::DeadlinePolicy, _>("progress_deadline_policy", deadline_policy);
        let whole = policy.zip(strategy).zip(when_deleted.zip(when_scaled)).zip(deadline_policy);
        violations.finish(whole.map(|(((policy, strategy), (when_deleted, when_scaled)), deadline_policy)| Self {
            replicas,
            start,
            policy,
            strategy,
            min_ready_seconds: spec.min_ready_seconds,
            revision_history_limit: spec.revision_history_limit,
            retention: RetentionPolicy { when_deleted, when_scaled },
            reserved,
            paused: spec.paused,
            progress_deadline_seconds: spec.progress_deadline_seconds,
            progress_deadline_policy: deadline_policy,
        }))
    }
}

fn strategy(violations: &mut Violations, number: i32, block: Option<proto::RollingUpdate>) -> Option<UpdateStrategy> {
    let has_block = block.is_some();
    let block = violations.optional("rolling_update", block);
    match proto::UpdateStrategy::try_from(number) {
        Ok(proto::UpdateStrategy::RollingUpdate) => Some(UpdateStrategy::RollingUpdate(block)),
        Ok(proto::UpdateStrategy::OnDelete) => {
            violations.require(!has_block, "rolling_update", "only allowed for UPDATE_STRATEGY_ROLLING_UPDATE");
            Some(UpdateStrategy::OnDelete)
        }
        Ok(proto::UpdateStrategy::Unspecified) => {
            violations.add("strategy", "is required");
            None
        }
        Err(_) => {
            violations.add("strategy", format!("unknown value {number}"));
            None
        }
    }
}
