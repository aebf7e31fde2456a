//! Which faults a seed has, and when they come.
//!
//! Every seed draws its own set of kinds, so that rare combinations get a run where nothing else is in their way.

use std::collections::BTreeSet;
use std::time::Duration;

use coordinator::store::simulated_disk::Random;
use turmoil::Sim;

use crate::calls::AtCall;
use crate::hosts::{ALL, Hosts, MORTAL, SERVICES};
use crate::lab::{CallFaults, Lab, Loss};
use crate::place::Moment;
use crate::store::AtCommit;

/// How wrong a clock may be, in milliseconds: more than any time-out of the product, less than the progress deadline.
const CLOCK_ERROR_MS_MAX: u64 = 400_000;

/// How long a host stands still at least: longer than any deadline of a call, and than the notice of a dead connection.
const PAUSE_MIN: Duration = Duration::from_millis(11_000);

/// A kind of fault that a seed may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// F1: a service dies, at a commit, at a message, or at any moment.
    Crash,
    /// F1: the power fails too: what was not synced may be lost.
    PowerLoss,
    /// F2: connections break under their handlers.
    Cut,
    /// F8: messages are dropped, both ways or one way.
    Partition,
    /// F8, F14: messages take long, of one link.
    Slow,
    /// F8, F12: messages are held back and come all at once.
    Hold,
    /// F8: reports are repeated.
    Repeat,
    /// F9: reads see what was.
    StaleView,
    /// F10: a watcher misses an event, and is told so.
    HiddenEvent,
    /// F13: clocks jump.
    Clock,
    /// F14: the disk is slow.
    SlowDisk,
    /// F18: processes flap and fail.
    Flaky,
    /// F18: processes take their time to stop.
    Stubborn,
    /// F19: the runtime dies, its processes live on.
    RuntimeCrash,
    /// F20: everything restarts together, again and again.
    Storm,
    /// F11: coordinators of earlier epochs go on speaking.
    Ghost,
    /// F12: a host stands still for longer than any deadline, and then goes on.
    Pause,
    /// F15: answers say nothing.
    Unread,
    /// F23: deadlines make no sense, or run out on the way.
    Deadline,
    /// F8: calls are repeated, at once and late.
    RepeatedCall,
    /// F1: whoever calls or is called dies at either end of a call.
    CallCrash,
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::Crash,
        Self::PowerLoss,
        Self::Cut,
        Self::Partition,
        Self::Slow,
        Self::Hold,
        Self::Repeat,
        Self::StaleView,
        Self::HiddenEvent,
        Self::Clock,
        Self::SlowDisk,
        Self::Flaky,
        Self::Stubborn,
        Self::RuntimeCrash,
        Self::Storm,
        Self::Ghost,
    ];

    /// Those that came later: they are drawn apart, so that a seed keeps the others it has.
    const LATER: [Self; 5] = [Self::Pause, Self::Unread, Self::Deadline, Self::RepeatedCall, Self::CallCrash];

    /// Whether it strikes now and then. The others are how things are throughout a run, or have times of their own.
    fn strikes(self) -> bool {
        use Kind::{Deadline, Flaky, Ghost, PowerLoss, Repeat, RepeatedCall, Storm, Stubborn, Unread};
        !matches!(self, Flaky | Stubborn | Repeat | Storm | PowerLoss | Ghost | Unread | Deadline | RepeatedCall)
    }
}

/// The faults of a run.
pub struct Swarm {
    kinds: Vec<Kind>,
    random: Random,
    next: Duration,
    every: Duration,
    down: Vec<(&'static str, Duration)>,
    broken: Vec<(&'static str, &'static str, Duration, Break)>,
    storm: Option<Duration>,
    paused_until: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    Both,
    OneWay,
    Held,
    Slow,
}

impl Swarm {
    /// Draws the faults of a seed.
    #[must_use]
    pub fn draw(seed: u64, lab: &Lab) -> Self {
        let mut random = Random::new(seed ^ 0xfa17);
        let mut later = Random::new(seed ^ 0x1a7e);
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| random.below(3) == 0).collect();
        kinds.extend(Kind::LATER.into_iter().filter(|_| later.below(4) == 0));
        lab.call_faults(CallFaults {
            deadlines: kinds.contains(&Kind::Deadline),
            unread: kinds.contains(&Kind::Unread),
            repeats: kinds.contains(&Kind::RepeatedCall),
        });
        let every = Duration::from_millis(300 + random.below(3_000));
        lab.processes(kinds.contains(&Kind::Flaky), kinds.contains(&Kind::Stubborn), kinds.contains(&Kind::Repeat));
        for (kind, name) in [
            (Kind::Flaky, "F18 flapping processes"),
            (Kind::Stubborn, "F18 processes slow to stop"),
            (Kind::Repeat, "F8 repeated reports"),
        ] {
            if kinds.contains(&kind) {
                lab.fault(name);
            }
        }
        lab.ghosts(kinds.contains(&Kind::Ghost));
        let storm = kinds.contains(&Kind::Storm).then(|| Duration::from_millis(2_000 + random.below(6_000)));
        lab.note(&format!("faults: {kinds:?} every {every:?}"));
        Self { kinds, random, next: every, every, down: Vec::new(), broken: Vec::new(), storm, paused_until: None }
    }

