//! The revisions of a set, as kubectl shows them (StatefulSet rules, section 16).

use std::fmt::Write as _;

use api::manifest::Kind;
use serde_json::Value;

use super::describe::pod_template;
use super::json::qualified_name;

/// Column where change causes begin: behind `REVISION` and two spaces.
const CAUSE_COLUMN: usize = 10;

/// Numbers and change causes of revisions, ascending.
#[must_use]
pub(crate) fn history(set: &str, revisions: &[(i64, &str)]) -> String {
    if revisions.is_empty() {
        return "No rollout history found.\n".to_owned();
    }
    let mut text = format!("{}\n{:<CAUSE_COLUMN$}CHANGE-CAUSE\n", qualified_name(Kind::StatefulSet, set), "REVISION");
    for (number, cause) in revisions {
        let cause = if cause.is_empty() { "<none>" } else { cause };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{number:<CAUSE_COLUMN$}{cause}");
    }
    text
}

/// The template of one revision.
#[must_use]
pub(crate) fn revision(set: &str, number: i64, template: &Value) -> String {
    let heading = qualified_name(Kind::StatefulSet, set);
    format!("{heading} with revision #{number}\n{}", pod_template(template))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn s_189_history_lists_numbers_and_causes() {
        assert_eq!(history("web", &[]), "No rollout history found.\n");
        insta::assert_snapshot!(history("web", &[(2, ""), (11, "v2")]), @r"
        statefulset.apps/web
        REVISION  CHANGE-CAUSE
        2         <none>
        11        v2
        ");
    }

    #[test]
    fn s_189_history_of_one_revision_is_its_template() {
        let template = json!({
            "metadata": { "labels": { "app": "web" }, "annotations": { "a": "b" } },
            "spec": {
                "containers": [{ "name": "main", "image": "nginx:2", "ports": [{ "containerPort": 80 }],
                    "env": [{ "name": "LEVEL", "value": "info" }],
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }] }],
                "volumes": [{ "name": "tmp", "emptyDir": {} }],
            },
        });
        insta::assert_snapshot!(revision("web", 2, &template), @r"
        statefulset.apps/web with revision #2
        Pod Template:
          Labels:               app=web
          Annotations:          a=b
          Containers:
            main:
              Image:            nginx:2
              Ports:            80/TCP
              Environment:      LEVEL=info
              Mounts:           /data from data (rw)
          Volumes:
            tmp:                emptyDir
        ");
    }
}
