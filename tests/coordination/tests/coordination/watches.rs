//! Watches: in order, without gaps, and honest about labels and lost history.

use api::proto::coordinator::v1::{WatchRequest, WatchResponse};
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;
use tonic::Streaming;

use crate::plane::text;
use crate::{Plane, reason};

fn labelled(name: &str, tier: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "tier": tier } } })
}

async fn next(stream: &mut Streaming<WatchResponse>) -> (String, String, u64) {
    let next = tokio::time::timeout(support::WAIT_MAX, stream.next()).await.expect("a change in time");
    let change = next.expect("the watch goes on").expect("no error");
    let object = change.object.map(api::object::from_struct).unwrap_or_default();
    (change.r#type, text(&object, "/metadata/name").to_owned(), change.revision)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_stops_matching_is_told_as_deleted_and_one_that_starts_as_added() {
    let plane = Plane::start().await;
    plane.apply(&[labelled("a", "web"), labelled("b", "db")]).await;
    let request = WatchRequest { kind: "cm".into(), label_selector: "tier=web".into(), ..WatchRequest::default() };
    let mut stream = plane.objects().watch(request.clone()).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await.0, "ADDED");
    let (bookmark, _, start) = next(&mut stream).await;
    assert_eq!(bookmark, "BOOKMARK");
    for (name, tier) in [("b", "cache"), ("a", "db"), ("b", "web"), ("a", "cache"), ("a", "web")] {
        plane.apply(&[labelled(name, tier)]).await;
    }
    plane.delete("cm", "a", "").await.unwrap();
    let mut told = Vec::new();
    for _ in 0..4 {
        let (kind, name, revision) = next(&mut stream).await;
        told.push((kind, name));
        assert!(revision > start);
    }
    let expected = [("DELETED", "a"), ("ADDED", "b"), ("ADDED", "a"), ("DELETED", "a")];
    assert_eq!(told, expected.map(|(kind, name)| (kind.to_owned(), name.to_owned())));
    // From the past it is not known what matched: gone is told of what does not, never nothing.
    let mut late = plane.objects().watch(WatchRequest { from_revision: start, ..request }).await.unwrap().into_inner();
    let mut kinds = Vec::new();
    for _ in 0..5 {
        let (kind, name, _) = next(&mut late).await;
        kinds.push(format!("{kind} {name}"));
    }
    assert_eq!(kinds, ["DELETED b", "DELETED a", "ADDED b", "ADDED a", "DELETED a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_ordered_and_gapless_and_says_when_history_is_lost() {
    let plane = Plane::start().await;
    plane.apply(&[labelled("a", "0")]).await;
    let start = plane.revision().await;
    let request = WatchRequest { kind: "cm".into(), from_revision: start, ..WatchRequest::default() };
    let mut live = plane.objects().watch(request.clone()).await.unwrap().into_inner();
    for round in 1..=40 {
        plane.apply(&[labelled("a", &round.to_string())]).await;
    }
    let mut late = plane.objects().watch(request.clone()).await.unwrap().into_inner();
    for stream in [&mut live, &mut late] {
        let mut last = start;
        for _ in 0..40 {
            let (kind, name, revision) = next(stream).await;
            assert_eq!((kind.as_str(), name.as_str()), ("MODIFIED", "a"));
            assert!(revision > last);
            last = revision;
        }
    }
    // History begins at the last start.
    let mut plane = plane;
    plane.stop("coordinator").await;
    plane.begin("coordinator").await;
    let lost = plane.objects().watch(request).await.unwrap_err();
    assert_eq!((lost.code(), reason(&lost).as_str()), (tonic::Code::OutOfRange, "REVISION_COMPACTED"), "{lost}");
}
