//! A machine of numbers: containers live and die by script, actions take no time unless the script says so.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Timestamp, Uid};
use serde_json::{Value, json};

use crate::backend::{ContainerInstance, ContainerState, Exit, SandboxSpec, SandboxState};
use crate::kubelet::decide::{Action, Event, Intent, Now, Observation, StartFailure, View, decide};
use crate::kubelet::probing::{ProbeKind, ProbeOutcome};
use crate::kubelet::record::{Memory, Record};
use crate::spec::Pod;

/// When the world begins: late enough that zero is far in the past.
const BEGIN: i64 = 1_700_000_000_000;

/// Passes at one moment; more means that a decision never rests.
const PASSES_MAX: usize = 64;

/// How a container behaves.
#[derive(Clone)]
pub(super) struct Life {
    /// It ends by itself after so many seconds with a code; the last entry repeats. None: it never ends.
    pub(super) runs: Vec<Option<(f64, i32)>>,
    /// Seconds that it needs to end after SIGTERM, and its code then; none ignores it.
    pub(super) on_term: Option<(f64, i32)>,
    /// Seconds that a hook takes; whether it fails.
    pub(super) hook: (f64, bool),
    /// Whether a probe passes, by kind and seconds since the container's start; none cannot be run.
    pub(super) probe: fn(ProbeKind, f64) -> Option<bool>,
}

impl Default for Life {
    fn default() -> Self {
        Self { runs: vec![None], on_term: Some((0.0, 0)), hook: (0.0, false), probe: |_, _| Some(true) }
    }
}

impl Life {
    /// Ends after so many seconds with a code, again and again.
    pub(super) fn ends(after: f64, code: i32) -> Self {
        Self { runs: vec![Some((after, code))], ..Self::default() }
    }
}

enum Happening {
    Seen(Observation),
    Ends { container: String, instance: u32, code: i32, signal: Option<i32> },
}

pub(super) struct World {
    pub(super) pod: Pod,
    pub(super) lives: BTreeMap<String, Life>,
    pub(super) intent: Intent,
    pub(super) confirmed: bool,
    pub(super) record: Record,
    pub(super) memory: Memory,
    pub(super) sandbox: Option<SandboxState>,
    pub(super) status: Value,
    pub(super) stopped: bool,
    pub(super) events: Vec<(f64, Event)>,
    /// What was done, with its second.
    pub(super) log: Vec<(f64, String)>,
    /// Answers of volumes and starts, by container or `volumes`.
    pub(super) refusals: BTreeMap<String, StartFailure>,
    now: i64,
    number: u64,
    pending: BTreeMap<(i64, u64), Happening>,
    observations: Vec<Observation>,
    next_wake: Option<Timestamp>,
}

impl World {
    /// A pod with this spec.
    pub(super) fn new(spec: Value) -> Self {
        let object = json!({
            "metadata": {"name": "web-0", "namespace": "default", "uid": "u", "generation": 1}, "spec": spec
        });
        Self {
            pod: Pod::from_json(object.to_string().as_bytes()).unwrap(),
            lives: BTreeMap::new(),
            intent: Intent::Run,
            confirmed: true,
            record: Record::default(),
            memory: Memory::default(),
            sandbox: None,
            status: Value::Null,
            stopped: false,
            events: Vec::new(),
            log: Vec::new(),
            refusals: BTreeMap::new(),
            now: BEGIN,
            number: 0,
            pending: BTreeMap::new(),
            observations: Vec::new(),
            next_wake: None,
        }
    }

    pub(super) fn with(mut self, container: &str, life: Life) -> Self {
        self.lives.insert(container.to_owned(), life);
        self
    }

    /// Seconds since the beginning.
    pub(super) fn seconds(&self) -> f64 {
        Duration::from_millis((self.now - BEGIN).unsigned_abs()).as_secs_f64()
    }

    /// Lets the world go on up to this second.
    pub(super) fn until(&mut self, second: f64) -> &mut Self {
        let end = BEGIN + milliseconds(second);
        loop {
            self.settle();
            let pending = self.pending.keys().next().map(|(at, _)| *at);
            let wake = self.next_wake.map(|wake| wake.0);
            let next = [pending, wake].into_iter().flatten().min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = next.max(self.now + i64::from(pending != Some(next) && next <= self.now));
            while let Some(entry) = self.pending.first_entry().filter(|entry| entry.key().0 <= self.now) {
                match entry.remove() {
                    Happening::Seen(observation) => self.observations.push(observation),
                    Happening::Ends { container, instance, code, signal } => {
                        self.end(&container, instance, code, signal)
                    }
                }
            }
        }
        self.now = end;
        self.settle();
        self
    }

