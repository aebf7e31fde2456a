//! Calls: what is to happen to each, and which have not ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use coordinator::store::simulated_disk::Random;
use oracles::Violation;

use super::{Inner, Lab};
use crate::calls::{AtCall, Kept, Made, Unread, reads_state, receiver};
use crate::campaign::Which;

/// Requests that are kept to be repeated. The oldest give way.
const KEPT_MAX: usize = 24;

/// How long a call may take for its caller: the longest deadline of the product's clients, and a little; and as long again
/// as a host stands still at most, which takes no answer meanwhile (F12).
const CALL_MAX: Duration = Duration::from_secs(11 + 17);

/// How long a handler may take: what a server grants where no deadline came, and the notice of a dead connection.
const HANDLER_MAX: Duration = Duration::from_secs(80);

/// Deadlines that no client of ours sends: too long, too short, and none at all.
const ABSURD: [&str; 12] =
    ["0n", "1n", "1u", "99999999n", "99999999H", "123456789S", "-1S", "1.5S", "S", "10", "10x", "999999999999H"];

/// Deadlines that run out on the way.
const SHORT: [&str; 6] = ["1m", "6m", "11m", "16m", "31m", "61m"];

/// Which faults of calls there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallFaults {
    /// F23: deadlines make no sense, or run out.
    pub deadlines: bool,
    /// F15: answers say nothing.
    pub unread: bool,
    /// F8: calls are repeated, at once and late.
    pub repeats: bool,
}

/// Calls of a run.
pub(super) struct Calls {
    random: Random,
    faults: CallFaults,
    plan: BTreeMap<u64, AtCall>,
    under_way: BTreeMap<u64, AtCall>,
    first: Option<(String, AtCall)>,
    made: u64,
    recorded: Option<Vec<Made>>,
    open: BTreeMap<u64, (String, Duration)>,
    handlers: BTreeMap<u64, (String, Duration)>,
    kept: VecDeque<(&'static str, &'static str, Kept)>,
    repeating: u32,
}

impl Calls {
    /// Notes what becomes of a call, where calls are recorded.
    fn note(&mut self, number: u64, what: impl FnOnce(&mut Made)) {
        let made = self.recorded.as_mut().and_then(|recorded| recorded.get_mut(number as usize - 1));
        made.map(what);
    }

    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed ^ 0xca11),
            faults: CallFaults::default(),
            plan: BTreeMap::new(),
            under_way: BTreeMap::new(),
            first: None,
            made: 0,
            recorded: None,
            open: BTreeMap::new(),
            handlers: BTreeMap::new(),
            kept: VecDeque::new(),
            repeating: 0,
        }
    }

    /// What happens to a call: what is planned, or what chance says.
    fn fate(&mut self, caller: &str, path: &str) -> Option<AtCall> {
        if let Some(planned) = self.plan.remove(&self.made) {
            return Some(planned);
        }
        if let Some((_, at)) = self.first.take_if(|(method, _)| path.rsplit('/').next() == Some(method)) {
            return Some(at);
        }
        let CallFaults { deadlines, unread, repeats } = self.faults;
        if deadlines && self.random.below(6) == 0 {
            let texts: &[&'static str] = if self.random.below(2) == 0 { &ABSURD } else { &SHORT };
            return Some(AtCall::Deadline(texts[self.random.below(texts.len() as u64) as usize]));
        }
        // Whoever only asks for names decides nothing.
        if unread && caller != "resolver" && reads_state(path) && self.random.below(8) == 0 {
            let how = [Unread::Error, Unread::Empty, Unread::Garbage][self.random.below(3) as usize];
            return Some(AtCall::Unread(how));
        }
        (repeats && !path.contains("/Watch") && self.random.below(4) == 0).then_some(AtCall::Repeat)
    }
}

/// Something that is open until this is dropped.
#[derive(Debug)]
pub struct Open {
    lab: Arc<Lab>,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Call(u64),
    Handler(u64),
    Repeat,
}

impl Drop for Open {
    fn drop(&mut self) {
        let calls = &mut self.lab.inner().calls;
        match self.what {
            What::Call(number) => _ = calls.open.remove(&number),
            What::Handler(number) => _ = calls.handlers.remove(&number),
            What::Repeat => calls.repeating -= 1,
        }
    }
}

impl Lab {
    /// Which faults of calls there are from now on.
    pub fn call_faults(&self, faults: CallFaults) {
        self.inner().calls.faults = faults;
    }

    /// Records calls from now on.
    pub fn record_calls(&self) {
        self.inner().calls.recorded = Some(Vec::new());
    }

    /// Something is to happen to one call.
    pub fn plan_call(&self, which: Which, at: AtCall) {
        let calls = &mut self.inner().calls;
        match which {
            Which::Number(number) => _ = calls.plan.insert(number, at),
            Which::First(method) => calls.first = Some((method, at)),
        }
    }

    /// Adds one more thing to happen, so many calls from now.
    pub fn plan_call_in(&self, calls: u64, at: AtCall) {
        let inner = &mut self.inner().calls;
        inner.plan.insert(inner.made + calls, at);
    }

    /// Nothing more happens to calls.
    pub fn calls_heal(&self) {
        let calls = &mut self.inner().calls;
        calls.plan.clear();
        calls.faults = CallFaults::default();
    }

