//! grpcurl as a process.

use std::process::Stdio;

use serde_json::Value;
use support::{Product, WAIT_MAX};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// What grpcurl said when a call failed.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The gRPC code, such as NotFound; empty where it was none.
    pub(super) code: String,
    /// All of it.
    pub(super) text: String,
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        let code = text.lines().find_map(|line| line.trim().strip_prefix("Code: ")).unwrap_or_default().to_owned();
        Self { code, text }
    }
}

/// How grpcurl gets to a process.
pub(super) struct Door {
    options: Vec<String>,
    address: String,
}

impl Door {
    /// The way of `caller` to `process`: by its socket, or with the caller's certificate.
    pub(super) fn new(product: &Product, caller: &str, process: &str) -> Self {
        let address = product.target(caller, process);
        if address.starts_with("unix:") {
            return Self { options: vec!["-plaintext".to_owned(), "-unix".to_owned()], address };
        }
        // Of several replicas that have an address each, it takes one.
        Self::with_certificate(product, caller, process, address.split(',').next().unwrap_or_default())
    }

    /// The way to the server itself, whatever else stands before it, with the certificate of `caller`.
    pub(super) fn of_server(product: &Product, caller: &str, process: &str) -> Self {
        Self::with_certificate(product, caller, process, &product.address(process).to_string())
    }

    fn with_certificate(product: &Product, caller: &str, process: &str, address: &str) -> Self {
        let file = |option: &str, name: &str| {
            let file = product.certificates().join(caller).join(name);
            [option.to_owned(), file.display().to_string()]
        };
        let files = [file("-cacert", "ca.crt"), file("-cert", "tls.crt"), file("-key", "tls.key")].concat();
        let name = ["-authority".to_owned(), process.to_owned()];
        Self { options: [files, name.into()].concat(), address: address.to_owned() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("grpcurl");
        command.arg("-emit-defaults").args(&self.options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs it to its end and gives what it printed.
    pub(super) async fn ask(&self, arguments: &[&str]) -> Result<String, Refusal> {
        let running = self.command().arg(&self.address).args(arguments).output();
        let output = tokio::time::timeout(WAIT_MAX, running).await.expect("ends in time").expect("grpcurl runs");
        let [stdout, stderr] = [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned());
        if output.status.success() { Ok(stdout) } else { Err(stderr.into()) }
    }
}

/// Calls a method with a stream of requests, and gives the answers once they are `enough` or the call has ended.
pub(super) async fn call(
    door: &Door,
    method: &str,
    requests: &[Value],
    enough: impl Fn(&[Value]) -> bool,
) -> Result<Vec<Value>, Refusal> {
    let mut child = door.command().args(["-d", "@", &door.address, method]).spawn().expect("grpcurl runs");
    let mut stdin = child.stdin.take().expect("is piped");
    for request in requests {
        // Where it has ended already, its answer says why.
        let _ = stdin.write_all(request.to_string().as_bytes()).await;
    }
    // A single request is complete; a stream of them stays open until its answers are enough.
    let _open = (requests.len() > 1).then_some(stdin);
    let mut stdout = child.stdout.take().expect("is piped");
    let reading = async {
        let mut text = Vec::new();
        loop {
            let read = stdout.read_buf(&mut text).await.expect("its output can be read");
            let answers = values(&text);
            if read == 0 {
                let output = child.wait_with_output().await.expect("its output can be read");
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                return if output.status.success() { Ok(answers) } else { Err(said.into()) };
            }
            if enough(&answers) {
                return Ok(answers);
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, reading).await.unwrap_or_else(|_| panic!("{method} has not ended in time"))
}

/// The whole JSON values at the beginning of a text.
fn values(text: &[u8]) -> Vec<Value> {
    serde_json::Deserializer::from_slice(text).into_iter().map_while(Result::ok).collect()
}
