//! Label selectors and node affinity.

use std::collections::BTreeMap;

use super::MachineNode;

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The value is one of those named.
    In,
    /// There is no value, or none of those named.
    NotIn,
    /// There is a value.
    Exists,
    /// There is none.
    DoesNotExist,
    /// The value is a number above the one named.
    Gt,
    /// The value is a number below the one named.
    Lt,
}

/// What is required of one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// Key of a label, or name of a field.
    pub key: String,
    /// Comparison.
    pub operator: Operator,
    /// What to compare with.
    pub values: Vec<String>,
}

impl Requirement {
    /// Whether `found`, the value of the key, meets it.
    #[must_use]
    pub fn meets(&self, found: Option<&str>) -> bool {
        let named = |value: &str| self.values.iter().any(|one| one == value);
        let compare = |than: fn(i64, i64) -> bool| {
            let number = |text: Option<&str>| text?.parse::<i64>().ok();
            let bound = number(self.values.first().map(String::as_str));
            number(found).zip(bound).is_some_and(|(found, bound)| than(found, bound))
        };
        match self.operator {
            Operator::In => found.is_some_and(named),
            Operator::NotIn => !found.is_some_and(named),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::Gt => compare(|found, bound| found > bound),
            Operator::Lt => compare(|found, bound| found < bound),
        }
    }
}

/// `matchLabels` and `matchExpressions`; all must hold. Without any it selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    pub labels: BTreeMap<String, String>,
    /// Further requirements.
    pub expressions: Vec<Requirement>,
}

impl LabelSelector {
    /// Whether it selects an object of these labels.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|one| one.meets(labels.get(&one.key).map(String::as_str)))
    }
}

/// One alternative of a node affinity; all its requirements must hold. An empty one admits no node, as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeTerm {
    /// Requirements on labels.
    pub labels: Vec<Requirement>,
    /// Requirements on fields; only `metadata.name` exists.
    pub fields: Vec<Requirement>,
}

impl NodeTerm {
    /// Whether it admits `node`.
    #[must_use]
    pub fn admits(&self, node: &MachineNode) -> bool {
        let field = |one: &Requirement| one.key == "metadata.name" && one.meets(Some(&node.name));
        !(self.labels.is_empty() && self.fields.is_empty())
            && self.labels.iter().all(|one| one.meets(node.labels.get(&one.key).map(String::as_str)))
            && self.fields.iter().all(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(key: &str, operator: Operator, values: &[&str]) -> Requirement {
        Requirement { key: key.into(), operator, values: values.iter().map(|&value| value.into()).collect() }
    }

    #[test]
    fn operators_follow_kubernetes() {
        let (yes, no): (&[_], &[_]) = (&[Some("ssd")], &[None, Some("hdd")]);
        let check = |operator, values: &[&str], yes: &[Option<&str>], no: &[Option<&str>]| {
            let one = requirement("disk", operator, values);
            assert!(yes.iter().all(|found| one.meets(*found)), "{one:?}");
            assert!(!no.iter().any(|found| one.meets(*found)), "{one:?}");
        };
        check(Operator::In, &["ssd"], yes, no);
        check(Operator::NotIn, &["ssd"], no, yes);
        check(Operator::Exists, &[], &[Some("")], &[None]);
        check(Operator::DoesNotExist, &[], &[None], &[Some("")]);
        check(Operator::Gt, &["3"], &[Some("4")], &[Some("3"), None, Some("x")]);
        check(Operator::Lt, &["3"], &[Some("2")], &[Some("3"), None, Some("x")]);
    }

    #[test]
    fn node_terms_need_at_least_one_requirement() {
        let labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), "here".to_owned())]);
        let node = MachineNode { name: "here".into(), labels };
        let term = |labels, fields| NodeTerm { labels, fields };
        let host = |name| requirement("kubernetes.io/hostname", Operator::In, &[name]);
        assert!(term(vec![host("here")], vec![]).admits(&node));
        assert!(!term(vec![host("there")], vec![]).admits(&node));
        assert!(term(vec![], vec![requirement("metadata.name", Operator::In, &["here"])]).admits(&node));
        assert!(!NodeTerm::default().admits(&node));
    }
}
