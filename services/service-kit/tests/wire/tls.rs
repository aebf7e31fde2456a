//! Who gets in over TLS, and who is believed.

use std::io::Write;
use std::sync::{Arc, Mutex};

use service_kit::{Channel, Context, Error, Identity, Role, Server, ServerConfig, TlsError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use crate::authority::Authority;
use crate::fixture::{PATIENCE, Served, lists, over_tcp};

const RUNTIME: &str = "spiffe://setkeeper/pod-runtime";
const COORDINATOR: &str = "spiffe://setkeeper/coordinator";

fn over_tls(identity: &Identity) -> ServerConfig {
    ServerConfig { tls: Some(identity.clone()), ..over_tcp(None) }
}

fn channel_of(identity: &Identity, role: Role, served: &Served) -> Channel {
    let context = Context { tls: Some(identity.clone()), ..Context::default() };
    context.connect(role, &served.target(), None)
}

#[tokio::test]
async fn both_sides_prove_who_they_are() {
    let authority = Authority::new();
    let served = Served::start(&over_tls(&authority.identity(RUNTIME))).await;
    let coordinator = authority.identity(COORDINATOR);
    let answer = lists(channel_of(&coordinator, Role::PodRuntime, &served)).await.expect("gets in");
    assert_eq!(answer.tier_reason, "127.0.0.1", "a handler sees its peer");
    served.stop().await;
}

#[tokio::test]
async fn who_has_a_certificate_asks_for_one_within_the_process_too() {
    let authority = Authority::new();
    let served = Served::start(&over_tls(&authority.identity(RUNTIME))).await;
    let within = served.context.connect(Role::PodRuntime, &served.target(), None);
    assert_eq!(lists(within).await.expect_err("no certificate").code(), Code::Unavailable);
    served.stop().await;
}

#[tokio::test]
async fn strangers_do_not_get_in() {
    let authority = Authority::new();
    let served = Served::start(&over_tls(&authority.identity(RUNTIME))).await;
    let load = |files| Identity::load(files).expect("an identity");
    let expired = load(authority.certify_until("expired", &[COORDINATOR], 2021));
    let elsewhere = load(authority.certify("elsewhere", &["spiffe://elsewhere/coordinator"]));
    let other = Authority::new();
    // Of another authority, but believing this one.
    let mut files = other.certify("stranger", &[COORDINATOR]);
    files.authority = authority.path().join("ca.crt");
    for (who, stranger) in [("expired", expired), ("another domain", elsewhere), ("another authority", load(files))] {
        let refused = lists(channel_of(&stranger, Role::PodRuntime, &served)).await.expect_err(who);
        assert_eq!(refused.code(), Code::Unavailable, "{who}: {refused}");
    }
    let plain = lists(served.channel(None)).await.expect_err("plaintext");
    assert_eq!(plain.code(), Code::Unavailable);
    lists(channel_of(&authority.identity(COORDINATOR), Role::PodRuntime, &served)).await.expect("friends still do");
    served.stop().await;
}

#[tokio::test]
async fn a_server_that_is_another_service_is_not_believed() {
    let authority = Authority::new();
    let served = Served::start(&over_tls(&authority.identity(RUNTIME))).await;
    let coordinator = authority.identity(COORDINATOR);
    let error = lists(channel_of(&coordinator, Role::IdentityDns, &served)).await.expect_err("not believed");
    let said = "the server is spiffe://setkeeper/pod-runtime, not spiffe://setkeeper/identity-dns";
    assert!(error.message().contains(said), "{error}");
    served.stop().await;
}

#[tokio::test]
async fn what_is_said_to_a_tls_port_in_plaintext_is_not_answered() {
    let authority = Authority::new();
    let served = Served::start(&over_tls(&authority.identity(RUNTIME))).await;
    let mut stream = TcpStream::connect(served.running.address.expect("listens")).await.expect("connects");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("writes");
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("is closed").expect("closed well");
    assert!(!answer.windows(2).any(|bytes| bytes == b"h2"), "an alert at most: {answer:?}");
    assert!(answer.len() < 16, "an alert at most: {answer:?}");
    served.stop().await;
}

#[tokio::test]
async fn who_is_silent_does_not_stay() {
    let authority = Authority::new();
    let served = Served::start(&over_tls(&authority.identity(RUNTIME))).await;
    let mut stream = TcpStream::connect(served.running.address.expect("listens")).await.expect("connects");
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("is closed");
    assert!(closed.is_ok_and(|read| read == 0));
    served.stop().await;
}

#[tokio::test]
async fn a_service_does_not_start_with_the_certificate_of_another() {
    let authority = Authority::new();
    for uri in [COORDINATOR, "spiffe://setkeeper/user/ann"] {
        let error = Server::new("pod-runtime").bind(&over_tls(&authority.identity(uri))).await.err().expect("refused");
        assert!(matches!(error, Error::Tls(TlsError::OtherService { .. })), "{error}");
        assert!(error.to_string().contains(uri) && error.to_string().contains("--tls-cert"), "{error}");
    }
}

#[tokio::test]
async fn plaintext_leaves_the_machine_only_where_somebody_says_so() {
    let mut config = ServerConfig { listen: Some(([0, 0, 0, 0], 0).into()), ..ServerConfig::default() };
    let error = Server::new("pod-runtime").bind(&config).await.err().expect("refused");
    assert!(matches!(error, Error::Plaintext { .. }) && error.to_string().contains("--plaintext"), "{error}");
    config.plaintext = true;
    Server::new("pod-runtime").bind(&config).await.expect("asked for");
    config = ServerConfig { tls: Some(Authority::new().identity(RUNTIME)), plaintext: false, ..config };
    Server::new("pod-runtime").bind(&config).await.expect("no plaintext");
}

#[test]
fn files_that_do_not_make_an_identity_are_named() {
    let authority = Authority::new();
    let good = authority.certify("good", &[RUNTIME]);
    let other = authority.certify("other", &[RUNTIME]);
    let refused = |files: service_kit::TlsFiles| Identity::load(files).err().map(|error| error.to_string());
    let mut files = good.clone();
    files.key = other.key;
    assert!(refused(files).expect("another key").contains("good.crt cannot be used with the key"));
    for uris in [&[][..], &[RUNTIME, COORDINATOR], &["spiffe://setkeeper/nobody"], &["https://setkeeper/coordinator"]] {
        let error = refused(authority.certify("nameless", uris)).expect("names nobody");
        assert!(error.contains("nameless.crt does not say whose it is"), "{error}");
    }
    let mut files = good.clone();
    files.authority = authority.path().join("missing");
    assert!(refused(files).expect("missing").contains("missing cannot be read"));
    let mut files = good.clone();
    files.key = good.certificate.clone();
    assert!(refused(files).expect("no key").contains("good.crt holds no private key"));
    assert_eq!(refused(good), None);
}

/// What is logged, for the lines to be counted.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One thread, so that what is logged is seen.
#[tokio::test]
async fn new_files_hold_without_a_restart_and_bad_ones_are_said_once() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let said = |text: &str| String::from_utf8_lossy(&lines.0.lock().expect("no panic")).matches(text).count();

    let (old, new) = (Authority::new(), Authority::new());
    let files = old.certify("server", &[RUNTIME]);
    let identity = Identity::load(files.clone()).expect("an identity");
    let served = Served::start(&over_tls(&identity)).await;
    let [of_old, of_new] = [&old, &new].map(|authority| authority.identity(COORDINATOR));
    lists(channel_of(&of_old, Role::PodRuntime, &served)).await.expect("gets in");

    std::fs::write(&files.certificate, "rubbish").expect("a file");
    for _ in 0..3 {
        identity.forget_last_look();
        lists(channel_of(&of_old, Role::PodRuntime, &served)).await.expect("the certificate before it holds on");
    }
    assert_eq!(said("a new file cannot be used"), 1);

    let standing = channel_of(&of_old, Role::PodRuntime, &served);
    lists(standing.clone()).await.expect("gets in");
    let renewed = new.certify("server", &[RUNTIME]);
    for (from, to) in
        [(renewed.certificate, &files.certificate), (renewed.key, &files.key), (renewed.authority, &files.authority)]
    {
        std::fs::copy(from, to).expect("a copy");
    }
    identity.forget_last_look();
    lists(channel_of(&of_new, Role::PodRuntime, &served)).await.expect("the new authority is believed");
    assert_eq!(said("a file was renewed"), 1);
    lists(standing).await.expect("a connection that stands is left alone");
    lists(channel_of(&of_old, Role::PodRuntime, &served)).await.expect_err("the old authority is not");
    served.stop().await;
}
