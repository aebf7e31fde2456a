//! People: edits of sets through the public API, at any moment, repeated until they are heard.

mod by_hand;

use std::sync::Arc;
use std::time::Duration;

use api::proto::coordinator::v1::object_service_client::ObjectServiceClient;
use api::proto::coordinator::v1::stateful_set_service_client::StatefulSetServiceClient;
use api::proto::coordinator::v1::{ApplyRequest, DeleteRequest, GetRequest, GetResponse, ScaleStatefulSetRequest};
use serde_json::Value;
use service_kit::{Channel, Context, Role, Target};
use tonic::{Code, Request, Status};

use crate::once::{Counted, Counter};
use crate::place::Place;

/// Pause after a failed call.
pub(crate) const RETRY: Duration = Duration::from_millis(200);

/// Namespace of everything.
pub const NAMESPACE: &str = "default";

/// Something that people do.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Applies objects.
    Apply(Vec<Value>),
    /// Scales a set.
    Scale {
        /// Which.
        set: String,
        /// How many pods.
        replicas: i32,
    },
    /// Deletes a set, and waits until it is gone.
    DeleteSet {
        /// Which.
        set: String,
        /// How its pods go, such as `foreground`; empty is the usual way.
        cascade: String,
    },
    /// Deletes a pod, if it is there.
    DeletePod {
        /// Which.
        pod: String,
    },
    /// Applies a set. Where another of its name is in the way that cannot become it, that goes first.
    Insist {
        /// Its name.
        set: String,
        /// It, and what belongs to it.
        objects: Vec<Value>,
    },
    /// Deletes the pods of a set's names that nobody controls.
    DeleteOrphans {
        /// The set that has the names.
        set: String,
    },
    /// Makes a claim larger, if it is there.
    GrowClaim {
        /// Which.
        claim: String,
        /// How large it is to be, in MiB.
        mebibytes: u64,
    },
    /// A call whose effect on a set is counted.
    Counted {
        /// Which set.
        set: String,
        /// The call.
        call: Counted,
    },
    /// A call with a deadline that it cannot keep, and one without sense.
    Impatient {
        /// What is applied.
        objects: Vec<Value>,
        /// The deadline.
        deadline: Duration,
    },
}

/// People, at their terminal.
pub struct User {
    place: Arc<Place>,
    channel: Channel,
    objects: ObjectServiceClient<Channel>,
    sets: StatefulSetServiceClient<Channel>,
}

impl User {
    /// People who sit down.
    #[must_use]
    pub fn new(place: Arc<Place>, context: &Context) -> Self {
        let channel = context.connect(Role::Coordinator, &Target::Tcp("coordinator:7700".to_owned()), None);
        let objects = service_kit::sized_client!(ObjectServiceClient::new(channel.clone()));
        Self { place, objects, sets: StatefulSetServiceClient::new(channel.clone()), channel }
    }

