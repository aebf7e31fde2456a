//! Makes assigned pods real and tells how they are: a pure core that decides, and a shell that carries out.
//!
//! [`Kubelet::run`] holds one [`worker`] per pod. It watches the coordinator, wakes workers, and ends a pod that the
//! coordinator does not know only on the word of the very store that assigned it. While the coordinator is away, pods,
//! their restarts and their probes go on.

pub mod assigned;
pub mod backoff;
pub mod catalogue;
pub mod decide;
pub mod directory;
pub mod environment;
pub mod launch;
pub mod link;
pub mod logs;
pub mod metrics;
pub mod names;
pub mod prober;
pub mod probing;
pub mod record;
pub mod security;
pub mod status;
pub mod volumes;
pub mod worker;
pub mod zone;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::proto::coordinator::v1 as wire;
use domain::Uid;
use futures::StreamExt as _;
use prost::Message as _;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use assigned::Assigned;
use directory::PodDirectory;
use link::{Message, Registration};
use record::Record;
use worker::{Shared, Summary, Wanted, Worker, jitter, keep_assignment};

/// First and longest wait before the coordinator is called again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Messages of the watch on their way; the stream itself holds back when this is full.
const MESSAGES_MAX: usize = 64;

/// How often an event is sent before it is given up: events are for people, and old news is no news.
const EVENT_TRIES_MAX: u32 = 5;

/// How often hosts files are compared with what they should be, even if no name changed.
const HOSTS_RECHECK: Duration = Duration::from_secs(5);

/// What the watch told.
enum Told {
    /// A new watch begins.
    Registered(Registration),
    /// A message of it.
    Message(Message),
}

/// A pod's worker, from outside.
struct Handle {
    wanted: watch::Sender<Wanted>,
    wake: Arc<Notify>,
    summary: watch::Receiver<Summary>,
}

/// The pods of this machine, as others may ask about them. Cheap to clone.
#[derive(Clone)]
pub struct Pods {
    state_dir: PathBuf,
    memory_dir: Option<PathBuf>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    handles: BTreeMap<Uid, Handle>,
    suspended: bool,
}

impl Pods {
    /// No pods yet.
    #[must_use]
    pub fn new(state_dir: PathBuf, memory_dir: Option<PathBuf>) -> Self {
        Self { state_dir, memory_dir, inner: Arc::default() }
    }