    /// No faults at all.
    #[must_use]
    pub fn none() -> Self {
        let random = Random::new(0);
        let (next, every) = (Duration::MAX, Duration::MAX);
        Self {
            kinds: Vec::new(),
            random,
            next,
            every,
            down: Vec::new(),
            broken: Vec::new(),
            storm: None,
            paused_until: None,
        }
    }

    /// Kinds that are on.
    #[must_use]
    pub fn kinds(&self) -> BTreeSet<Kind> {
        self.kinds.iter().copied().collect()
    }

    /// Whether a host stands still: a pause lasts as long as it lasts, also beyond the other faults.
    #[must_use]
    pub fn is_pausing(&self, now: Duration) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Goes on: what is due happens, what was broken long enough is mended, what died comes back.
    pub fn step(&mut self, sim: &mut Sim<'_>, hosts: &Hosts, lab: &Lab, now: Duration) {
        self.bury(sim, lab, now);
        self.mend(sim, now);
        if self.storm.is_some_and(|at| at <= now) {
            self.storm = Some(now + Duration::from_millis(2_000 + self.random.below(8_000)));
            lab.fault("F20 restart storm");
            for name in SERVICES {
                self.kill(sim, hosts, lab, name, now);
            }
        }
        if self.next <= now {
            let most = self.every.as_millis() as u64 * 2;
            self.next = now + Duration::from_millis(1 + self.random.below(most));
            self.inject(sim, hosts, lab, now);
        }
    }

    /// Ends every fault.
    pub fn heal(&mut self, sim: &mut Sim<'_>, lab: &Lab, now: Duration) {
        self.bury(sim, lab, now);
        for (_, _, until, _) in &mut self.broken {
            *until = Duration::ZERO;
        }
        self.mend(sim, now);
        for (_, at) in &mut self.down {
            *at = Duration::ZERO;
        }
        self.bury(sim, lab, now);
        lab.slow_disk(None);
        lab.processes(false, false, false);
        lab.ghosts(false);
        lab.heal();
        (self.next, self.storm) = (Duration::MAX, None);
        lab.note("faults end");
    }

