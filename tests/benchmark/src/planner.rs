//! A planner call as the coordinator makes it: domain to wire, gRPC over loopback TCP, and back.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use api::proto::ordinal_scheduler::v1::PlanRequest;
use api::proto::ordinal_scheduler::v1::ordinal_scheduler_service_client::OrdinalSchedulerServiceClient;
use domain::{
    Ordinal, OrdinalPlan, OrdinalRequest, Phase, Pod, RevisionName, SetRef, SetSpec, Snapshot, TargetRange, Timestamp,
    Uid,
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
    let revision = RevisionName("web-5d8f9b7c6d".into());
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