    fn directory(&self, uid: &Uid) -> std::io::Result<PodDirectory> {
        PodDirectory::new(&self.state_dir, self.memory_dir.as_deref(), uid)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod of a name: the incarnation that is wanted, or the last one there was.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<logs::LogPod> {
        let inner = self.lock();
        let mut named: Vec<_> = inner
            .handles
            .iter()
            .map(|(uid, handle)| (uid, handle, handle.wanted.borrow().clone()))
            .filter(|(_, _, wanted)| {
                let meta = &wanted.assigned.pod.metadata;
                meta.namespace == namespace && meta.name == name
            })
            .collect();
        named.sort_by_key(|(_, handle, wanted)| (wanted.gone, handle.summary.borrow().stopped));
        let (uid, handle, wanted) = named.into_iter().next()?;
        let directory = self.directory(uid).ok()?;
        let containers = wanted.assigned.pod.containers().map(|(role, container)| (container.name.clone(), role));
        Some(logs::LogPod {
            uid: uid.clone(),
            directory,
            containers: containers.collect(),
            summary: handle.summary.clone(),
        })
    }

    /// The phase of each pod, as it was last told.
    pub(crate) fn phases(&self) -> Vec<String> {
        self.lock().handles.values().map(|handle| handle.summary.borrow().phase.clone()).collect()
    }

    /// Stops every pod and keeps its object; new ones wait for the next start. Returns when all are proven dead, with
    /// how many there were.
    pub(crate) async fn stop_all(&self) -> u32 {
        let mut summaries = Vec::new();
        {
            let mut inner = self.lock();
            inner.suspended = true;
            for handle in inner.handles.values() {
                handle.wanted.send_modify(|wanted| wanted.suspended = true);
                summaries.push(handle.summary.clone());
            }
        }
        let mut stopped = 0;
        for mut summary in summaries {
            // A worker that ended has nothing left to stop.
            let was = !summary.borrow().stopped;
            let _ = summary.wait_for(|summary| summary.stopped).await;
            stopped += u32::from(was);
        }
        stopped
    }
}

/// The loop over all pods of this machine.
pub struct Kubelet {
    shared: Arc<Shared>,
    pods: Pods,
    workers: JoinSet<Uid>,
    store_id: String,
    /// Stores that it was restored from.
    former_store_ids: Vec<String>,
    seen: BTreeSet<Uid>,
}

impl Kubelet {
    /// A loop that has not begun.
    #[must_use]
    pub fn new(shared: Arc<Shared>, pods: Pods) -> Self {
        Self {
            shared,
            pods,
            workers: JoinSet::new(),
            store_id: String::new(),
            former_store_ids: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Finds the pods of before, then works until this runtime ends. Pods go on.
    pub async fn run(mut self, events: mpsc::Receiver<wire::ReportEventRequest>) {
        self.adopt().await;
        let (sender, mut messages) = mpsc::channel(MESSAGES_MAX);
        let mut helpers = JoinSet::new();
        helpers.spawn(watch_assignments(self.shared.clone(), sender));
        helpers.spawn(send_events(self.shared.clone(), events));
        helpers.spawn(wake_on_change(self.shared.clone(), self.pods.clone()));
        if self.shared.capabilities.nameserver.is_none() {
            helpers.spawn(zone::follow(self.shared.clone()));
            helpers.spawn(spread_names(self.shared.clone(), self.pods.clone()));
        }
        let shutdown = self.shared.shutdown.clone();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(told) = messages.recv() => self.hear(told).await,
                Some(done) = self.workers.join_next() => match done {
                    Ok(uid) => _ = self.pods.lock().handles.remove(&uid),
                    Err(broken) => error!(error = %broken, "a worker broke; its pod goes on unwatched until a restart"),
                },
            }
        }
        helpers.shutdown().await;
        while self.workers.join_next().await.is_some() {}
    }

    /// Brings back the workers of all pods that were ever assigned and are not gone, before anybody is asked. What lives goes
    /// on; what does not, because the machine was started anew, waits until its store assigns it again.
    async fn adopt(&mut self) {
        let all = PodDirectory::all(&self.shared.state_dir);
        let names = std::fs::read_dir(&all).into_iter().flatten().flatten();
        let uids: Vec<Uid> = names.map(|entry| Uid(entry.file_name().to_string_lossy().into_owned())).collect();
        for uid in uids {
            match self.load(&uid) {
                Ok((directory, record, assigned)) => self.begin(uid, directory, record, assigned, false),
                Err(why) => error!(%uid, error = why, "cannot read what is known of a pod; it is left alone"),
            }
        }
        match self.shared.backend.list().await {
            Ok(found) => {
                let inner = self.pods.lock();
                for sandbox in found.iter().filter(|sandbox| !inner.handles.contains_key(&sandbox.spec.uid)) {
                    let spec = &sandbox.spec;
                    warn!(namespace = spec.namespace, pod = spec.name, uid = %spec.uid, "a sandbox has no record; it is left alone");
                }
            }
            Err(error) => warn!(error = %service_kit::status::chain(&error), "cannot list sandboxes"),
        }
        let count = self.pods.lock().handles.len();
        if count > 0 {
            info!(pods = count, "found the pods of before");
        }
    }

