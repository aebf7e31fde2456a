//! The real grpcurl reaches everything: by reflection alone it lists and describes whatever there is, and calls every
//! method of every service, with manifests as bodies. The list of methods comes from the protocol, so that a new one
//! without a call here is noticed.

mod closed;
mod public;
mod services;
mod tool;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet};
use serde_json::Value;
use support::{Product, available};

use self::tool::{Door, Refusal};
use super::separate;

/// What the protocol has.
fn protocol() -> FileDescriptorSet {
    FileDescriptorSet::decode(api::proto::DESCRIPTORS).expect("the descriptors come from our own build")
}

/// Every method, as `package.Service/Method`.
fn methods() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in protocol().file {
        for service in &file.service {
            let of_service = |method: &str| format!("{}.{}/{method}", file.package(), service.name());
            all.extend(service.method.iter().map(|method| of_service(method.name())));
        }
    }
    all
}

/// Services and messages that a process must be able to describe: those of its own package and of what that imports.
fn symbols(process: &str) -> Vec<String> {
    let files = protocol().file;
    let by_name: BTreeMap<_, _> = files.iter().map(|file| (file.name(), file)).collect();
    let package = package(process);
    let mut wanted: Vec<_> = files.iter().filter(|file| file.package() == package).map(|file| file.name()).collect();
    let mut seen = BTreeSet::new();
    let mut symbols = Vec::new();
    while let Some(name) = wanted.pop() {
        let file = by_name[name];
        if !seen.insert(name) || !file.package().starts_with("setkeeper.") {
            continue;
        }
        symbols.extend(file.service.iter().map(|service| format!("{}.{}", file.package(), service.name())));
        let messages = file.message_type.iter().map(DescriptorProto::name);
        symbols.extend(messages.map(|message| format!("{}.{message}", file.package())));
        wanted.extend(file.dependency.iter().map(String::as_str));
    }
    symbols
}

fn package(process: &str) -> String {
    format!("setkeeper.{}.v1", process.replace('-', "_"))
}

/// Who may call a method: the coordinator its planners and machines, these in turn it, and people the rest.
fn caller(method: &str) -> &'static str {
    match method.strip_prefix("setkeeper.coordinator.v1.") {
        Some(own) if own.starts_with("NodeService/") => "pod-runtime",
        Some(_) => "users/admin",
        None => "coordinator",
    }
}

/// The product, each service as its own process, and which methods have been called.
struct Run {
    product: Product,
    called: BTreeSet<String>,
}

impl Run {
    /// The way to the process of a method's package.
    fn door(&self, method: &str) -> Door {
        let process = method.split('.').nth(1).expect("setkeeper.<service>.v1").replace('_', "-");
        Door::new(&self.product, caller(method), &process)
    }

    async fn call(&mut self, method: &str, requests: &[Value], enough: impl Fn(&[Value]) -> bool) -> Called {
        let method = format!("setkeeper.{method}");
        self.called.insert(method.clone());
        tool::call(&self.door(&method), &method, requests, enough).await
    }

    /// Calls a method that must answer, and gives its only answer.
    async fn answers(&mut self, method: &str, request: Value) -> Value {
        let answers = self.call(method, &[request], |_| false).await;
        let mut answers = answers.unwrap_or_else(|refusal| panic!("{method}: {refusal:?}"));
        assert_eq!(answers.len(), 1, "{method}: {answers:?}");
        answers.remove(0)
    }

    /// Calls a method that must refuse with a code and say something.
    async fn refuses(&mut self, method: &str, request: Value, code: &str, says: &str) {
        let refusal = self.call(method, &[request], |_| false).await.expect_err(method);
        assert!(refusal.code == code && refusal.text.contains(says), "{method}: {refusal:?}");
    }

    /// Calls a method that streams, until what it sent is enough.
    async fn streams(&mut self, method: &str, requests: &[Value], enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let answers = self.call(method, requests, &enough).await;
        let answers = answers.unwrap_or_else(|refusal| panic!("{method}: {refusal:?}"));
        assert!(enough(&answers), "{method} ended: {answers:?}");
        answers
    }
}

type Called = Result<Vec<Value>, Refusal>;

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_describes_every_service_and_every_message_of_every_process() {
    if !available(&["grpcurl"]) {
        return;
    }
    let product = separate().await;
    for process in support::SERVICES {
        let door = Door::new(&product, caller(&format!("{}.", package(process))), process);
        let listed = door.ask(&["list"]).await.expect("can be listed");
        let own: Vec<_> = listed.lines().filter(|name| name.starts_with("setkeeper.")).map(str::to_owned).collect();
        let package = package(process);
        let mut expected: Vec<_> =
            methods().iter().filter_map(|method| Some(method.split_once('/')?.0.to_owned())).collect();
        expected.retain(|service| service.rsplit_once('.').is_some_and(|(of, _)| of == package));
        expected.dedup();
        assert_eq!(own, expected, "{process}");
        for symbol in symbols(process) {
            let described = door.ask(&["describe", &symbol]).await;
            let text = described.unwrap_or_else(|refusal| panic!("{process}, {symbol}: {refusal:?}"));
            assert!(text.starts_with(&format!("{symbol} is a ")), "{process}, {symbol}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_calls_every_method_of_every_service() {
    if !available(&["grpcurl"]) {
        return;
    }
    let mut run = Run { product: separate().await, called: BTreeSet::new() };
    public::objects(&mut run).await;
    public::pods(&mut run).await;
    public::sets(&mut run).await;
    let system = public::system(&mut run).await;
    services::planners(&mut run).await;
    services::claims(&mut run).await;
    services::names(&mut run).await;
    services::machine(&mut run, &system).await;
    public::fence(&mut run, &system).await;
    public::backup(&mut run).await;
    public::drain(&mut run).await;
    services::stop(&mut run, &system).await;
    let called = run.called;
    assert_eq!(called, methods(), "every method of the protocol has a call here");
}
