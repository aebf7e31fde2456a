//! Names made from a set and an ordinal, and read back (StatefulSet rules, section 3.1).

use std::collections::BTreeMap;

use crate::{Ordinal, SetRef};

/// What makes a pod this pod: everything that stays when it is replaced, and its labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodIdentity {
    /// Position in the set.
    pub ordinal: Ordinal,
    /// Pod name, `<set>-<ordinal>`.
    pub name: String,
    /// `spec.hostname`; the pod name.
    pub hostname: String,
    /// `spec.subdomain`; the set's `serviceName`, which may be empty.
    pub subdomain: String,
    /// Labels on top of the template's: pod-name, pod-index, controller-revision-hash.
    pub labels: BTreeMap<String, String>,
    /// Absolute DNS names without the final dot, once the Service exists; empty without a `serviceName`.
    pub dns_names: Vec<String>,
}

/// Name of the pod of `ordinal`: `web-0`.
#[must_use]
pub fn pod_name(set: &str, ordinal: Ordinal) -> String {
    format!("{set}-{ordinal}")
}

/// Name of the claim of `ordinal` made from the template: `www-web-0`.
#[must_use]
pub fn claim_name(template: &str, set: &str, ordinal: Ordinal) -> String {
    format!("{template}-{set}-{ordinal}")
}

/// The ordinal of the pod called `name` if it is the canonical name of a member of `set`.
///
/// Canonical decimals only: `web-01`, `web-+1` and numbers above 2^31 - 1 are nobody's pods, where Kubernetes lets
/// `web-01` take the slot of ordinal 1.
#[must_use]
pub fn pod_ordinal(set: &str, name: &str) -> Option<Ordinal> {
    let digits = name.strip_prefix(set)?.strip_prefix('-')?;
    let canonical = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
    let ordinal = Ordinal(digits.parse().ok().filter(|_| canonical)?);
    (ordinal <= Ordinal::MAX).then_some(ordinal)
}

/// A stored pod, as far as it says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Uid of its controller; none where nobody controls it.
    pub controller: Option<&'a str>,
    /// Whether the set's selector selects its labels.
    pub selected: bool,
    /// Whether its deletion has been requested.
    pub terminating: bool,
}

/// What a pod is to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// The set's pod of this ordinal.
    Member(Ordinal),
    /// Controlled by the set, and not its own by name or labels: it is let go.
    Stray,
    /// Controlled by nobody, with the name and the labels of this ordinal's pod: it is adopted.
    Orphan(Ordinal),
    /// Neither. All that the set knows of it is that its name is taken.
    Stranger,
}

/// What a pod is to a set that is not being deleted (StatefulSet rules, section 4; reliability rules, S2). Labels alone
/// make no member: this incarnation of the set must control it, and its name must be the one that the set gives it. A set
/// that is being deleted has the same members, and neither lets go nor adopts.
#[must_use]
pub fn kinship(set: &SetRef, pod: Candidate<'_>) -> Kinship {
    let ours = pod.controller == Some(set.uid.0.as_str());
    match pod_ordinal(&set.name, pod.name).filter(|_| pod.selected) {
        Some(ordinal) if ours => Kinship::Member(ordinal),
        None if ours => Kinship::Stray,
        Some(ordinal) if pod.controller.is_none() && !pod.terminating => Kinship::Orphan(ordinal),
        _ => Kinship::Stranger,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Uid;

    #[test]
    fn a_member_is_controlled_selected_and_named_by_its_set() {
        let set = SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("ours".into()) };
        let check = |name, controller, labels, expected| {
            let is =
                |terminating| kinship(&set, Candidate { name, controller, selected: labels == "app=web", terminating });
            assert_eq!(is(false), expected, "{name} of {controller:?}, {labels}");
            let adopted = matches!(expected, Kinship::Orphan(_));
            let going = if adopted { Kinship::Stranger } else { expected };
            assert_eq!(is(true), going, "{name} of {controller:?}, {labels}, terminating");
        };
        let (ours, former, nobody) = (Some("ours"), Some("former"), None);
        check("web-1", ours, "app=web", Kinship::Member(Ordinal(1)));
        check("web-1", ours, "app=db", Kinship::Stray);
        check("web-01", ours, "app=web", Kinship::Stray);
        check("web-1", nobody, "app=web", Kinship::Orphan(Ordinal(1)));
        check("web-1", nobody, "app=db", Kinship::Stranger);
        check("web-01", nobody, "app=web", Kinship::Stranger);
        check("web-1", former, "app=web", Kinship::Stranger);
    }

    #[test]
    fn only_canonical_names_are_members() {
        assert_eq!(pod_ordinal("web", "web-0"), Some(Ordinal(0)));
        assert_eq!(pod_ordinal("web", "web-2147483647"), Some(Ordinal::MAX));
        for stranger in ["web", "web-", "web-01", "web-+1", "web--1", "web-1a", "web-2147483648", "we-b-1", "web-x-1"] {
            assert_eq!(pod_ordinal("web", stranger), None, "{stranger}");
        }
    }
}
