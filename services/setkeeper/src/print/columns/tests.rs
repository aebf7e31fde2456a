use serde_json::json;

use super::super::Table;
use super::*;

const NOW: Timestamp = Timestamp(3_600_000);
const AN_HOUR_AGO: &str = "1970-01-01T00:00:00Z";

fn table(kind: Kind, objects: &[Value], wide: bool) -> String {
    let mut rows = vec![headers(kind, wide)];
    rows.extend(objects.iter().map(|object| row(kind, object, wide, NOW)));
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{kind}: as many cells as headings");
    Table::new().render(&rows)
}

#[test]
fn every_kind_has_as_many_cells_as_headings() {
    for kind in Kind::all() {
        for wide in [false, true] {
            table(kind, &[json!({ "metadata": { "name": "x" } })], wide);
        }
    }
}

#[test]
fn s_194_sets_show_ready_of_wanted() {
    let set = json!({
        "metadata": { "name": "web", "creationTimestamp": AN_HOUR_AGO },
        "spec": { "replicas": 3, "template": { "spec": { "containers": [
            { "name": "nginx", "image": "nginx:1.27" }, { "name": "exporter", "image": "exporter:2" }] } } },
        "status": { "readyReplicas": 2 },
    });
    insta::assert_snapshot!(table(Kind::StatefulSet, &[set], true), @r"
    NAME   READY   AGE   CONTAINERS       IMAGES
    web    2/3     60m   nginx,exporter   nginx:1.27,exporter:2
    ");
}

#[test]
fn pods() {
    let pod = |name: &str, status: Value| {
        json!({ "metadata": { "name": name, "creationTimestamp": AN_HOUR_AGO },
            "spec": { "containers": [{}], "nodeName": "here" }, "status": status })
    };
    let ready = json!({ "phase": "Running", "podIP": "10.77.0.5",
        "containerStatuses": [{ "ready": true, "restartCount": 1, "state": { "running": {} },
            "lastState": { "terminated": { "finishedAt": "1970-01-01T00:58:30Z" } } }] });
    let pods = [pod("web-0", ready), pod("web-1", json!({ "phase": "Pending" }))];
    insta::assert_snapshot!(table(Kind::Pod, &pods, true), @r"
    NAME    READY   STATUS    RESTARTS      AGE   IP          NODE   NOMINATED NODE   READINESS GATES
    web-0   1/1     Running   1 (90s ago)   60m   10.77.0.5   here   <none>           <none>
    web-1   0/1     Pending   0             60m   <none>      here   <none>           <none>
    ");
}

#[test]
fn claims_and_volumes() {
    let pending = json!({ "metadata": { "name": "www-web-1", "creationTimestamp": AN_HOUR_AGO },
        "spec": { "accessModes": ["ReadWriteOnce"] }, "status": { "phase": "Pending" } });
    let bound = json!({ "metadata": { "name": "www-web-0", "creationTimestamp": AN_HOUR_AGO },
        "spec": { "volumeName": "pvc-1", "storageClassName": "local" },
        "status": { "phase": "Bound", "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"] } });
    insta::assert_snapshot!(table(Kind::PersistentVolumeClaim, &[bound, pending], false), @r"
    NAME        STATUS    VOLUME   CAPACITY   ACCESS MODES   STORAGECLASS   VOLUMEATTRIBUTESCLASS   AGE
    www-web-0   Bound     pvc-1    1Gi        RWO            local          <unset>                 60m
    www-web-1   Pending                                                     <unset>                 60m
    ");
    let volume = json!({ "metadata": { "name": "pvc-1", "creationTimestamp": AN_HOUR_AGO, "deletionTimestamp": AN_HOUR_AGO },
        "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Delete", "claimRef": { "namespace": "default", "name": "www-web-0" },
            "storageClassName": "local" }, "status": { "phase": "Bound" } });
    insta::assert_snapshot!(table(Kind::PersistentVolume, &[volume], false), @r"
    NAME    CAPACITY   ACCESS MODES   RECLAIM POLICY   STATUS        CLAIM               STORAGECLASS   VOLUMEATTRIBUTESCLASS   REASON   AGE
    pvc-1   1Gi        RWO,ROX        Delete           Terminating   default/www-web-0   local          <unset>                          60m
    ");
}

#[test]
fn services_and_events() {
    let headless = json!({ "metadata": { "name": "nginx", "creationTimestamp": AN_HOUR_AGO },
        "spec": { "clusterIP": "None", "ports": [{ "port": 80, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }],
            "selector": { "app": "nginx" } } });
    insta::assert_snapshot!(table(Kind::Service, &[headless], true), @r"
    NAME    TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)         AGE   SELECTOR
    nginx   ClusterIP   None         <none>        80/TCP,53/UDP   60m   app=nginx
    ");
    let event = json!({ "metadata": { "name": "web-0.1" }, "type": "Warning", "reason": "BackOff", "count": 4,
        "message": "back-off restarting\n", "involvedObject": { "kind": "Pod", "name": "web-0" },
        "firstTimestamp": AN_HOUR_AGO, "lastTimestamp": "1970-01-01T00:59:00Z" });
    insta::assert_snapshot!(table(Kind::Event, &[event], false), @r"
    LAST SEEN           TYPE      REASON    OBJECT      MESSAGE
    60s (x4 over 60m)   Warning   BackOff   pod/web-0   back-off restarting
    ");
}
