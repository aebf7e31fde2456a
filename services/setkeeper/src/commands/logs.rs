//! `logs`.

use std::io::Write;

use api::manifest::Kind;
use api::proto::coordinator::v1::LogsRequest;

use crate::args::{Global, LogsArgs};
use crate::client::Client;
use crate::failure::{Explained as _, Failure, Outcome};
use crate::references;

/// Prints the log of a container.
///
/// # Errors
/// The pod or container does not exist, or its machine does not answer.
pub(crate) async fn logs(client: &Client, global: &Global, args: &LogsArgs, out: &mut impl Write) -> Outcome {
    let pod = match args.pod.split_once('/') {
        Some((kind, name)) if references::kind(kind)? == Kind::Pod => name,
        Some((kind, _)) => return Err(Failure::new(format_args!("{kind} has no log; only pods have"))),
        None => &args.pod,
    };
    let request = LogsRequest {
        namespace: global.namespace().to_owned(),
        pod: pod.to_owned(),
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
