//! Decision records: what a pass did to a set, and why the rest waits.

use domain::WaitRun;
use serde_json::Value;

use super::json::{list, number, text};

/// What a decision says that has neither steps nor waits.
pub(super) const SETTLED: &str = "everything is as the set wants it";

/// Lines that one decision may take: more steps than these are counted.
const STEPS_SHOWN_MAX: usize = 6;

/// Why pods wait, one line for each reason: `pods 1-2: waiting for pod 0 to become ready`.
#[must_use]
pub(super) fn waits(decision: &Value) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<(u32, u32)>)> = Vec::new();
    for wait in list(decision, "/waits") {
        let Ok(wait) = serde_json::from_value::<WaitRun>(wait.clone()) else { continue };
        let reason = wait.reason.to_string();
        let ordinals = wait.ordinal.map(|first| (first.0, wait.through.unwrap_or(first).0));
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, known)) => known.extend(ordinals),
            None => reasons.push((reason, ordinals.into_iter().collect())),
        }
    }
    reasons.into_iter().map(|(reason, ordinals)| format!("{}{reason}", pods(ordinals))).collect()
}

/// What was done and why, one line for each step; where nothing was done, why.
#[must_use]
pub(super) fn lines(decision: &Value) -> Vec<String> {
    let steps = list(decision, "/steps");
    let mut lines: Vec<String> = steps
        .iter()
        .take(STEPS_SHOWN_MAX)
        .map(|step| format!("{} {}: {}", text(step, "/action"), text(step, "/object"), text(step, "/why")))
        .collect();
    let left_out = steps.len().saturating_sub(STEPS_SHOWN_MAX) as i64 + number(decision, "/stepsLeftOut");
    if left_out > 0 {
        lines.push(format!("and {left_out} more steps"));
    }
    if lines.is_empty() {
        lines = waits(decision);
    }
    if lines.is_empty() {
        let summary = text(decision, "/summary");
        lines.push(if summary.is_empty() { SETTLED.to_owned() } else { summary.to_owned() });
    }
    lines
}

/// `pod 3: `, `pods 0, 2-5: `; nothing where the whole set waits.
fn pods(mut runs: Vec<(u32, u32)>) -> String {
    runs.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for (first, last) in runs {
        match ranges.last_mut() {
            Some((_, until)) if first <= until.saturating_add(1) => *until = last.max(*until),
            _ => ranges.push((first, last)),
        }
    }
    let range = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let words = ranges.iter().map(range).collect::<Vec<_>>().join(", ");
    match ranges[..] {
        [] => String::new(),
        [(first, last)] if first == last => format!("pod {words}: "),
        _ => format!("pods {words}: "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_that_wait_for_the_same_share_a_line() {
        let not_ready = json!({ "NotReady": { "ordinal": 0 } });
        let wait = |ordinal: u32| json!({ "ordinal": ordinal, "reason": not_ready });
        let run = json!({ "ordinal": 4, "through": 8, "reason": not_ready });
        let decision = json!({ "waits": [wait(2), wait(1), run, wait(5), { "ordinal": 7, "reason": "OnDelete" }, { "ordinal": null,
            "reason": { "Other": { "message": "paused" } } }, { "from a later version": true }] });
        assert_eq!(
            waits(&decision),
            [
                "pods 1-2, 4-8: waiting for pod 0 to become ready",
                "pod 7: strategy OnDelete: delete the pod to update it",
                "paused"
            ]
        );
    }

    #[test]
    fn a_decision_says_what_was_done_else_why_not() {
        let step = json!({ "action": "create Pod", "object": "web-0", "why": "ordinal 0 is missing" });
        assert_eq!(lines(&json!({ "steps": [step] })), ["create Pod web-0: ordinal 0 is missing"]);
        let many = lines(&json!({ "steps": vec![step; 10], "stepsLeftOut": 5 }));
        assert_eq!(many.len(), STEPS_SHOWN_MAX + 1);
        assert_eq!(many.last().map(String::as_str), Some("and 9 more steps"));
        assert_eq!(lines(&json!({ "steps": [], "waits": [] })), [SETTLED]);
    }
}
