//! Each service restarted in turn, as a rolling update does, while calls go on: nobody feels it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use api::proto::coordinator::v1::object_service_client::ObjectServiceClient;
use api::proto::coordinator::v1::stateful_set_service_client::StatefulSetServiceClient;
use api::proto::coordinator::v1::{
    ApplyRequest, GetRequest, GetStatefulSetRequest, ListRequest, ScaleStatefulSetRequest, WatchRequest,
};
use service_kit::{CancellationToken, Channel};
use support::until;
use tonic::{Code, Status};

use super::fleet::{Fleet, PROCESSES, RESTART_MAX};
use super::{mark, sleepers};

/// Calls of each kind that must be answered between two restarts.
const CALLS_BETWEEN: u64 = 20;

/// Calls of one kind, and what became of them.
#[derive(Default)]
struct Calls {
    answered: AtomicU64,
    failed: Mutex<Vec<String>>,
}

impl Calls {
    fn note<T>(&self, result: &Result<T, Status>) {
        match result {
            Ok(_) => _ = self.answered.fetch_add(1, Ordering::SeqCst),
            Err(status) => self.failed.lock().expect("no panic").push(status.to_string()),
        }
    }
}

/// Everybody who calls, by kind of call.
pub(super) struct Callers {
    kinds: [(&'static str, Arc<Calls>); 4],
    end: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Callers {
    pub(super) fn start(channel: &Channel) -> Self {
        let kinds = ["Get", "List", "Scale", "Watch"].map(|kind| (kind, Arc::<Calls>::default()));
        let end = CancellationToken::new();
        let mut tasks = Vec::new();
        for (kind, calls) in kinds.clone() {
            let (channel, end) = (channel.clone(), end.clone());
            tasks.push(tokio::spawn(async move {
                let mut revision = 0;
                let mut round = 0;
                while !end.is_cancelled() {
                    round += 1;
                    match kind {
                        // What it was told is counted there; that it ended is no answer.
                        "Watch" => {
                            if let Err(status) = watch(&channel, &mut revision, &calls, &end).await {
                                calls.note::<()>(&Err(status));
                            }
                        }
                        kind => calls.note(&call(&channel, kind, round).await),
                    }
                }
            }));
        }
        Self { kinds, end, tasks }
    }

    /// Returns when everybody was answered many more times.
    pub(super) async fn go_on(&self) {
        let before: Vec<u64> = self.kinds.iter().map(|(_, calls)| calls.answered.load(Ordering::SeqCst)).collect();
        until("everybody is answered", || async {
            let now = self.kinds.iter().map(|(_, calls)| calls.answered.load(Ordering::SeqCst));
            let behind = now.zip(&before).any(|(now, before)| now < before + CALLS_BETWEEN);
            if behind { Err("somebody waits".to_owned()) } else { Ok(()) }
        })
        .await;
    }

    /// Ends them all; what failed.
    pub(super) async fn end(self) -> Vec<String> {
        self.end.cancel();
        for task in self.tasks {
            tokio::time::timeout(RESTART_MAX, task).await.expect("it ends").expect("no panic");
        }
        let mut all = Vec::new();
        for (kind, calls) in &self.kinds {
            let failed = calls.failed.lock().expect("no panic").clone();
            println!("{kind}: {} answered, {} failed", calls.answered.load(Ordering::SeqCst), failed.len());
            all.extend(failed.into_iter().map(|why| format!("{kind}: {why}")));
        }
        all
    }
}

async fn call(channel: &Channel, kind: &str, round: i32) -> Result<(), Status> {
    let (namespace, name) = ("default".to_owned(), "sleepers".to_owned());
    let mut sets = StatefulSetServiceClient::new(channel.clone());
    match kind {
        "Get" => sets.get(GetStatefulSetRequest { namespace, name }).await.map(|_| ()),
        "List" => {
            let request = ListRequest { kind: "pods".to_owned(), ..ListRequest::default() };
            ObjectServiceClient::new(channel.clone()).list(request).await.map(|_| ())
        }
        // Written to the disk, then a pass of the set by way of its planners. Whoever writes faster than passes can look
        // only makes them look again, ever later.
        _ => {
            let (replicas, more) = (1 + round % 2, ScaleStatefulSetRequest::default());
            let request =
                ScaleStatefulSetRequest { namespace: namespace.clone(), name: name.clone(), replicas, ..more };
            sets.scale(request).await?;
            until("a pass has seen it", || {
                let (mut sets, request) =
                    (sets.clone(), GetStatefulSetRequest { namespace: namespace.clone(), name: name.clone() });
                async move {
                    let set = sets.get(request).await.map_err(|status| status.to_string())?.into_inner().stateful_set;
                    let set = api::object::from_struct(set.unwrap_or_default());
                    let (wanted, seen) = (&set["metadata"]["generation"], &set["status"]["observedGeneration"]);
                    if wanted == seen { Ok(()) } else { Err(format!("{seen} of {wanted}")) }
                }
            })
            .await;
            Ok(())
        }
    }
}

/// Watches the set until the stream ends, which it may only as the server says that it ends; then goes on from there.
async fn watch(channel: &Channel, revision: &mut u64, calls: &Calls, end: &CancellationToken) -> Result<(), Status> {
    let request = WatchRequest { kind: "sts".to_owned(), from_revision: *revision, ..WatchRequest::default() };
    let begun = ObjectServiceClient::new(channel.clone()).watch(request).await;
    let mut changes = match begun {
        Ok(changes) => changes.into_inner(),
        // A server that starts again; a stream is not begun again by the channel.
        Err(status) if status.code() == Code::Unavailable => {
            tokio::task::yield_now().await;
            return Ok(());
        }
        // Changes that were made while it ended: they are in what exists.
        Err(status) if status.code() == Code::OutOfRange => {
            *revision = 0;
            return Ok(());
        }
        Err(status) => return Err(status),
    };
    loop {
        // Once nobody scales any more, no change comes.
        let change = tokio::select! {
            biased;
            () = end.cancelled() => return Ok(()),
            change = changes.message() => change,
        };
        match change {
            Ok(Some(change)) => {
                assert!(change.revision >= *revision, "a watch goes back");
                *revision = change.revision;
                calls.note(&Ok(()));
            }
            Ok(None) => return Err(Status::aborted("the watch ended without a word")),
            Err(status) if status.code() == Code::Unavailable => return Ok(()),
            Err(status) => return Err(status),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_restarted_in_turn_fails_no_call() {
    let mut fleet = Fleet::start();
    let objects = || ObjectServiceClient::new(fleet.channel());
    until("the API answers", || async {
        let request = GetRequest { kind: "Namespace".to_owned(), name: "default".to_owned(), ..GetRequest::default() };
        objects().get(request).await.map_err(|status| status.to_string())
    })
    .await;
    let manifest = sleepers(&mark("rolling"), 1, "OrderedReady");
    objects().apply(ApplyRequest { manifest, ..ApplyRequest::default() }).await.expect("it is applied");

    let callers = Callers::start(&fleet.channel());
    callers.go_on().await;
    for (place, (service, replica)) in PROCESSES.into_iter().enumerate() {
        let (passes, failed) = fleet.passes().await;
        fleet.restart(place).await;
        callers.go_on().await;
        if service == "coordinator" {
            continue; // Its counts began anew.
        }
        let (passes_now, failed_now) = fleet.passes().await;
        let (passes, failed) = (passes_now - passes, failed_now - failed);
        println!("{service} {replica} was restarted: {passes} passes, {failed} of them failed");
        // Where there is another replica of a planner, no pass fails either.
        let others = PROCESSES.iter().filter(|(name, _)| *name == service).count() > 1;
        assert!(passes > 0.0 && (!others || failed.abs() < f64::EPSILON), "{failed} of {passes} passes failed");
    }
    let failed = callers.end().await;
    assert!(failed.is_empty(), "{} calls failed: {failed:#?}", failed.len());
}
