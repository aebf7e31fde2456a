//! Applying manifests: all documents or none.
//!
//! Every document is admitted on its own (strict fields, defaults, validation), compared with what is stored, and
//! written in one transaction that rests on what it was compared with.

use std::sync::Arc;

use api::manifest::{self, Kind, Manifest};
use domain::{Switches, Timestamp};
use prost_types::Struct;
use serde_json::Value;
use service_kit::access::{Caller, Subject};
use service_kit::status::StatusBuilder;
use tonic::{Code, Status};

use crate::api::{Front, busy, subject};
use crate::error::{SERVICE, commit_status, invalid_argument};
use crate::objects::{object_mut, time_text};
use crate::pods::node_service::detached;
use crate::rollouts;
use crate::store::{CommitError, StoreRevision};
use crate::world::{Key, Object, Transaction};

/// Tries of one application against others who write the same objects at the same time.
const TRIES_MAX: u32 = 16;

/// What became of an object that was there as it is wanted.
const UNCHANGED: &str = "unchanged";

/// What is to be applied.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// YAML or JSON text.
    Text(String),
    /// Objects.
    Objects(Vec<Value>),
}

/// One request to apply.
#[derive(Debug, Clone)]
pub(crate) struct Application {
    pub(crate) input: Input,
    /// Of objects that name none.
    pub(crate) namespace: String,
    pub(crate) dry_run: bool,
}

impl Application {
    /// A request that carries one object of a known kind.
    pub(crate) fn one(kind: Kind, object: Option<Struct>, dry_run: bool) -> Result<Self, Status> {
        let missing = || invalid_argument("INVALID_MANIFEST", &format!("the request holds no {kind}"));
        let mut value = api::object::from_struct(object.ok_or_else(missing)?);
        let stated = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        if stated.is_empty() {
            object_of(&mut value).insert("kind".into(), kind.name().into());
            object_of(&mut value).entry("apiVersion").or_insert_with(|| kind.api_version().into());
        } else if stated != kind.name() {
            let message = format!("kind: {stated:?}: this call takes a {kind}; use ObjectService.Apply for others");
            return Err(invalid_argument("INVALID_MANIFEST", &message));
        }
        let namespace = crate::api::NAMESPACE_DEFAULT.to_owned();
        Ok(Self { input: Input::Objects(vec![value]), namespace, dry_run })
    }
}

fn object_of(value: &mut Value) -> &mut serde_json::Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    value.as_object_mut().expect("made so above")
}

/// What became of one object.
#[derive(Debug, Clone)]
pub(crate) struct One {
    pub(crate) value: Value,
    pub(crate) result: &'static str,
}

/// What became of all.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) objects: Vec<One>,
    pub(crate) warnings: Vec<String>,
    pub(crate) revision: StoreRevision,
}

impl Applied {
    /// What is other than before.
    fn changed(&self) -> Vec<Subject> {
        let text = |one: &One, pointer: &str| {
            one.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let changed = self.objects.iter().filter(|one| one.result != UNCHANGED);
        let subject = |one: &One| Subject {
            kind: text(one, "/kind"),
            namespace: text(one, "/metadata/namespace"),
            name: text(one, "/metadata/name"),
            uid: text(one, "/metadata/uid"),
        };
        changed.map(subject).collect()
    }
}

impl Front {
    /// Applies a manifest, if its caller may change every object in it. A change is finished and recorded even where the
    /// caller leaves.
    pub(crate) async fn apply(&self, caller: &Caller, application: Application) -> Result<Applied, Status> {
        let (this, caller) = (self.clone(), caller.clone());
        detached(async move {
            let dry_run = application.dry_run;
            let mut subjects = Vec::new();
            let outcome = this.apply_all(&caller, application, &mut subjects).await;
            if let Ok(applied) = &outcome {
                subjects = applied.changed();
            }
            let changed_nothing = outcome.is_ok() && subjects.is_empty();
            if !dry_run && !changed_nothing {
                caller.record(&subjects, &outcome);
            }
            outcome
        })
        .await
    }

