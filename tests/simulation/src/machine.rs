//! The simulated machine: processes that outlive whoever started them.
//!
//! Processes belong to the operating system, not to the runtime: they start, become ready, flap, fail and stop in their
//! own time, whether or not the runtime lives. What the runtime would find after a restart, it finds here.

use std::collections::BTreeMap;
use std::time::Duration;

use coordinator::store::simulated_disk::Random;
use oracles::Process;
use serde_json::{Value, json};

use crate::clock::EPOCH_MS;

/// Image of programs that never become ready.
pub const BAD_IMAGE: &str = "broken";

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It has started and is not ready.
    Starting,
    /// It is ready.
    Ready,
    /// It runs and is not ready any more, for a while.
    Unready,
    /// It has ended.
    Ended,
}

/// The processes of one incarnation of a pod.
#[derive(Debug, Clone)]
pub struct Running {
    /// What the rules want to know.
    pub process: Process,
    /// Its pod's address.
    pub ip: String,
    /// How it is.
    pub life: Life,
    /// When it became so.
    pub since: Duration,
    /// When the next thing happens to it by itself.
    pub next: Duration,
    /// It was asked to stop.
    pub stopping: bool,
    /// How often it was started again.
    pub restarts: u32,
    bad: bool,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Machine {
    /// By incarnation. Ended ones stay until their pod is known to be gone.
    pub running: BTreeMap<String, Running>,
    /// Whose each address is, and whether it was ready ever.
    pub addresses: BTreeMap<String, (String, bool)>,
    started: u32,
    /// Processes misbehave.
    pub flaky: bool,
    /// Processes take their time to stop.
    pub stubborn: bool,
}

impl Machine {
    /// Starts the processes of a pod.
    pub fn start(&mut self, pod: &Value, claims: Vec<String>, now: Duration, random: &mut Random) {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let identity = format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"));
        let uid = text("/metadata/uid");
        self.started += 1;
        let ip = format!("10.77.{}.{}", self.started / 250, self.started % 250 + 1);
        self.addresses.insert(ip.clone(), (identity.clone(), false));
        let bad = text("/spec/containers/0/image").starts_with(BAD_IMAGE);
        let running = Running {
            process: Process { identity, uid: uid.clone(), claims },
            ip,
            life: Life::Starting,
            since: now,
            next: now + Duration::from_millis(50 + random.below(400)),
            stopping: false,
            restarts: 0,
            bad,
        };
        self.running.insert(uid, running);
    }

    /// Asks the processes of an incarnation to stop.
    pub fn stop(&mut self, uid: &str, now: Duration, random: &mut Random) {
        let most = if self.stubborn { 5_000 } else { 300 };
        if let Some(running) = self.running.get_mut(uid).filter(|running| !running.stopping) {
            running.stopping = true;
            running.next = now + Duration::from_millis(10 + random.below(most));
        }
    }

    /// Starts a program again that has ended.
    pub fn restart(&mut self, uid: &str, now: Duration, random: &mut Random) {
        if let Some(running) = self.running.get_mut(uid).filter(|running| running.life == Life::Ended) {
            running.life = Life::Starting;
            (running.since, running.restarts) = (now, running.restarts + 1);
            running.next = now + Duration::from_millis(50 + random.below(400));
        }
    }

    /// Lets time pass. Returns what happened, in words.
    pub fn advance(&mut self, now: Duration, random: &mut Random) -> Vec<String> {
        let mut news = Vec::new();
        for running in self.running.values_mut().filter(|running| running.next <= now && running.life != Life::Ended) {
            let life = match running.life {
                _ if running.stopping => Life::Ended,
                Life::Starting | Life::Unready if running.bad => running.life,
                Life::Starting | Life::Unready => Life::Ready,
                Life::Ready if self.flaky && random.below(4) == 0 => Life::Ended,
                Life::Ready if self.flaky => Life::Unready,
                Life::Ready | Life::Ended => running.life,
            };
            running.next = match life {
                Life::Ready if self.flaky => now + Duration::from_millis(500 + random.below(15_000)),
                Life::Ready => now + Duration::from_secs(1),
                _ => now + Duration::from_millis(100 + random.below(2_000)),
            };
            if life == Life::Ready {
                self.addresses.entry(running.ip.clone()).and_modify(|(_, ready)| *ready = true);
            }
            if life != running.life {
                (running.life, running.since) = (life, now);
                news.push(format!("process of {} {life:?} uid {}", running.process.identity, running.process.uid));
            }
        }
        news
    }

    /// Everything that lives.
    pub fn live(&self) -> impl Iterator<Item = &Process> {
        self.running.values().filter(|running| running.life != Life::Ended).map(|running| &running.process)
    }
}

impl Running {
    /// What the runtime reports.
    #[must_use]
    pub fn status(&self) -> Value {
        let ready = self.life == Life::Ready;
        let since = jiff::Timestamp::from_millisecond(EPOCH_MS + self.since.as_millis() as i64).unwrap_or_default();
        json!({
            "phase": "Running",
            "podIP": self.ip,
            "podIPs": [{ "ip": self.ip }],
            "containerStatuses": [{ "name": "main", "ready": ready, "restartCount": self.restarts }],
            "conditions": [{
                "type": "Ready",
                "status": if ready { "True" } else { "False" },
                "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }],
        })
    }
}
