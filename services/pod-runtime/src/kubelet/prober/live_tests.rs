//! Probes against real sockets on this machine's loopback.

use hyper::Response;
use hyper::service::service_fn;
use serde_json::{Value, json};

use super::*;
use crate::kubelet::tests::fake::Machine;

async fn probe(port: u16, handler: Value) -> ProbeOutcome {
    let container = json!({"name": "c", "ports": [{"name": "web", "containerPort": port}]});
    let prober = Prober {
        backend: Arc::new(Machine::new()),
        uid: Uid("u".to_owned()),
        pod_ip: "10.77.0.9".parse().unwrap(),
        container: serde_json::from_value(container).unwrap(),
    };
    prober.probe(&serde_json::from_value(handler).unwrap()).await
}

async fn http_server() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(|request: Request<hyper::body::Incoming>| async move {
                let response = Response::builder();
                let response = match request.uri().path() {
                    "/ok" => response.status(200),
                    "/moved" => response.status(302).header("Location", "/ok"),
                    "/away" => response.status(302).header("Location", "http://example.org/"),
                    "/round" => response.status(302).header("Location", "/round"),
                    _ => response.status(404),
                };
                response.body(Empty::<Bytes>::new())
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
    port
}

#[tokio::test]
async fn p33_p34_http_answers_decide() {
    let port = http_server().await;
    let get = |path: &str| json!({"httpGet": {"path": path, "port": "web"}});
    assert_eq!(probe(port, get("/ok")).await, ProbeOutcome::Passed(String::new()));
    assert_eq!(probe(port, get("/moved")).await, ProbeOutcome::Passed(String::new()));
    let ProbeOutcome::Passed(warning) = probe(port, get("/away")).await else { panic!("another host passes") };
    assert!(warning.contains("another host"), "{warning}");
    let expected = ProbeOutcome::Failed("HTTP probe failed with statuscode: 404".to_owned());
    assert_eq!(probe(port, get("/none")).await, expected);
    assert!(matches!(probe(port, get("/round")).await, ProbeOutcome::Failed(_)));
    let unknown = probe(port, json!({"httpGet": {"port": "nobody"}})).await;
    assert!(matches!(unknown, ProbeOutcome::Impossible(why) if why.contains("nobody")));
}

#[tokio::test]
async fn a_refused_connection_says_what_to_do() {
    let port = http_server().await;
    assert_eq!(probe(port, json!({"tcpSocket": {"port": port}})).await, ProbeOutcome::Passed(String::new()));
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let refused = probe(port, json!({"tcpSocket": {"port": free}})).await;
    assert!(matches!(refused, ProbeOutcome::Failed(why) if why.contains("listens on 127.0.0.1 only")));
}

#[tokio::test]
async fn p40_grpc_health_decides() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("up", tonic_health::ServingStatus::Serving).await;
    reporter.set_service_status("down", tonic_health::ServingStatus::NotServing).await;
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let ask = |service: &str| json!({"grpc": {"port": port, "service": service}, "timeoutSeconds": 5});
    assert_eq!(probe(port, ask("up")).await, ProbeOutcome::Passed(String::new()));
    assert!(matches!(probe(port, ask("down")).await, ProbeOutcome::Failed(why) if why.contains("NOT_SERVING")));
    assert!(matches!(probe(port, ask("nobody")).await, ProbeOutcome::Failed(why) if why.contains("NotFound")));
}