    /// Says in `subjects` what it is about, as soon as that is known.
    async fn apply_all(
        &self,
        caller: &Caller,
        application: Application,
        subjects: &mut Vec<Subject>,
    ) -> Result<Applied, Status> {
        let dry_run = application.dry_run;
        let switches = self.switches;
        // Reading a large manifest takes a while; other calls go on meanwhile.
        let parsed = service_kit::process::blocking(move || admit(application, switches)).await;
        let parsed = parsed.map_err(|_| Status::internal("reading the manifest was interrupted"))??;
        for manifest in &parsed.objects {
            caller.may(manifest.kind, manifest.namespace())?;
        }
        subjects.extend(parsed.objects.iter().map(|manifest| subject(&key_of(manifest), String::new())));
        for _ in 0..TRIES_MAX {
            let prepared = self.prepare(&parsed.objects)?;
            let warnings = parsed.warnings.iter().chain(&prepared.warnings).cloned().collect();
            if dry_run {
                let objects = prepared.objects.into_iter().map(|(_, one)| one).collect();
                return Ok(Applied { objects, warnings, revision: self.world.revision() });
            }
            match self.world.commit(prepared.transaction).await {
                Ok(revision) => {
                    let stored = |(key, one): (Key, One)| {
                        let now = self.world.get(&key).map(|object| object.value.clone());
                        One { value: now.unwrap_or(one.value), result: one.result }
                    };
                    let objects = prepared.objects.into_iter().map(stored).collect();
                    return Ok(Applied { objects, warnings, revision });
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(commit_status(error)),
            }
        }
        Err(busy(&key_of(&parsed.objects[0])))
    }

    fn prepare(&self, manifests: &[Manifest]) -> Result<Prepared, Status> {
        let mut prepared = Prepared::default();
        let mut violations = Vec::new();
        for manifest in manifests {
            let key = key_of(manifest);
            prepared.warnings.extend(self.service_missing(manifest, manifests));
            let namespace = self.namespace_exists(&key, manifests)?;
            match self.world.get(&key) {
                None => {
                    // Nothing is made in a namespace that goes meanwhile.
                    namespace.iter().for_each(|namespace| prepared.transaction.unchanged(namespace));
                    self.prepare_create(&mut prepared, key, manifest)?;
                }
                Some(old) => {
                    if let Err(found) = prepare_update(&mut prepared, &old, manifest, self.context.clock.now())? {
                        violations.extend(found);
                    }
                }
            }
        }
        if violations.is_empty() {
            Ok(prepared)
        } else {
            Err(refused(Code::FailedPrecondition, "FORBIDDEN_CHANGE", &violations))
        }
    }

    /// Says that the Service of a set does not exist. It may come later; until then its pods have no names in DNS.
    fn service_missing(&self, manifest: &Manifest, together: &[Manifest]) -> Option<String> {
        let name = manifest.value.pointer("/spec/serviceName").and_then(Value::as_str).unwrap_or_default();
        let key = Key::new(Kind::Service, manifest.namespace(), name);
        let there = || self.world.get(&key).is_some() || together.iter().any(|manifest| key_of(manifest) == key);
        (manifest.kind == Kind::StatefulSet && !name.is_empty() && !there()).then(|| {
            format!(
                "StatefulSet {:?}: spec.serviceName: there is no Service {name:?}: the pods get no names in DNS until \
                 there is",
                manifest.name()
            )
        })
    }

    fn prepare_create(&self, prepared: &mut Prepared, key: Key, manifest: &Manifest) -> Result<(), Status> {
        if let Some(version) = &manifest.resource_version {
            let message = format!("{key} does not exist, but the manifest names its resourceVersion {version}");
            return Err(StatusBuilder::new(SERVICE, Code::Aborted, "STALE_RESOURCE_VERSION", message).build());
        }
        let mut value = manifest.value.clone();
        let metadata = object_mut(&mut value, "metadata");
        metadata.insert("uid".into(), service_kit::random::uid().into());
        metadata.insert("creationTimestamp".into(), time_text(self.context.clock.now()).into());
        initial_status(key.kind, &mut value);
        rollouts::next_generation(&mut value, self.context.clock.now());
        finalizers(key.kind, &mut value);
        prepared.objects.push((key.clone(), One { value: value.clone(), result: "created" }));
        prepared.transaction.create(key, value);
        Ok(())
    }

    /// Checks a change that did not come as a manifest by the same rules.
    pub(crate) fn admitted(&self, old: &Object, new: &Value) -> Result<(), Status> {
        let documents = manifest::parse_values(vec![new.clone()]);
        let documents = documents.map_err(|found| refused(Code::InvalidArgument, "INVALID_OBJECT", &found))?;
        for document in documents {
            let admitted = manifest::admit_create(document, &old.key.namespace, self.switches);
            let (manifest, _) = admitted.map_err(|found| refused(Code::InvalidArgument, "INVALID_OBJECT", &found))?;
            let update = manifest::admit_update(&old.value, manifest);
            update.map_err(|found| refused(Code::FailedPrecondition, "FORBIDDEN_CHANGE", &found))?;
        }
        Ok(())
    }

    /// A namespace that the same manifest makes, before or after, exists: all documents are applied at once.
    fn namespace_exists(&self, key: &Key, together: &[Manifest]) -> Result<Option<Arc<Object>>, Status> {
        if !key.kind.namespaced() {
            return Ok(None);
        }
        let namespace = Key::new(Kind::Namespace, "", &key.namespace);
        match self.world.get(&namespace) {
            Some(stored) if stored.deleting() => {
                let message = format!("namespace {:?} is being deleted: {key} cannot be made in it", key.namespace);
                Err(StatusBuilder::new(SERVICE, Code::FailedPrecondition, "FORBIDDEN_CHANGE", message).build())
            }
            Some(stored) => Ok(Some(stored)),
            None if together.iter().any(|manifest| key_of(manifest) == namespace) => Ok(None),
            None => {
                let message = format!(
                    "namespace {:?} not found: apply `{{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": \
                     {{\"name\": {:?}}}}}` first",
                    key.namespace, key.namespace
                );
                Err(StatusBuilder::new(SERVICE, Code::NotFound, "OBJECT_NOT_FOUND", message)
                    .resource("Namespace", key.namespace.clone())
                    .build())
            }
        }
    }
}

#[derive(Debug, Default)]
struct Prepared {
    transaction: Transaction,
    objects: Vec<(Key, One)>,
    /// Suspicious in the light of what is stored.
    warnings: Vec<String>,
}

/// Compares a manifest with what is stored. The inner error holds what must not change.
fn prepare_update(
    prepared: &mut Prepared,
    old: &Object,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Result<(), Vec<manifest::Violation>>, Status> {
    stale(old, manifest)?;
    if old.deleting() {
        let message = format!("{} is being deleted: wait until it is gone, then apply again", old.key);
        return Err(StatusBuilder::new(SERVICE, Code::FailedPrecondition, "FORBIDDEN_CHANGE", message).build());
    }
    let update = match manifest::admit_update(&old.value, manifest.clone()) {
        Ok(update) => update,
        Err(violations) => return Ok(Err(violations)),
    };
    prepared.warnings.extend(update.warnings);
    if !update.changed {
        // What is decided to need no change must not change meanwhile either: all or nothing.
        prepared.objects.push((old.key.clone(), One { value: old.value.clone(), result: UNCHANGED }));
        prepared.transaction.unchanged(old);
        return Ok(Ok(()));
    }
    let mut value = update.value;
    if update.spec_changed {
        rollouts::next_generation(&mut value, now);
    }
    prepared.objects.push((old.key.clone(), One { value: value.clone(), result: "configured" }));
    prepared.transaction.update(old, value);
    Ok(Ok(()))
}

/// Reads and checks every document before anything is compared with the state.
fn admit(application: Application, switches: Switches) -> Result<manifest::Parsed, Status> {
    let documents = match application.input {
        Input::Text(text) => manifest::parse(&text),
        Input::Objects(objects) => manifest::parse_values(objects),
    };
    let documents = documents.map_err(|violations| refused(Code::InvalidArgument, "INVALID_MANIFEST", &violations))?;
    let parsed = manifest::admit_all(documents, &application.namespace, switches)
        .map_err(|violations| refused(Code::InvalidArgument, "INVALID_OBJECT", &violations))?;
    if parsed.objects.is_empty() {
        return Err(invalid_argument("INVALID_MANIFEST", "the manifest holds no object"));
    }
    Ok(parsed)
}

/// An error that carries every violation.
pub(crate) fn refused(code: Code, reason: &str, violations: &[manifest::Violation]) -> Status {
    let first = violations.first().map(ToString::to_string).unwrap_or_default();
    let message = match violations.len() {
        0 | 1 => first,
        more => format!("{first}, and {} more", more - 1),
    };
    let status = StatusBuilder::new(SERVICE, code, reason, message);
    let add = |status: StatusBuilder, violation: &manifest::Violation| {
        status.violation(violation.field.clone(), violation.to_string())
    };
    violations.iter().fold(status, add).build()
}

/// Refuses a manifest that was made from another version, or another incarnation.
fn stale(old: &Object, manifest: &Manifest) -> Result<(), Status> {
    let version = old.version.to_string();
    if let Some(stated) = manifest.resource_version.as_ref().filter(|stated| *stated != "0" && **stated != version) {
        let message = format!(
            "{} was changed meanwhile: it has resourceVersion {version}, not {stated}; read it again, or leave the field out",
            old.key,
        );
        return Err(StatusBuilder::new(SERVICE, Code::Aborted, "STALE_RESOURCE_VERSION", message).build());
    }
    if let Some(stated) = manifest.uid.as_ref().filter(|stated| **stated != old.uid().0) {
        let message = format!("{} has uid {}, not {stated}", old.key, old.uid());
        return Err(StatusBuilder::new(SERVICE, Code::FailedPrecondition, "UID_MISMATCH", message).build());
    }
    Ok(())
}

fn key_of(manifest: &Manifest) -> Key {
    Key::new(manifest.kind, manifest.namespace(), manifest.name())
}

/// The status an object begins with; what a manifest says of it is discarded.
fn initial_status(kind: Kind, value: &mut Value) {
    let phase = match kind {
        Kind::Pod | Kind::PersistentVolume | Kind::PersistentVolumeClaim => "Pending",
        Kind::Namespace => "Active",
        Kind::StatefulSet => {
            *object_mut(value, "status") = serde_json::Map::from_iter([("replicas".to_owned(), 0.into())]);
            return;
        }
        _ => {
            if let Some(fields) = value.as_object_mut() {
                fields.remove("status");
            }
            return;
        }
    };
    *object_mut(value, "status") = serde_json::Map::from_iter([("phase".to_owned(), phase.into())]);
}

/// Finalizers that protect data: a claim in use, and a volume that is bound (volume rules, section 5.2).
pub(crate) fn finalizers(kind: Kind, value: &mut Value) {
    let finalizer = match kind {
        Kind::PersistentVolumeClaim => "kubernetes.io/pvc-protection",
        Kind::PersistentVolume => "kubernetes.io/pv-protection",
        _ => return,
    };
    let list = object_mut(value, "metadata").entry("finalizers").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(list) = list.as_array_mut().filter(|list| list.iter().all(|one| one != finalizer)) {
        list.push(finalizer.into());
    }
}
