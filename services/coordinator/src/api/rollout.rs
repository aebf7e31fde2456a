//! The verbs of a rollout: restart, undo, pause, resume, its history, and how far it is (StatefulSet rules, section 16).
//!
//! Those that change a set do so by one conditional commit, and try again where somebody else was faster.

mod status;

use std::sync::Arc;

use api::manifest::{self, Kind, PAUSED_ANNOTATION};
use api::proto::coordinator::v1::{HistoryStatefulSetRequest, SetRevision, UndoStatefulSetRequest};
use domain::Timestamp;
use serde_json::Value;
use service_kit::status::StatusBuilder;
use tonic::{Code, Status};

use super::set_service::key;
use super::{Front, TRIES_MAX, busy, expected, visible};
use crate::error::{SERVICE, commit_status};
use crate::objects::{object_mut, time_text};
use crate::rollouts::next_generation;
use crate::sets::templates;
use crate::store::CommitError;
use crate::world::{Key, Object, Transaction};

pub(super) use self::status::follow;

/// Annotation of a template that makes it another one, as kubectl writes it.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Annotation in which people say why they change a set.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// What an undo did.
#[derive(Debug)]
pub(super) struct Undone {
    pub(super) set: prost_types::Struct,
    pub(super) result: &'static str,
    pub(super) revision: i64,
}

impl Front {
    /// Restarts a set, which always changes it.
    pub(super) async fn restart_set(&self, key: &Key, version: &str) -> Result<(Arc<Object>, bool), Status> {
        self.change_set(key, version, |set| restarted(set, self.now()).map(Some)).await
    }

    /// Pauses a set, or lets it go on. Returns it, and whether that changed anything.
    pub(super) async fn pause_set(
        &self,
        key: &Key,
        version: &str,
        paused: bool,
    ) -> Result<(Arc<Object>, bool), Status> {
        self.change_set(key, version, |set| Ok(with_pause(set, paused, self.now()))).await
    }

