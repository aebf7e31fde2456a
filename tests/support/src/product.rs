//! The product, started as a user starts it.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use service_kit::{Channel, Target};
use tempfile::TempDir;

use crate::hosts::{Hosts, PEOPLE};
use crate::wait::until;

/// An ordinary user: nobody in particular.
const ORDINARY_UID: u32 = 61_234;

/// Port of a service that has a host of its own.
const HOSTS_PORT: u16 = 7700;

/// Port of DNS there.
const HOSTS_DNS_PORT: u16 = 7753;

/// Who runs the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Whoever runs the tests.
    Myself,
    /// A user without any privilege. Only root can become one.
    Ordinary,
}

/// How its services are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `setkeeper up`: all in one process.
    OneProcess,
    /// `setkeeper serve <service>`: each on its own.
    Separate,
    /// The same over TCP with mutual TLS. Commands are those of the user `admin`, who may do everything.
    Secured,
}

/// How to start it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary.
    pub binary: PathBuf,
    /// Who runs it.
    pub user: User,
    /// How its services are laid out.
    pub layout: Layout,
    /// Further arguments of `up`, or of every `serve`.
    pub arguments: Vec<String>,
    /// A host for each service of a secured layout, and one for commands; none: all of them on this one.
    pub hosts: Option<Arc<Hosts>>,
}

impl Options {
    /// All in one process, as whoever runs the tests.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let (user, layout) = (User::Myself, Layout::OneProcess);
        Self { binary: binary.into(), user, layout, arguments: Vec::new(), hosts: None }
    }
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; 128 + n for signal n.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(128),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A running product with a data directory of its own. Dropping it ends the pods and the services.
#[derive(Debug)]
pub struct Product {
    options: Options,
    data: TempDir,
    services: Vec<(String, Child)>,
    /// Where the services of a secured layout listen.
    addresses: BTreeMap<&'static str, SocketAddr>,
}

/// What users may do in a secured layout, to begin with.
const POLICY: &str = r#"users: [{name: admin, grants: [{namespaces: ["*"], verbs: ["*"], kinds: ["*"]}]}]"#;

/// Services, in the order in which they are started when each is its own process.
pub const SERVICES: [&str; 6] =
    ["ordinal-scheduler", "update-planner", "volume-claim", "identity-dns", "coordinator", "pod-runtime"];

