//! One rule per case, named after the scenarios.

use domain::volume::{ClaimTemplate, OrdinalPod};
use domain::{Ordinal, RetentionPolicy, Uid};

use super::*;

const KEEP: RetentionRule = RetentionRule::Retain;
const DROP: RetentionRule = RetentionRule::Delete;

fn template(name: &str) -> ClaimTemplate {
    ClaimTemplate { name: name.into(), ..ClaimTemplate::default() }
}

fn request(when_deleted: RetentionRule, when_scaled: RetentionRule) -> SetClaimsRequest {
    SetClaimsRequest {
        set: SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("set".into()) },
        retention: RetentionPolicy { when_deleted, when_scaled },
        match_labels: BTreeMap::from([("app".into(), "nginx".into())]),
        templates: vec![template("www")],
        scaling_down: true,
        ..SetClaimsRequest::default()
    }
}

/// `running`, `pending`, `terminating`, `new`; with `!` in front: out of range.
fn ordinal(number: u32, state: &str) -> ClaimOrdinal {
    let (in_range, state) = state.strip_prefix('!').map_or((true, state), |rest| (false, rest));
    let pod = (state != "new").then(|| OrdinalPod {
        uid: Uid(format!("pod-{number}")),
        phase: if state == "pending" { Phase::Pending } else { Phase::Running },
        terminating: state == "terminating",
    });
    ClaimOrdinal { ordinal: Ordinal(number), in_range, pod }
}

/// Owners as `Kind/name@uid`, with a final `!` for a controller.
fn owner(text: &str) -> OwnerReference {
    let (text, controller) = text.strip_suffix('!').map_or((text, false), |rest| (rest, true));
    let (kind, rest) = text.split_once('/').unwrap();
    let (name, uid) = rest.split_once('@').unwrap();
    OwnerReference {
        api_version: if kind == SET_KIND { "apps/v1".into() } else { "v1".into() },
        kind: kind.into(),
        name: name.into(),
        uid: Uid(uid.into()),
        controller,
        block_owner_deletion: true,
    }
}

fn claim(name: &str, owners: &[&str]) -> SetClaim {
    SetClaim {
        name: name.into(),
        uid: Uid(format!("uid-{name}")),
        version: 7,
        owners: owners.iter().map(|text| owner(text)).collect(),
        ..SetClaim::default()
    }
}