    /// Does what there is to do, for ever.
    pub async fn run(self) {
        loop {
            match self.place.lab.next_edit() {
                Some(edit) => {
                    let what = self.carry_out(edit).await;
                    self.place.lab.edited(&what);
                }
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn carry_out(&self, edit: Edit) -> String {
        let what = match &edit {
            Edit::Apply(objects) | Edit::Insist { objects, .. } => format!("user applied {}", summary(objects)),
            Edit::Impatient { objects, deadline } => format!("user applied {} within {deadline:?}", summary(objects)),
            other => format!("user: {other:?}"),
        };
        loop {
            let done = match &edit {
                Edit::Apply(objects) => self.apply(objects, None).await,
                Edit::Impatient { objects, deadline } => {
                    let _whatever = self.apply(objects, Some(*deadline)).await;
                    return what;
                }
                Edit::Counted { set, call } => {
                    Counter::new(self.place.clone(), self.channel.clone(), set).make(call).await
                }
                Edit::Scale { set, replicas } => self.scale(set, *replicas).await,
                Edit::DeleteSet { set, cascade } => self.delete_set(set, cascade).await,
                Edit::DeletePod { pod } => {
                    let _may_be_gone = self.delete_pod(pod).await;
                    return what;
                }
                Edit::Insist { set, objects } => self.insist(set, objects).await,
                Edit::DeleteOrphans { set } => self.delete_orphans(set).await,
                Edit::GrowClaim { claim, mebibytes } => self.grow_claim(claim, *mebibytes).await,
            };
            match done {
                Ok(()) => return what,
                // Nobody knows whether it was done: once more is safe.
                Err(status) if indeterminate(status.code()) => {}
                // Deleted by a request from before that came late: they do as they are told.
                Err(status) if waits_for_a_deletion(&status) => {}
                Err(status) => return format!("{what}: refused: {}", status.message()),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn apply(&self, objects: &[Value], deadline: Option<Duration>) -> Result<(), Status> {
        let objects = objects.iter().map(api::object::to_struct).collect();
        let mut request = Request::new(ApplyRequest { objects, ..ApplyRequest::default() });
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        self.objects.clone().apply(request).await.map(drop)
    }

    async fn scale(&self, set: &str, replicas: i32) -> Result<(), Status> {
        let request = ScaleStatefulSetRequest { name: set.to_owned(), replicas, ..Default::default() };
        self.sets.clone().scale(request).await.map(drop)
    }

    /// Returns when it is gone. A request from before that comes late may have made another one: that is to be deleted too.
    async fn delete_set(&self, set: &str, cascade: &str) -> Result<(), Status> {
        let get = GetRequest { kind: "sts".to_owned(), name: set.to_owned(), ..GetRequest::default() };
        let before = match self.objects.clone().get(get.clone()).await {
            Err(status) if status.code() == Code::NotFound => return Ok(()),
            found => uid_of(found?.get_ref()),
        };
        let request = DeleteRequest {
            kind: "sts".to_owned(),
            name: set.to_owned(),
            cascade: cascade.to_owned(),
            ..DeleteRequest::default()
        };
        if ["background", "orphan"].contains(&cascade) {
            self.place.lab.people_delete_at_once(NAMESPACE, set);
        }
        let asked = self.objects.clone().delete(request).await.map(drop);
        match asked {
            Err(status) if status.code() == Code::NotFound => return Ok(()),
            Err(status) => return Err(status),
            Ok(()) => {}
        }
        loop {
            match self.objects.clone().get(get.clone()).await {
                Err(status) if status.code() == Code::NotFound => return Ok(()),
                Ok(found) if uid_of(found.get_ref()) != before => {
                    return Err(Status::aborted("it was made again"));
                }
                _ => tokio::time::sleep(RETRY).await,
            }
        }
    }

    async fn delete_pod(&self, pod: &str) -> Result<(), Status> {
        let get = GetRequest { kind: "pod".to_owned(), name: pod.to_owned(), ..GetRequest::default() };
        let uid = uid_of(self.objects.clone().get(get).await?.get_ref());
        self.delete_incarnation(pod, uid).await
    }

    async fn delete_incarnation(&self, pod: &str, uid: String) -> Result<(), Status> {
        self.place.lab.people_delete(&uid);
        let request = DeleteRequest { kind: "pod".to_owned(), name: pod.to_owned(), uid, ..DeleteRequest::default() };
        self.objects.clone().delete(request).await.map(drop)
    }
}

fn object_of(answer: &GetResponse) -> Value {
    answer.object.clone().map(api::object::from_struct).unwrap_or_default()
}

fn uid_of(answer: &GetResponse) -> String {
    oracles::text(&object_of(answer), "/metadata/uid").to_owned()
}

pub(crate) fn indeterminate(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Aborted | Code::Internal
    )
}

/// Whether the way will be free once something is gone.
fn waits_for_a_deletion(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition && status.message().contains("is being deleted: wait until it is gone")
}

fn summary(objects: &[Value]) -> String {
    let one = |object: &Value| {
        format!(
            "{} {} replicas {} image {}",
            object["kind"].as_str().unwrap_or_default(),
            oracles::text(object, "/metadata/name"),
            object["spec"]["replicas"],
            oracles::text(object, "/spec/template/spec/containers/0/image"),
        )
    };
    objects.iter().map(one).collect::<Vec<_>>().join(", ")
}