    fn load(&self, uid: &Uid) -> Result<(PodDirectory, Record, Assigned), String> {
        let words = |error: std::io::Error| error.to_string();
        let directory = self.pods.directory(uid).map_err(words)?;
        let record = directory.load_record().map_err(words)?.unwrap_or_default();
        let bytes = directory.load_assignment().map_err(words)?.ok_or("its assignment is missing")?;
        let message = wire::Assignment::decode(bytes.as_slice()).map_err(|error| error.to_string())?;
        let assigned = Assigned::try_from(&message).map_err(|error| error.to_string())?;
        Ok((directory, record, assigned))
    }

    fn begin(&mut self, uid: Uid, directory: PodDirectory, record: Record, assigned: Assigned, confirmed: bool) {
        let mut inner = self.pods.lock();
        let (assigned, suspended) = (Arc::new(assigned), inner.suspended);
        let wanted = Wanted { assigned, version: 0, gone: false, confirmed, suspended };
        let (wanted, wanted_receiver) = watch::channel(wanted);
        let (summary, summary_receiver) =
            watch::channel(Summary { store_id: record.store_id.clone(), ..Summary::default() });
        let wake = Arc::new(Notify::new());
        let handle = Handle { wanted, wake: wake.clone(), summary: summary_receiver };
        inner.handles.insert(uid.clone(), handle);
        let worker = Worker::new(self.shared.clone(), uid, directory, record, wanted_receiver, wake, summary);
        self.workers.spawn(worker.run());
    }

    async fn hear(&mut self, told: Told) {
        match told {
            Told::Registered(registration) => {
                info!(store = registration.store_id, "the coordinator answers");
                self.store_id = registration.store_id;
                self.former_store_ids = registration.former_store_ids;
                self.seen.clear();
                self.shared.dns_address.send_replace(registration.dns_address);
                self.shared.cluster_domain.send_if_modified(|domain| {
                    let news = !registration.cluster_domain.is_empty() && *domain != registration.cluster_domain;
                    if news {
                        *domain = registration.cluster_domain;
                    }
                    news
                });
            }
            Told::Message(Message::Assigned(assignment)) => self.assign(&assignment),
            Told::Message(Message::Gone { uid }) => self.end(&Uid(uid)),
            Told::Message(Message::Synced) => {
                let unknown: Vec<Uid> = {
                    let inner = self.pods.lock();
                    let unknown = inner
                        .handles
                        .iter()
                        .filter(|(uid, handle)| !self.seen.contains(*uid) && self.speaks_for(handle));
                    unknown.map(|(uid, _)| uid.clone()).collect()
                };
                unknown.iter().for_each(|uid| self.end(uid));
            }
        }
    }

    fn assign(&mut self, message: &wire::Assignment) {
        let assigned = match Assigned::try_from(message) {
            Ok(assigned) => assigned,
            Err(error) => return error!(error = %service_kit::status::chain(&error), "an assignment cannot be read"),
        };
        let uid = Uid(assigned.pod.metadata.uid.clone());
        self.seen.insert(uid.clone());
        // Whatever cannot be kept of the news, it is this machine's still.
        self.confirm(&uid);
        let directory = match self.pods.directory(&uid) {
            Ok(directory) => directory,
            Err(error) => return error!(error = %error, "an assignment cannot be kept"),
        };
        let known = self.pods.lock().handles.get(&uid).map(|handle| handle.wanted.borrow().assigned.clone());
        if known.as_deref() == Some(&assigned) {
            return;
        }
        // What is not kept is not begun: a runtime that starts again must know the pod.
        if let Err(error) = keep_assignment(&directory, message) {
            return error!(%uid, error, "an assignment cannot be kept");
        }
        if known.is_none() {
            let record = Record { store_id: self.store_id.clone(), ..Record::default() };
            return self.begin(uid, directory, record, assigned, true);
        }
        if let Some(handle) = self.pods.lock().handles.get(&uid) {
            handle.wanted.send_modify(|wanted| {
                wanted.assigned = Arc::new(assigned);
                wanted.version += 1;
            });
        }
    }

