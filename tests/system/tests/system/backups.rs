//! Backups are made while everything goes on, and what is restored is what was there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use support::{Product, in_pod, until};

use super::{mark, product, sleepers};

/// Writes at most while backups are made: more than fit into the time that four of them take.
const WRITES_MAX: usize = 500;

/// Uid of every pod, claim and set, by kind and name.
async fn uids(product: &Product) -> BTreeMap<String, String> {
    let mut uids = BTreeMap::new();
    for kind in ["sts", "pods", "pvc", "controllerrevisions"] {
        let list = product.get(&[kind]).await.unwrap_or_else(|| panic!("{kind} can be listed"));
        for item in list["items"].as_array().expect("a list") {
            let text = |pointer: &str| item.pointer(pointer).and_then(|text| text.as_str()).expect("text").to_owned();
            uids.insert(format!("{kind} {}", text("/metadata/name")), text("/metadata/uid"));
        }
    }
    uids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_constant_writes_brings_back_the_same_objects_after_a_kill() {
    let mut product = product().await;
    let mark = mark("backup");
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark, 2, "OrderedReady")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["sleepers-0", "sleepers-1"]).await;
    let file = product.data().join("monday.backup");
    let file = file.to_str().expect("text").to_owned();

    // Writers all the while, each of which ends with a number that a later list must hold.
    let write = |round: usize| {
        let manifest = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-{round}}}\ndata: {{a: b}}\n");
        let product = &product;
        async move { product.run_with(&["apply", "-f", "-"], &manifest).await }
    };
    let (acknowledged, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    let writing = async {
        for round in 0..WRITES_MAX {
            if enough.load(Ordering::SeqCst) {
                break;
            }
            assert_eq!(write(round).await.code, 0);
            acknowledged.store(round + 1, Ordering::SeqCst);
        }
    };
    let backing_up = async {
        let (mut said, mut least) = (String::new(), 0);
        for _ in 0..4 {
            least = acknowledged.load(Ordering::SeqCst);
            said = product.ok(&["backup", &file]).await;
        }
        enough.store(true, Ordering::SeqCst);
        (said, least)
    };
    let ((), (said, least)) = tokio::join!(writing, backing_up);
    assert!(said.contains("entries of store"), "{said}");
    assert!(least > 0, "something was written before the last backup");
    let before = uids(&product).await;
    let pods = in_pod(&[&format!("MARK={mark}")]).len();

    // What happens after the backup is lost, and nothing else.
    product.ok(&["scale", "sts/sleepers", "--replicas=3"]).await;
    product.ready(&["sleepers-2"]).await;
    let running = product.run(&["restore", &file]).await;
    assert!(running.code == 1 && running.stderr.contains("setkeeper down"), "{running:?}");
    product.kill_all();
    let checked = product.ok(&["check"]).await;
    assert!(checked.ends_with("sound\n") && checked.contains("2 pods") | checked.contains("3 pods"), "{checked}");
    let refused = product.run(&["restore", &file]).await;
    assert!(refused.code == 1 && refused.stderr.contains("--force"), "{refused:?}");
    std::fs::remove_dir_all(product.data().join("store")).expect("the store is lost");
    let restored = product.ok(&["restore", &file]).await;
    let store = said.split("store ").nth(1).and_then(|rest| rest.split(' ').next()).expect("it is named");
    assert!(restored.contains(store), "{restored} is of {store}");

    product.up().await;
    product.ready(&["sleepers-0", "sleepers-1"]).await;
    assert_eq!(uids(&product).await, before);
    for round in 0..least {
        assert!(product.get(&["configmap", &format!("c-{round}")]).await.is_some(), "c-{round} was acknowledged");
    }
    // The pod of after the backup ends, and the others were never interrupted.
    until("the pod that nobody knows has ended", || async {
        let left = in_pod(&[&format!("MARK={mark}")]).len();
        if left == pods { Ok(()) } else { Err(format!("{left} processes, {pods} before")) }
    })
    .await;
    product.ok(&["scale", "sts/sleepers", "--replicas=3"]).await;
    product.ready(&["sleepers-2"]).await;
    let said = product.ok(&["get", "pods"]).await;
    assert!(said.contains("sleepers-0") && !said.contains("CrashLoop"), "{said}");
    product.ok(&["delete", "sts", "sleepers"]).await;
    until("everything has ended", || async {
        let left = in_pod(&[&format!("MARK={mark}")]);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}