    /// Takes a set back; says whether that changed it.
    pub(super) async fn undo_set(&self, request: &UndoStatefulSetRequest) -> Result<(Undone, bool), Status> {
        let key = key(&request.namespace, &request.name);
        for _ in 0..TRIES_MAX {
            let set = self.get(&key)?;
            changeable(&set, &request.resource_version)?;
            let (number, template) = self.earlier(&set, request.to_revision)?;
            if same_template(&set.value, &template) {
                return Ok((Undone { set: visible(&set), result: "skipped", revision: number }, false));
            }
            let mut value = set.value.clone();
            object_mut(&mut value, "spec").insert("template".into(), template);
            next_generation(&mut value, self.now());
            self.admitted(&set, &value)?;
            if request.dry_run {
                let set = api::object::to_struct(&value);
                return Ok((Undone { set, result: "rolled_back", revision: number }, false));
            }
            let mut transaction = Transaction::default();
            transaction.update(&set, value);
            match self.world.commit(transaction).await {
                Ok(_) => {
                    let set = visible(&*self.get(&key)?);
                    return Ok((Undone { set, result: "rolled_back", revision: number }, true));
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(commit_status(error)),
            }
        }
        Err(busy(&key))
    }

    /// The revisions that a request asks for, by number.
    pub(super) fn history_of(&self, request: &HistoryStatefulSetRequest) -> Result<Vec<SetRevision>, Status> {
        let set = self.get(&key(&request.namespace, &request.name))?;
        let mut history = self.revisions(&set);
        if request.revision != 0 {
            history.retain(|(number, _, _)| *number == request.revision);
            if history.is_empty() {
                return Err(revision_not_found("unable to find the specified revision", &set));
            }
        }
        let shown = history.iter().map(|(number, object, template)| SetRevision {
            number: *number,
            name: object.key.name.clone(),
            change_cause: annotation(&object.value, CHANGE_CAUSE).unwrap_or_default().to_owned(),
            template: Some(api::object::to_struct(template)),
            controller_revision: Some(visible(object)),
        });
        Ok(shown.collect())
    }

    /// Revisions of a set: number, record, template; ascending by number.
    fn revisions(&self, set: &Object) -> Vec<(i64, Arc<Object>, Value)> {
        let owned = self.world.owned_by(&set.uid().0);
        let records = owned.into_iter().filter(|object| object.kind() == Kind::ControllerRevision);
        let mut revisions: Vec<_> = records
            .filter_map(|record| {
                let number = record.value.get("revision")?.as_i64()?;
                let template = templates::of_revision(record.value.get("data")?)?;
                Some((number, record, template))
            })
            .collect();
        revisions.sort_by(|(a, record, _), (b, other, _)| (a, &record.key).cmp(&(b, &other.key)));
        revisions
    }

    /// The template to go back to, with its number.
    fn earlier(&self, set: &Object, to_revision: i64) -> Result<(i64, Value), Status> {
        let mut history = self.revisions(set);
        if to_revision != 0 {
            let found = history.into_iter().find(|(number, _, _)| *number == to_revision);
            let missing = format!("unable to find specified revision {to_revision} in history");
            return found.map(|(n, _, template)| (n, template)).ok_or_else(|| revision_not_found(&missing, set));
        }
        // The present template may have no record yet; then the newest record is the one before it.
        if history.last().is_some_and(|(_, _, template)| same_template(&set.value, template)) {
            history.pop();
        }
        history.pop().map(|(number, _, template)| (number, template)).ok_or_else(|| {
            let message = "no last revision to roll back to";
            let status = StatusBuilder::new(SERVICE, Code::FailedPrecondition, "NO_EARLIER_REVISION", message);
            status.precondition("REVISION", set.key.name.clone(), message).build()
        })
    }

    /// Makes one change of a set. Returns the set, and whether there was anything to change.
    async fn change_set(
        &self,
        key: &Key,
        version: &str,
        change: impl Fn(&Object) -> Result<Option<Value>, Status>,
    ) -> Result<(Arc<Object>, bool), Status> {
        self.commit_change(key, |set| {
            changeable(set, version)?;
            let changed = change(set)?;
            changed.iter().try_for_each(|value| self.admitted(set, value))?;
            Ok(changed)
        })
        .await
    }
}

/// The set with a template that differs in the time of its restart.
fn restarted(set: &Object, now: Timestamp) -> Result<Value, Status> {
    let refuse = |reason: &str, message: &str| {
        let status = StatusBuilder::new(SERVICE, Code::FailedPrecondition, reason, message);
        status.precondition("ROLLOUT", set.key.name.clone(), message).build()
    };
    if is_paused(&set.value) {
        return Err(refuse("SET_PAUSED", "can't restart paused statefulset (run rollout resume first)"));
    }
    let mut value = set.value.clone();
    let template =
        value.pointer_mut("/spec/template").ok_or_else(|| Status::internal("a stored set has no template"))?;
    let metadata = object_mut(template, "metadata");
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
    let text = time_text(now);
    if annotations.get(RESTARTED_AT).is_some_and(|before| *before == text) {
        let message = "if restart has already been triggered within the past second, please wait before attempting to \
                       trigger another";
        return Err(refuse("RESTARTED_JUST_NOW", message));
    }
    annotations[RESTARTED_AT] = text.into();
    next_generation(&mut value, now);
    Ok(value)
}

/// The set paused or not; none if it is so already. The annotation ends with the pause, whichever way that was made.
fn with_pause(set: &Object, paused: bool, now: Timestamp) -> Option<Value> {
    if is_paused(&set.value) == paused {
        return None;
    }
    let mut value = set.value.clone();
    if paused && set.text("/apiVersion") == Kind::StatefulSet.api_version() {
        let metadata = object_mut(&mut value, "metadata");
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
        annotations[PAUSED_ANNOTATION] = "true".into();
        return Some(value);
    }
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(PAUSED_ANNOTATION);
        if annotations.is_empty() {
            object_mut(&mut value, "metadata").remove("annotations");
        }
    }
    let spec = object_mut(&mut value, "spec");
    let before = spec.remove("paused");
    if paused {
        spec.insert("paused".into(), true.into());
    }
    if before.is_some() || paused {
        next_generation(&mut value, now);
    }
    Some(value)
}

fn is_paused(set: &Value) -> bool {
    set.pointer("/spec/paused") == Some(&Value::Bool(true)) || annotation(set, PAUSED_ANNOTATION) == Some("true")
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// Whether a template means the same as the one of a set, today's defaults filled in.
fn same_template(set: &Value, template: &Value) -> bool {
    let present = set.pointer("/spec/template").unwrap_or(&Value::Null);
    let data = |template: &Value| manifest::template_revision_data(template);
    data(present) == data(template) || data(present) == data(&manifest::redefault_template(template.clone()))
}

/// Refuses a change that was decided from another version, or comes too late.
fn changeable(set: &Object, version: &str) -> Result<(), Status> {
    expected(set, "", version)?;
    if set.deleting() {
        let message = format!("{} is being deleted", set.key);
        return Err(StatusBuilder::new(SERVICE, Code::FailedPrecondition, "SET_DELETING", message).build());
    }
    Ok(())
}

fn revision_not_found(message: &str, set: &Object) -> Status {
    let status = StatusBuilder::new(SERVICE, Code::NotFound, "REVISION_NOT_FOUND", message);
    status.resource("ControllerRevision", set.key.name.clone()).build()
}
