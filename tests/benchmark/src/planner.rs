//! A planner call as the coordinator makes it: domain to wire, gRPC over loopback TCP, and back; and what the rules alone
//! cost for a set as large as sets get.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use api::proto::ordinal_scheduler::v1::PlanRequest;
use api::proto::ordinal_scheduler::v1::ordinal_scheduler_service_client::OrdinalSchedulerServiceClient;
use domain::{
    Ordinal, OrdinalPlan, OrdinalRequest, Phase, Pod, Revision, RevisionName, SetRef, SetSpec, Snapshot, TargetRange,
    Timestamp, Uid, UpdateRequest,
};
use ordinal_scheduler::Config;
use service_kit::{Channel, Context, ServerConfig, Target, connect};

use crate::samples::{Row, Samples, now};

/// Replicas of the sets that are planned: a common one, and a large one.
const REPLICAS: [u32; 2] = [3, 500];
const WARM_UP: usize = 200;
const CALLS: usize = 2000;

pub(crate) async fn measure() -> anyhow::Result<Vec<Row>> {
    let listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let config = Config { server: ServerConfig { listen, ..ServerConfig::default() } };
    let context = Context::default();
    let running = ordinal_scheduler::start(config, context.clone()).await?;
    let address = running.address.context("it listens on TCP")?;
    let channel = connect(&Target::Tcp(address.to_string()), None);
    let mut rows = Vec::new();
    for replicas in REPLICAS {
        rows.push(round_trips(&channel, replicas).await?);
    }
    drop(channel);
    context.shutdown.cancel();
    running.task.await??;
    Ok(rows)
}

async fn round_trips(channel: &Channel, replicas: u32) -> anyhow::Result<Row> {
    let mut client = OrdinalSchedulerServiceClient::new(channel.clone());
    let question = question(replicas);
    let mut samples = Samples::default();
    let mut start = now();
    for round in 0..WARM_UP + CALLS {
        if round == WARM_UP {
            start = now();
        }
        let before = now();
        let answer = client.plan(PlanRequest::from(question.clone())).await?.into_inner();
        let plan = OrdinalPlan::try_from(answer).map_err(|violations| anyhow::anyhow!("{violations:?}"))?;
        if round >= WARM_UP {
            samples.0.push(now() - before);
        }
        anyhow::ensure!(plan.create.len() == 1, "the missing pod is created: {plan:?}");
    }
    let name = format!("plan of {replicas} replicas: calls, one at a time");
    Ok(Row::rate(&name, CALLS, now() - start, samples))
}

/// A set whose last pod is missing.
fn question(replicas: u32) -> OrdinalRequest {
    let revision = RevisionName("web-5d8f9b7c6d".to_owned());
    let now = Timestamp(1_700_000_000_000);
    let pod = |ordinal| Pod {
        ordinal: Ordinal(ordinal),
        uid: Uid(format!("00000000-0000-4000-8000-{ordinal:012}")),
        version: u64::from(ordinal) + 1,
        phase: Phase::Running,
        ready: true,
        ready_since: Some(now),
        revision: Some(revision.clone()),
        created_at: now,
        ..Pod::default()
    };
    let snapshot = Snapshot {
        set: SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("1".to_owned()) },
        spec: SetSpec { replicas, ..SetSpec::default() },
        pods: (0..replicas - 1).map(pod).collect(),
        now,
        ..Snapshot::default()
    };
    let targets = vec![TargetRange { first: Ordinal(0), last: Ordinal(replicas - 1), revision }];
    OrdinalRequest { snapshot, targets }
}

/// Ordinals of the set that the rules alone are asked about.
const LARGE: u32 = 5_000;
/// Ordinals that it leaves out, in the case that has some.
const LEFT_OUT: u32 = 100;
const RULE_CALLS: usize = 200;

/// Both planners as functions, for a set that rests, one in the middle of its update, and that one with ordinals left out.
pub(crate) fn rules() -> Vec<Row> {
    let (old, new) = ("web-5d8f9b7c6d", "web-7c9d8b6f5e");
    let cases = [("at rest", old, 0), ("half updated", new, 0), ("half updated, 100 ordinals left out", new, LEFT_OUT)];
    let mut rows = Vec::new();
    for (case, update, left_out) in cases {
        let request = large((old, update), left_out);
        let name = |planner: &str| format!("{planner}, {LARGE} ordinals {case}");
        rows.push(timed(&name("update-planner"), || update_planner::plan::plan(&request)));
        let targets = update_planner::plan::plan(&request).targets;
        let request = OrdinalRequest { snapshot: request.snapshot, targets };
        rows.push(timed(&name("ordinal-scheduler"), || ordinal_scheduler::plan::plan(&request)));
    }
    rows
}

fn timed<T>(name: &str, call: impl Fn() -> T) -> Row {
    let mut samples = Samples::default();
    for _ in 0..RULE_CALLS {
        let before = now();
        std::hint::black_box(call());
        samples.0.push(now() - before);
    }
    Row::latency(name, samples)
}

/// A large set, the upper half of which is at the update revision; one pod of that half is not ready if that is another.
fn large((old, update): (&str, &str), left_out: u32) -> UpdateRequest {
    let OrdinalRequest { mut snapshot, .. } = question(LARGE + left_out + 1);
    let revision = |name: &str, number| Revision {
        name: RevisionName(name.to_owned()),
        number,
        data: format!("template {name}"),
        created_at: snapshot.now,
    };
    let revisions = vec![revision(old, 1), revision(update, 2)];
    let reserved = (0..left_out).map(|place| Ordinal(place * 7)).collect();
    snapshot.spec = SetSpec { replicas: LARGE, reserved, ..snapshot.spec };
    let spec = snapshot.spec.clone();
    snapshot.pods.retain(|pod| spec.contains(pod.ordinal));
    for pod in &mut snapshot.pods {
        let half = if pod.ordinal.0 < LARGE / 2 { old } else { update };
        pod.revision = Some(RevisionName(half.to_owned()));
        pod.ready = old == update || pod.ordinal.0 != LARGE / 2;
    }
    snapshot.status.current_revision = RevisionName(old.to_owned());
    snapshot.status.update_revision = RevisionName(update.to_owned());
    let template = format!("template {update}");
    UpdateRequest { snapshot, template, revisions, equal_after_defaulting: None }
}