    /// Calls that were made, where a campaign records them.
    pub fn calls_made(&self) -> Vec<Made> {
        self.inner().calls.recorded.clone().unwrap_or_default()
    }

    /// What each commit did to which kinds of objects, where a campaign records it.
    pub fn commit_kinds(&self) -> Vec<String> {
        let inner = self.inner();
        inner.calls.recorded.as_ref().map(|_| inner.commit_kinds.clone()).unwrap_or_default()
    }

    /// Number of a call that begins, and what happens to it.
    pub fn call_begins(&self, caller: &'static str, path: &str) -> (u64, Option<AtCall>) {
        let inner = &mut *self.inner();
        inner.calls.made += 1;
        let (number, commits) = (inner.calls.made, inner.commits);
        let at = inner.calls.fate(caller, path);
        if let Some(at) = at {
            inner.calls.under_way.insert(number, at);
            let method = path.rsplit('/').next().unwrap_or_default();
            let kind = match at {
                AtCall::Unread(Unread::Error) => Some("F15 error for what was to be read"),
                AtCall::Unread(Unread::Empty) => Some("F15 empty answer"),
                AtCall::Unread(Unread::Garbage) => Some("F15 answer that does not decode"),
                AtCall::Deadline(text) if SHORT.contains(&text) => Some("F23 deadline that runs out"),
                AtCall::Deadline(_) => Some("F23 absurd deadline"),
                _ => None,
            };
            if let Some(kind) = kind {
                *inner.faults.entry(kind).or_default() += 1;
            }
            inner.note(&format!("{at:?} of call {number}, {method} by {caller}"));
        }
        if let Some(recorded) = &mut inner.calls.recorded {
            let (caller, path) = (caller.to_owned(), path.to_owned());
            let made = Made { number, caller, path, commits, arrived: false, polls: 0, answered: false };
            recorded.push(made);
        }
        (number, at)
    }

    /// What happens to a call that has come in.
    pub fn call_arrives(&self, number: u64) -> Option<AtCall> {
        let calls = &mut self.inner().calls;
        calls.note(number, |made| made.arrived = true);
        calls.under_way.remove(&number)
    }

    /// The handler of a call has ended after so many polls.
    pub fn call_handled(&self, number: u64, polls: u32) {
        self.inner().calls.note(number, |made| made.polls = polls);
    }

    /// The answer to a call is with its caller.
    pub fn call_answered(&self, number: u64) {
        self.inner().calls.note(number, |made| made.answered = true);
    }

    /// A call is open until the answer is dropped.
    pub fn open_call(self: &Arc<Self>, number: u64, path: &str) -> Open {
        let inner = &mut *self.inner();
        let now = inner.now();
        inner.calls.open.insert(number, (path.to_owned(), now));
        Open { lab: self.clone(), what: What::Call(number) }
    }

    /// A handler is at work until the answer is dropped.
    pub fn open_handler(self: &Arc<Self>, number: u64, path: &str) -> Open {
        let inner = &mut *self.inner();
        let now = inner.now();
        inner.calls.handlers.insert(number, (path.to_owned(), now));
        Open { lab: self.clone(), what: What::Handler(number) }
    }

    /// Keeps a call to be repeated later.
    pub fn keep_call(&self, caller: &'static str, path: &str, kept: Kept) {
        let calls = &mut self.inner().calls;
        if let Some(receiver) = receiver(path) {
            calls.kept.push_back((caller, receiver, kept));
            if calls.kept.len() > KEPT_MAX {
                calls.kept.pop_front();
            }
        }
    }

    /// A call of this host to the same service that it made before, to be made again now.
    pub fn earlier_call(self: &Arc<Self>, caller: &'static str, path: &str) -> Option<(Kept, Open)> {
        let kept = {
            let inner = &mut *self.inner();
            let calls = &mut inner.calls;
            if !calls.faults.repeats || calls.random.below(6) != 0 {
                return None;
            }
            let receiver = receiver(path)?;
            let place = calls.kept.iter().position(|(by, to, _)| (*by, *to) == (caller, receiver))?;
            let (_, _, kept) = calls.kept.remove(place)?;
            calls.repeating += 1;
            *inner.faults.entry("F8 call repeated late").or_default() += 1;
            kept
        };
        self.note(&format!("an earlier call by {caller} is made again"));
        Some((kept, Open { lab: self.clone(), what: What::Repeat }))
    }

    /// Whether earlier calls are being made again.
    pub fn is_repeating(&self) -> bool {
        self.inner().calls.repeating > 0
    }
}

impl Inner {
    /// L4: every call ends, for whoever made it and for whoever answers it.
    pub(super) fn calls_end(&self) -> Result<(), Violation> {
        let now = self.now();
        let late = |calls: &BTreeMap<u64, (String, Duration)>, most: Duration| {
            let oldest = calls.first_key_value().filter(|(_, (_, since))| now.saturating_sub(*since) > most);
            oldest.map(|(number, (path, since))| format!("call {number} {path} has not ended since {since:?}"))
        };
        match late(&self.calls.open, CALL_MAX).or_else(|| late(&self.calls.handlers, HANDLER_MAX)) {
            Some(how) => Err(Violation { rule: "L4", how }),
            None => Ok(()),
        }
    }
}
