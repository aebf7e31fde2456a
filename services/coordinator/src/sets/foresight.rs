//! Asking ahead: what a planner will most likely be asked, while another still thinks.
//!
//! A pass asks its planners one after the other, since each answer is part of the next question. But which revision an
//! ordinal gets is mostly the same from one pass to the next. So the ordinal scheduler is asked with the targets of the
//! last pass at the same time as the update planner is asked for those of this one, and once more only where they differ;
//! and where a pod of a set in order is the next to come, its identity is asked for as well. Whoever is asked says the same
//! whenever it is asked the same, so nothing is decided otherwise: a step of a rollout is only sooner by two round trips.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{
    Intent, Ordinal, OrdinalPlan, PodManagementPolicy, RevisionName, Snapshot, TargetRange, Uid, UpdatePlan,
    WaitReason, target_of,
};
use futures::future::{Either, select};

use super::PlannerError;

/// Sets whose targets are remembered.
const SETS_MAX: usize = 16_384;

/// The targets that each set had in its last pass: a few ranges a set.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    targets: Mutex<HashMap<Uid, Vec<TargetRange>>>,
}

impl Foresight {
    /// Asks both planners about a set: what to update, and for the targets that this gives, what comes and goes now.
    pub(super) async fn ask<O: Future<Output = Result<OrdinalPlan, PlannerError>>>(
        &self,
        set: &Uid,
        update: impl Future<Output = Result<UpdatePlan, PlannerError>>,
        order: impl Fn(Vec<TargetRange>) -> O,
    ) -> Result<(UpdatePlan, OrdinalPlan), PlannerError> {
        let expected = self.all().get(set).cloned();
        let early = async { Some(order(expected.clone()?).await) };
        let as_expected = |update: &UpdatePlan| expected.as_ref() == Some(&update.targets);
        let (update, early) = match select(pin!(update), pin!(early)).await {
            Either::Left((update, early)) => {
                let update = update?;
                // Nobody waits for an answer to the wrong question.
                let early = if as_expected(&update) { early.await } else { None };
                (update, early)
            }
            Either::Right((early, update)) => (update.await?, early),
        };
        let order = match early.filter(|_| as_expected(&update)) {
            Some(order) => order?,
            None => {
                self.note(set, &update.targets);
                order(update.targets.clone()).await?
            }
        };
        Ok((update, order))
    }

    /// What a pass will most likely create, before any planner has said so: of a set in order, the pod that comes next. It is
    /// asked for in vain while something else is in the way, such as a claim; for other sets that would be so in most passes.
    pub(super) fn creation(&self, snapshot: &Snapshot) -> Vec<(Ordinal, RevisionName)> {
        let goes_on = snapshot.intent == Intent::Keep && snapshot.spec.policy == PodManagementPolicy::OrderedReady;
        let lowest = goes_on.then(|| snapshot.first_unhealthy()).flatten();
        let Some((missing, WaitReason::Missing { .. })) = lowest else { return Vec::new() };
        let all = self.all();
        let revision = |ordinal: Ordinal| Some((ordinal, target_of(all.get(&snapshot.set.uid)?, ordinal)?.clone()));
        revision(missing).into_iter().collect()
    }

    /// The set is gone.
    pub(super) fn forget(&self, set: &Uid) {
        self.all().remove(set);
    }

