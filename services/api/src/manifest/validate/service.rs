//! Services (DNS rules 1.1).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::super::field::Field;
use super::super::violation::Report;
use super::{container, label_name, label_value_error, one_of, port_number, qualified_name, subdomain};

/// The most ports of one service.
const PORTS_MAX: usize = 100;

pub(super) fn validate(spec: &Field<'_>, report: &mut Report) {
    let kind = spec.get("type");
    one_of(&kind, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], report);
    one_of(&spec.get("sessionAffinity"), &["ClientIP", "None"], report);
    let headless = spec.get("clusterIP").text() == "None";
    addresses(spec, kind.text(), report);
    if kind.text() == "ExternalName" {
        external_name(&spec.get("externalName"), report);
    }
    let ports = spec.get("ports");
    if ports.is_empty() && !headless && kind.text() != "ExternalName" {
        report.required(&ports.path, "");
    }
    self::ports(&ports, report);
    let selector = spec.get("selector");
    for (key, value) in selector.entries() {
        qualified_name(&selector.path, key, report);
        if let Some(why) = label_value_error(value.as_str().unwrap_or_default()) {
            report.invalid(&selector.path, value, why);
        }
    }
}

fn addresses(spec: &Field<'_>, kind: &str, report: &mut Report) {
    let (one, all) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    if kind == "ExternalName" {
        for field in [&one, &all] {
            if !field.is_empty() {
                report.forbidden(&field.path, "may not be set when `type` is 'ExternalName'");
            }
        }
        return;
    }
    let headless = one.text() == "None";
    if headless && (kind == "NodePort" || kind == "LoadBalancer") {
        report.invalid(&one.path, one.value, format_args!("may not be set to 'None' for {kind} services"));
    }
    if all.items().count() > 1 && all.items().any(|address| address.text() == "None") {
        report.invalid(&all.path, all.value, "'None' must be the first and only value");
    }
    if !all.is_empty() && all.items().next().is_some_and(|first| first.text() != one.text()) {
        report.invalid(&all.path, all.value, "first value must match `clusterIP`");
    }
    for address in all.items().filter(|address| address.text() != "None") {
        if address.text().parse::<IpAddr>().is_err() {
            report.invalid(
                &address.path,
                address.value,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
    }
}

fn external_name(name: &Field<'_>, report: &mut Report) {
    if name.is_empty() {
        report.required(&name.path, "");
        return;
    }
    let text = name.text().strip_suffix('.').unwrap_or(name.text());
    if text.parse::<Ipv4Addr>().is_ok() {
        let violation = report.invalid(&name.path, name.value, "is an address, and a name of digits answers nobody");
        violation.hint = Some("use a headless Service with endpoints written by hand".to_owned());
        return;
    }
    let shown = Value::from(text);
    subdomain(&Field { path: name.path.clone(), value: &shown }, report);
}

fn ports(ports: &Field<'_>, report: &mut Report) {
    let count = ports.items().count();
    if count > PORTS_MAX {
        report.invalid(&ports.path, &Value::from(count), format_args!("must have at most {PORTS_MAX} items"));
        return;
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for port in ports.items() {
        let name = port.get("name");
        if name.is_empty() && count > 1 {
            report.required(&name.path, "");
        } else if !name.is_empty() {
            label_name(&name, report);
            if !names.insert(name.text()) {
                report.duplicate(&name.path, name.value);
            }
        }
        let (number, protocol) = (port.get("port"), port.get("protocol"));
        if number.is_set() {
            port_number(&number, report);
        } else {
            report.required(&number.path, "");
        }
        one_of(&protocol, &["SCTP", "TCP", "UDP"], report);
        if number.is_set() && !numbers.insert((number.integer(), protocol.text())) {
            report.duplicate(&port.path, port.value);
        }
        let target = port.get("targetPort");
        match target.value {
            Value::String(text) => {
                if let Some(why) = container::port_name_error(text) {
                    report.invalid(&target.path, target.value, why);
                }
            }
            // The default is the port itself, of which nothing needs to be said twice.
            value if value == number.value => {}
            _ => port_number(&target, report),
        }
        port_number(&port.get("nodePort"), report);
    }
}
