//! What whoever runs services relies on: drains that are told, dependencies that are told of, connections that come anew,
//! calls that find another server.

use std::time::Duration;

use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use service_kit::{Context, Retry, Server, ServerConfig, Target, connect, readiness};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::fixture::{PATIENCE, Served, lists, over_tcp};

#[tokio::test]
async fn a_drain_is_told_before_it_begins_and_nothing_ends_with_it() {
    let served = Served::start(&over_tcp(None)).await;
    let channel = served.channel(None);
    assert_eq!(readiness(channel.clone(), "pod-runtime").await.ok(), Some(true));
    served.context.draining.cancel();
    let told = async {
        while readiness(channel.clone(), "pod-runtime").await.expect("it answers") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("balancers learn of it");
    lists(served.channel(None)).await.expect("new connections and calls are served");
    let lives = HealthClient::new(channel).check(HealthCheckRequest::default()).await.expect("open").into_inner();
    assert_eq!(lives.status(), ServingStatus::Serving, "the process lives: nobody must kill it");
    served.stop().await;
}

#[tokio::test]
async fn a_dependency_that_is_away_is_told_and_makes_nobody_unready() {
    let behind = Served::start(&over_tcp(None)).await;
    let context = Context::default();
    let server = Server::new("coordinator").depends_on("pod-runtime", behind.channel(None));
    let front = server.bind(&over_tcp(None)).await.expect("binds").spawn(context.clone());
    let channel = connect(&Target::from(front.address.expect("listens")), None);
    let dependency = "setkeeper.dependency.pod-runtime";
    assert_eq!(readiness(channel.clone(), dependency).await.ok(), Some(true));
    let request = HealthCheckRequest { service: dependency.to_owned() };
    let mut watch = HealthClient::new(channel.clone()).watch(request).await.expect("watches").into_inner();
    let first = watch.message().await.expect("no error").expect("a message");
    assert_eq!(first.status(), ServingStatus::Serving);
    behind.stop().await;
    assert_eq!(readiness(channel.clone(), dependency).await.ok(), Some(false));
    assert_eq!(readiness(channel.clone(), "coordinator").await.ok(), Some(true));
    let unknown = readiness(channel, "setkeeper.dependency.update-planner").await.expect_err("not its dependency");
    assert!(unknown.code() == Code::NotFound && unknown.message().contains(dependency), "{unknown}");
    context.shutdown.cancel();
    front.task.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_dependency_is_told_of_as_long_as_one_replica_answers() {
    let [alive, gone] = [Served::start(&over_tcp(None)).await, Served::start(&over_tcp(None)).await];
    // Connections to it are taken, and nothing is ever said.
    let hangs = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = |served: &Served| served.running.address.expect("listens");
    let all = [address(&alive), address(&gone), hangs.local_addr().expect("bound")].map(|one| one.to_string());
    let channel = connect(&Target::Tcp(all.join(",")), None);
    let mut each: Vec<_> = channel.each().await.expect("known").iter().map(|one| one.target().to_owned()).collect();
    each.sort();
    let mut sorted = all.to_vec();
    sorted.sort();
    assert_eq!(each, sorted, "each server has a channel of its own");
    gone.stop().await;
    let context = Context::default();
    let server = Server::new("coordinator").depends_on("pod-runtime", channel);
    let front = server.bind(&over_tcp(None)).await.expect("binds").spawn(context.clone());
    let channel = connect(&Target::from(front.address.expect("listens")), None);
    let dependency = "setkeeper.dependency.pod-runtime";
    for _ in 0..6 {
        assert_eq!(readiness(channel.clone(), dependency).await.ok(), Some(true), "whose turn it is does not matter");
    }
    alive.stop().await;
    context.shutdown.cancel();
    front.task.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn what_a_server_tells_beside_its_readiness_needs_both() {
    let (context, truth) = (Context::default(), tokio::sync::watch::Sender::new(false));
    let server = Server::new("identity-dns").tells("setkeeper.dns", truth.subscribe());
    let running = server.bind(&over_tcp(None)).await.expect("binds").spawn(context.clone());
    let channel = connect(&Target::from(running.address.expect("listens")), None);
    assert_eq!(readiness(channel.clone(), "setkeeper.dns").await.ok(), Some(false));
    assert_eq!(readiness(channel.clone(), "identity-dns").await.ok(), Some(true), "it takes calls all the same");
    let request = HealthCheckRequest { service: "setkeeper.dns".to_owned() };
    let mut watch = HealthClient::new(channel.clone()).watch(request).await.expect("watches").into_inner();
    let mut next = async || {
        let message = tokio::time::timeout(PATIENCE, watch.message()).await.expect("in time").expect("no error");
        message.map(|message| message.status())
    };
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    truth.send_replace(true);
    assert_eq!(next().await, Some(ServingStatus::Serving));
    assert_eq!(readiness(channel, "setkeeper.dns").await.ok(), Some(true));
    context.draining.cancel();
    assert_eq!(next().await, Some(ServingStatus::NotServing), "it turns before a drain begins");
    context.shutdown.cancel();
    running.task.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_connection_that_is_old_ends_and_its_callers_do_not_notice() {
    let config = ServerConfig { connection_age: Some(Duration::from_millis(100)), ..over_tcp(None) };
    let served = Served::start(&config).await;
    let channel = served.channel(None);
    let stream = tokio::net::TcpStream::connect(served.running.address.expect("listens")).await.expect("connects");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (_sender, connection) = handshake.await.expect("HTTP/2");
    let connection: hyper::client::conn::http2::Connection<_, Empty<bytes::Bytes>, _> = connection;
    let mut connection = Box::pin(tokio::time::timeout(PATIENCE, connection));
    let mut calls = 0;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut connection => break ended,
            listed = lists(channel.clone()) => {
                listed.expect("no call fails");
                calls += 1;
            }
        }
    };
    ended.expect("in time").expect("it ends as it should: with a GOAWAY");
    assert!(calls > 0);
    for _ in 0..100 {
        lists(channel.clone()).await.expect("no call fails");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_call_finds_the_server_that_lives() {
    let served = Served::start(&over_tcp(None)).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it is bound");
    let both: Target = format!("{dead},{}", served.running.address.expect("listens")).parse().expect("addresses");
    // A channel that has not called yet does not know who lives; who cannot be connected to was never asked.
    let channel = connect(&both, None);
    for _ in 0..3 {
        lists(channel.clone()).await.expect("asked of the other server");
    }
    for _ in 0..4 {
        let channel = connect(&both, None).retrying(Retry::QUICK);
        for _ in 0..5 {
            lists(channel.clone()).await.expect("repeated with the other server");
        }
    }
    served.stop().await;
    let none = lists(connect(&both, None).retrying(Retry::QUICK)).await.expect_err("nobody is left");
    assert_eq!(none.code(), Code::Unavailable);
}
