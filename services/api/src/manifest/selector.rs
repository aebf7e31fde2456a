//! Label selectors: those of objects, and those that people type.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::field::Field;
use super::validate::{label_value_error, qualified_name};
use super::violation::{Report, Violation, ViolationKind};

/// The longest selector that people can type, in bytes.
const TEXT_LENGTH_MAX: usize = 4096;

/// Which labels an object must have. The empty one selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Reads what people type after `-l`: `app=web,tier in (a, b),zone!=x,!old,new`.
    ///
    /// # Errors
    /// When it is no selector; the message shows the part that is not understood.
    pub fn parse(text: &str) -> Result<Self, Box<Violation>> {
        let wrong = |part: &str, why: &str| {
            Box::new(Violation::new(ViolationKind::Invalid, "selector", format!("Invalid value: \"{part}\": {why}")))
        };
        if text.len() > TEXT_LENGTH_MAX {
            return Err(wrong("", "must be no more than 4096 characters"));
        }
        let mut requirements = Vec::new();
        for part in split_outside_brackets(text) {
            let part = part.trim();
            if part.is_empty() && text.trim().is_empty() {
                break;
            }
            let requirement = requirement(part).ok_or_else(|| wrong(part, "not a requirement such as app=web"))?;
            let mut report = Report::default();
            qualified_name("selector", &requirement.key, &mut report);
            if let Test::In(values) | Test::NotIn(values) = &requirement.test
                && let Some(why) = values.iter().find_map(|value| label_value_error(value))
            {
                return Err(wrong(part, &why));
            }
            if let Some(violation) = report.violations.pop() {
                return Err(Box::new(violation));
            }
            requirements.push(requirement);
        }
        Ok(Self { requirements })
    }

    /// Reads the selector of an object: `{"matchLabels": .., "matchExpressions": [..]}`. Null is the empty selector.
    ///
    /// # Errors
    /// What is wrong with it, with fields below `spec.selector`.
    pub fn from_label_selector(value: &Value) -> Result<Self, Vec<Violation>> {
        let field = Field { path: "spec.selector".to_owned(), value };
        let mut report = Report::default();
        validate(&field, &mut report);
        if !report.violations.is_empty() {
            return Err(report.violations);
        }
        let equal = |(key, value): (&str, &Value)| Requirement {
            key: key.to_owned(),
            test: Test::In(BTreeSet::from([value.as_str().unwrap_or_default().to_owned()])),
        };
        let mut requirements: Vec<_> = field.get("matchLabels").entries().map(equal).collect();
        for expression in field.get("matchExpressions").items() {
            let values = expression.get("values").items().map(|value| value.text().to_owned()).collect();
            let test = match expression.get("operator").text() {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                _ => Test::DoesNotExist,
            };
            requirements.push(Requirement { key: expression.get("key").text().to_owned(), test });
        }
        Ok(Self { requirements })
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.test(|key| labels.get(key).map(String::as_str))
    }

    /// The same for labels as an object holds them: a JSON object of texts, or null.
    #[must_use]
    pub fn matches_value(&self, labels: &Value) -> bool {
        self.test(|key| labels.get(key).and_then(Value::as_str))
    }

    fn test<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = label(&requirement.key);
            match &requirement.test {
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::Exists => value.is_some(),
                Test::DoesNotExist => value.is_none(),
            }
        })
    }
}

impl std::fmt::Display for Selector {
    /// As people type it: `app=web,tier in (a,b)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, Requirement { key, test }) in self.requirements.iter().enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            let list = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(",");
            match test {
                Test::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values))?,
                Test::In(values) => write!(f, "{key} in ({})", list(values))?,
                Test::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", list(values))?,
                Test::NotIn(values) => write!(f, "{key} notin ({})", list(values))?,
                Test::Exists => write!(f, "{key}")?,
                Test::DoesNotExist => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

fn split_outside_brackets(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.split(move |c| {
        inside = (inside || c == '(') && c != ')';
        c == ',' && !inside
    })
}

fn requirement(part: &str) -> Option<Requirement> {
    let one = |value: &str| BTreeSet::from([value.trim().to_owned()]);
    let (key, test) = if let Some(key) = part.strip_prefix('!') {
        (key, Test::DoesNotExist)
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, Test::NotIn(one(value)))
    } else if let Some((key, value)) = part.split_once('=') {
        (key, Test::In(one(value.strip_prefix('=').unwrap_or(value))))
    } else if let Some(open) = part.find('(') {
        let values = part[open + 1..].strip_suffix(')')?.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) = part[..open].trim().rsplit_once(char::is_whitespace)?;
        match operator {
            "in" => (key, Test::In(values)),
            "notin" => (key, Test::NotIn(values)),
            _ => return None,
        }
    } else {
        (part, Test::Exists)
    };
    let key = key.trim();
    (!key.is_empty() && !key.contains(char::is_whitespace)).then(|| Requirement { key: key.to_owned(), test })
}

/// Reports what is wrong with the selector of an object.
pub(super) fn validate(selector: &Field<'_>, report: &mut Report) {
    let labels = selector.get("matchLabels");
    for (key, value) in labels.entries() {
        qualified_name(&labels.path, key, report);
        if let Some(why) = label_value_error(value.as_str().unwrap_or_default()) {
            report.invalid(&labels.path, value, why);
        }
    }
    for expression in selector.get("matchExpressions").items() {
        let (key, operator, values) = (expression.get("key"), expression.get("operator"), expression.get("values"));
        qualified_name(&key.path, key.text(), report);
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                report.required(&values.path, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "In" | "NotIn" => {
                for value in values.items() {
                    if let Some(why) = label_value_error(value.text()) {
                        report.invalid(&value.path, value.value, why);
                    }
                }
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                report.forbidden(&values.path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Exists" | "DoesNotExist" => {}
            text => {
                report.invalid(&operator.path, operator.value, "not a valid selector operator");
                let why = format!("\"{text}\" is not a valid label selector operator");
                report.invalid(&selector.path, selector.value, why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: &str, labels: &str) -> bool {
        let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
        let labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Selector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn typed_selectors_select() {
        for (selector, labels, expected) in [
            ("", "app=web", true),
            ("app=web", "app=web", true),
            ("app==web", "app=web", true),
            ("app=web", "app=db", false),
            ("app!=web", "app=db", true),
            ("app!=web", "", true),
            ("app in (web, db),tier", "app=db,tier=x", true),
            ("app in (web, db),tier", "app=db", false),
            ("app notin (web)", "", true),
            ("!app", "", true),
            ("!app", "app=web", false),
            ("app", "app=", true),
            ("app=", "app=", true),
        ] {
            assert_eq!(selects(selector, labels), expected, "{selector} on {labels}");
        }
        for bad in ["=x", "a b", "app in web", "app=a b", "app,,x", "app in (a", "-=x"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn selectors_of_objects_select_and_print() {
        let value = json!({"matchLabels": {"app": "nginx"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "old", "operator": "DoesNotExist"},
        ]});
        let selector = Selector::from_label_selector(&value).unwrap();
        assert_eq!(selector.to_string(), "app=nginx,tier in (a,b),!old");
        assert!(selector.matches_value(&json!({"app": "nginx", "tier": "b"})));
        assert!(!selector.matches_value(&json!({"app": "nginx", "tier": "b", "old": ""})));
        assert!(!selector.matches_value(&Value::Null));
        assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
    }
}
