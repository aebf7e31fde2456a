//! A host of the simulation during one of its lives.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::clock::SimulatedClock;
use crate::lab::Lab;
use crate::network::Wires;

/// When a crash comes, seen from a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is not sent any more.
    Before,
    /// It is sent, and nothing after it.
    After,
}

/// A host from one start to its end.
pub struct Place {
    /// Its name, such as `coordinator`.
    pub name: &'static str,
    /// Its connections.
    pub wires: Wires,
    /// Its clock, which outlives it.
    pub clock: Arc<SimulatedClock>,
    /// Where it is.
    pub lab: Arc<Lab>,
    crash: Mutex<Option<(u64, Moment)>>,
}

impl Place {
    /// A host that has just started. It crashes at its `crash`-th message, if there is to be such a one.
    #[must_use]
    pub fn new(
        name: &'static str,
        clock: Arc<SimulatedClock>,
        lab: Arc<Lab>,
        crash: Option<(u64, Moment)>,
    ) -> Arc<Self> {
        // Whatever stood still before has died of it.
        clock.stand_still(std::time::Duration::ZERO);
        Arc::new(Self { name, wires: Wires::default(), clock, lab, crash: Mutex::new(crash) })
    }

    /// The coordinator's messages are its fan-out: what it loses with one is the rest of that.
    fn kind(&self, anybody: &'static str, coordinator: &'static str) -> &'static str {
        if self.name == "coordinator" { coordinator } else { anybody }
    }

    fn is_due(&self, number: u64, moment: Moment) -> bool {
        let mut crash = self.crash.lock().expect("no holder of this lock panics");
        let due = *crash == Some((number, moment));
        if due {
            *crash = None;
        }
        due
    }

    /// Whether the host is gone instead of sending its message of this number.
    pub fn crashes_before_send(self: &Arc<Self>, number: u64) -> bool {
        let due = self.is_due(number, Moment::Before);
        if due {
            self.lab.crash(self, self.kind("F1 crash before a message", "F16 fan-out cut before a message"));
        }
        due
    }

    /// The message of this number is on its way.
    pub fn sent(self: &Arc<Self>, number: u64) {
        if self.is_due(number, Moment::After) {
            self.lab.crash(self, self.kind("F1 crash after a message", "F16 fan-out cut after a message"));
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("name", &self.name).finish_non_exhaustive()
    }
}
