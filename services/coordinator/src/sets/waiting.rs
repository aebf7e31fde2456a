//! What a set waits for is told as an event once it has waited for it for a while (StatefulSet rules, section 14, switch
//! `tell_waits`).

use std::time::Duration;

use domain::{Timestamp, Wait, WaitReason, WaitRun};

use super::execute::COMPONENT;
use super::record::wait_words;
use super::scene::Scene;
use crate::events::{self, Event};
use crate::world::World;

/// How long a set waits for the same before that is told. A step takes milliseconds, and most programs start faster: what lasts
/// longer is for a person.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// Reasons that are told apart: more than a person reads.
const REASONS_MAX: usize = 32;

/// How long a set has waited for what, whoever waits for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    reasons: Vec<Lasting>,
    /// When what another process had recorded began: it may have told the same.
    known_since: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Lasting {
    reason: WaitReason,
    /// Monotonic time.
    since: Duration,
    told: bool,
}

/// What is to be told now, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Telling {
    pub(super) event: Option<Event>,
    pub(super) next: Option<Duration>,
}

impl Waiting {
    /// Of a set that had something recorded then by another process.
    pub(super) fn known_since(recorded_at: Option<Timestamp>) -> Self {
        Self { reasons: Vec::new(), known_since: recorded_at }
    }

    /// The set waits for these at this monotonic time, and no longer for others; unless nobody `decided` that.
    pub(super) fn update(&mut self, waits: &[Wait], decided: bool, monotonic: Duration) {
        let mut reasons = if decided { Vec::new() } else { self.reasons.clone() };
        for WaitRun { reason, .. } in WaitRun::of(waits) {
            if reasons.len() >= REASONS_MAX || reasons.iter().any(|lasting| lasting.reason == reason) {
                continue;
            }
            let known = self.reasons.iter().find(|lasting| lasting.reason == reason).cloned();
            reasons.push(known.unwrap_or(Lasting { reason, since: monotonic, told: false }));
        }
        self.reasons = reasons;
    }

    /// What has lasted, is told from now on. Nothing where another process has told just that.
    pub(super) fn tell(&mut self, world: &World, scene: &Scene, waits: &[Wait], monotonic: Duration) -> Telling {
        let due = |lasting: &Lasting| !lasting.told && lasting.since + TOLD_AFTER <= monotonic;
        let lasts = |wait: &&Wait| self.reasons.iter().any(|lasting| due(lasting) && lasting.reason == wait.reason);
        let lasting: Vec<Wait> = waits.iter().filter(lasts).cloned().collect();
        self.reasons.iter_mut().filter(|lasting| due(lasting)).for_each(|lasting| lasting.told = true);
        let untold = self.reasons.iter().filter(|lasting| !lasting.told);
        let next = untold.map(|lasting| (lasting.since + TOLD_AFTER).saturating_sub(monotonic)).min();
        let event = (!lasting.is_empty()).then(|| event(scene, &lasting));
        let about = (&scene.set.key, &*scene.set.uid().0);
        let known_since = self.known_since.take_if(|_| event.is_some());
        let is_known =
            |event: &Event| known_since.is_some_and(|at| events::is_said(world, about, COMPONENT, event, at));
        Telling { event: event.filter(|event| !is_known(event)), next }
    }
}

fn event(scene: &Scene, waits: &[Wait]) -> Event {
    let lost = scene.lost_machine_waited_for().map(|words| format!("{words}; ")).unwrap_or_default();
    Event::normal("Waiting", format!("StatefulSet {} waits: {lost}{}", scene.set.key.name, wait_words(waits)))
}

#[cfg(test)]
mod tests {
    use domain::Ordinal;

    use super::*;

    fn wait(ordinal: u32, reason: WaitReason) -> Wait {
        Wait { ordinal: Some(Ordinal(ordinal)), reason }
    }

    #[test]
    fn a_reason_lasts_whoever_else_comes_and_goes() {
        let second = Duration::from_secs;
        let claim = |ordinal| wait(ordinal, WaitReason::ClaimTerminating { claim: "data-web-0".to_owned() });
        let other = |ordinal| wait(ordinal, WaitReason::NotReady { ordinal: Ordinal(5) });
        let mut waiting = Waiting::default();
        waiting.update(&[claim(0)], true, second(100));
        waiting.update(&[claim(0), other(5)], true, second(104));
        waiting.update(&[claim(0), claim(1)], true, second(108));
        waiting.update(&[claim(0), other(5)], true, second(109));
        // A planner is away for a moment.
        let away = WaitReason::ServiceUnavailable { service: "update-planner".to_owned(), error: String::new() };
        waiting.update(&[Wait { ordinal: None, reason: away }], false, second(109));
        waiting.update(&[claim(0), other(5)], true, second(110));
        let since: Vec<_> = waiting.reasons.iter().map(|lasting| lasting.since).collect();
        assert_eq!(since, [second(100), second(109)]);
        let many: Vec<Wait> =
            (0..100).map(|other| wait(other, WaitReason::Missing { ordinal: Ordinal(other) })).collect();
        waiting.update(&many, true, second(111));
        assert_eq!(waiting.reasons.len(), REASONS_MAX);
    }
}
