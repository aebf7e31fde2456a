//! The public API. Every service of it speaks through one [`Front`], so that a set is applied, read, watched and
//! deleted the same way whichever door it comes through.

mod backup;
mod object_service;
mod page;
mod pod_service;
mod port_forward;
mod rollout;
mod set_service;
mod system_service;
mod watch;

use std::sync::Arc;

use api::manifest::Kind;
use domain::{Switches, Timestamp};
use prost_types::Struct;
use serde_json::Value;
use service_kit::Context;
use service_kit::access::{Caller, Subject};
use service_kit::status::{StatusBuilder, shutting_down};
use tonic::{Code, Status};

pub(crate) use self::backup::BACKUPS_AT_ONCE_MAX;
pub(crate) use self::pod_service::Pods;
pub(crate) use self::system_service::System;
use crate::collect;
use crate::error::{SERVICE, commit_status, invalid_argument, not_found};
use crate::pods::lifecycle;
use crate::pods::node_service::detached;
use crate::rollouts;
use crate::sets::budget;
use crate::sets::deletion::{self, Cascade};
use crate::store::CommitError;
use crate::world::{Key, Object, Transaction, World};

/// Namespace of requests that name none.
pub(crate) const NAMESPACE_DEFAULT: &str = "default";

/// Tries of one change against others who write the same object at the same time.
const TRIES_MAX: u32 = 16;

/// What all public services share.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub(crate) world: Arc<World>,
    pub(crate) context: Context,
    /// Which rules are better than those of Kubernetes.
    pub(crate) switches: Switches,
}

/// Ends when a stream has to end although both sides want it to go on, with the reason: this process ends, or its caller
/// may no longer see what it is about.
async fn cut_off(context: Context, caller: Caller, kind: Kind, namespace: String) -> Status {
    tokio::select! {
        () = context.shutdown.cancelled() => shutting_down(SERVICE),
        refused = caller.withdrawn(kind, namespace) => refused,
    }
}

/// What to delete, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deletion {
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) cascade: String,
    /// Only a pod that its set can spare.
    pub(crate) within_budget: bool,
}

impl Front {
    fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    fn get(&self, key: &Key) -> Result<Arc<Object>, Status> {
        self.world.get(key).ok_or_else(|| not_found(key.kind, &key.name))
    }

    /// Makes a change that its caller may make, and says whether there was anything to change. It is finished and recorded
    /// even where the caller leaves; what changed nothing is not recorded.
    async fn change<T: Send + 'static>(
        &self,
        caller: &Caller,
        key: &Key,
        work: impl Future<Output = Result<(T, bool), Status>> + Send + 'static,
    ) -> Result<(T, bool), Status> {
        caller.may(key.kind, &key.namespace)?;
        let uid = self.world.get(key).map(|object| object.uid().0).unwrap_or_default();
        let (caller, subject) = (caller.clone(), subject(key, uid));
        detached(async move {
            let outcome = work.await;
            if !matches!(outcome, Ok((_, false))) {
                caller.record(&[subject], &outcome);
            }
            outcome
        })
        .await
    }

    /// Changes an object by one conditional commit, and tries again where somebody else was faster. Returns it, and whether
    /// there was anything to change.
    async fn commit_change(
        &self,
        key: &Key,
        change: impl Fn(&Object) -> Result<Option<Value>, Status>,
    ) -> Result<(Arc<Object>, bool), Status> {
        for _ in 0..TRIES_MAX {
            let object = self.get(key)?;
            let Some(value) = change(&object)? else { return Ok((object, false)) };
            let mut transaction = Transaction::default();
            transaction.update(&object, value);
            match self.world.commit(transaction).await {
                Ok(_) => return Ok((self.get(key)?, true)),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(commit_status(error)),
            }
        }
        Err(busy(key))
    }

    /// Requests the deletion of one object. Returns it as it is afterwards, or as it last was.
    async fn delete(&self, caller: &Caller, key: Key, deletion: Deletion) -> Result<Arc<Object>, Status> {
        let cascade = Cascade::parse(&deletion.cascade, self.switches).ok_or_else(|| {
            let message = format!("cascade: {:?} is none of ordered, background, foreground, orphan", deletion.cascade);
            invalid_argument("INVALID_CASCADE", &message)
        })?;
        if !key.kind.writable() && key.kind != Kind::ControllerRevision {
            let message = format!("{} objects are written by the system and cannot be deleted", key.kind);
            return Err(invalid_argument("UNKNOWN_KIND", &message));
        }
        if deletion.within_budget && key.kind != Kind::Pod {
            let message = format!("within_budget: {} objects have no budget: leave it out", key.kind);
            return Err(invalid_argument("INVALID_DELETION", &message));
        }
        let (this, named) = (self.clone(), key.clone());
        let deleted = self.change(caller, &named, async move {
            for _ in 0..TRIES_MAX {
                let object = this.get(&key)?;
                expected(&object, &deletion.uid, &deletion.resource_version)?;
                let transaction = this.deletion(&object, &deletion, cascade)?;
                match this.world.commit(transaction).await {
                    Ok(_) => {
                        let left = this.world.get(&key).filter(|now| now.uid() == object.uid());
                        return Ok((left.unwrap_or(object), true));
                    }
                    Err(CommitError::Conflict { .. }) if deletion.resource_version.is_empty() => {}
                    Err(error) => return Err(commit_status(error)),
                }
            }
            Err(busy(&key))
        });
        deleted.await.map(|(object, _)| object)
    }

    fn deletion(&self, object: &Object, deletion: &Deletion, cascade: Cascade) -> Result<Transaction, Status> {
        let mut transaction = Transaction::default();
        match object.kind() {
            Kind::StatefulSet => return Ok(deletion::request(&self.world, object, cascade, self.now())),
            Kind::Pod => {
                if deletion.within_budget && !object.deleting() {
                    budget::spares(&self.world, object, &mut transaction, (self.switches, self.now()))?;
                }
                lifecycle::delete(&mut transaction, object, deletion.grace_period_seconds, self.now());
            }
            Kind::Namespace if object.key.name == NAMESPACE_DEFAULT => {
                return Err(StatusBuilder::new(
                    SERVICE,
                    Code::FailedPrecondition,
                    "FORBIDDEN_CHANGE",
                    "namespace \"default\" cannot be deleted: delete what is in it instead",
                )
                .build());
            }
            Kind::Namespace => {
                let mut value = object.value.clone();
                let metadata = crate::objects::object_mut(&mut value, "metadata");
                metadata.entry("deletionTimestamp").or_insert_with(|| crate::objects::time_text(self.now()).into());
                crate::objects::object_mut(&mut value, "status").insert("phase".into(), "Terminating".into());
                if value != object.value {
                    transaction.update(object, value);
                }
            }
            Kind::ControllerRevision => {
                if self.switches.protect_revisions {
                    deletion::unused_revision(&self.world, object, &mut transaction)?;
                }
                transaction.delete(object);
            }
            _ => collect::delete(&mut transaction, object, self.now()),
        }
        Ok(transaction)
    }
}

