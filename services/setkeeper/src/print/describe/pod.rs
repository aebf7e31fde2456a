//! A pod, and the template of pods.

use std::fmt::Write as _;

use domain::Timestamp;
use serde_json::Value;

use super::conditions;
use super::page::Page;
use crate::print::age::age;
use crate::print::columns::pairs;
use crate::print::json::{list, number, text};
use crate::print::pod::summarize;

/// A pod template alone.
#[must_use]
pub(in crate::print) fn pod_template(template: &Value) -> String {
    let mut page = Page::default();
    page.line("Pod Template:");
    page.fields("  Labels", &pairs(template, "/metadata/labels"));
    if template.pointer("/metadata/annotations").is_some() {
        page.fields("  Annotations", &pairs(template, "/metadata/annotations"));
    }
    let spec = template.pointer("/spec").unwrap_or(&Value::Null);
    containers(&mut page, "  ", spec, &Value::Null, Timestamp::default());
    if !list(spec, "/volumes").is_empty() {
        page.line("  Volumes:");
        volumes(&mut page, "    ", spec);
    }
    page.text
}

pub(super) fn pod(page: &mut Page, object: &Value, now: Timestamp) {
    let summary = summarize(object);
    page.fields("Labels", &pairs(object, "/metadata/labels"));
    page.fields("Annotations", &pairs(object, "/metadata/annotations"));
    page.field("Node", text(object, "/spec/nodeName"));
    page.field("Status", &summary.status);
    page.field("Phase", text(object, "/status/phase"));
    if !text(object, "/status/message").is_empty() {
        page.field("Message", text(object, "/status/message"));
    }
    page.field("IP", text(object, "/status/podIP"));
    page.field("Hostname", text(object, "/spec/hostname"));
    page.field("Subdomain", text(object, "/spec/subdomain"));
    let owner = list(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true);
    page.field(
        "Controlled By",
        &owner.map(|owner| format!("{}/{}", text(owner, "/kind"), text(owner, "/name"))).unwrap_or_default(),
    );
    containers(page, "", object.pointer("/spec").unwrap_or(&Value::Null), object, now);
    conditions(page, object);
    page.line("Volumes:");
    volumes(page, "  ", object.pointer("/spec").unwrap_or(&Value::Null));
}

fn volumes(page: &mut Page, indent: &str, spec: &Value) {
    for volume in list(spec, "/volumes") {
        let source = volume.as_object().into_iter().flatten().find(|(field, _)| *field != "name");
        let source = source.map(|(field, source)| match text(source, "/claimName") {
            "" => field.clone(),
            claim => format!("{field} {claim}"),
        });
        page.field(&format!("{indent}{}", text(volume, "/name")), &source.unwrap_or_default());
    }
}

pub(super) fn containers(page: &mut Page, indent: &str, spec: &Value, pod: &Value, now: Timestamp) {
    for (heading, field, statuses) in [
        ("Init Containers", "/initContainers", "/status/initContainerStatuses"),
        ("Containers", "/containers", "/status/containerStatuses"),
    ] {
        let containers = list(spec, field);
        if containers.is_empty() {
            continue;
        }
        page.line(&format!("{indent}{heading}:"));
        for container in containers {
            let name = text(container, "/name");
            page.line(&format!("{indent}  {name}:"));
            let inner = format!("{indent}    ");
            page.field(&format!("{inner}Image"), text(container, "/image"));
            let ports = list(container, "/ports").iter().map(|port| {
                let protocol = text(port, "/protocol");
                format!("{}/{}", number(port, "/containerPort"), if protocol.is_empty() { "TCP" } else { protocol })
            });
            page.field(&format!("{inner}Ports"), &ports.collect::<Vec<_>>().join(", "));
            for (heading, field) in [("Command", "/command"), ("Args", "/args")] {
                let words = list(container, field).iter().filter_map(Value::as_str).collect::<Vec<_>>();
                if !words.is_empty() {
                    page.field(&format!("{inner}{heading}"), &words.join(" "));
                }
            }
            let variables = list(container, "/env").iter().map(|variable| match variable.get("valueFrom") {
                None => format!("{}={}", text(variable, "/name"), text(variable, "/value")),
                Some(_) => format!("{} from elsewhere", text(variable, "/name")),
            });
            let variables = variables.collect::<Vec<_>>();
            if let Some((first, rest)) = variables.split_first() {
                page.field(&format!("{inner}Environment"), first);
                rest.iter().for_each(|variable| page.field_more(variable));
            }
            let status = list(pod, statuses).iter().find(|status| text(status, "/name") == name);
            if let Some(status) = status {
                container_status(page, &inner, status, now);
            }
            let mounts = list(container, "/volumeMounts").iter().map(|mount| {
                let access = if mount["readOnly"] == true { "ro" } else { "rw" };
                format!("{} from {} ({access})", text(mount, "/mountPath"), text(mount, "/name"))
            });
            page.fields(&format!("{inner}Mounts"), &mounts.collect::<Vec<_>>().join(","));
        }
    }
}

fn container_status(page: &mut Page, indent: &str, status: &Value, now: Timestamp) {
    for (heading, pointer) in [("State", "/state"), ("Last State", "/lastState")] {
        let state = status.pointer(pointer).and_then(Value::as_object).and_then(|state| state.iter().next());
        let Some((name, state)) = state else { continue };
        let mut line = match name.as_str() {
            "running" => format!("Running for {}", age(text(state, "/startedAt"), now)),
            "terminated" => format!("Terminated, exit code {}", number(state, "/exitCode")),
            _ => "Waiting".to_owned(),
        };
        for detail in [text(state, "/reason"), text(state, "/message")] {
            if !detail.is_empty() {
                let _ = write!(line, ": {}", detail.trim());
            }
        }
        page.field(&format!("{indent}{heading}"), &line);
    }
    page.field(&format!("{indent}Ready"), if status["ready"] == true { "True" } else { "False" });
    page.field(&format!("{indent}Restart Count"), &number(status, "/restartCount").to_string());
}
