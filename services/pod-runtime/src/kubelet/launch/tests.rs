use domain::Uid;

use super::*;
use crate::kubelet::names::pod_names;
use crate::spec::Pod;

struct Fixture {
    state: tempfile::TempDir,
    mounts: bool,
    ready: BTreeMap<String, Ready>,
}

impl Fixture {
    fn new(mounts: bool) -> Self {
        let state = tempfile::tempdir().unwrap();
        let volume = state.path().join("claim");
        std::fs::create_dir(&volume).unwrap();
        let ready = BTreeMap::from([("data".to_owned(), Ready { path: volume, read_only: false })]);
        Self { state, mounts, ready }
    }

    fn launch(&self, container: &str) -> Result<ContainerSpec, LaunchError> {
        let json = format!(
            r#"{{"metadata":{{"name":"web-0","namespace":"default","uid":"u"}},"spec":{{"containers":[{container}]}}}}"#
        );
        let pod = Pod::from_json(json.as_bytes()).unwrap();
        let names = pod_names(&pod, "cluster.local").unwrap();
        let assigned = Assigned { pod, ..Assigned::default() };
        let directory = PodDirectory::new(self.state.path(), None, &Uid("u".to_owned())).unwrap();
        directory.create().unwrap();
        let capabilities = Capabilities {
            tier: if self.mounts { "namespaced" } else { "process" },
            tier_reason: String::new(),
            degraded: Vec::new(),
            mounts: self.mounts,
            nameserver: None,
            host_ip: "127.0.0.1".parse().unwrap(),
            only_uid: None,
        };
        let launch = Launch {
            assigned: &assigned,
            ready: &self.ready,
            directory: &directory,
            names: &names,
            pod_ip: "10.77.0.9".parse().unwrap(),
            resolv_conf: "",
            others: &crate::kubelet::zone::Zone::default(),
            capabilities: &capabilities,
            node_name: "here",
            catalogue: &Catalogue::built_in(Some(Path::new("/bin/sh"))),
            machine: Machine::default(),
        };
        container_spec(&launch, &assigned.pod.spec.containers[0], 3)
    }
}

#[test]
fn p58_command_and_mounts_are_as_written() {
    let fixture = Fixture::new(true);
    let spec = fixture
        .launch(
            r#"{"name":"c","command":["etcd"],"args":["--host=$(IP)","--dir=/data/x"],
            "env":[{"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}],
            "volumeMounts":[{"name":"data","mountPath":"/data/x"},{"name":"data","mountPath":"/data"}]}"#,
        )
        .unwrap();
    assert_eq!(spec.command, ["etcd", "--host=10.77.0.9", "--dir=/data/x"]);
    let targets: Vec<_> = spec.mounts.iter().map(|mount| mount.target.display().to_string()).collect();
    let expected =
        ["/data", "/data/x", "/dev/termination-log", "/etc/hosts", "/etc/resolv.conf", "/run/setkeeper/home"];
    assert_eq!(targets, expected);
    assert_eq!(spec.instance, 3);
}

#[test]
fn without_mounts_real_paths_take_their_place() {
    let fixture = Fixture::new(false);
    let real = fixture.ready["data"].path.display().to_string();
    let spec = fixture
        .launch(
            r#"{"name":"c","command":["sh","-c","ls /data/x /database a/data >/data"],"env":[{"name":"D","value":"/data"}],
            "volumeMounts":[{"name":"data","mountPath":"/data"}]}"#,
        )
        .unwrap();
    assert_eq!(spec.command[2], format!("ls {real}/x /database a/data >{real}"));
    assert!(spec.env.contains(&("D".to_owned(), real.clone())));
    assert!(spec.env.contains(&("SETKEEPER_MOUNT_DATA".to_owned(), real)));
    assert!(spec.mounts.is_empty());
}

#[test]
fn images_are_looked_up_and_refusals_say_why() {
    let fixture = Fixture::new(true);
    let demo = fixture.launch(r#"{"name":"c","image":"setkeeper/demo"}"#).unwrap();
    assert_eq!(demo.command, ["/bin/sh", "demo-workload"]);
    let demo = fixture.launch(r#"{"name":"c","image":"setkeeper/demo","args":["-x"]}"#).unwrap();
    assert_eq!(demo.command, ["/bin/sh", "-x"]);
    let unknown = fixture.launch(r#"{"name":"c","image":"emqx/emqx-ee:4.4.8"}"#).unwrap_err();
    assert_eq!(unknown.reason, "ErrImageNeverPull");
    let refused = fixture
        .launch(r#"{"name":"c","command":["x"],"volumeMounts":[{"name":"data","mountPath":"/d","subPath":"../x"}]}"#)
        .unwrap_err();
    assert_eq!(refused.reason, "CreateContainerConfigError", "P-63");
}
