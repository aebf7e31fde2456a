//! Who may call, and what a caller can find out.

use std::os::unix::fs::PermissionsExt as _;

use service_kit::{Context, Error, Role, Server, Target, Token, connect, status};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use crate::fixture::{PATIENCE, SERVICE, Served, lists, over_socket, over_tcp};

#[tokio::test]
async fn tcp_asks_for_the_token_and_says_how_to_send_it() {
    let token = Token::random();
    let served = Served::start(&over_tcp(Some(&token))).await;
    let answer = lists(served.channel(Some(&token))).await.expect("the token opens");
    assert_eq!(answer.tier_reason, "127.0.0.1", "a handler sees its peer");
    for wrong in [None, Some(Token::random())] {
        let refused = lists(served.channel(wrong.as_ref())).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(status::reason(&refused), "TOKEN_REQUIRED");
        assert!(refused.message().contains("authorization: Bearer"), "{refused}");
    }
    served.stop().await;
}

#[tokio::test]
async fn health_and_reflection_ask_for_no_token() {
    let served = Served::start(&over_tcp(Some(&Token::random()))).await;
    let mut health = HealthClient::new(served.channel(None));
    for service in ["", SERVICE, "pod-runtime"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.expect("open").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let unknown = health.check(HealthCheckRequest { service: "no.such.Service".to_owned() }).await;
    assert_eq!(unknown.expect_err("unknown").code(), Code::NotFound);
    assert!(reflected_v1(&served).await.contains(&SERVICE.to_owned()));
    served.stop().await;
}

#[tokio::test]
async fn both_reflections_list_what_this_server_serves_and_nothing_else() {
    let served = Served::start(&over_tcp(None)).await;
    for mut names in [reflected_v1(&served).await, reflected_v1alpha(&served).await] {
        names.sort();
        let reflection = names.iter().filter(|name| name.starts_with("grpc.reflection.")).count();
        assert_eq!(reflection, 1, "{names:?}");
        names.retain(|name| !name.starts_with("grpc.reflection."));
        assert_eq!(names, ["grpc.health.v1.Health", SERVICE]);
    }
    served.stop().await;
}

#[tokio::test]
async fn health_follows_its_handle_and_watchers_learn_of_it() {
    let served = Served::start(&over_tcp(None)).await;
    let mut health = HealthClient::new(served.channel(None));
    let ready = HealthCheckRequest { service: "pod-runtime".to_owned() };
    let mut watch = health.watch(ready).await.expect("watches").into_inner();
    let mut next = async || {
        let message = tokio::time::timeout(PATIENCE, watch.message()).await.expect("in time").expect("no error");
        message.map(|message| message.status())
    };
    assert_eq!(next().await, Some(ServingStatus::Serving));
    served.health.set_serving(false);
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    served.health.set_serving(true);
    assert_eq!(next().await, Some(ServingStatus::Serving));
    served.stop().await;
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None, "the watch ends with the server");
}

#[tokio::test]
async fn only_the_owner_opens_the_socket_and_needs_no_token() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("setkeeper.sock");
    let mut config = over_socket(&path);
    config.token = Some(Token::random());
    let served = Served::start(&config).await;
    assert_eq!(std::fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o600);
    lists(connect(&Target::from(path.as_path()), None)).await.expect("open to its owner");
    served.stop().await;
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0, "the socket goes with its server");
}

#[tokio::test]
async fn within_the_process_no_token_is_asked_for_and_everybody_else_is() {
    let served = Served::start(&over_tcp(Some(&Token::random()))).await;
    let within = served.context.connect(Role::PodRuntime, &served.target(), None);
    let answer = lists(within.clone()).await.expect("open to its own process");
    assert_eq!(answer.tier_reason, "", "over no network");
    let elsewhere = Context::default().connect(Role::PodRuntime, &served.target(), None);
    for channel in [elsewhere, connect(&served.target(), None)] {
        assert_eq!(lists(channel).await.expect_err("refused").code(), Code::Unauthenticated);
    }
    served.stop().await;
    assert_eq!(lists(within).await.expect_err("it has ended").code(), Code::Unavailable);
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("setkeeper.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket that nobody answers on"));
    let served = Served::start(&over_socket(&path)).await;
    lists(connect(&Target::from(path.as_path()), None)).await.expect("answers");
    let second = Server::new("coordinator").bind(&over_socket(&path)).await.err().expect("refused");
    assert!(matches!(second, Error::SocketInUse { .. }), "{second}");
    lists(connect(&Target::from(path.as_path()), None)).await.expect("the first still answers");
    served.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let served = Served::start(&over_tcp(None)).await;
    let address = served.running.address.expect("listens");
    let mut config = over_tcp(None);
    config.listen = Some(address);
    let error = Server::new("update-planner").bind(&config).await.err().expect("in use");
    assert!(matches!(error, Error::AddressInUse { .. }));
    assert!(
        error.to_string().contains(&address.to_string()) && error.to_string().contains("update-planner"),
        "{error}"
    );
    let nowhere = Server::new("update-planner").bind(&service_kit::ServerConfig::default()).await.err();
    assert!(matches!(nowhere, Some(Error::NowhereToListen { .. })));
    served.stop().await;
}

async fn reflected_v1(served: &Served) -> Vec<String> {
    use v1::server_reflection_client::ServerReflectionClient;
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(served.channel(None));
    let mut answers = client.server_reflection_info(futures::stream::iter([request])).await.expect("open").into_inner();
    match answers.message().await.expect("no error").expect("an answer").message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|one| one.name).collect(),
        other => panic!("{other:?}"),
    }
}

async fn reflected_v1alpha(served: &Served) -> Vec<String> {
    use v1alpha::server_reflection_client::ServerReflectionClient;
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(served.channel(None));
    let mut answers = client.server_reflection_info(futures::stream::iter([request])).await.expect("open").into_inner();
    match answers.message().await.expect("no error").expect("an answer").message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|one| one.name).collect(),
        other => panic!("{other:?}"),
    }
}
