//! One pod on its way through the phases of a rollout.

use domain::Timestamp;
use service_kit::telemetry::{PastSpan, SpanAddress};

use crate::objects::{condition, time};
use crate::pods::read::phase;
use crate::store::StoreRevision;
use crate::world::Object;

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Its claims are being bound, and a machine found.
    Volume,
    /// Its machine starts its containers.
    Start,
    /// Its containers run; it is not ready.
    Ready,
    /// It is ready and has to stay so.
    Soak,
    /// It is available: nothing of it is followed until it is deleted.
    Available,
    /// It was asked to go; its names are withdrawn.
    Drain,
    /// Its machine stops it.
    Stop,
}

impl Phase {
    /// The name of its span; none where there is nothing to tell.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Volume => Some("volume"),
            Self::Start => Some("start"),
            Self::Ready => Some("ready"),
            Self::Soak => Some("soak"),
            Self::Available => None,
            Self::Drain => Some("drain"),
            Self::Stop => Some("stop"),
        }
    }

    pub(super) fn next(self) -> Self {
        match self {
            Self::Volume => Self::Start,
            Self::Start => Self::Ready,
            Self::Ready => Self::Soak,
            Self::Soak | Self::Available => Self::Available,
            Self::Drain | Self::Stop => Self::Stop,
        }
    }

    /// How far a stored pod is. Availability is a matter of time and is not in it.
    pub(super) fn of(pod: &Object) -> Self {
        let is_true =
            |kind| condition(&pod.value, kind).is_some_and(|found| found.get("status") == Some(&"True".into()));
        if pod.deleting() {
            Self::Drain
        } else if is_true("Ready") {
            Self::Soak
        } else if phase(pod) == domain::Phase::Running {
            Self::Ready
        } else if !pod.text("/spec/nodeName").is_empty() {
            Self::Start
        } else {
            Self::Volume
        }
    }
}

/// One pod in the rollout of its set.
#[derive(Debug)]
pub(super) struct Incarnation {
    pub(super) set: String,
    pub(super) name: String,
    /// Of its ordinal.
    pub(super) place: SpanAddress,
    pub(super) phase: Phase,
    pub(super) since: Timestamp,
    /// When it will have been ready for long enough, while it soaks.
    pub(super) available_at: Option<Timestamp>,
    /// The revision at which it was asked to go: drained once names are served as of it.
    pub(super) withdrawn_at: Option<StoreRevision>,
    /// What keeps it, where its machine says so.
    pub(super) trouble: Option<String>,
}

impl Incarnation {
    /// The span of the phase that ends now, if there is one to tell.
    pub(super) fn span(&self, uid: &str, end: Timestamp, error: Option<&str>) -> Option<PastSpan> {
        let name = self.phase.name()?;
        let mut attributes = vec![("k8s.pod.name", self.name.clone()), ("k8s.pod.uid", uid.to_owned())];
        attributes.extend(self.trouble.clone().map(|trouble| ("setkeeper.wait.reason", trouble)));
        Some(PastSpan {
            name: name.into(),
            address: self.place.below(&format!("{uid}/{name}/{}", self.since.0)),
            parent: Some(self.place),
            start: self.since,
            end,
            attributes,
            error: error.map(ToOwned::to_owned),
        })
    }
}

/// When a condition of a pod became what it is.
pub(super) fn moment(pod: &Object, kind: &str) -> Option<Timestamp> {
    condition(&pod.value, kind)?.get("lastTransitionTime")?.as_str().and_then(time)
}