impl Product {
    /// Starts it and returns when its API answers.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(options: Options) -> Self {
        let data = tempfile::Builder::new().prefix("setkeeper-test-").tempdir().expect("a temporary directory");
        if options.user == User::Ordinary {
            std::os::unix::fs::chown(data.path(), Some(ORDINARY_UID), Some(ORDINARY_UID)).expect("root may chown");
            fs::set_permissions(data.path(), fs::Permissions::from_mode(0o700)).expect("mode");
        }
        let mut product = Self { options, data, services: Vec::new(), addresses: BTreeMap::new() };
        if product.options.layout == Layout::Secured {
            product.secure().await;
        }
        product.up().await;
        product
    }

    /// Starts the services on the same data again.
    pub async fn up(&mut self) {
        match self.options.layout {
            Layout::OneProcess => {
                let mut command = self.command(&["up", "--port-base", "0", "--dns-listen", "127.0.0.1:0"]);
                command.args(&self.options.arguments);
                self.spawn("up", command);
            }
            Layout::Separate | Layout::Secured => {
                for service in SERVICES {
                    self.serve(service);
                }
            }
        }
        self.answers().await;
    }

    /// Certificates, a policy, and an address for every service that is free now.
    async fn secure(&mut self) {
        self.certify(&["--user", "admin", "--user", "ann"]).await;
        self.certify(&[]).await;
        fs::write(self.policy_path(), POLICY).expect("the policy can be written");
        if let Some(hosts) = &self.options.hosts {
            let address = |name| SocketAddr::new(hosts.address(name), HOSTS_PORT);
            self.addresses = SERVICES.into_iter().map(|name| (name, address(name))).collect();
            return;
        }
        let listeners = SERVICES.map(|name| (name, TcpListener::bind("127.0.0.1:0").expect("a free port")));
        let address = |listener: &TcpListener| listener.local_addr().expect("bound");
        self.addresses = listeners.iter().map(|(name, listener)| (*name, address(listener))).collect();
    }

    /// Makes or renews certificates of a secured layout.
    pub async fn certify(&self, arguments: &[&str]) {
        let directory = self.certificates().display().to_string();
        self.ok(&[&["certs", "--out", &directory], arguments].concat()).await;
    }

    /// Directory of the certificates of a secured layout.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.data.path().join("certs")
    }

    /// The policy of a secured layout.
    #[must_use]
    pub fn policy_path(&self) -> PathBuf {
        self.data.path().join("policy.yaml")
    }

    /// Where a service of a secured layout listens.
    ///
    /// # Panics
    /// When there is no such service.
    #[must_use]
    pub fn address(&self, service: &str) -> SocketAddr {
        self.addresses[service]
    }

    /// Arguments that make a command that of a holder of a certificate, such as `users/ann`.
    #[must_use]
    pub fn as_holder(&self, holder: &str) -> Vec<String> {
        let directory = self.certificates().join(holder);
        let file = |option: &str, name: &str| [option.to_owned(), directory.join(name).display().to_string()];
        [file("--tls-cert", "tls.crt"), file("--tls-key", "tls.key"), file("--tls-ca", "ca.crt")].concat()
    }

    /// Starts one service of a layout in which each is on its own. The addresses of a separate one are Unix sockets in
    /// the data directory.
    pub fn serve(&mut self, service: &str) {
        let socket = |name: &str| match self.addresses.get(name) {
            Some(address) => address.to_string(),
            None => format!("unix:{}", self.data.path().join(format!("{name}.sock")).display()),
        };
        let mut arguments = vec!["serve".to_owned(), service.to_owned(), "--listen".to_owned(), socket(service)];
        for peer in SERVICES.into_iter().filter(|peer| *peer != service) {
            arguments.extend([format!("--{peer}"), socket(peer)]);
        }
        if service == "identity-dns" {
            // Tests run side by side; none may have the usual port, but on a host of its own.
            let address =
                self.options.hosts.as_ref().map(|hosts| SocketAddr::new(hosts.address(service), HOSTS_DNS_PORT));
            let address = address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
            arguments.extend(["--dns-listen".to_owned(), address]);
        }
        if self.options.layout == Layout::Secured {
            arguments.extend(self.as_holder(service));
            if service == "coordinator" {
                arguments.extend(["--policy".to_owned(), self.policy_path().display().to_string()]);
            }
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut command = self.command_on(service, &arguments);
        // Tests run side by side, and no balancer has to notice that a service ends.
        command.env("SETKEEPER_METRICS_LISTEN", "off").env("SETKEEPER_DRAIN_DELAY", "0");
        command.args(&self.options.arguments);
        self.spawn(service, command);
    }

    /// Returns when the public API answers.
    pub async fn answers(&self) {
        until("the API answers", || async {
            let output = self.run(&["version"]).await;
            if output.code == 0 && output.stdout.to_lowercase().contains("server") {
                Ok(())
            } else {
                Err(format!("{output:?}; log: {}", self.log_tail()))
            }
        })
        .await;
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// What `up` tells of itself in its data directory: the address of each service, its process id and more.
    pub async fn endpoints(&self) -> Value {
        until("up tells where it serves", || async {
            let text =
                fs::read_to_string(self.data.path().join("endpoints.json")).map_err(|error| error.to_string())?;
            serde_json::from_str(&text).map_err(|error| error.to_string())
        })
        .await
    }

    /// A channel to the coordinator, by its socket.
    #[must_use]
    pub fn channel(&self) -> Channel {
        let socket = match self.options.layout {
            Layout::OneProcess => "setkeeper.sock",
            Layout::Separate | Layout::Secured => "coordinator.sock",
        };
        service_kit::connect(&Target::Unix(self.data.path().join(socket)), None)
    }

    /// Runs a command of the product to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "").await
    }

    /// Runs a command of the product to its end, with something to read.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        use tokio::io::AsyncWriteExt as _;
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the product's binary can be run");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that does not read its input is no failure.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await.expect("its output can be read").into()
    }

    /// Runs a command of the product to its end, with a file as what it reads, and tells the most memory that it had
    /// resident, in KiB.
    ///
    /// # Panics
    /// When it cannot be started, or does not tell.
    pub async fn run_measured(&self, arguments: &[&str], input: &Path) -> (Output, u64) {
        let status = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.env("SETKEEPER_TEST_STATUS_FILE", status.path()).kill_on_drop(true);
        command.stdin(File::open(input).expect("its input can be read"));
        let output = Output::from(command.output().await.expect("the product's binary can be run"));
        let peak = peak_memory_kib(status.path()).unwrap_or_else(|| panic!("it did not tell: {output:?}"));
        (output, peak)
    }

    /// Starts a command of the product that goes on by itself, with its outputs to read. Dropping it ends it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn begin(&self, arguments: &[&str]) -> tokio::process::Child {
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().expect("the product's binary can be run")
    }

    /// Runs a command that must succeed, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.code, 0, "{arguments:?}: {output:?}");
        output.stdout
    }

    /// Objects as JSON: `get KIND [NAME] -o json`, the items of a list or the one object. None where there is none.
    pub async fn get(&self, arguments: &[&str]) -> Option<Value> {
        let mut all = vec!["get"];
        all.extend(arguments);
        all.extend(["-o", "json"]);
        let output = self.run(&all).await;
        (output.code == 0).then(|| serde_json::from_str(&output.stdout).ok()).flatten()
    }

    /// Returns when pods `names` of the default namespace are all Ready.
    pub async fn ready(&self, names: &[&str]) {
        until(&format!("pods {names:?} are ready"), || async {
            for name in names {
                let pod = self.get(&["pod", name]).await.ok_or_else(|| format!("{name} does not exist"))?;
                if !is_ready(&pod) {
                    let log = self.log_tail();
                    return Err(format!("{name}: {}\nlog: {log}", pod.get("status").unwrap_or(&Value::Null)));
                }
            }
            Ok(())
        })
        .await;
    }

    /// SIGKILL to a service's process: `up`, or a service of a separate layout. Returns when it is dead.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn kill(&mut self, name: &str) {
        let (_, mut child) = self.services.remove(self.place(name));
        child.kill().expect("own child");
        child.wait().expect("own child");
    }

    /// SIGINT to `up`, as Ctrl-C does, and its exit code.
    ///
    /// # Panics
    /// When `up` does not run.
    pub async fn interrupt(&mut self) -> i32 {
        self.end("up", Signal::INT).await
    }

    /// SIGTERM to a service's process, as a supervisor sends it, and its exit code.
    ///
    /// # Panics
    /// When there is no such process, or it does not end.
    pub async fn terminate(&mut self, name: &str) -> i32 {
        self.end(name, Signal::TERM).await
    }

    /// SIGINT to every process, those first that call others, and whether all of them ended well.
    ///
    /// # Panics
    /// When one does not end.
    pub async fn interrupt_all(&mut self) -> bool {
        let mut well = true;
        while let Some((name, _)) = self.services.last() {
            let name = name.clone();
            well &= self.end(&name, Signal::INT).await == 0;
        }
        well
    }

    /// The exit code of a service's process that is told to end by other means.
    ///
    /// # Panics
    /// When there is no such process, or it does not end.
    pub async fn exit(&mut self, name: &str) -> i32 {
        let (_, mut child) = self.services.remove(self.place(name));
        let waiting = tokio::task::spawn_blocking(move || child.wait());
        let status = tokio::time::timeout(crate::WAIT_MAX, waiting).await.expect("ends in time").expect("joins");
        status.expect("own child").code().unwrap_or(128)
    }

    async fn end(&mut self, name: &str, signal: Signal) -> i32 {
        let pid = Pid::from_child(&self.services[self.place(name)].1);
        kill_process(pid, signal).expect("own child");
        self.exit(name).await
    }

    fn place(&self, name: &str) -> usize {
        self.services.iter().position(|(service, _)| service == name).expect("it was started")
    }

    /// The most memory that any of the services' processes has had resident, in KiB.
    #[must_use]
    pub fn peak_memory_kib(&self) -> u64 {
        let peak = |pid: u32| peak_memory_kib(Path::new(&format!("/proc/{pid}/status")));
        self.services.iter().filter_map(|(_, child)| peak(child.id())).max().unwrap_or(0)
    }

    /// The end of what the services logged.
    #[must_use]
    pub fn log_tail(&self) -> String {
        const TAIL: usize = 6000;
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let mut start = log.len().saturating_sub(TAIL);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        log[start..].to_owned()
    }

    /// Everything that the services logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.data.path().with_extension("log")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_on(PEOPLE, arguments)
    }

    fn command_on(&self, host: &str, arguments: &[&str]) -> Command {
        let mut command = match &self.options.hosts {
            Some(hosts) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &hosts.namespace(host)]).arg(&self.options.binary);
                command
            }
            None => Command::new(&self.options.binary),
        };
        command.args(arguments).arg("--data-dir").arg(self.data.path()).env("HOME", self.data.path());
        if let Some(coordinator) = self.addresses.get("coordinator") {
            let file = |name: &str| self.certificates().join("users/admin").join(name);
            command.env("SETKEEPER_SERVER", coordinator.to_string());
            command.env("SETKEEPER_TLS_CERT", file("tls.crt")).env("SETKEEPER_TLS_KEY", file("tls.key"));
            command.env("SETKEEPER_TLS_CA", file("ca.crt"));
        }
        if self.options.user == User::Ordinary {
            command.uid(ORDINARY_UID).gid(ORDINARY_UID).current_dir(self.data.path());
        }
        command
    }

    fn spawn(&mut self, name: &str, mut command: Command) {
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().expect("the product's binary can be run");
        self.services.push((name.to_owned(), child));
    }
}

/// The most memory that a process has had resident, in KiB, by its status file of `/proc`.
fn peak_memory_kib(status: &Path) -> Option<u64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}

/// Whether a pod's condition Ready is True and it is not on its way out.
fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    pod.pointer("/metadata/deletionTimestamp").is_none() && ready.any(|condition| condition["status"] == "True")
}

impl Drop for Product {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the services:\n{}", self.log_tail());
        }
        // Without services nobody answers `down`; then the shims are ended by hand, below.
        if !self.services.is_empty() {
            let _ = self
                .command(&["down", "--now"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
        for (_, child) in &mut self.services {
            let _ = child.kill();
            let _ = child.wait();
        }
        end_leftovers(self.data.path());
        let _: io::Result<()> = fs::remove_file(self.log_path());
    }
}

/// SIGKILL to every process that was started for this data directory: shims and the anchor, whose death ends the rest.
pub fn end_leftovers(data: &Path) {
    let data = data.display().to_string();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(command) = fs::read(entry.path().join("cmdline")) else { continue };
        if pid != std::process::id().cast_signed()
            && String::from_utf8_lossy(&command).contains(&data)
            && let Some(pid) = Pid::from_raw(pid)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
