//! Where a partition splits a set. It counts pods from the first one on, so that with a start, or with ordinals that are
//! left out, it is no ordinal itself (kubernetes/kubernetes 128529).

use serde_json::Value;

use crate::manifest;
use crate::object::text;

/// Which pods of a set a partition lets an update reach; none where there is no partition.
#[must_use]
pub fn reach(set: &Value) -> Option<String> {
    let spec = manifest::set_spec(set).ok().filter(|spec| spec.partition() > 0)?;
    let first = spec.ordinal_at(spec.partition());
    let reached = spec.last().is_some_and(|last| first <= u64::from(last.0));
    let name = text(set, "/metadata/name");
    Some(if reached { format!("{name}-{first} and above") } else { "no pod".to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_partition_is_told_as_the_pod_that_it_begins_with() {
        let reach = |partition: u32, more: Value| {
            let mut set = json!({
                "metadata": { "name": "web" },
                "spec": { "replicas": 3, "updateStrategy": { "type": "RollingUpdate",
                    "rollingUpdate": { "partition": partition } } },
            });
            if let (Some(spec), Value::Object(more)) = (set["spec"].as_object_mut(), more) {
                spec.extend(more);
            }
            super::reach(&set)
        };
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(reach(0, json!({})), None);
        assert_eq!(reach(2, json!({})), of("web-2 and above"));
        assert_eq!(reach(1, json!({ "ordinals": { "start": 5 } })), of("web-6 and above"));
        assert_eq!(reach(1, json!({ "reserveOrdinals": [1] })), of("web-2 and above"));
        assert_eq!(reach(3, json!({ "ordinals": { "start": 5 } })), of("no pod"));
    }
}