    /// Takes away the tasks of hosts that died, and starts those again whose time has come.
    pub fn bury(&mut self, sim: &mut Sim<'_>, lab: &Lab, now: Duration) {
        for name in lab.take_dead() {
            sim.crash(name);
            let back = now + Duration::from_millis(self.random.below(3_000));
            self.down.push((name, back));
        }
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.down).into_iter().partition(|(_, at)| *at <= now);
        self.down = rest;
        for (name, _) in due {
            sim.bounce(name);
        }
    }

    fn kill(&mut self, sim: &mut Sim<'_>, hosts: &Hosts, lab: &Lab, name: &'static str, now: Duration) {
        if self.down.iter().any(|(down, _)| *down == name) || !sim.is_host_running(name) {
            return;
        }
        if let Some(place) = hosts.place(name) {
            lab.down(&place);
        }
        sim.crash(name);
        let back = now + Duration::from_millis(self.random.below(2_500));
        self.down.push((name, back));
    }

    fn mend(&mut self, sim: &Sim<'_>, now: Duration) {
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.broken).into_iter().partition(|(_, _, until, _)| *until <= now);
        self.broken = rest;
        for (a, b, _, how) in due {
            match how {
                Break::Both => sim.repair(a, b),
                Break::OneWay => sim.repair_oneway(a, b),
                Break::Held => sim.release(a, b),
                Break::Slow => {
                    sim.set_link_latency(a, b, Duration::from_millis(1));
                    sim.set_link_max_message_latency(a, b, Duration::from_millis(5));
                }
            }
        }
    }

    fn inject(&mut self, sim: &mut Sim<'_>, hosts: &Hosts, lab: &Lab, now: Duration) {
        let momentary: Vec<Kind> = self.kinds.iter().copied().filter(|kind| kind.strikes()).collect();
        if momentary.is_empty() {
            return;
        }
        let loss = self.kinds.contains(&Kind::PowerLoss) && self.random.below(2) == 0;
        lab.loss(if loss { Loss::Unsynced } else { Loss::Nothing });
        match momentary[self.random.below(momentary.len() as u64) as usize] {
            Kind::Crash => self.crash(sim, hosts, lab, now),
            Kind::Cut => {
                let name = SERVICES[self.random.below(SERVICES.len() as u64) as usize];
                if self.random.below(2) == 0 {
                    lab.plan_in(1 + self.random.below(5), AtCommit::CancelHandlers);
                } else if let Some(place) = hosts.place(name) {
                    lab.fault("F2 connections cut");
                    place.wires.cut();
                }
            }
            Kind::Partition | Kind::Slow | Kind::Hold => self.break_link(sim, lab, now),
            Kind::StaleView => {
                let time = Duration::from_millis(20 + self.random.below(1_500));
                lab.plan_in(1 + self.random.below(6), AtCommit::PreviousView(time));
            }
            Kind::HiddenEvent => lab.plan_in(1 + self.random.below(6), AtCommit::HideEvent),
            Kind::Clock => {
                let name = MORTAL[self.random.below(MORTAL.len() as u64) as usize];
                lab.fault("F13 clock jump");
                let error = self.random.below(2 * CLOCK_ERROR_MS_MAX) as i64 - CLOCK_ERROR_MS_MAX as i64;
                hosts.clock(name).jump(error);
            }
            Kind::SlowDisk => {
                let slow = (self.random.below(2) == 0).then(|| Duration::from_millis(5 + self.random.below(200)));
                lab.slow_disk(slow);
            }
            Kind::RuntimeCrash => {
                lab.fault("F19 runtime crash");
                self.kill(sim, hosts, lab, "node", now);
            }
            Kind::Pause if self.paused_until.is_none() => {
                let name = MORTAL[self.random.below(MORTAL.len() as u64) as usize];
                lab.fault("F12 process stands still");
                let until = now + PAUSE_MIN + Duration::from_millis(self.random.below(6_000));
                hosts.clock(name).stand_still(until);
                self.paused_until = Some(until);
            }
            Kind::CallCrash => {
                let at = [
                    AtCall::CrashBeforeSending,
                    AtCall::CrashBeforeWork,
                    AtCall::CrashBeforeAnswer,
                    AtCall::CrashAfterAnswer,
                ];
                lab.plan_call_in(1 + self.random.below(40), at[self.random.below(4) as usize]);
            }
            // How things are throughout, or once, or at times of their own.
            _ => {}
        }
    }

    fn crash(&mut self, sim: &mut Sim<'_>, hosts: &Hosts, lab: &Lab, now: Duration) {
        match self.random.below(4) {
            0 => lab.plan_in(1 + self.random.below(8), AtCommit::CrashBefore),
            1 => lab.plan_in(1 + self.random.below(8), AtCommit::CrashAfter),
            2 => {
                let name = SERVICES[self.random.below(SERVICES.len() as u64) as usize];
                let moment = if self.random.below(2) == 0 { Moment::Before } else { Moment::After };
                hosts.crash_next(name, 3 + self.random.below(80), moment);
                lab.fault("F1 crash at any moment");
                self.kill(sim, hosts, lab, name, now);
            }
            _ => {
                let name = SERVICES[self.random.below(SERVICES.len() as u64) as usize];
                lab.fault("F1 crash at any moment");
                self.kill(sim, hosts, lab, name, now);
            }
        }
    }

    fn break_link(&mut self, sim: &mut Sim<'_>, lab: &Lab, now: Duration) {
        // Everybody talks to the coordinator, or it to them.
        let others: Vec<&'static str> = ALL.into_iter().filter(|name| *name != "coordinator").collect();
        let other = others[self.random.below(others.len() as u64) as usize];
        if self.broken.iter().any(|(a, b, ..)| *a == other || *b == other) {
            return;
        }
        let until = now + Duration::from_millis(200 + self.random.below(9_000));
        if self.kinds.contains(&Kind::Hold) && self.broken.is_empty() && self.random.below(3) == 0 {
            // As for a process that stands still: nothing comes out of it or in, and then everything at once.
            lab.fault("F12 coordinator paused");
            for other in others {
                sim.hold("coordinator", other);
                self.broken.push(("coordinator", other, until, Break::Held));
            }
            return;
        }
        let (from, to) = if self.random.below(2) == 0 { ("coordinator", other) } else { (other, "coordinator") };
        let how = match (self.kinds.contains(&Kind::Partition), self.kinds.contains(&Kind::Hold)) {
            (true, _) if self.random.below(3) == 0 => Break::OneWay,
            (true, _) if self.random.below(2) == 0 => Break::Both,
            (_, true) if self.random.below(2) == 0 => Break::Held,
            _ if self.kinds.contains(&Kind::Slow) => Break::Slow,
            (true, _) => Break::Both,
            (_, true) => Break::Held,
            _ => Break::Slow,
        };
        lab.fault(match how {
            Break::Both => "F8 partition",
            Break::OneWay => "F8 one-way partition",
            Break::Held => "F8 messages held back",
            Break::Slow => "F14 slow link",
        });
        match how {
            Break::Both => sim.partition(from, to),
            Break::OneWay => sim.partition_oneway(from, to),
            Break::Held => sim.hold(from, to),
            Break::Slow => sim.set_link_latency(from, to, Duration::from_millis(100 + self.random.below(3_000))),
        }
        self.broken.push((from, to, until, how));
    }
}

impl std::fmt::Debug for Swarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swarm").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}
