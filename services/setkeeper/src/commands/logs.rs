//! `logs`.

use std::io::Write;

use api::manifest::Kind;
use api::proto::coordinator::v1::LogsRequest;

use crate::args::{Global, LogsArgs};
use crate::client::Client;
use crate::failure::{Explained as _, Failure, Outcome};
use crate::{print, references};

/// Prints the log of a container.
///
/// # Errors
/// The pod or container does not exist, or its machine does not answer.
pub(crate) async fn logs(client: &Client, global: &Global, args: &LogsArgs, out: &mut impl Write) -> Outcome {
    let pod = match args.pod.split_once('/') {
        None => args.pod.clone(),
        Some((kind, name)) => match references::kind(kind)? {
            Kind::Pod => name.to_owned(),
            Kind::StatefulSet => pod_of_set(client, global.namespace(), name).await?,
            kind => {
                return Err(Failure::new(format_args!("{} have no log; pods have, and sets by them", kind.plural())));
            }
        },
    };
    let request = LogsRequest {
        namespace: global.namespace().to_owned(),
        pod,
        container: args.container.clone().unwrap_or_default(),
        follow: args.follow,
        previous: args.previous,
        tail_lines: args.tail,
        timestamps: args.timestamps,
    };
    let mut pieces = client.pods().logs(request).await.explained(client)?.into_inner();
    while let Some(piece) = pieces.message().await.explained(client)? {
        out.write_all(&piece.data)?;
        out.flush()?;
    }
    Ok(())
}

/// The first pod of a set, as kubectl takes one.
async fn pod_of_set(client: &Client, namespace: &str, name: &str) -> Outcome<String> {
    let set = client.get(Kind::StatefulSet, namespace, name).await.explained(client)?;
    let mut pods = client.list(Kind::Pod, namespace, "").await.explained(client)?.objects;
    pods.retain(|pod| print::is_owned(pod, print::text(&set, "/metadata/uid")));
    pods.sort_by_key(|pod| print::ordinal(print::name_of(pod)));
    let Some(first) = pods.first().map(print::name_of) else {
        return Err(Failure::new(format_args!("set {name:?} has no pods")));
    };
    if pods.len() > 1 {
        eprintln!("Found {} pods, using pod/{first}", pods.len());
    }
    Ok(first.to_owned())
}
