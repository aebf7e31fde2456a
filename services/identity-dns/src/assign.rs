//! Identity of each ordinal (StatefulSet rules, sections 3.1, 3.2, 3.6). Pure.

use std::collections::BTreeMap;

use domain::{DNS_LABEL_LENGTH_MAX, Ordinal, PodIdentity, RevisionName, SetRef, is_dns_label, pod_name};

/// Label with the pod's own name, so that a Service can pick out exactly one pod.
pub const LABEL_POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// Label with the ordinal in decimal.
pub const LABEL_POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Label with the whole name of the revision record.
pub const LABEL_REVISION: &str = "controller-revision-hash";

/// Why an ordinal can have no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// The pod name is the hostname, and that is one DNS label.
    #[error(
        "pod name {name:?} does not fit a DNS label of {DNS_LABEL_LENGTH_MAX} characters: give the set a name that is \
         at least {excess} shorter"
    )]
    NameTooLong {
        /// The name that does not fit.
        name: String,
        /// Characters too many.
        excess: usize,
    },
    /// The pod name is no DNS label for another reason than its length.
    #[error("pod name {name:?} is no DNS label: {source}")]
    NotALabel {
        /// The name.
        name: String,
        /// What is wrong.
        source: domain::InvalidName,
    },
    /// The revision's name is a label value of every pod.
    #[error(
        "revision {name:?} does not fit a label value of {DNS_LABEL_LENGTH_MAX} characters: shorten the set's name"
    )]
    RevisionTooLong {
        /// The name that does not fit.
        name: String,
    },
}

/// The identity of the pod of `ordinal`, created at `revision`. `domain` is the cluster's, without dots at its ends.
///
/// # Errors
/// Where a name would not fit.
pub fn assign(
    set: &SetRef,
    service_name: &str,
    ordinal: Ordinal,
    revision: &RevisionName,
    domain: &str,
) -> Result<PodIdentity, AssignError> {
    let name = pod_name(&set.name, ordinal);
    if name.len() > DNS_LABEL_LENGTH_MAX {
        return Err(AssignError::NameTooLong { excess: name.len() - DNS_LABEL_LENGTH_MAX, name });
    }
    if let Err(source) = is_dns_label(&name) {
        return Err(AssignError::NotALabel { name, source });
    }
    if revision.0.len() > DNS_LABEL_LENGTH_MAX {
        return Err(AssignError::RevisionTooLong { name: revision.to_string() });
    }
    let labels = BTreeMap::from([
        (LABEL_POD_NAME.to_owned(), name.clone()),
        (LABEL_POD_INDEX.to_owned(), ordinal.to_string()),
        (LABEL_REVISION.to_owned(), revision.to_string()),
    ]);
    let full_name = |service: &str| format!("{name}.{service}.{}.svc.{domain}", set.namespace);
    let dns_names = Some(service_name).filter(|service| !service.is_empty()).map(full_name);
    Ok(PodIdentity {
        ordinal,
        hostname: name.clone(),
        subdomain: service_name.to_owned(),
        labels,
        dns_names: dns_names.into_iter().collect(),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(set: &str, namespace: &str, service: &str, ordinal: u32, domain: &str) -> PodIdentity {
        let set = SetRef { namespace: namespace.into(), name: set.into(), ..SetRef::default() };
        assign(&set, service, Ordinal(ordinal), &RevisionName(format!("{}-6cdc958bf", set.name).into()), domain)
            .unwrap()
    }

    /// The table of the DNS rules, section 7.2.
    #[test]
    fn s_204_names_follow_set_service_namespace_and_zone() {
        for (zone, namespace, service, set, expected) in [
            ("cluster.local", "default", "nginx", "web", "web-2.nginx.default.svc.cluster.local"),
            ("cluster.local", "foo", "nginx", "web", "web-2.nginx.foo.svc.cluster.local"),
            ("kube.local", "foo", "nginx", "web", "web-2.nginx.foo.svc.kube.local"),
            (
                "cluster.local",
                "default",
                "none-service",
                "stateful-mysql",
                "stateful-mysql-2.none-service.default.svc.cluster.local",
            ),
        ] {
            for ordinal in 0..3 {
                let identity = identity(set, namespace, service, ordinal, zone);
                let name = format!("{set}-{ordinal}");
                assert_eq!(identity.dns_names, [expected.replace(&format!("{set}-2"), &name)]);
                assert_eq!((identity.hostname, identity.subdomain.as_str()), (name, service));
            }
        }
    }

    #[test]
    fn labels_are_those_of_kubernetes() {
        let identity = identity("web", "default", "nginx", 7, "cluster.local");
        let expected = [
            ("apps.kubernetes.io/pod-index", "7"),
            ("controller-revision-hash", "web-6cdc958bf"),
            ("statefulset.kubernetes.io/pod-name", "web-7"),
        ];
        assert!(identity.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));
    }

    #[test]
    fn without_a_service_there_is_no_name() {
        let identity = identity("web", "default", "", 0, "cluster.local");
        assert_eq!((identity.subdomain.as_str(), identity.dns_names.len()), ("", 0));
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        let set = SetRef { namespace: "d".into(), name: "x".repeat(60), ..SetRef::default() };
        let revision = RevisionName("r".into());
        assert!(assign(&set, "s", Ordinal(99), &revision, "z").is_ok());
        let error = assign(&set, "s", Ordinal(10_000), &revision, "z").unwrap_err();
        assert!(matches!(error, AssignError::NameTooLong { excess: 3, .. }), "{error}");
        let long = RevisionName("r".repeat(64).into());
        assert!(matches!(assign(&set, "s", Ordinal(0), &long, "z"), Err(AssignError::RevisionTooLong { .. })));
        let dotted = SetRef { name: "a.b".into(), ..set };
        assert!(matches!(assign(&dotted, "s", Ordinal(0), &revision, "z"), Err(AssignError::NotALabel { .. })));
    }
}
