//! Calls of people whose effect is counted: however often one is interrupted and made again, it is done once (S17).

use std::sync::Arc;

use api::proto::coordinator::v1::pod_service_client::PodServiceClient;
use api::proto::coordinator::v1::stateful_set_service_client::StatefulSetServiceClient;
use api::proto::coordinator::v1::{
    ApplyPodRequest, ApplyStatefulSetRequest, DeletePodRequest, DeleteStatefulSetRequest, GetPodRequest,
    GetStatefulSetRequest, PauseStatefulSetRequest, RestartStatefulSetRequest, ResumeStatefulSetRequest,
    ScaleStatefulSetRequest, UndoStatefulSetRequest,
};
use oracles::Violation;
use serde_json::Value;
use service_kit::Channel;
use tonic::{Code, Status};

use crate::place::Place;
use crate::user::{RETRY, indeterminate};

/// An annotation that people give a pod.
const MARK: &str = "example.com/marked";

/// A call that has its method to itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Counted {
    /// `StatefulSetService.Apply`.
    Apply(Value),
    /// `StatefulSetService.Scale`.
    Scale(i32),
    /// `StatefulSetService.Restart`, which is not idempotent: whoever repeats it looks first, and says which version it saw.
    Restart,
    /// `StatefulSetService.Undo`, to the revision of this number: repeated like a restart, because the revision has another
    /// number as soon as it is the present one again.
    Undo(i64),
    /// `StatefulSetService.Pause`.
    Pause,
    /// `StatefulSetService.Resume`.
    Resume,
    /// `StatefulSetService.Delete`; returns when the set is gone.
    Delete,
    /// `PodService.Apply`: marks the pod of this ordinal.
    MarkPod(u32),
    /// `PodService.Delete` of the pod of this ordinal, by its uid.
    DeletePod(u32),
}

impl Counted {
    /// By how much it raises the generation of the set.
    fn generations(&self) -> u64 {
        match self {
            Self::Apply(_) | Self::Scale(_) | Self::Restart | Self::Undo(_) => 1,
            // In `apps/v1` a pause is an annotation.
            Self::Pause | Self::Resume | Self::Delete | Self::MarkPod(_) | Self::DeletePod(_) => 0,
        }
    }
}

/// Makes counted calls about one set.
pub struct Counter {
    place: Arc<Place>,
    name: String,
    sets: StatefulSetServiceClient<Channel>,
    pods: PodServiceClient<Channel>,
}

impl Counter {
    /// People who count.
    #[must_use]
    pub fn new(place: Arc<Place>, channel: Channel, name: &str) -> Self {
        let sets = StatefulSetServiceClient::new(channel.clone());
        Self { place, name: name.to_owned(), sets, pods: PodServiceClient::new(channel) }
    }

    /// Makes a call until it is done, and counts. Whoever was interrupted counts from where it began.
    ///
    /// # Errors
    /// There is no such set.
    pub async fn make(&self, call: &Counted) -> Result<(), Status> {
        let before = match self.place.lab.counted_from() {
            Some(before) => before,
            None => {
                let before = self.generation().await?;
                self.place.lab.count_from(Some(before));
                before
            }
        };
        loop {
            match self.once(call, before).await {
                Ok(()) => break,
                Err(status) if indeterminate(status.code()) => tokio::time::sleep(RETRY).await,
                Err(status) => {
                    let how = format!("{call:?} is refused when it is made again: {}", status.message());
                    self.place.lab.violated(Violation { rule: "S17", how });
                    break;
                }
            }
        }
        if *call != Counted::Delete {
            let (after, expected) = (self.generation().await?, before + call.generations());
            if after != expected {
                let how = format!("after {call:?} the generation is {after}, not {expected}");
                self.place.lab.violated(Violation { rule: "S17", how });
            }
        }
        self.place.lab.count_from(None);
        Ok(())
    }

    async fn once(&self, call: &Counted, before: u64) -> Result<(), Status> {
        let (mut sets, mut pods, name) = (self.sets.clone(), self.pods.clone(), self.name.clone());
        match call {
            Counted::Apply(set) => {
                let stateful_set = Some(api::object::to_struct(set));
                sets.apply(ApplyStatefulSetRequest { stateful_set, ..Default::default() }).await.map(drop)
            }
            Counted::Scale(replicas) => {
                let request = ScaleStatefulSetRequest { name, replicas: *replicas, ..Default::default() };
                sets.scale(request).await.map(drop)
            }
            Counted::Restart => {
                let set = self.set().await?;
                if generation(&set) > before {
                    return Ok(());
                }
                let resource_version = oracles::text(&set, "/metadata/resourceVersion").to_owned();
                let request = RestartStatefulSetRequest { name, resource_version, ..Default::default() };
                sets.restart(request).await.map(drop)
            }
            Counted::Undo(to_revision) => {
                if self.generation().await? > before {
                    return Ok(());
                }
                let request = UndoStatefulSetRequest { name, to_revision: *to_revision, ..Default::default() };
                sets.undo(request).await.map(drop)
            }
            Counted::Pause => sets.pause(PauseStatefulSetRequest { name, ..Default::default() }).await.map(drop),
            Counted::Resume => sets.resume(ResumeStatefulSetRequest { name, ..Default::default() }).await.map(drop),
            Counted::Delete => {
                match sets.delete(DeleteStatefulSetRequest { name, ..Default::default() }).await {
                    Err(status) if status.code() == Code::NotFound => return Ok(()),
                    answer => answer?,
                };
                Err(Status::unavailable("it is going"))
            }
            Counted::MarkPod(ordinal) => {
                let mut pod = self.pod(*ordinal).await?;
                pod["metadata"]["annotations"][MARK] = "yes".into();
                let request = ApplyPodRequest { pod: Some(api::object::to_struct(&pod)), ..Default::default() };
                pods.apply(request).await.map(drop)
            }
            Counted::DeletePod(ordinal) => {
                let uid = oracles::text(&self.pod(*ordinal).await?, "/metadata/uid").to_owned();
                self.place.lab.people_delete(&uid);
                let name = format!("{name}-{ordinal}");
                pods.delete(DeletePodRequest { name, uid, ..Default::default() }).await.map(drop)
            }
        }
    }

    async fn generation(&self) -> Result<u64, Status> {
        loop {
            match self.set().await {
                Ok(set) => return Ok(generation(&set)),
                Err(status) if indeterminate(status.code()) => tokio::time::sleep(RETRY).await,
                Err(status) => return Err(status),
            }
        }
    }

    async fn set(&self) -> Result<Value, Status> {
        let request = GetStatefulSetRequest { name: self.name.clone(), ..Default::default() };
        let found = self.sets.clone().get(request).await?.into_inner().stateful_set;
        Ok(found.map(api::object::from_struct).unwrap_or_default())
    }

    /// The pod of an ordinal; whoever finds none waits for it.
    async fn pod(&self, ordinal: u32) -> Result<Value, Status> {
        let request = GetPodRequest { name: format!("{}-{ordinal}", self.name), ..Default::default() };
        match self.pods.clone().get(request).await {
            Err(status) if status.code() == Code::NotFound => Err(Status::unavailable("it is not there yet")),
            found => Ok(found?.into_inner().pod.map(api::object::from_struct).unwrap_or_default()),
        }
    }
}

fn generation(set: &Value) -> u64 {
    set.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or_default()
}