/// An object, as the record of changes names it.
pub(crate) fn subject(key: &Key, uid: String) -> Subject {
    Subject { kind: key.kind.to_string(), namespace: key.namespace.clone(), name: key.name.clone(), uid }
}

/// Reads a kind off a request.
pub(crate) fn kind(text: &str) -> Result<Kind, Status> {
    Kind::from_text(text).ok_or_else(|| {
        let known: Vec<_> = Kind::all().map(Kind::plural).collect();
        invalid_argument("UNKNOWN_KIND", &format!("kind: {text:?} is none of {}", known.join(", ")))
    })
}

/// The namespace a request means.
pub(crate) fn namespace(text: &str) -> &str {
    if text.is_empty() { NAMESPACE_DEFAULT } else { text }
}

/// An object as callers may see it.
pub(crate) fn visible(object: &Object) -> Struct {
    api::object::to_struct(&object.value)
}

/// Refuses an object that is not the incarnation or version that a request names; empty means any.
fn expected(object: &Object, uid: &str, resource_version: &str) -> Result<(), Status> {
    let stored = object.uid().0;
    if !uid.is_empty() && uid != stored {
        let message = format!("{} has uid {stored}, not {uid}: it was deleted and made anew", object.key);
        return Err(StatusBuilder::new(SERVICE, Code::FailedPrecondition, "UID_MISMATCH", message).build());
    }
    let version = object.version.to_string();
    if !resource_version.is_empty() && resource_version != version {
        let message = format!("{} has resourceVersion {version}, not {resource_version}", object.key);
        return Err(StatusBuilder::new(SERVICE, Code::Aborted, "STALE_RESOURCE_VERSION", message).build());
    }
    Ok(())
}

/// Too many writers at once; the caller may try again.
pub(crate) fn busy(key: &Key) -> Status {
    StatusBuilder::new(
        SERVICE,
        Code::Aborted,
        "STALE_RESOURCE_VERSION",
        format!("{key} changes all the time: try again"),
    )
    .build()
}

/// Scales a set; nothing else of it changes. None if it has that many already.
pub(crate) fn scaled(set: &Object, replicas: i32, now: Timestamp) -> Option<Value> {
    if set.value.pointer("/spec/replicas").and_then(Value::as_i64) == Some(i64::from(replicas)) {
        return None;
    }
    let mut value = set.value.clone();
    crate::objects::object_mut(&mut value, "spec").insert("replicas".into(), replicas.into());
    rollouts::next_generation(&mut value, now);
    Some(value)
}