fn owners_text(owners: &[OwnerReference]) -> String {
    let one = |owner: &OwnerReference| {
        format!("{}/{}@{}{}", owner.kind, owner.name, owner.uid, if owner.controller { "!" } else { "" })
    };
    owners.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The plan in one line: `claim+ x`, `claim~ x[owners]`, `wait n:reason`, `event reason`.
fn render(plan: &SetClaimsPlan) -> String {
    let owned = |owners: &[OwnerReference]| {
        if owners.is_empty() { String::new() } else { format!("[{}]", owners_text(owners)) }
    };
    let mut parts: Vec<_> =
        plan.create.iter().map(|one| format!("claim+ {}{}", one.name, owned(&one.owners))).collect();
    parts.extend(plan.owners.iter().map(|one| format!("claim~ {}[{}]", one.claim, owners_text(&one.owners))));
    parts.extend(plan.waits.iter().map(|wait| {
        let reason = match &wait.reason {
            WaitReason::ClaimTerminating { claim } => format!("terminating {claim}"),
            WaitReason::ClaimStale { claim } => format!("stale {claim}"),
            WaitReason::ClaimForeign { claim, owner } => format!("foreign {claim} of {owner}"),
            other => format!("{other:?}"),
        };
        format!("wait {}:{reason}", wait.ordinal.unwrap())
    }));
    parts.extend(plan.events.iter().map(|event| format!("event {}", event.reason)));
    parts.join(", ")
}

/// Plans, compares, applies the owner changes and creations, and checks that planning again gives nothing new.
fn check(mut request: SetClaimsRequest, expected: &str) {
    let plan = plan_set(&request);
    assert_eq!(render(&plan), expected);
    for change in &plan.owners {
        let claim = request.claims.iter_mut().find(|claim| claim.name == change.claim).unwrap();
        assert_eq!((&claim.uid, claim.version), (&change.uid, change.version));
        claim.owners.clone_from(&change.owners);
    }
    for creation in &plan.create {
        let made_for = creation.annotations.get(SET_ANNOTATION).cloned().unwrap_or_default();
        let (labels, owners) = (creation.labels.clone(), creation.owners.clone());
        request.claims.push(SetClaim { made_for, labels, owners, ..claim(&creation.name, &[]) });
    }
    let again = plan_set(&request);
    assert!(again.create.is_empty() && again.owners.is_empty(), "again: {}", render(&again));
}

fn with(mut request: SetClaimsRequest, ordinals: &[ClaimOrdinal], claims: &[SetClaim]) -> SetClaimsRequest {
    request.ordinals = ordinals.to_vec();
    request.claims = claims.to_vec();
    request
}

#[test]
fn v_60_claims_come_before_the_pod_in_template_order() {
    let mut two = request(KEEP, KEEP);
    two.templates = vec![template("www"), template("log")];
    check(with(two, &[ordinal(0, "new")], &[]), "claim+ www-web-0, claim+ log-web-0");
}

#[test]
fn s_148_selector_labels_win_over_the_templates() {
    let mut one = request(KEEP, KEEP);
    one.templates[0].labels = BTreeMap::from([("app".into(), "other".into()), ("tier".into(), "db".into())]);
    one.templates[0].annotations = BTreeMap::from([("x".into(), "y".into())]);
    let plan = plan_set(&with(one, &[ordinal(0, "new")], &[]));
    let labels = BTreeMap::from([("app".into(), "nginx".into()), ("tier".into(), "db".into())]);
    assert_eq!(plan.create[0].labels, labels);
    assert_eq!(plan.create[0].annotations["x"], "y");
}

#[test]
fn s_140_an_existing_claim_is_used_as_it_is() {
    check(with(request(KEEP, KEEP), &[ordinal(0, "new")], &[claim("www-web-0", &[])]), "");
}

#[test]
fn s_139_a_claim_that_is_being_deleted_blocks_its_pod_only() {
    let going = SetClaim { deleting: true, ..claim("www-web-1", &[]) };
    check(
        with(request(KEEP, KEEP), &[ordinal(0, "new"), ordinal(1, "new")], &[going]),
        "claim+ www-web-0, wait 1:terminating www-web-1, event FailedCreate",
    );
}

#[test]
fn s_143_one_bad_claim_does_not_hold_up_the_others() {
    let mut two = request(KEEP, KEEP);
    two.templates = vec![template("log"), template("www")];
    let going = SetClaim { deleting: true, ..claim("log-web-0", &[]) };
    check(
        with(two, &[ordinal(0, "new")], &[going]),
        "claim+ www-web-0, wait 0:terminating log-web-0, event FailedCreate",
    );
}

#[test]
fn s_141_a_pending_pod_gets_its_claim_again() {
    check(with(request(KEEP, KEEP), &[ordinal(0, "pending")], &[]), "claim+ www-web-0");
    let going = SetClaim { deleting: true, ..claim("www-web-0", &[]) };
    let mut waits = with(request(KEEP, KEEP), &[ordinal(0, "pending")], &[going]);
    check(waits.clone(), "wait 0:terminating www-web-0, event FailedCreate");
    let [event] = &*plan_set(&waits).events else { panic!("{waits:?}") };
    let error = "pvc www-web-0 is being deleted";
    assert_eq!(event.message, format!("Create Claim www-web-0 for Pod web-0 in StatefulSet web failed error: {error}"));
    waits.switches = domain::Switches::KUBERNETES;
    check(waits, "wait 0:terminating www-web-0");
}

#[test]
fn several_claims_that_go_are_told_in_one_event_of_the_pod() {
    let mut two = request(KEEP, KEEP);
    two.templates = vec![template("log"), template("www")];
    let going = ["log-web-0", "www-web-0"].map(|name| SetClaim { deleting: true, ..claim(name, &[]) });
    let plan = plan_set(&with(two, &[ordinal(0, "new")], &going));
    let [event] = &*plan.events else { panic!("{plan:?}") };
    let error = "[pvc log-web-0 is being deleted, pvc www-web-0 is being deleted]";
    assert_eq!(event.message, format!("Create Pod web-0 in StatefulSet web failed error: {error}"));
    assert_eq!(plan.waits.len(), 2);
}

#[test]
fn of_templates_with_one_name_the_last_counts() {
    let mut twice = request(KEEP, KEEP);
    twice.templates = ["one", "two"]
        .map(|tier| ClaimTemplate { labels: BTreeMap::from([("tier".into(), tier.into())]), ..template("www") })
        .into();
    let plan = plan_set(&with(twice, &[ordinal(0, "new")], &[]));
    assert_eq!(plan.create.iter().map(|one| one.labels["tier"].as_str()).collect::<Vec<_>>(), ["two"]);
}

#[test]
fn a_claim_is_made_with_its_owner() {
    check(with(request(DROP, KEEP), &[ordinal(0, "new")], &[]), "claim+ www-web-0[StatefulSet/web@set!]");
    check(with(request(DROP, DROP), &[ordinal(0, "pending")], &[]), "claim+ www-web-0[StatefulSet/web@set!]");
    check(with(request(KEEP, DROP), &[ordinal(0, "new")], &[]), "claim+ www-web-0");
}

#[test]
fn s_150_in_kubernetes_a_set_that_is_being_deleted_leaves_its_claims_as_they_are() {
    let mut stopping = with(request(DROP, KEEP), &[ordinal(0, "running")], &[claim("www-web-0", &[])]);
    stopping.intent = Intent::Delete;
    check(stopping.clone(), "claim~ www-web-0[StatefulSet/web@set!]");
    stopping.switches = domain::Switches::KUBERNETES;
    check(stopping, "");
}

#[test]
fn s_142_a_running_pod_does_not() {
    check(with(request(KEEP, KEEP), &[ordinal(1, "running")], &[]), "");
}

#[test]
fn s_127_delete_on_deletion_gives_the_set() {
    let claims = [claim("www-web-0", &[])];
    check(with(request(DROP, KEEP), &[ordinal(0, "running")], &claims), "claim~ www-web-0[StatefulSet/web@set!]");
    let claims = [claim("www-web-1", &["StatefulSet/web@set!"])];
    check(with(request(DROP, KEEP), &[ordinal(1, "!running")], &claims), "");
}

#[test]
fn s_128_delete_on_scaling_gives_the_condemned_pod() {
    let claims = [claim("www-web-0", &[]), claim("www-web-2", &[])];
    check(
        with(request(KEEP, DROP), &[ordinal(0, "running"), ordinal(2, "!running")], &claims),
        "claim~ www-web-2[Pod/web-2@pod-2!]",
    );
}

#[test]
fn s_129_delete_on_both_replaces_the_set_by_the_pod() {
    let set = &["StatefulSet/web@set!"][..];
    let claims = [claim("www-web-0", set), claim("www-web-2", set)];
    check(
        with(request(DROP, DROP), &[ordinal(0, "running"), ordinal(2, "!running")], &claims),
        "claim~ www-web-2[Pod/web-2@pod-2!]",
    );
}

#[test]
fn s_130_references_wait_for_the_scale_down() {
    let mut blocked = with(request(KEEP, DROP), &[ordinal(2, "!running")], &[claim("www-web-2", &[])]);
    blocked.scaling_down = false;
    check(blocked.clone(), "");
    // Of those that wait, only the one that goes before.
    blocked.abandoned = Some(Ordinal(3));
    check(blocked.clone(), "");
    blocked.abandoned = Some(Ordinal(2));
    check(blocked, "claim~ www-web-2[Pod/web-2@pod-2!]");
}

#[test]
fn s_132_a_withdrawn_scale_down_gives_the_claim_back_even_while_the_pod_terminates() {
    let claims = [claim("www-web-2", &["Pod/web-2@pod-2!"])];
    for state in ["running", "terminating"] {
        check(with(request(KEEP, DROP), &[ordinal(2, state)], &claims), "claim~ www-web-2[]");
        let both = with(request(DROP, DROP), &[ordinal(2, state)], &claims);
        check(both, "claim~ www-web-2[StatefulSet/web@set!]");
    }
    for intent in [Intent::Drain, Intent::Delete] {
        let mut stopping = with(request(KEEP, DROP), &[ordinal(2, "terminating")], &claims);
        stopping.intent = intent;
        check(stopping, "claim~ www-web-2[]");
    }
}

#[test]
fn s_135_what_is_to_be_kept_after_all_is_taken_back_whatever_holds_the_scale_down_up() {
    let handed = [claim("www-web-2", &["Pod/web-2@pod-2!"])];
    for (intent, when_deleted, owner) in
        [(Intent::Keep, KEEP, ""), (Intent::Delete, KEEP, ""), (Intent::Delete, DROP, "StatefulSet/web@set!")]
    {
        let mut request = with(request(when_deleted, KEEP), &[ordinal(2, "!terminating")], &handed);
        (request.scaling_down, request.intent) = (false, intent);
        check(request.clone(), &format!("claim~ www-web-2[{owner}]"));
        request.switches = domain::Switches::KUBERNETES;
        check(request, "");
    }
}

#[test]
fn s_132_kubernetes_leaves_the_reference_to_an_earlier_pod() {
    let claims = [claim("www-web-2", &["Pod/web-2@earlier!"])];
    let mut request = with(request(KEEP, DROP), &[ordinal(2, "running")], &claims);
    check(request.clone(), "claim~ www-web-2[]");
    request.switches = domain::Switches::KUBERNETES;
    check(request, "");
}

#[test]
fn s_134_a_stale_claim_holds_its_ordinal() {
    let claims = [claim("www-web-1", &["Pod/web-1@earlier!"])];
    let ordinals = [ordinal(0, "new"), ordinal(1, "new")];
    let mut kubernetes = with(request(KEEP, DROP), &ordinals, &claims);
    kubernetes.switches = domain::Switches::KUBERNETES;
    check(kubernetes, "claim+ www-web-0, wait 1:stale www-web-1");
    let going = claims.map(|claim| SetClaim { deleting: true, ..claim });
    let told = "claim+ www-web-0, wait 1:stale www-web-1, event FailedCreate";
    check(with(request(KEEP, DROP), &ordinals, &going), told);
}

#[test]
fn s_134_a_claim_that_is_not_going_yet_is_given_back_to_its_ordinal() {
    let claims = [claim("www-web-1", &["Pod/web-1@earlier!"])];
    check(with(request(KEEP, DROP), &[ordinal(1, "new")], &claims), "claim~ www-web-1[]");
    check(with(request(DROP, DROP), &[ordinal(1, "new")], &claims), "claim~ www-web-1[StatefulSet/web@set!]");
}

#[test]
fn a_policy_that_became_retain_keeps_a_claim_that_was_not_yet_collected() {
    let claims = [claim("www-web-1", &["Pod/web-1@earlier!"])];
    check(with(request(KEEP, KEEP), &[ordinal(1, "new")], &claims), "claim~ www-web-1[]");
}

#[test]
fn s_135_a_changed_policy_reaches_every_ordinal_with_a_pod() {
    let claims = [claim("www-web-0", &["StatefulSet/web@set!"])];
    check(with(request(KEEP, KEEP), &[ordinal(0, "running")], &claims), "claim~ www-web-0[]");
}

#[test]
fn s_137_a_replaced_pod_keeps_its_claim() {
    let claims = [claim("www-web-1", &["StatefulSet/web@set!"])];
    check(with(request(DROP, DROP), &[ordinal(1, "new")], &claims), "");
}

#[test]
fn s_144_a_foreign_controller_keeps_the_claim() {
    let foreign = [claim("www-web-2", &["ConfigMap/x@c!"])];
    check(with(request(KEEP, DROP), &[ordinal(2, "!running")], &foreign), "");
    check(with(request(DROP, KEEP), &[ordinal(2, "new")], &foreign), "event ConflictingController");
    check(with(request(KEEP, KEEP), &[ordinal(2, "new")], &foreign), "");
    let both = [claim("www-web-2", &["ConfigMap/x@c!", "StatefulSet/web@set!"])];
    check(
        with(request(DROP, KEEP), &[ordinal(2, "running")], &both),
        "claim~ www-web-2[ConfigMap/x@c!], event ConflictingController",
    );
}

#[test]
fn s_145_a_claim_of_a_former_set_of_this_name_is_used_and_not_touched() {
    let claims = [claim("www-web-0", &["StatefulSet/web@former!"])];
    check(with(request(DROP, KEEP), &[ordinal(0, "new")], &claims), "event ConflictingController");
    check(with(request(DROP, KEEP), &[ordinal(0, "running")], &claims), "");
    check(with(request(KEEP, KEEP), &[ordinal(0, "new")], &claims), "");
}

#[test]
fn a_conflict_is_said_when_the_pod_comes_and_not_while_it_waits_for_another_claim() {
    let mut going = with(
        request(DROP, KEEP),
        &[ordinal(0, "new")],
        &[
            claim("www-web-0", &["StatefulSet/web@former!"]),
            SetClaim { deleting: true, ..claim("data-web-0", &["StatefulSet/web@set!"]) },
        ],
    );
    going.templates.push(template("data"));
    let waits = "wait 0:terminating data-web-0, event FailedCreate";
    check(going.clone(), waits);
    going.switches = domain::Switches::KUBERNETES;
    check(going.clone(), waits);
    going.claims.pop();
    check(going, "claim+ data-web-0[StatefulSet/web@set!], event ConflictingController");
}

#[test]
fn s_146_a_reference_without_the_controller_flag_is_rewritten() {
    let claims = [claim("www-web-0", &["ConfigMap/x@c", "StatefulSet/web@set"])];
    check(
        with(request(DROP, KEEP), &[ordinal(0, "running")], &claims),
        "claim~ www-web-0[ConfigMap/x@c StatefulSet/web@set!]",
    );
}

#[test]
fn a_claim_of_another_set_is_refused() {
    let made = |made_for: &str| SetClaim { made_for: made_for.into(), ..claim("www-web-0", &[]) };
    let refused = "event FailedCreate, event FailedCreate";
    let new = [ordinal(0, "new")];
    check(
        with(request(KEEP, KEEP), &new, &[made("we-b")]),
        &format!("wait 0:foreign www-web-0 of StatefulSet we-b, {refused}"),
    );
    check(with(request(KEEP, KEEP), &new, &[made("web")]), "");
    let labelled = SetClaim { labels: BTreeMap::from([("app".into(), "db".into())]), ..made("") };
    check(
        with(request(KEEP, KEEP), &new, std::slice::from_ref(&labelled)),
        &format!("wait 0:foreign www-web-0 of a set with the label app=db, {refused}"),
    );
    // Our own mark outweighs labels: the selector of a set that was made anew may differ.
    check(with(request(KEEP, KEEP), &new, &[SetClaim { made_for: "web".into(), ..labelled }]), "");
    let owned = claim("www-web-0", &["StatefulSet/a@x!"]);
    check(with(request(DROP, KEEP), &new, &[owned]), &format!("wait 0:foreign www-web-0 of StatefulSet a, {refused}"));
}

#[test]
fn a_set_that_stops_creates_nothing() {
    for intent in [Intent::Drain, Intent::Delete] {
        let mut stopping = with(request(DROP, DROP), &[ordinal(0, "new"), ordinal(1, "pending")], &[]);
        stopping.intent = intent;
        check(stopping, "");
    }
}
