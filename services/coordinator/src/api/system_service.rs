//! `SystemService`: the system itself, and bringing it to rest.

use std::sync::Arc;
use std::time::Duration;

use api::manifest::Kind;
use api::proto::coordinator::v1::system_service_server::SystemService;
use api::proto::coordinator::v1::{
    BackupRequest, BackupResponse, DrainRequest, DrainResponse, FenceNodeRequest, FenceNodeResponse, GetSystemRequest,
    GetSystemResponse, ServiceState,
};
use api::proto::pod_runtime::v1::StopAllRequest;
use api::proto::pod_runtime::v1::pod_runtime_service_client::PodRuntimeServiceClient;
use domain::Profile;
use domain::fencing::SILENCE_MAX;
use service_kit::access::Caller;
use service_kit::status::StatusBuilder;
use service_kit::{Channel, Role, readiness};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::{Front, expected, visible};
use crate::error::{SERVICE, invalid_argument};
use crate::events::{self, Event};
use crate::machines::presence::Presence;
use crate::machines::{Machines, fence};
use crate::names::Names;
use crate::sets::Sets;
use crate::world::{Key, Object};

/// Longest stop of the pods that no set owns: the longest grace period that makes sense, and a little.
const STOP_ALL_MAX: Duration = Duration::from_secs(600);

/// Messages of a drain that a slow reader may be behind.
const DRAIN_BUFFERED_MAX: usize = 16;

/// Longest evidence of a fence, in bytes: it is repeated in the status of each pod.
const EVIDENCE_LENGTH_MAX: usize = 1000;

/// What the system service knows.
#[derive(Debug, Clone)]
pub(crate) struct System {
    pub(crate) front: Front,
    pub(crate) sets: Arc<Sets>,
    pub(crate) machines: Machines,
    /// Which of them are there.
    pub(crate) presence: Arc<Presence>,
    /// Services this coordinator calls.
    pub(crate) services: Vec<(&'static str, Channel)>,
    /// Knows which replicas of identity-dns are behind.
    pub(crate) names: Arc<Names>,
    pub(crate) epoch: u64,
    pub(crate) cluster_domain: String,
    pub(crate) dns_address: String,
    pub(crate) profile: Profile,
    /// One permit for each backup that may be made at once.
    pub(crate) backups: Arc<Semaphore>,
}

#[tonic::async_trait]
impl SystemService for System {
    type BackupStream = ReceiverStream<Result<BackupResponse, Status>>;
    type DrainStream = ReceiverStream<Result<DrainResponse, Status>>;

    async fn get_system(&self, request: Request<GetSystemRequest>) -> Result<Response<GetSystemResponse>, Status> {
        Caller::of(&request)?.may_everywhere()?;
        // Of several replicas, each is shown: nobody takes turns with names.
        let replicas = self.names.replicas();
        let several = replicas.len() > 1;
        let named = replicas.into_iter().filter(|_| several);
        let named = named.map(|(channel, answers)| state(Role::IdentityDns.name(), channel, answers));
        let whole = self.services.iter().filter(|(name, ..)| !several || *name != Role::IdentityDns.name());
        let states = whole.map(|(name, channel)| state(name, channel.clone(), true)).chain(named);
        let world = &self.front.world;
        Ok(Response::new(GetSystemResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store_id: world.store_id().to_owned(),
            revision: world.revision().0,
            epoch: self.epoch,
            cluster_domain: self.cluster_domain.clone(),
            dns_address: self.dns_address.clone(),
            profile: self.profile.to_string(),
            nodes: world.list(Kind::Node, None).iter().map(|node| visible(node)).collect(),
            services: futures::future::join_all(states).await,
        }))
    }

    async fn fence_node(&self, request: Request<FenceNodeRequest>) -> Result<Response<FenceNodeResponse>, Status> {
        let caller = Caller::of(&request)?;
        caller.may_everywhere()?;
        let FenceNodeRequest { name, uid, evidence } = request.into_inner();
        if evidence.trim().is_empty() || evidence.len() > EVIDENCE_LENGTH_MAX {
            let message = format!(
                "evidence: {} bytes: say how it is known that nothing runs on the machine, such as \"powered off through \
                 its BMC\", in 1 to {EVIDENCE_LENGTH_MAX} bytes",
                evidence.len()
            );
            return Err(invalid_argument("INVALID_EVIDENCE", &message));
        }
        let key = Key::new(Kind::Node, "", &name);
        let pods = self.front.world.list(Kind::Pod, None);
        let pods = pods.iter().filter(|pod| pod.text("/spec/nodeName") == name).count();
        let (this, named) = (self.clone(), key.clone());
        let fenced = self.front.change(&caller, &named, async move {
            let (front, now) = (&this.front, this.front.now());
            let fencing = |machine: &Object| {
                expected(machine, &uid, "")?;
                let fenced = fence::fenced(machine, &evidence, now);
                if fenced.is_some() {
                    this.must_be_silent(&machine.key.name)?;
                }
                Ok(fenced)
            };
            front.commit_change(&key, fencing).await
        });
        let (machine, news) = fenced.await?;
        if news {
            let event = Event::warning("NodeFenced", fence::words(&machine, fence::evidence(&machine)));
            let about = (&machine.key, &*machine.uid().0);
            if let Err(error) = events::say(&self.front.world, about, SERVICE, &event, self.front.now()).await {
                tracing::warn!(%error, "an event could not be stored");
            }
        }
        Ok(Response::new(FenceNodeResponse {
            node: Some(visible(&machine)),
            pods: u32::try_from(pods).unwrap_or(u32::MAX),
        }))
    }