    fn note(&self, set: &Uid, targets: &[TargetRange]) {
        let mut all = self.all();
        // A pass that outlives its set leaves its targets behind. To forget all of them costs each set a round trip.
        if all.len() >= SETS_MAX {
            all.clear();
        }
        all.insert(set.clone(), targets.to_vec());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Uid, Vec<TargetRange>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for one, and gives what comes of the other meanwhile. That one may be waited for afterwards, or be dropped: whoever
/// is asked in vain need not answer.
pub(super) async fn alongside<A, B>(
    one: impl Future<Output = A>,
    other: Pin<&mut impl Future<Output = B>>,
) -> (A, Option<B>) {
    match select(pin!(one), other).await {
        Either::Left((one, _)) => (one, None),
        Either::Right((other, one)) => (one.await, Some(other)),
    }
}

/// The answer to what is asked: the early one where that was asked, else one asked for now.
pub(super) async fn answer<A>(
    as_expected: bool,
    (meanwhile, early): (Option<A>, impl Future<Output = A>),
    anew: impl Future<Output = A>,
) -> A {
    match meanwhile {
        _ if !as_expected => anew.await,
        Some(answer) => answer,
        None => early.await,
    }
}

#[cfg(test)]
mod tests {
    use domain::{Guard, Phase, Pod, PodCreation, SetRef, SetSpec};

    use super::*;

    fn targets(revision: &str) -> Vec<TargetRange> {
        vec![TargetRange { first: Ordinal(0), last: Ordinal(2), revision: RevisionName(revision.into()) }]
    }

    fn refused(service: &'static str) -> PlannerError {
        PlannerError { service, error: "not now".into() }
    }

    /// One pass in which the update planner wants a revision. Gives that of the pod to create, or who refused; and for
    /// which revisions the ordinal scheduler was asked. It refuses `bad`.
    async fn pass(foresight: &Foresight, update: Result<&str, PlannerError>) -> (Result<String, String>, Vec<String>) {
        let asked = Mutex::new(Vec::new());
        let update = update.map(|revision| UpdatePlan { targets: targets(revision), ..UpdatePlan::default() });
        let order = |targets: Vec<TargetRange>| {
            let revision = targets[0].revision.clone();
            asked.lock().unwrap().push(revision.to_string());
            async move {
                let bad = &*revision.0 == "bad";
                let create = vec![PodCreation { ordinal: Ordinal(0), revision, guard: Guard::Pod }];
                if bad { Err(refused("order")) } else { Ok(OrdinalPlan { create, ..OrdinalPlan::default() }) }
            }
        };
        let update = async {
            tokio::task::yield_now().await;
            update
        };
        let answer = foresight.ask(&Uid("u".into()), update, order).await;
        let created = answer.map(|(_, order)| order.create[0].revision.to_string());
        (created.map_err(|error| error.service.to_owned()), asked.into_inner().unwrap())
    }

    #[tokio::test]
    async fn what_is_expected_is_asked_once_and_what_is_not_is_asked_again() {
        let foresight = Foresight::default();
        for (wanted, asked) in [("a", vec!["a"]), ("a", vec!["a"]), ("b", vec!["a", "b"]), ("b", vec!["b"])] {
            let (created, questions) = pass(&foresight, Ok(wanted)).await;
            assert_eq!(created.as_deref(), Ok(wanted));
            assert_eq!(questions, asked);
        }
        foresight.forget(&Uid("u".into()));
        assert_eq!(pass(&foresight, Ok("c")).await, (Ok("c".into()), vec!["c".into()]));
    }

    #[tokio::test]
    async fn an_answer_to_the_wrong_question_is_not_waited_for() {
        let foresight = Foresight::default();
        assert_eq!(pass(&foresight, Ok("a")).await.0, Ok("a".into()));
        let set = Uid("u".into());
        let hangs = |_| std::future::pending();
        let refusal = foresight.ask(&set, async { Err(refused("update")) }, hangs).await;
        assert_eq!(refusal.expect_err("it refuses").service, "update");
        let update = async { Ok(UpdatePlan { targets: targets("b"), ..UpdatePlan::default() }) };
        let order = |asked: Vec<TargetRange>| async move {
            if asked != targets("b") {
                std::future::pending::<()>().await;
            }
            Ok(OrdinalPlan::default())
        };
        assert!(foresight.ask(&set, update, order).await.is_ok());
    }

    #[test]
    fn what_a_set_in_order_creates_next_is_known_while_its_predecessors_are_ready() {
        let foresight = Foresight::default();
        let pod = |ordinal| Pod { ordinal: Ordinal(ordinal), phase: Phase::Running, ready: true, ..Pod::default() };
        let creates = |change: &dyn Fn(&mut Snapshot)| {
            let set = SetRef { uid: Uid("u".into()), ..SetRef::default() };
            let spec = SetSpec { replicas: 3, ..SetSpec::default() };
            let mut snapshot = Snapshot { set, spec, pods: vec![pod(0), pod(2)].into(), ..Snapshot::default() };
            change(&mut snapshot);
            foresight
                .creation(&snapshot)
                .into_iter()
                .map(|(ordinal, revision)| (ordinal.0, revision.to_string()))
                .collect::<Vec<_>>()
        };
        assert_eq!(creates(&|_| ()), [], "nothing is known of it yet");
        foresight.note(&Uid("u".into()), &targets("a"));
        assert_eq!(creates(&|_| ()), [(1, "a".to_owned())]);
        assert_eq!(creates(&|snapshot| snapshot.spec.reserved = vec![Ordinal(1)]), [], "of 3 no target is known");
        assert_eq!(creates(&|snapshot| snapshot.pods.insert(1, pod(1).into())), []);
        assert_eq!(creates(&|snapshot| snapshot.pods[0].ready = false), []);
        assert_eq!(creates(&|snapshot| snapshot.pods[0].terminating = true), []);
        assert_eq!(creates(&|snapshot| snapshot.pods[1].ready = false), [(1, "a".to_owned())], "nobody waits for it");
        assert_eq!(creates(&|snapshot| snapshot.intent = Intent::Drain), []);
        assert_eq!(creates(&|snapshot| snapshot.spec.policy = PodManagementPolicy::Parallel), []);
    }

    #[tokio::test]
    async fn what_comes_meanwhile_is_given_and_what_does_not_can_still_be_waited_for() {
        let mut soon = pin!(async { 1 });
        let later = async {
            tokio::task::yield_now().await;
            2
        };
        assert_eq!(alongside(later, soon.as_mut()).await, (2, Some(1)));
        let mut later = pin!(async {
            tokio::task::yield_now().await;
            2
        });
        assert_eq!(alongside(async { 1 }, later.as_mut()).await, (1, None));
        assert_eq!(later.await, 2);
    }

    #[tokio::test]
    async fn an_early_answer_counts_only_where_it_is_to_the_right_question() {
        let (failed, good) = (Err::<i32, &str>("in vain"), Ok(1));
        let (never, at_once) = (std::future::pending, std::future::ready);
        assert_eq!(answer(true, (Some(good), never()), never()).await, good);
        assert_eq!(answer(true, (None, at_once(good)), never()).await, good);
        assert_eq!(answer(true, (Some(failed), never()), never()).await, failed);
        assert_eq!(answer(false, (Some(failed), never()), at_once(good)).await, good);
        assert_eq!(answer(false, (None, never()), at_once(good)).await, good);
    }

    #[tokio::test]
    async fn only_the_answer_to_the_right_question_can_fail_a_pass() {
        let foresight = Foresight::default();
        assert_eq!(pass(&foresight, Ok("bad")).await.0, Err("order".into()));
        assert_eq!(pass(&foresight, Ok("bad")).await, (Err("order".into()), vec!["bad".into()]));
        assert_eq!(pass(&foresight, Ok("good")).await, (Ok("good".into()), vec!["bad".into(), "good".into()]));
        assert_eq!(pass(&foresight, Err(refused("update"))).await, (Err("update".into()), vec!["good".into()]));
    }
}
