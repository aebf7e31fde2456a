//! Each service as processes of its own on this machine, some with a second replica and no balancer in front.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use service_kit::{Channel, Retry, Token, connect};
use support::{FreePorts, Scrape, until};
use tempfile::TempDir;

use super::BINARY;

/// Every process, in the order of their restarts: name, and which replica of the service.
pub(crate) const PROCESSES: [(&str, usize); 9] = [
    ("ordinal-scheduler", 0),
    ("ordinal-scheduler", 1),
    ("update-planner", 0),
    ("update-planner", 1),
    ("volume-claim", 0),
    ("identity-dns", 0),
    ("identity-dns", 1),
    ("pod-runtime", 0),
    ("coordinator", 0),
];

/// Longest restart: more than a drain and a start take on a machine that does much else.
pub(crate) const RESTART_MAX: Duration = Duration::from_secs(60);

/// The services as processes of their own.
pub(crate) struct Fleet {
    data: TempDir,
    /// Of each process.
    places: Vec<SocketAddr>,
    metrics: SocketAddr,
    processes: Vec<Child>,
}

impl Fleet {
    /// Starts every process.
    pub(crate) fn start() -> Self {
        let data = tempfile::Builder::new().prefix("setkeeper-test-").tempdir().expect("a temporary directory");
        // Whoever starts first would make it; callers are not to wait for that.
        Token::load_or_create(&data.path().join("token")).expect("it can be written");
        // A service that starts again must find its own port.
        let mut free = FreePorts::new();
        let (places, metrics) = (free.take(PROCESSES.len()), free.take(1)[0]);
        drop(free);
        let mut fleet = Self { data, places, metrics, processes: Vec::new() };
        for place in 0..PROCESSES.len() {
            let process = fleet.spawn(place);
            fleet.processes.push(process);
        }
        fleet
    }

    /// Where a service is: every replica of it.
    pub(crate) fn target(&self, service: &str) -> String {
        let replicas = PROCESSES.iter().zip(&self.places).filter(|((name, _), _)| *name == service);
        replicas.map(|(_, place)| place.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Each identity-dns keeps its names in a directory of its own.
    fn directory(&self, place: usize) -> std::path::PathBuf {
        match PROCESSES[place] {
            ("identity-dns", replica) => self.data.path().join(format!("names-{replica}")),
            _ => self.data.path().to_owned(),
        }
    }

    fn spawn(&self, place: usize) -> Child {
        let (service, _) = PROCESSES[place];
        let log = std::fs::File::options().create(true).append(true).open(self.log()).expect("a log file");
        let mut command = Command::new(BINARY);
        command.args(["serve", service, "--listen", &self.address(place)]);
        command.arg("--data-dir").arg(self.directory(place)).arg("--token-file").arg(self.data.path().join("token"));
        command.args(["--dns-listen", "127.0.0.1:0", "--drain-delay", "0"]);
        let metrics = match service {
            "coordinator" => self.metrics.to_string(),
            _ => "off".to_owned(),
        };
        command.args(["--metrics-listen", &metrics]);
        for peer in ["coordinator", "ordinal-scheduler", "update-planner", "volume-claim", "identity-dns"] {
            command.args([format!("--{peer}"), self.target(peer)]);
        }
        command.env("HOME", self.data.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().expect("the product's binary can be run")
    }

    /// SIGTERM, until it has ended well, then the same again.
    pub(crate) async fn restart(&mut self, place: usize) {
        let process = &mut self.processes[place];
        kill_process(Pid::from_child(process), Signal::TERM).expect("own child");
        let ended = until("a service ends", || {
            let ended = process.try_wait().expect("own child");
            async move { ended.ok_or_else(|| "it goes on".to_owned()) }
        });
        let status = tokio::time::timeout(RESTART_MAX, ended).await.expect("it ends in time");
        assert!(status.success(), "{}: {status}", PROCESSES[place].0);
        self.start_again(place).await;
    }

    /// SIGKILL to a process.
    pub(crate) fn kill(&mut self, place: usize) {
        self.processes[place].kill().expect("own child");
        self.processes[place].wait().expect("own child");
    }

    /// Starts a process that has ended, and returns when it serves.
    pub(crate) async fn start_again(&mut self, place: usize) {
        self.processes[place] = self.spawn(place);
        until("it serves again", || async {
            let ready = service_kit::readiness(self.replica(place), PROCESSES[place].0).await;
            if matches!(ready, Ok(true)) { Ok(()) } else { Err(format!("{ready:?}")) }
        })
        .await;
    }

    /// Where a process is.
    pub(crate) fn address(&self, place: usize) -> String {
        self.places[place].to_string()
    }

    /// A channel to one process.
    pub(crate) fn replica(&self, place: usize) -> Channel {
        connect(&self.address(place).parse().expect("an address"), Some(&self.token()))
    }

    /// What the coordinator measures.
    pub(crate) async fn scrape(&self) -> Scrape {
        Scrape::of(self.metrics).await.expect("it can be scraped")
    }

    fn token(&self) -> Token {
        Token::load(&self.data.path().join("token")).expect("it was made")
    }

    /// A channel to the coordinator.
    pub(crate) fn channel(&self) -> Channel {
        connect(&self.target("coordinator").parse().expect("an address"), Some(&self.token())).retrying(Retry::PATIENT)
    }

    fn log(&self) -> std::path::PathBuf {
        self.data.path().join("services.log")
    }

    /// Passes of the coordinator so far, and how many of them failed.
    pub(crate) async fn passes(&self) -> (f64, f64) {
        let scrape = self.scrape().await;
        let passes = |labels: &[&str]| scrape.sum("setkeeper_coordinator_reconcile_passes_total", labels);
        (passes(&["controller=\"sets\""]), passes(&["controller=\"sets\"", "outcome=\"failed\""]))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the services:\n{}", std::fs::read_to_string(self.log()).unwrap_or_default());
        }
        let server = self.target("coordinator");
        let mut down = Command::new(BINARY);
        down.args(["down", "--now", "--server", &server, "--data-dir"]).arg(self.data.path());
        let _ = down.stdout(Stdio::null()).stderr(Stdio::null()).status();
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        support::end_leftovers(self.data.path());
    }
}
