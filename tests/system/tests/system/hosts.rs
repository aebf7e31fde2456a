//! Several hosts: one service on each, over mutual TLS, with links that are cut and mended.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use support::{Hosts, Layout, Options, Product, in_pod, until};

use super::{BINARY, mark, sleepers};

/// Whom the coordinator asks before it does anything about a set.
const ASKED_FOR_A_PLAN: [&str; 4] = ["update-planner", "ordinal-scheduler", "volume-claim", "identity-dns"];

/// Uid of each pod of the set, and how often its containers were started again.
async fn incarnations(product: &Product) -> BTreeMap<String, (String, i64)> {
    let pods = product.get(&["pods", "-l", "app=sleepers"]).await.expect("can be listed");
    let one = |pod: &Value| {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or(0);
        (text("/metadata/name"), (text("/metadata/uid"), restarts))
    };
    pods["items"].as_array().expect("a list").iter().map(one).collect()
}

/// What the set says that it waits for, once it says so.
async fn waits(product: &Product, what: &str) {
    until(&format!("the set tells that {what} is away"), || async {
        let set = product.ok(&["describe", "sts", "sleepers"]).await;
        if set.contains(&format!("{what} does not answer")) { Ok(()) } else { Err(set) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_cut_and_mended_and_nothing_is_lost() {
    if !Hosts::possible() {
        return;
    }
    let hosts = Arc::new(Hosts::start());
    let options = Options { layout: Layout::Secured, hosts: Some(hosts.clone()), ..Options::new(BINARY) };
    let mut product = Product::start(options).await;
    let mark = mark("hosts");
    let applied = product.run_with(&["apply", "-f", "-"], &sleepers(&mark, 2, "OrderedReady")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    let mut names = vec!["sleepers-0".to_owned(), "sleepers-1".to_owned()];
    product.ready(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut known = incarnations(&product).await;

    // A planner that cannot be reached stops changes, says so, and touches nobody.
    for planner in ASKED_FOR_A_PLAN {
        hosts.cut(planner);
        let next = names.len();
        product.ok(&["scale", "sts/sleepers", &format!("--replicas={}", next + 1)]).await;
        waits(&product, planner).await;
        assert_eq!(incarnations(&product).await, known, "{planner}");
        hosts.mend(planner);
        names.push(format!("sleepers-{next}"));
        product.ready(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let now = incarnations(&product).await;
        assert!(known.iter().all(|(name, incarnation)| now.get(name) == Some(incarnation)), "{known:?}, {now:?}");
        known = now;
    }

    // A machine that cannot be reached keeps its pods; what was wanted meanwhile happens when it is back.
    hosts.cut("pod-runtime");
    product.ok(&["delete", "pod", "sleepers-0", "--wait=false"]).await;
    product.ok(&["scale", "sts/sleepers", "--replicas=7"]).await;
    until("the deletion is stored", || async {
        let pod = product.get(&["pod", "sleepers-0"]).await.expect("not gone before its machine says so");
        if pod["metadata"]["deletionTimestamp"].is_string() { Ok(()) } else { Err(pod.to_string()) }
    })
    .await;
    assert_eq!(in_pod(&[&format!("MARK={mark}")]).len(), 6, "pods go on");
    let present = incarnations(&product).await;
    assert_eq!(present.get("sleepers-0"), known.get("sleepers-0"), "not gone before its machine says so");
    hosts.mend("pod-runtime");
    names.push("sleepers-6".to_owned());
    until("the deleted pod is another", || async {
        let now = incarnations(&product).await;
        if now.get("sleepers-0").is_some_and(|new| Some(new) != known.get("sleepers-0")) {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    product.ready(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let now = incarnations(&product).await;
    let kept = known.iter().filter(|(name, _)| *name != "sleepers-0");
    assert!(kept.into_iter().all(|(name, incarnation)| now.get(name) == Some(incarnation)), "{known:?}, {now:?}");
    let claims = product.get(&["pvc"]).await.expect("can be listed");
    let bound = claims["items"].as_array().expect("a list").iter().filter(|claim| claim["status"]["phase"] == "Bound");
    assert_eq!(bound.count(), names.len(), "every volume is there");
    assert!(product.interrupt_all().await, "{}", product.log_tail());
}
