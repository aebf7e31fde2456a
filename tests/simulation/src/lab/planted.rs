//! What a planted bug makes of the commits of the coordinator.

use coordinator::store::{Batch, Precondition, Write};
use oracles::{Stored, kind_and_name, text};
use serde_json::Value;

use super::{Inner, Lab};
use crate::mutant::Mutant;
use crate::store::AtCommit;

/// Label that names a pod's revision.
const REVISION_LABEL: &str = "/metadata/labels/controller-revision-hash";

/// Writes of a batch beyond which it is torn.
const WHOLE_WRITES_MAX: usize = 5;

/// A commit as a planted bug leaves it.
#[derive(Debug)]
pub struct Planted {
    /// What the store is given.
    pub batch: Batch,
    /// Whether the coordinator would have asked for it like that: then it is what the rules judge.
    pub as_asked: bool,
    /// What happens at it besides.
    pub at: Option<AtCommit>,
}

impl Lab {
    /// A batch as a planted bug leaves it.
    pub fn planted(&self, batch: &Batch) -> Planted {
        let inner = &*self.inner();
        let mut planted = Planted { batch: batch.clone(), as_asked: true, at: None };
        let changed = &mut planted.batch;
        match inner.mutant {
            Some(Mutant::UnguardedWrite) => {
                let writes = |key: &str| batch.writes.iter().any(|write| write.key() == key);
                changed.preconditions.retain(|one| writes(subject(one)));
            }
            Some(Mutant::AheadOfItsReport) => {
                changed.preconditions.retain(|one| !matches!(one, Precondition::StoredAs { .. }));
            }
            Some(Mutant::NoCompareAndSet) => {
                changed.preconditions.clear();
                planted.as_asked = false;
            }
            Some(Mutant::TornBatch) if batch.writes.len() > WHOLE_WRITES_MAX => {
                changed.writes.truncate(3);
                planted.as_asked = false;
            }
            Some(Mutant::EpochStands) => changed.writes.retain(|write| {
                write.key() != "/setkeeper/epoch" || matches!(write, Write::Put { value, .. } if &value[..] == b"1")
            }),
            Some(Mutant::MixedTemplates) => inner.each_pod(changed, Inner::mixed),
            Some(Mutant::EditedInPlace) => inner.each_pod(changed, Inner::edited_in_place),
            Some(Mutant::TornResize) if inner.resizes(batch) => {
                changed.writes.retain(|write| !write.key().starts_with("/objects/persistentvolumes/"));
                planted.at = Some(AtCommit::CrashAfter);
            }
            _ => {}
        }
        planted
    }

    /// Store keys of the sets of which a batch makes a new generation: what people have asked for.
    pub fn sets_asked_for(&self, batch: &Batch) -> Vec<String> {
        let inner = &*self.inner();
        let asked = batch.writes.iter().filter(|write| {
            let Write::Put { key, value } = write else { return false };
            let generation = |value: &Value| value["metadata"]["generation"].as_i64();
            let stored = inner.stored(key).and_then(|stored| generation(&stored.value));
            kind_and_name(key).is_some_and(|(kind, ..)| kind == "statefulsets") && generation(&read(value)) != stored
        });
        asked.map(|write| write.key().to_owned()).collect()
    }
}

impl Inner {
    fn stored(&self, key: &str) -> Option<&Stored> {
        self.history.state().get(key)
    }

    /// Puts in place of each pod of a batch what `change` makes of it, given what is stored.
    fn each_pod(&self, batch: &mut Batch, change: impl Fn(&Self, Option<&Value>, Value) -> Option<Value>) {
        for write in &mut batch.writes {
            let Write::Put { key, value } = write else { continue };
            if kind_and_name(key).is_some_and(|(kind, ..)| kind == "pods") {
                let old = self.stored(key).map(|stored| &*stored.value);
                if let Some(changed) = change(self, old, read(value)) {
                    *value = changed.to_string().into_bytes().into();
                }
            }
        }
    }

    /// Name and template of the newest revision of the set that a pod is of, if the pod is of an older one.
    fn newer(&self, pod: &Value) -> Option<(&str, &Value)> {
        let (namespace, owner) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/ownerReferences/0/name"));
        let set = self.stored(&format!("/objects/statefulsets/{namespace}/{owner}"))?;
        let revision = |name: &str| self.stored(&format!("/objects/controllerrevisions/{namespace}/{name}"));
        let name = text(&set.value, "/status/updateRevision");
        let (newest, own) = (revision(name)?, revision(text(pod, REVISION_LABEL))?);
        let number = |stored: &Stored| stored.value["revision"].as_i64();
        (number(own) < number(newest)).then_some((name, newest.value.pointer("/data/spec/template")?))
    }

    /// B10: a pod is made at an older revision, and what the newest template says of volumes is merged into it.
    fn mixed(&self, old: Option<&Value>, mut pod: Value) -> Option<Value> {
        let (_, template) = self.newer(&pod).filter(|_| old.is_none())?;
        let volumes = template.pointer("/spec/volumes")?.as_array()?.clone();
        let claims = pod["spec"]["volumes"].as_array()?.iter();
        let claims = claims.filter(|volume| volume.get("persistentVolumeClaim").is_some()).cloned();
        pod["spec"]["volumes"] = claims.chain(volumes).collect();
        Some(pod)
    }

    /// B49: a pod is to go for its revision, and is made one of the newest instead.
    fn edited_in_place(&self, old: Option<&Value>, pod: Value) -> Option<Value> {
        let mut edited = old?.clone();
        let goes = |pod: &Value| !text(pod, "/metadata/deletionTimestamp").is_empty();
        let by_people = self.history.deleted_by_people.contains(text(&pod, "/metadata/uid"));
        let (name, template) = self.newer(&pod).filter(|_| goes(&pod) && !goes(&edited) && !by_people)?;
        edited["metadata"]["labels"]["controller-revision-hash"] = name.into();
        edited["spec"]["containers"] = template.pointer("/spec/containers")?.clone();
        Some(edited)
    }

    /// B38: whether a batch makes a volume larger, together with what its claim says.
    fn resizes(&self, batch: &Batch) -> bool {
        let grows = |write: &Write| {
            let Write::Put { key, value } = write else { return false };
            let Some(old) = self.stored(key).filter(|_| key.starts_with("/objects/persistentvolumes/")) else {
                return false;
            };
            old.value["spec"]["capacity"] != read(value)["spec"]["capacity"]
        };
        batch.writes.iter().any(grows)
    }
}

/// The key that a precondition is about; of a series what its keys have in common.
fn subject(precondition: &Precondition) -> &str {
    match precondition {
        Precondition::Absent { key } | Precondition::ModifiedAt { key, .. } | Precondition::StoredAs { key, .. } => key,
        Precondition::Untouched { series, .. } => &series.stem,
    }
}

fn read(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}
