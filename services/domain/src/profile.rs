//! Where Setkeeper does better than Kubernetes, as switches. A rule asks one switch, never for a profile's name.

/// One switch per deviation (StatefulSet rules, section 18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Switches {
    /// Replace pods of an outdated revision that are not healthy before waiting for them (section 17).
    pub heal_broken_pods: bool,
    /// An update is complete only when its pods are available, not merely ready.
    pub promote_when_available: bool,
    /// Scaling to 0 with a partition keeps the current revision.
    pub keep_current_at_zero: bool,
    /// `currentReplicas` counts pods at the current revision, where Kubernetes subtracts one for every pod that an
    /// update deletes, whatever its revision (section 10.4).
    pub count_observed_pods: bool,
    /// Where the status names no stored revision, the one that most pods carry is the current one, so that a set that
    /// is created again around running pods keeps its partition (section 5.3).
    pub current_from_pods: bool,
}

impl Switches {
    /// Kubernetes 1.37 exactly, known defects included.
    pub const KUBERNETES: Self = Self {
        heal_broken_pods: false,
        promote_when_available: false,
        keep_current_at_zero: false,
        count_observed_pods: false,
        current_from_pods: false,
    };

    /// Every mend. The default.
    pub const SETKEEPER: Self = Self {
        heal_broken_pods: true,
        promote_when_available: true,
        keep_current_at_zero: true,
        count_observed_pods: true,
        current_from_pods: true,
    };
}

impl Default for Switches {
    fn default() -> Self {
        Self::SETKEEPER
    }
}
