//! The product, started as a user starts it.

mod certificates;
mod commands;
mod layout;
mod signals;

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use service_kit::{Channel, Context, Identity, Role, Target};
use tempfile::TempDir;

pub use self::commands::Output;
use self::commands::peak_memory_kib;
use self::layout::Places;
pub use self::layout::{FreePorts, Layout};
use crate::Proxy;
use crate::hosts::Hosts;
use crate::wait::until;

/// An ordinary user: nobody in particular.
const ORDINARY_UID: u32 = 61_234;

/// Who runs commands where certificates say who does.
const ADMIN: &str = "users/admin";

/// Who runs the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Whoever runs the tests.
    Myself,
    /// A user without any privilege. Only root can become one.
    Ordinary,
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

/// A process of the product.
#[derive(Debug)]
struct Running {
    /// Its service, or `up`.
    name: String,
    /// Which of the service's processes it is.
    replica: usize,
    process: Child,
}

/// A running product with a data directory of its own. Dropping it ends the pods and the services.
#[derive(Debug)]
pub struct Product {
    options: Options,
    data: TempDir,
    services: Vec<Running>,
    places: Places,
    proxy: Option<Proxy>,
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
        let mut product = Self { options, data, services: Vec::new(), places: Places::default(), proxy: None };
        if product.options.layout.is_secured() {
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
                self.spawn("up", 0, command);
            }
            Layout::Separate | Layout::Secured | Layout::Mesh => {
                for service in SERVICES {
                    self.serve(service);
                }
            }
        }
        self.answers().await;
    }

    /// Certificates, a policy, an address for every service, and the proxy of a mesh.
    async fn secure(&mut self) {
        self.certify(&["--user", "admin", "--user", "ann"]).await;
        self.certify(&[]).await;
        fs::write(self.policy_path(), POLICY).expect("the policy can be written");
        if let Some(hosts) = &self.options.hosts {
            self.places = Places::on(hosts);
            return;
        }
        let (places, hops) = Places::here(self.options.layout);
        self.places = places;
        if self.options.layout == Layout::Mesh {
            let mut proxy = Proxy::new(self.data.path().join("proxy"), &self.certificates(), hops);
            proxy.start().await;
            self.proxy = Some(proxy);
        }
    }

    /// Where a service of a secured layout listens, or its first replica.
    ///
    /// # Panics
    /// When there is no such service.
    #[must_use]
    pub fn address(&self, service: &str) -> SocketAddr {
        self.places.of(service).expect("there is such a service")[0]
    }

    /// The proxy of a mesh.
    ///
    /// # Panics
    /// When it is no mesh.
    pub fn proxy(&mut self) -> &mut Proxy {
        self.proxy.as_mut().expect("it is a mesh")
    }

    /// What passed through the proxy of a mesh, a line for each call that has ended.
    ///
    /// # Panics
    /// When it is no mesh.
    #[must_use]
    pub fn proxy_log(&self) -> String {
        self.proxy.as_ref().expect("it is a mesh").log()
    }

    /// Where `caller` finds `callee`. Callers are services and, such as `users/ann`, users.
    #[must_use]
    pub fn target(&self, caller: &str, callee: &str) -> String {
        match (&self.proxy, self.places.of(callee)) {
            (Some(proxy), _) => proxy.target(caller, callee),
            (None, Some(places)) => places.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            (None, None) => format!("unix:{}", self.data.path().join(format!("{callee}.sock")).display()),
        }
    }

    /// Starts one service of a layout in which each is on its own, with every replica of it. The addresses of a separate
    /// one are Unix sockets in the data directory.
    pub fn serve(&mut self, service: &str) {
        for replica in 0..self.options.layout.replicas(service) {
            self.serve_replica(service, replica);
        }
    }

    fn serve_replica(&mut self, service: &str, replica: usize) {
        let listen = match self.places.of(service) {
            Some(places) => places[replica].to_string(),
            None => self.target("", service),
        };
        let mut arguments = vec!["serve".to_owned(), service.to_owned(), "--listen".to_owned(), listen];
        for peer in SERVICES.into_iter().filter(|peer| *peer != service) {
            // Only the coordinator calls everyone; a proxy has no other ways.
            if self.proxy.is_none() || [service, peer].contains(&"coordinator") {
                arguments.extend([format!("--{peer}"), self.target(service, peer)]);
            }
        }
        match service {
            "coordinator" if self.options.layout.is_secured() => {
                arguments.extend(["--policy".to_owned(), self.policy_path().display().to_string()]);
            }
            "identity-dns" => {
                // Tests run side by side: none may have the usual port.
                let address = self.places.dns().get(replica).copied().unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
                arguments.extend(["--dns-listen".to_owned(), address.to_string()]);
            }
            "pod-runtime" if self.proxy.is_some() => {
                arguments.extend(["--advertise".to_owned(), self.target("coordinator", service)]);
            }
            _ => {}
        }
        if self.options.layout.is_secured() {
            arguments.extend(self.certificate_arguments(service));
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut command = self.command_in(&self.directory(service, replica), service, &arguments);
        // Tests run side by side, and no balancer has to notice that a service ends.
        command.env("SETKEEPER_METRICS_LISTEN", "off").env("SETKEEPER_DRAIN_DELAY", "0");
        command.args(&self.options.arguments);
        self.spawn(service, replica, command);
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

    /// How its services are laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.options.layout
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

    /// Where names are served, by every replica; of one process, or of services that have addresses.
    ///
    /// # Panics
    /// When `up` tells none.
    pub async fn dns(&self) -> Vec<SocketAddr> {
        match self.options.layout {
            Layout::OneProcess => {
                let endpoints = self.endpoints().await;
                vec![endpoints["dns"].as_str().expect("it is told").parse().expect("an address")]
            }
            _ => self.places.dns().to_vec(),
        }
    }

    /// A channel to the coordinator: by its socket, or as the user `admin`.
    ///
    /// # Panics
    /// When their certificate cannot be read.
    #[must_use]
    pub fn channel(&self) -> Channel {
        let identity = |holder| Identity::load(self.tls_files(holder)).expect("it was made");
        let tls = self.options.layout.is_secured().then(|| identity(ADMIN));
        let target = match self.options.layout {
            Layout::OneProcess => Target::Unix(self.data.path().join("setkeeper.sock")),
            _ => self.target(ADMIN, "coordinator").parse().expect("an address"),
        };
        Context { tls, ..Context::default() }.connect(Role::Coordinator, &target, None)
    }

    /// The most memory that any of the services' processes has had resident, in KiB.
    #[must_use]
    pub fn peak_memory_kib(&self) -> u64 {
        let peak = |pid: u32| peak_memory_kib(Path::new(&format!("/proc/{pid}/status")));
        self.services.iter().filter_map(|running| peak(running.process.id())).max().unwrap_or(0)
    }

    /// The end of what the services logged.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log())
    }

    /// Everything that the services logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.data.path().with_extension("log")
    }

    /// The data directory of one process: all have the same, but each identity-dns keeps its names in its own.
    fn directory(&self, service: &str, replica: usize) -> PathBuf {
        match (service, replica) {
            ("identity-dns", 1..) => self.data.path().join(format!("names-{replica}")),
            _ => self.data.path().to_owned(),
        }
    }

    fn spawn(&mut self, name: &str, replica: usize, mut command: Command) {
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let process = command.spawn().expect("the product's binary can be run");
        self.services.push(Running { name: name.to_owned(), replica, process });
    }
}

/// The end of a log.
pub(crate) fn tail(log: &str) -> String {
    const TAIL: usize = 6000;
    let mut start = log.len().saturating_sub(TAIL);
    while !log.is_char_boundary(start) {
        start += 1;
    }
    log[start..].to_owned()
}

impl Drop for Product {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the services:\n{}", self.log_tail());
            if let Some(proxy) = &self.proxy {
                eprintln!("log of the proxy:\n{}", proxy.log_tail());
            }
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
        for Running { process, .. } in &mut self.services {
            let _ = process.kill();
            let _ = process.wait();
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