    /// Decides until there is nothing more to do at this moment.
    fn settle(&mut self) {
        for _ in 0..PASSES_MAX {
            let observations = std::mem::take(&mut self.observations);
            let moment = Timestamp(self.now);
            let decision = decide(&View {
                pod: &self.pod,
                intent: self.intent,
                confirmed: self.confirmed,
                sandbox: self.sandbox.as_ref(),
                record: &self.record,
                memory: &self.memory,
                observations: &observations,
                host_ip: "10.77.0.1",
                not_enforced: &[],
                now: Now { steady: moment, wall: moment },
            });
            let second = self.seconds();
            self.events.extend(decision.events.into_iter().map(|event| (second, event)));
            self.record = decision.record;
            self.memory = decision.memory;
            self.status = decision.status;
            self.stopped = decision.stopped;
            self.next_wake = decision.next_wake;
            let before = self.observations.len();
            for action in decision.actions {
                self.act(action);
            }
            self.due();
            if self.observations.len() == before {
                return;
            }
        }
        panic!("decisions never rest: {:#?}", self.log.iter().rev().take(8).collect::<Vec<_>>());
    }

    fn due(&mut self) {
        while let Some(entry) = self.pending.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Happening::Seen(observation) => self.observations.push(observation),
                Happening::Ends { container, instance, code, signal } => {
                    self.end(&container, instance, code, signal);
                }
            }
        }
    }

    fn later(&mut self, seconds: f64, happening: Happening) {
        self.number += 1;
        self.pending.insert((self.now + milliseconds(seconds), self.number), happening);
    }

    fn life(&self, container: &str) -> Life {
        self.lives.get(container).cloned().unwrap_or_default()
    }

    fn act(&mut self, action: Action) {
        let second = self.seconds();
        let mut note = |text: String| self.log.push((second, text));
        match action {
            Action::PrepareVolumes => {
                let refusal = match self.refusals.get("volumes") {
                    Some(StartFailure::Refused { message, .. }) => Err(message.clone()),
                    _ => Ok(()),
                };
                self.observations.push(Observation::Volumes(refusal));
            }
            Action::EnsureSandbox => {
                note("sandbox".to_owned());
                let spec = SandboxSpec {
                    namespace: "default".to_owned(),
                    name: "web-0".to_owned(),
                    uid: Uid("u".to_owned()),
                    hostname: "web-0".to_owned(),
                };
                let ip = "10.77.0.9".parse().unwrap();
                self.sandbox = Some(SandboxState { spec, ip, alive: true, containers: Vec::new(), pids: Vec::new() });
                self.observations.push(Observation::Sandbox(Ok(())));
            }
            Action::Start { container, instance } => {
                note(format!("start {container}"));
                let refusal = self.refusals.get(&container).cloned();
                if refusal.is_none() {
                    self.begin(&container, instance);
                }
                let result = refusal.map_or(Ok(()), Err);
                self.observations.push(Observation::Started { container, instance, result });
            }
            Action::PostStart { container, instance } => {
                note(format!("postStart {container}"));
                let (takes, fails) = self.life(&container).hook;
                let result = if fails { Err("exit code 1".to_owned()) } else { Ok(()) };
                self.later(takes, Happening::Seen(Observation::PostStarted { container, instance, result }));
            }
            Action::PreStop { container, instance, timeout } => {
                note(format!("preStop {container}"));
                let (takes, fails) = self.life(&container).hook;
                let cut = takes > timeout.as_secs_f64();
                let result = if fails || cut { Err("failed".to_owned()) } else { Ok(()) };
                let takes = takes.min(timeout.as_secs_f64());
                self.later(takes, Happening::Seen(Observation::PreStopped { container, instance, result }));
            }
            Action::Signal { container, instance } => {
                note(format!("term {container}"));
                if let Some((takes, code)) = self.life(&container).on_term {
                    let end = Happening::Ends { container: container.clone(), instance, code, signal: None };
                    self.later(takes, end);
                }
                self.observations.push(Observation::Struck { container, instance, kill: false, result: Ok(()) });
            }
            Action::Kill { container, instance } => {
                note(format!("kill {container}"));
                self.end(&container, instance, 137, Some(9));
                self.observations.push(Observation::Struck { container, instance, kill: true, result: Ok(()) });
            }
            Action::Probe { container, instance, kind } => {
                note(format!("{kind:?} {container}"));
                let since = self.started(&container).map_or(0.0, |at| Timestamp(self.now).since(at).as_secs_f64());
                let outcome = match (self.life(&container).probe)(kind, since) {
                    Some(true) => ProbeOutcome::Passed(String::new()),
                    Some(false) => ProbeOutcome::Failed("no".to_owned()),
                    None => ProbeOutcome::Impossible("cannot exec".to_owned()),
                };
                self.observations.push(Observation::Probed { container, instance, kind, outcome });
            }
            Action::RemoveSandbox => {
                note("remove".to_owned());
                self.sandbox = None;
                self.observations.push(Observation::Removed(Ok(())));
            }
        }
    }

    fn begin(&mut self, container: &str, instance: u32) {
        let runs = self.life(container).runs;
        let run = runs.get(instance as usize).or(runs.last()).copied().flatten();
        if let Some((after, code)) = run {
            let end = Happening::Ends { container: container.to_owned(), instance, code, signal: None };
            self.later(after, end);
        }
        let state = ContainerState::Running { pid: 1, started_at: Timestamp(self.now) };
        let sandbox = self.sandbox.as_mut().expect("containers start in a sandbox");
        sandbox.containers.retain(|known| known.name != container);
        sandbox.containers.push(ContainerInstance { name: container.to_owned(), instance, state });
    }

    fn started(&self, container: &str) -> Option<Timestamp> {
        let found = self.sandbox.as_ref()?.containers.iter().find(|known| known.name == container)?;
        match found.state {
            ContainerState::Running { started_at, .. } => Some(started_at),
            ContainerState::Exited(_) => None,
        }
    }

    /// Ends a run, from inside or from outside.
    pub(super) fn end(&mut self, container: &str, instance: u32, code: i32, signal: Option<i32>) {
        let now = Timestamp(self.now);
        let Some(started_at) = self.started(container) else { return };
        let Some(sandbox) = self.sandbox.as_mut() else { return };
        for known in sandbox.containers.iter_mut().filter(|known| known.name == container && known.instance == instance)
        {
            known.state = ContainerState::Exited(Exit {
                exit_code: code,
                signal,
                reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
                message: String::new(),
                started_at,
                finished_at: now,
            });
        }
    }

    /// The runtime starts again: only what is durable is left.
    pub(super) fn restart_runtime(&mut self) {
        let kept = serde_json::to_vec(&self.record).unwrap();
        self.record = serde_json::from_slice(&kept).unwrap();
        self.memory = Memory { adopted: self.record.sandbox, ..Memory::default() };
        self.pending.retain(|_, happening| matches!(happening, Happening::Ends { .. }));
        self.observations.clear();
    }

    /// The object is deleted with a grace of so many seconds from now.
    pub(super) fn delete(&mut self, grace: u32) {
        let grace_end = Timestamp(self.now).plus(Duration::from_secs(grace.into()));
        self.intent = Intent::Stop { grace_end, hooks: grace > 0, keep: false };
    }

    pub(super) fn changed(&mut self) {
        self.observations.push(Observation::AssignmentChanged);
    }

    /// The seconds at which something was done.
    pub(super) fn times(&self, what: &str) -> Vec<f64> {
        self.log.iter().filter(|(_, text)| text == what).map(|(second, _)| *second).collect()
    }

    pub(super) fn phase(&self) -> &str {
        self.status["phase"].as_str().unwrap()
    }

    pub(super) fn condition(&self, kind: &str) -> &Value {
        let conditions = self.status["conditions"].as_array().unwrap();
        conditions.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
    }

    pub(super) fn ready(&self) -> bool {
        self.condition("Ready")["status"] == "True"
    }

    /// The status of a container, wherever it is listed.
    pub(super) fn container(&self, name: &str) -> &Value {
        let lists = ["containerStatuses", "initContainerStatuses"];
        let all = lists.iter().filter_map(|list| self.status[list].as_array()).flatten();
        all.into_iter().find(|status| status["name"] == name).expect("the container has a status")
    }

    pub(super) fn told(&self, reason: &str) -> Vec<f64> {
        self.events.iter().filter(|(_, event)| event.reason == reason).map(|(second, _)| *second).collect()
    }
}

fn milliseconds(seconds: f64) -> i64 {
    i64::try_from(Duration::from_secs_f64(seconds).as_millis()).unwrap()
}