    async fn backup(&self, request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let caller = Caller::of(&request)?;
        // It holds every object, and the ones that must not be shown are what counts.
        caller.may(Kind::Secret, "")?;
        let backup = super::backup::backup(&self.front, self.backups.clone()).await;
        caller.record(&[], &backup);
        backup.map(Response::new)
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<Self::DrainStream>, Status> {
        let caller = Caller::of(&request)?;
        caller.may_everywhere()?;
        caller.record(&[], &Ok(()));
        let (feed, receiver) = mpsc::channel(DRAIN_BUFFERED_MAX);
        let this = self.clone();
        self.sets.drain();
        tracing::info!("pods stop in order; no pod starts until the next start");
        // Goes on if the caller hangs up: a machine that goes down must not stop half-way. It ends when nothing runs.
        tokio::spawn(async move {
            let shutdown = this.front.context.shutdown.clone();
            tokio::select! {
                () = shutdown.cancelled() => {}
                result = this.drain_all(&feed) => {
                    if let Err(status) = result {
                        let _ = feed.send(Err(status)).await;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl System {
    /// Refuses what cannot be true of a machine that was heard of just now.
    fn must_be_silent(&self, machine: &str) -> Result<(), Status> {
        let why = match self.presence.silence(machine) {
            Some(silence) if silence >= SILENCE_MAX => return Ok(()),
            Some(silence) => format!(
                "has been silent for {} s only: it may be about to come back; ask again in {} s",
                silence.as_secs(),
                SILENCE_MAX.saturating_sub(silence).as_secs() + 1
            ),
            None => "answers: end its runtime first, or stop its pods with `setkeeper down`".to_owned(),
        };
        let message = format!("machine {machine:?} {why}");
        let status = StatusBuilder::new(SERVICE, Code::FailedPrecondition, "NODE_ANSWERS", message.clone());
        Err(status.precondition("NODE", machine, message).build())
    }

    /// First the pods of sets, in order, by the controller; then what is left, by its machines.
    async fn drain_all(&self, feed: &mpsc::Sender<Result<DrainResponse, Status>>) -> Result<(), Status> {
        let world = &self.front.world;
        let mut commits = world.subscribe();
        let mut before = self.of_sets();
        while !before.is_empty() {
            if let Err(RecvError::Closed) = commits.recv().await {
                return Ok(());
            }
            let now = self.of_sets();
            let stopped = before.iter().find(|pod| !now.contains(pod)).cloned().unwrap_or_default();
            if now != before {
                let remaining = u32::try_from(now.len()).unwrap_or(u32::MAX);
                // The reader may be gone; the drain goes on.
                let _ = feed.send(Ok(DrainResponse { remaining, stopped })).await;
            }
            before = now;
        }
        // A machine that cannot be called holds up no other; on a fenced one nothing runs.
        let mut refused = None;
        for node in self.machines.names() {
            if self.is_fenced(&node) {
                continue;
            }
            let mut request = Request::new(StopAllRequest {
                operation_id: service_kit::random::uid(),
                store_id: world.store_id().to_owned(),
                epoch: self.epoch,
                generation: world.revision().0,
            });
            request.set_timeout(STOP_ALL_MAX);
            let stopped = match self.machines.channel(&node) {
                Ok(channel) => {
                    let mut runtime = service_kit::sized_client!(PodRuntimeServiceClient::new(channel));
                    runtime.stop_all(request).await.map(drop)
                }
                Err(status) => Err(status),
            };
            refused = refused.or(stopped.err().map(|status| match status.code() {
                Code::Unavailable => crate::machines::unreachable(&node, status.message()),
                _ => status,
            }));
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        let _ = feed.send(Ok(DrainResponse { remaining: 0, stopped: String::new() })).await;
        Ok(())
    }

    fn is_fenced(&self, machine: &str) -> bool {
        let machine = self.front.world.get(&Key::new(Kind::Node, "", machine));
        machine.is_some_and(|machine| fence::is_fenced(&machine))
    }

    /// Pods that a stored set controls, by name. Others, whoever they say controls them, are left to their machines.
    fn of_sets(&self) -> Vec<String> {
        let world = &self.front.world;
        let sets = world.list(Kind::StatefulSet, None);
        let pods = sets.iter().flat_map(|set| {
            let uid = set.uid().0;
            let controlled = move |pod: &Arc<Object>| pod.controller_uid() == Some(uid.as_str());
            world.owned_by(&set.uid().0).into_iter().filter(|object| object.kind() == Kind::Pod).filter(controlled)
        });
        pods.map(|pod| format!("{}/{}", pod.key.namespace, pod.key.name)).collect()
    }
}

async fn state(name: &'static str, channel: Channel, up_to_date: bool) -> ServiceState {
    let address = channel.target().to_owned();
    let state = match readiness(channel, name).await {
        Ok(true) if !up_to_date => "BEHIND",
        Ok(true) => "SERVING",
        Ok(false) => "NOT_SERVING",
        Err(_) => "UNREACHABLE",
    };
    ServiceState { name: name.to_owned(), address, state: state.to_owned() }
}
