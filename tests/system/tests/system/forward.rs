//! Ports of pods, reached from outside of their networks.

use support::{Layout, Options, Product, WAIT_MAX};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout};

use super::{example, options, ordinary, product, separate};

/// Bytes that go there and back: far more than all buffers on the way hold.
const LARGE: usize = 32 << 20;

/// The same behind a proxy: half of what one window of a stream holds. HAProxy 2.6 reads nothing more from a connection while one of
/// its calls takes no more, not even that the other direction may go on. With more than a window under way in both, they
/// wait for each other on a machine under load, until keepalive cuts them.
const LARGE_BEHIND_A_PROXY: usize = 1 << 19;

/// A `port-forward` that runs.
struct Forward {
    command: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Forward {
    async fn start(product: &Product, arguments: &[&str], pod_port: u16) -> Self {
        let mut all = vec!["port-forward"];
        all.extend(arguments);
        let mut command = product.begin(&all);
        let mut lines = BufReader::new(command.stdout.take().expect("piped")).lines();
        let line = tokio::time::timeout(WAIT_MAX, lines.next_line()).await.expect("in time").expect("text");
        let line = line.unwrap_or_default();
        let address = line
            .strip_prefix("Forwarding from ")
            .and_then(|line| line.strip_suffix(&format!(" -> {pod_port}")))
            .unwrap_or_else(|| panic!("{arguments:?}: {line:?}"));
        Self { address: address.to_owned(), command, lines }
    }

    async fn connect(&mut self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).await.expect("it listens");
        let line = self.lines.next_line().await.expect("text").unwrap_or_default();
        let (_, port) = self.address.rsplit_once(':').expect("a port");
        assert_eq!(line, format!("Handling connection for {port}"));
        stream
    }

    async fn get(&mut self) -> String {
        let mut stream = self.connect().await;
        ask(&mut stream, "close").await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("a whole answer");
        answer
    }

    /// Ctrl-C; gives the exit code and what was complained of.
    async fn interrupt(self) -> (Option<i32>, String) {
        let pid = i32::try_from(self.command.id().expect("runs")).expect("a pid");
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("own child");
        let ended = tokio::time::timeout(WAIT_MAX, self.command.wait_with_output()).await.expect("ends in time");
        let ended = ended.expect("own child");
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    }
}

async fn ask(stream: &mut TcpStream, connection: &str) {
    let request = format!("GET / HTTP/1.1\r\nhost: web\r\nconnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the other side reads");
}

/// Reads the answer to a request on a connection that stays open.
async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"}\n") {
        assert_ne!(stream.read_buf(&mut answer).await.expect("goes on"), 0, "a whole answer");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends so much that everything on the way is full, and gets it back while it sends.
async fn there_and_back(stream: TcpStream, size: usize) {
    let (mut read, mut write) = stream.into_split();
    let body: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
    let head = format!("POST / HTTP/1.1\r\nhost: web\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n");
    let sent = body.clone();
    let sending = tokio::spawn(async move {
        write.write_all(head.as_bytes()).await?;
        write.write_all(&sent).await?;
        std::io::Result::Ok(write)
    });
    let mut answer = Vec::new();
    tokio::time::timeout(WAIT_MAX, read.read_to_end(&mut answer)).await.expect("in time").expect("whole");
    sending.await.expect("no panic").expect("all was read");
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("headers") + 4;
    assert!(answer[start..] == body[..], "{} of {size} bytes came back right", answer.len() - start);
}

pub(super) async fn reaches_its_pods(product: &Product) {
    let applied = product.run_with(&["apply", "-f", "-"], &example("demo.yaml")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["web-0", "web-1", "web-2"]).await;
    let mut forward = Forward::start(product, &["web-1", ":8080"], 8080).await;
    let said = forward.get().await;
    assert!(said.contains(r#""pod":"web-1""#), "{said}");

    // Two at once: the second is answered while the first is open.
    let (mut first, mut second) = (forward.connect().await, forward.connect().await);
    ask(&mut second, "keep-alive").await;
    assert!(answer(&mut second).await.contains("web-1"));
    ask(&mut first, "keep-alive").await;
    assert!(answer(&mut first).await.contains("web-1"));
    let size = if product.layout() == Layout::Mesh { LARGE_BEHIND_A_PROXY } else { LARGE };
    there_and_back(forward.connect().await, size).await;

    // A pod that goes ends its connections; when it is back under its name, the same port leads to it.
    product.ok(&["delete", "pod", "web-1"]).await;
    for stream in [&mut first, &mut second] {
        let ended = tokio::time::timeout(WAIT_MAX, stream.read(&mut [0; 64])).await.expect("ends in time");
        assert!(!ended.is_ok_and(|read| read > 0));
    }
    product.ready(&["web-1"]).await;
    let said = forward.get().await;
    assert!(said.contains(r#""pod":"web-1""#) && said.contains(r#""starts":2"#), "{said}");
    assert_eq!(forward.interrupt().await.0, Some(0));

    for target in ["sts/web", "svc/web"] {
        let mut forward = Forward::start(product, &[target, ":http"], 8080).await;
        let said = forward.get().await;
        assert!(said.contains(r#""pod":"web-0""#), "{target}: {said}");
        assert_eq!(forward.interrupt().await, (Some(0), String::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_pods_are_reached() {
    reaches_its_pods(&product().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_pods_are_reached_by_an_ordinary_user() {
    reaches_its_pods(&ordinary().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_pods_are_reached_through_separate_services() {
    reaches_its_pods(&separate().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_pods_without_namespaces_are_reached() {
    let arguments = vec!["--runtime=process".to_owned()];
    reaches_its_pods(&Product::start(Options { arguments, ..options(Layout::OneProcess) }).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_explained() {
    let product = product().await;
    let applied = product.run_with(&["apply", "-f", "-"], &example("demo.yaml")).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    product.ready(&["web-0"]).await;
    for (arguments, words) in [
        (["nobody", "8080"], ["not found", "setkeeper get pods"]),
        (["sts/nobody", "8080"], ["not found", "setkeeper get statefulsets"]),
        (["web-0", "grpc"], ["no port named \"grpc\"", "http (8080)"]),
        (["svc/web", "81"], ["has no port 81", "8080"]),
        (["cm/web", "81"], ["configmaps", "name a pod"]),
    ] {
        let output = product.run(&["port-forward", arguments[0], arguments[1]]).await;
        assert_eq!(output.code, 1, "{arguments:?}: {output:?}");
        assert!(words.iter().all(|word| output.stderr.contains(word)), "{arguments:?}: {}", output.stderr);
    }
    // Nothing listens there: whoever connects sees a reset, and the command says why.
    let mut forward = Forward::start(&product, &["web-0", ":81"], 81).await;
    let mut stream = forward.connect().await;
    let read = tokio::time::timeout(WAIT_MAX, stream.read(&mut [0; 8])).await.expect("ends in time");
    assert_eq!(read.expect_err("no clean end").kind(), std::io::ErrorKind::ConnectionReset);
    let (code, complaint) = forward.interrupt().await;
    assert_eq!(code, Some(0));
    assert!(complaint.contains("nothing listens on port 81 of pod default/web-0"), "{complaint}");
}
