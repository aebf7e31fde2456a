//! Several hosts on one machine: a network namespace for each service and one for people, on one bridge, with links that
//! can be cut.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::SERVICES;

/// Host of the people who run commands.
pub(crate) const PEOPLE: &str = "people";

/// Networks that this process has made.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// Hosts on one network. They are removed when it is dropped.
#[derive(Debug)]
pub struct Hosts {
    name: String,
}

impl Hosts {
    /// Whether this machine lets the test make hosts: that takes root.
    ///
    /// # Panics
    /// Where `CI=true` and it does not.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "tests ask for CI themselves")]
    pub fn possible() -> bool {
        let possible = rustix::process::geteuid().is_root() && crate::available(&["ip"]);
        assert!(possible || std::env::var("CI").as_deref() != Ok("true"), "only root may make network namespaces");
        if !possible {
            crate::program::say("skipped: only root may make network namespaces");
        }
        possible
    }

    /// Makes the network and every host.
    ///
    /// # Panics
    /// Where that fails.
    #[must_use]
    pub fn start() -> Self {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let hosts = Self { name: format!("sk{}x{number}", std::process::id()) };
        let wire = hosts.name.as_str();
        ip(&["netns", "add", wire]);
        ip(&["-n", wire, "link", "add", "wire", "type", "bridge"]);
        ip(&["-n", wire, "link", "set", "wire", "up"]);
        for (place, host) in SERVICES.into_iter().chain([PEOPLE]).enumerate() {
            let (namespace, port) = (hosts.namespace(host), format!("port{place}"));
            ip(&["netns", "add", &namespace]);
            ip(&["-n", &namespace, "link", "set", "lo", "up"]);
            ip(&["-n", wire, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
            ip(&["-n", wire, "link", "set", &port, "master", "wire", "up"]);
            let address = format!("{}/24", hosts.address(host));
            ip(&["-n", &namespace, "address", "add", &address, "dev", "eth0"]);
            ip(&["-n", &namespace, "link", "set", "eth0", "up"]);
        }
        hosts
    }

    /// Address of a host.
    ///
    /// # Panics
    /// Where there is no such host.
    #[must_use]
    pub fn address(&self, host: &str) -> IpAddr {
        let last = u8::try_from(place(host) + 1).expect("few hosts");
        // Meant for documentation: no machine that runs tests has it.
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    /// The network namespace of a host.
    #[must_use]
    pub fn namespace(&self, host: &str) -> String {
        format!("{}{}", self.name, place(host))
    }

    /// Cuts the link of a host: nothing comes in or goes out, and nobody is told.
    pub fn cut(&self, host: &str) {
        self.set_link(host, "down");
    }

    /// Mends the link of a host.
    pub fn mend(&self, host: &str) {
        self.set_link(host, "up");
    }

    fn set_link(&self, host: &str, state: &str) {
        ip(&["-n", &self.name, "link", "set", &format!("port{}", place(host)), state]);
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let hosts = SERVICES.into_iter().chain([PEOPLE]).map(|host| self.namespace(host));
        for namespace in hosts.chain([self.name.clone()]) {
            // One that was never made cannot be removed.
            let _ = Command::new("ip").args(["netns", "del", &namespace]).stderr(Stdio::null()).status();
        }
    }
}

fn place(host: &str) -> usize {
    SERVICES.into_iter().chain([PEOPLE]).position(|one| one == host).expect("there is such a host")
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
