//! Names made from a set and an ordinal, and read back (StatefulSet rules, section 3.1).

use std::collections::BTreeMap;

use crate::Ordinal;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_names_are_members() {
        assert_eq!(pod_ordinal("web", "web-0"), Some(Ordinal(0)));
        assert_eq!(pod_ordinal("web", "web-2147483647"), Some(Ordinal::MAX));
        for stranger in ["web", "web-", "web-01", "web-+1", "web--1", "web-1a", "web-2147483648", "we-b-1", "web-x-1"] {
            assert_eq!(pod_ordinal("web", stranger), None, "{stranger}");
        }
    }
}