    /// A pod that was found is this machine's still.
    fn confirm(&self, uid: &Uid) {
        if let Some(handle) = self.pods.lock().handles.get(uid) {
            handle.wanted.send_if_modified(|wanted| !std::mem::replace(&mut wanted.confirmed, true));
        }
    }

    /// Whether the store that answers assigned the pod, or was restored from the one that did.
    fn speaks_for(&self, handle: &Handle) -> bool {
        let assigned_by = &handle.summary.borrow().store_id;
        *assigned_by == self.store_id || self.former_store_ids.contains(assigned_by)
    }

    /// The object is gone, says the store that speaks for it: whatever is left of the pod ends.
    fn end(&self, uid: &Uid) {
        let inner = self.pods.lock();
        if let Some(handle) = inner.handles.get(uid).filter(|handle| self.speaks_for(handle)) {
            handle.wanted.send_modify(|wanted| wanted.gone = true);
        }
    }
}

/// Watches the coordinator for ever; each connection starts over.
async fn watch_assignments(shared: Arc<Shared>, sender: mpsc::Sender<Told>) {
    let (first, max) = RECONNECT;
    let mut wait = first;
    let mut away = false;
    loop {
        let why = match shared.link.watch().await {
            Err(why) => why,
            Ok((registration, mut messages)) => {
                wait = first;
                away = false;
                if sender.send(Told::Registered(registration)).await.is_err() {
                    return;
                }
                loop {
                    match messages.next().await {
                        Some(Ok(message)) => {
                            if sender.send(Told::Message(message)).await.is_err() {
                                return;
                            }
                        }
                        Some(Err(why)) => break why,
                        None => break "the watch ended".to_owned(),
                    }
                }
            }
        };
        if !std::mem::replace(&mut away, true) {
            info!(error = why, "the coordinator is away; pods go on");
        }
        tokio::time::sleep(jitter(wait)).await;
        wait = (wait * 2).min(max);
    }
}

/// Sends events, one after the other.
async fn send_events(shared: Arc<Shared>, mut events: mpsc::Receiver<wire::ReportEventRequest>) {
    while let Some(event) = events.recv().await {
        let (mut wait, max) = RECONNECT;
        for _ in 0..EVENT_TRIES_MAX {
            if shared.link.event(event.clone()).await.is_ok() {
                break;
            }
            tokio::time::sleep(jitter(wait)).await;
            wait = (wait * 2).min(max);
        }
    }
}

/// Wakes every worker when any sandbox may have changed. Each then reads its own state.
async fn wake_on_change(shared: Arc<Shared>, pods: Pods) {
    loop {
        shared.backend.changed().await;
        pods.lock().handles.values().for_each(|handle| handle.wake.notify_one());
    }
}

/// Keeps the hosts files up to date where there is no name server on port 53.
async fn spread_names(shared: Arc<Shared>, pods: Pods) {
    let mut others = shared.others.subscribe();
    loop {
        // A container that started meanwhile may have written what was true a moment before.
        if let Ok(Err(_)) = tokio::time::timeout(HOSTS_RECHECK, others.changed()).await {
            return;
        }
        let list = others.borrow_and_update().clone();
        let all: Vec<_> = {
            let inner = pods.lock();
            let entry = |(uid, handle): (&Uid, &Handle)| (uid.clone(), handle.wanted.borrow().assigned.clone());
            inner.handles.iter().map(entry).collect()
        };
        for (uid, assigned) in all {
            let Ok(directory) = pods.directory(&uid) else { continue };
            let ip = directory.load_record().ok().flatten().and_then(|record| record.ip);
            let domain = shared.cluster_domain.borrow().clone();
            let (Some(ip), Ok(names)) = (ip, names::pod_names(&assigned.pod, &domain)) else { continue };
            if let Err(error) = directory.write_hosts(&names::hosts_file(&assigned.pod, &names, ip, &list)) {
                warn!(%uid, error = %error, "cannot write a hosts file");
            }
        }
    }
}
