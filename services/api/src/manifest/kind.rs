//! The kinds of objects, and what each is called.

use std::fmt;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A set of pods with identities.
    StatefulSet,
    /// A name for a group of pods.
    Service,
    /// A group of containers.
    Pod,
    /// A piece of storage.
    PersistentVolume,
    /// A request for storage.
    PersistentVolumeClaim,
    /// A way to make volumes.
    StorageClass,
    /// Settings.
    ConfigMap,
    /// Settings that must not be shown.
    Secret,
    /// A scope of names.
    Namespace,
    /// Something that happened. Written by the system only.
    Event,
    /// One version of a set's template. Written by the system only.
    ControllerRevision,
    /// What one pass decided, and why. Written by the system only.
    Decision,
    /// A machine. Written by the system only.
    Node,
}

/// Everything that is known of a kind without looking at an object.
struct Row {
    kind: Kind,
    name: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    api_versions: &'static [&'static str],
    namespaced: bool,
    writable: bool,
}

/// Our own group. A StatefulSet of it has the same spec, and room for what `apps/v1` has no word for.
const OWN: &str = super::own::API_VERSION;

const TABLE: [Row; 13] = [
    row(Kind::StatefulSet, "StatefulSet", "statefulsets", &["sts"], &["apps/v1", OWN], true, true),
    row(Kind::Service, "Service", "services", &["svc"], &["v1"], true, true),
    row(Kind::Pod, "Pod", "pods", &["po"], &["v1"], true, true),
    row(Kind::PersistentVolume, "PersistentVolume", "persistentvolumes", &["pv"], &["v1"], false, true),
    row(Kind::PersistentVolumeClaim, "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], &["v1"], true, true),
    row(Kind::StorageClass, "StorageClass", "storageclasses", &["sc"], &["storage.k8s.io/v1"], false, true),
    row(Kind::ConfigMap, "ConfigMap", "configmaps", &["cm"], &["v1"], true, true),
    row(Kind::Secret, "Secret", "secrets", &[], &["v1"], true, true),
    row(Kind::Namespace, "Namespace", "namespaces", &["ns"], &["v1"], false, true),
    row(Kind::Event, "Event", "events", &["ev"], &["v1"], true, false),
    row(Kind::ControllerRevision, "ControllerRevision", "controllerrevisions", &[], &["apps/v1"], true, false),
    row(Kind::Decision, "Decision", "decisions", &[], &[OWN], true, false),
    row(Kind::Node, "Node", "nodes", &["no"], &["v1"], false, false),
];

const fn row(
    kind: Kind,
    name: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    api_versions: &'static [&'static str],
    namespaced: bool,
    writable: bool,
) -> Row {
    Row { kind, name, plural, short, api_versions, namespaced, writable }
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.kind)
    }

    /// Reads what people type: `StatefulSet`, `statefulset`, `statefulsets` or `sts`, in any case.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let is = |name: &str| name.eq_ignore_ascii_case(text);
        TABLE.iter().find(|row| is(row.name) || is(row.plural) || row.short.iter().any(|s| is(s))).map(|row| row.kind)
    }

    /// As manifests write it: `StatefulSet`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// As paths and listings write it: `statefulsets`.
    #[must_use]
    pub fn plural(self) -> &'static str {
        self.row().plural
    }

    /// Abbreviations: `sts`.
    #[must_use]
    pub fn short_names(self) -> &'static [&'static str] {
        self.row().short
    }

    /// The `apiVersion` that objects of this kind have by default.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        self.row().api_versions[0]
    }

    /// Every `apiVersion` that is understood.
    #[must_use]
    pub fn api_versions(self) -> &'static [&'static str] {
        self.row().api_versions
    }

    /// Whether objects of this kind live in a namespace.
    #[must_use]
    pub fn namespaced(self) -> bool {
        self.row().namespaced
    }

    /// Whether manifests may hold this kind; the others are written by the system only.
    #[must_use]
    pub fn writable(self) -> bool {
        self.row().writable
    }

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.kind == self).expect("every kind has a row; a test counts them")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_all_its_names() {
        assert_eq!(Kind::all().count(), 13);
        for kind in Kind::all() {
            let names = [kind.name(), kind.plural()].into_iter().chain(kind.short_names().iter().copied());
            for name in names {
                assert_eq!(Kind::from_text(name), Some(kind), "{name}");
                assert_eq!(Kind::from_text(&name.to_uppercase()), Some(kind), "{name}");
            }
            assert_eq!(kind.row().kind, kind);
        }
        assert_eq!(Kind::from_text("deployments"), None);
    }
}
