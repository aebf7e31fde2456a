//! Hostname, hosts file, resolver configuration (pod rules, section 10; DNS rules, 6.1). Pure.

use std::net::IpAddr;

use domain::DNS_LABEL_LENGTH_MAX;

use super::zone::Zone;
use crate::spec::Pod;

/// The longest hostname that the kernel takes, in bytes.
const KERNEL_HOSTNAME_MAX: usize = 64;

/// The most name servers that resolvers read.
const NAMESERVERS_MAX: usize = 3;

/// The most suffixes that resolvers read.
const SEARCHES_MAX: usize = 32;

/// The longest list of suffixes, in bytes.
const SEARCH_LENGTH_MAX: usize = 2048;

/// A pod's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNames {
    /// What the kernel says.
    pub kernel: String,
    /// First label.
    pub short: String,
    /// The whole name, if the pod has a subdomain.
    pub full: Option<String>,
}

/// The pod's names.
///
/// # Errors
/// The kernel cannot hold the hostname; in words.
pub fn pod_names(pod: &Pod, cluster_domain: &str) -> Result<PodNames, String> {
    let meta = &pod.metadata;
    let wanted = if pod.spec.hostname.is_empty() { &meta.name } else { &pod.spec.hostname };
    let mut end = wanted.len().min(DNS_LABEL_LENGTH_MAX);
    while !wanted.is_char_boundary(end) {
        end -= 1;
    }
    let short = wanted[..end].trim_end_matches(['-', '.']).to_owned();
    let subdomain = &pod.spec.subdomain;
    let full = (!subdomain.is_empty()).then(|| format!("{short}.{subdomain}.{}.svc.{cluster_domain}", meta.namespace));
    let kernel = match (&pod.spec.hostname_override, &full) {
        (Some(name), _) => name.clone(),
        (None, Some(full)) if pod.spec.set_hostname_as_f_q_d_n => full.clone(),
        _ => short.clone(),
    };
    if kernel.len() > KERNEL_HOSTNAME_MAX {
        let length = kernel.len();
        return Err(format!("hostname {kernel:?} has {length} characters; the kernel takes {KERNEL_HOSTNAME_MAX}"));
    }
    Ok(PodNames { kernel, short, full })
}

/// The hosts file. `others`: names of all pods, for machines without a name server.
#[must_use]
pub fn hosts_file(pod: &Pod, names: &PodNames, ip: IpAddr, others: &Zone) -> String {
    let mut text = "# Managed by Setkeeper.\n\
        127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::0\tip6-localnet\n\
        fe00::0\tip6-mcastprefix\n\
        fe00::1\tip6-allnodes\n\
        fe00::2\tip6-allrouters\n"
        .to_owned();
    match &names.full {
        Some(full) => text.push_str(&format!("{ip}\t{full}\t{}\n", names.short)),
        None => text.push_str(&format!("{ip}\t{}\n", names.short)),
    }
    if !pod.spec.host_aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in &pod.spec.host_aliases {
        text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
    }
    if !others.records.is_empty() {
        text.push_str("\n# Names of all pods; this machine has no name server on port 53.\n");
    }
    for (address, name) in &others.records {
        // The pod's own name has its line above, and one address once.
        if *address != ip || names.full.as_ref() != Some(name) {
            text.push_str(&format!("{address}\t{}\n", others.spellings(name, &pod.metadata.namespace).join("\t")));
        }
    }
    text
}

/// The resolver configuration, and a warning if something had to be left out or replaced: (reason, in words).
/// `host` is the machine's own file.
#[must_use]
pub fn resolv_conf(
    pod: &Pod,
    nameserver: Option<IpAddr>,
    cluster_domain: &str,
    host: &str,
) -> (String, Option<(&'static str, String)>) {
    let own = parse(host);
    let policy = pod.spec.dns_policy.as_str();
    let cluster =
        matches!(policy, "" | "ClusterFirst") && !pod.spec.host_network || policy == "ClusterFirstWithHostNet";
    let mut warning = None;
    let mut conf = match (cluster, nameserver, policy) {
        (true, Some(address), _) => {
            let namespace = &pod.metadata.namespace;
            let mut searches = vec![
                format!("{namespace}.svc.{cluster_domain}"),
                format!("svc.{cluster_domain}"),
                cluster_domain.to_owned(),
            ];
            add_new(&mut searches, own.searches);
            Resolver {
                nameservers: vec![address.to_string()],
                searches,
                options: vec![("ndots".into(), Some("5".into()))],
            }
        }
        (true, None, _) => {
            let message = "there is no name server on port 53 here; the machine's own resolver configuration is used";
            warning = Some(("MissingClusterDNS", message.to_owned()));
            own
        }
        (false, _, "None") => Resolver::default(),
        (false, ..) => own,
    };
    let extra = &pod.spec.dns_config;
    add_new(&mut conf.nameservers, extra.nameservers.clone());
    add_new(&mut conf.searches, extra.searches.clone());
    for option in &extra.options {
        conf.options.retain(|(name, _)| *name != option.name);
        conf.options.push((option.name.clone(), option.value.clone()));
    }
    let before = (conf.nameservers.len(), conf.searches.len());
    conf.nameservers.truncate(NAMESERVERS_MAX);
    conf.searches.truncate(SEARCHES_MAX);
    while conf.searches.join(" ").len() > SEARCH_LENGTH_MAX {
        conf.searches.pop();
    }
    if before != (conf.nameservers.len(), conf.searches.len()) {
        warning =
            Some(("DNSConfigForming", "name servers or search suffixes beyond the limits are left out".to_owned()));
    }
    (conf.to_text(), warning)
}

#[derive(Default)]
struct Resolver {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<(String, Option<String>)>,
}

impl Resolver {
    fn to_text(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for nameserver in &self.nameservers {
            text.push_str(&format!("nameserver {nameserver}\n"));
        }
        let option = |(name, value): &(String, Option<String>)| match value {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        };
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.iter().map(option).collect::<Vec<_>>().join(" ")));
        }
        text
    }
}

fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => resolver.nameservers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => resolver.searches = words.map(str::to_owned).collect(),
            Some("options") => resolver.options.extend(words.map(|word| match word.split_once(':') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.to_owned(), None),
            })),
            _ => {}
        }
    }
    resolver
}

fn add_new(list: &mut Vec<String>, more: Vec<String>) {
    for entry in more {
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, spec: &str) -> Pod {
        let json = format!(r#"{{"metadata":{{"name":"{name}","namespace":"default"}},"spec":{spec}}}"#);
        Pod::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn p59_hosts_line_makes_the_full_name() {
        let pod = pod("web-0", r#"{"subdomain":"nginx","hostAliases":[{"ip":"10.0.0.9","hostnames":["a","b"]}]}"#);
        let names = pod_names(&pod, "cluster.local").unwrap();
        assert_eq!((names.kernel.as_str(), names.short.as_str()), ("web-0", "web-0"));
        let hosts = hosts_file(&pod, &names, "10.244.0.10".parse().unwrap(), &Zone::default());
        assert!(hosts.contains("\n10.244.0.10\tweb-0.nginx.default.svc.cluster.local\tweb-0\n"));
        assert!(hosts.ends_with("\n10.0.0.9\ta\tb\n"), "P-62");
    }

    #[test]
    fn hosts_file_has_the_names_of_all_pods_where_nobody_answers() {
        let pod = pod("web-0", r#"{"subdomain":"nginx"}"#);
        let names = pod_names(&pod, "cluster.local").unwrap();
        let record = |ip: &str, name: &str| (ip.parse().unwrap(), format!("{name}.default.svc.cluster.local"));
        let records =
            [record("127.77.0.2", "nginx"), record("127.77.0.2", "web-0.nginx"), record("127.77.0.3", "nginx")];
        let zone = Zone { domain: "cluster.local".to_owned(), records: records.into() };
        let hosts = hosts_file(&pod, &names, "127.77.0.2".parse().unwrap(), &zone);
        assert_eq!(hosts.matches("\tweb-0.nginx.default.svc.cluster.local\t").count(), 1, "{hosts}");
        let service = "nginx.default.svc.cluster.local\tnginx.default.svc\tnginx.default\tnginx\n";
        assert!(hosts.ends_with(&format!("127.77.0.2\t{service}127.77.0.3\t{service}")), "{hosts}");
    }

    #[test]
    fn p60_long_names_are_cut_at_a_letter() {
        let name = format!("{}-{}", "x".repeat(62), "y".repeat(7));
        assert_eq!(pod_names(&pod(&name, "{}"), "cluster.local").unwrap().kernel, "x".repeat(62));
    }

    #[test]
    fn p61_a_full_name_that_the_kernel_cannot_hold_is_refused() {
        let spec = r#"{"setHostnameAsFQDN":true,"subdomain":"a-very-long-governing-service-name-of-a-set"}"#;
        let refusal = pod_names(&pod("web-0", spec), "cluster.local").unwrap_err();
        assert!(refusal.contains("the kernel takes 64"), "{refusal}");
    }

    #[test]
    fn resolver_follows_the_policy() {
        let host = "search example.org\nnameserver 192.0.2.1\n";
        let address = "10.96.0.10".parse().ok();
        let (text, warning) = resolv_conf(&pod("a", "{}"), address, "cluster.local", host);
        assert_eq!(
            text,
            "search default.svc.cluster.local svc.cluster.local cluster.local example.org\nnameserver 10.96.0.10\n\
             options ndots:5\n"
        );
        assert_eq!(warning, None);
        let (text, warning) = resolv_conf(&pod("a", "{}"), None, "cluster.local", host);
        assert_eq!((text.as_str(), warning.unwrap().0), (host, "MissingClusterDNS"));
        let none = r#"{"dnsPolicy":"None","dnsConfig":{"nameservers":["1.1.1.1"],"options":[{"name":"ndots","value":"2"},{"name":"edns0"}]}}"#;
        let (text, _) = resolv_conf(&pod("a", none), address, "cluster.local", host);
        assert_eq!(text, "nameserver 1.1.1.1\noptions ndots:2 edns0\n");
    }
}
