//! A proxy that reads HTTP/2 on every hop, as a mesh's sidecars do.
//!
//! Chosen: HAProxy, because it speaks HTTP/2 to both sides over mutual TLS, forwards trailers and streams in both
//! directions, balances calls and not connections, and shows each server the certificate that it is told. Rejected: nginx,
//! which makes one connection to the server for each call under way and ends a client's connection after a number of
//! calls; nghttpx, which shows every server the same certificate, so that who calls would be lost.
//!
//! One process stands for all sidecars: it has a listener for each pair of caller and server. To the caller it proves that
//! it is the server, as the server's own sidecar would through the caller's; to the server it proves that it is the caller.
//! So it lets in at a listener only who has that caller's certificate; what a caller may do is still asked by the server.
//! It checks the server's certificate by authority and by name.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::product::tail;
use crate::wait::until;

/// The program.
pub const PROXY: &str = "haproxy";

/// How long a side of a call may say nothing, where a test does not say otherwise: about the least that is usual. A machine
/// under load must be able to copy some megabytes meanwhile.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Connections at the same time, far above what a dozen processes make.
const CONNECTIONS_MAX: usize = 1000;

/// A caller, whom it calls, and what stands between.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    /// Whose certificate the servers are shown, by its directory, such as `coordinator` or `users/ann`.
    pub(crate) caller: String,
    /// The service that is called.
    pub(crate) callee: &'static str,
    /// Where the caller finds it.
    pub(crate) listen: SocketAddr,
    /// Where its replicas listen. Calls take turns.
    pub(crate) servers: Vec<SocketAddr>,
}

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    directory: PathBuf,
    authority: PathBuf,
    hops: Vec<Hop>,
    idle_max: Duration,
    process: Option<Child>,
}

impl Proxy {
    /// A proxy that is yet to be started, with a directory of its own, for holders of `certificates`.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub(crate) fn new(directory: PathBuf, certificates: &Path, hops: Vec<Hop>) -> Self {
        fs::create_dir(&directory).expect("a directory");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("mode");
        let holders = hops.iter().flat_map(|hop| [hop.caller.as_str(), hop.callee]);
        for holder in holders {
            // Certificate and key in one file, as it reads them.
            let part = |name: &str| fs::read_to_string(certificates.join(holder).join(name)).expect("is there");
            fs::write(pem(&directory, holder), part("tls.crt") + &part("tls.key")).expect("can be written");
        }
        Self { directory, authority: certificates.join("ca.crt"), hops, idle_max: IDLE_MAX, process: None }
    }

    /// Where a caller finds a service: every listener of the pair, with commas between.
    ///
    /// # Panics
    /// When the caller has no way to it.
    pub(crate) fn target(&self, caller: &str, callee: &str) -> String {
        let hops = self.hops.iter().filter(|hop| hop.caller == caller && hop.callee == callee);
        let addresses: Vec<_> = hops.map(|hop| hop.listen.to_string()).collect();
        assert!(!addresses.is_empty(), "{caller} does not call {callee}");
        addresses.join(",")
    }

    /// Starts it and returns when it listens.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(&mut self) {
        let configuration = configuration(&self.directory, &self.authority, &self.hops, self.idle_max);
        fs::write(self.directory.join("haproxy.cfg"), configuration).expect("can be written");
        let log = File::options().create(true).append(true).open(self.directory.join("log")).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        let mut command = Command::new(PROXY);
        // In the foreground: it is ours to end.
        command.arg("-db").arg("-f").arg(self.directory.join("haproxy.cfg"));
        let mut process = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("it is installed");
        // It takes all of its addresses before it serves at any.
        let first = self.hops[0].listen;
        until("the proxy listens", || {
            let ended = process.try_wait().expect("own child");
            assert_eq!(ended, None, "{}", self.log());
            async move { TcpStream::connect(first).await.map_err(|error| error.to_string()) }
        })
        .await;
        self.process = Some(process);
    }

    /// Leads the callers of one service to the servers of another, as names that point to the wrong place do, and the
    /// other way round. It counts from the next start on; a second time it undoes the first.
    pub fn exchange(&mut self, one: &str, other: &str) {
        let servers = |callee: &str| {
            let mut hops = self.hops.iter().filter(|hop| hop.callee == callee);
            hops.next().expect("somebody calls it").servers.clone()
        };
        let (of_one, of_other) = (servers(one), servers(other));
        for hop in &mut self.hops {
            match hop.callee {
                callee if callee == one => hop.servers.clone_from(&of_other),
                callee if callee == other => hop.servers.clone_from(&of_one),
                _ => {}
            }
        }
    }

    /// Ends calls of which a side says nothing for that long. It counts from the next start on.
    pub fn set_idle_max(&mut self, idle_max: Duration) {
        self.idle_max = idle_max;
    }

    /// SIGKILL, in the middle of whatever passes through it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("own child");
        process.wait().expect("own child");
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log())
    }

    /// What passed through it, a line for each call that has ended, and what it complained of.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn pem(directory: &Path, holder: &str) -> PathBuf {
    directory.join(format!("{}.pem", holder.replace('/', "-")))
}

fn configuration(directory: &Path, authority: &Path, hops: &[Hop], idle_max: Duration) -> String {
    let idle = idle_max.as_millis();
    let mut text = format!(
        "global
    maxconn {CONNECTIONS_MAX}
    nbthread 1
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    timeout connect 1s
    timeout client {idle}ms
    timeout server {idle}ms
    # What was not sent may be sent elsewhere; a call that may have arrived is its caller's to repeat.
    retries 1
    option redispatch 1
    retry-on conn-failure
    http-reuse always
"
    );
    let authority = authority.display();
    for (place, Hop { caller, callee, listen, servers }) in hops.iter().enumerate() {
        let [front, back] = [callee, caller.as_str()].map(|holder| pem(directory, holder).display().to_string());
        let name = caller.replace("users/", "user/");
        let _ = write!(
            text,
            "listen {place}.{callee}
    bind {listen} ssl crt {front} ca-file {authority} verify required ssl-min-ver TLSv1.3 alpn h2
    http-request deny deny_status 403 unless {{ ssl_c_s_dn(cn) -m str {name} }}
    balance roundrobin
"
        );
        for (replica, server) in servers.iter().enumerate() {
            let _ = writeln!(
                text,
                "    server {replica} {server} ssl crt {back} ca-file {authority} verify required verifyhost {callee} sni \
                 str({callee}) alpn h2"
            );
        }
    }
    text
}
