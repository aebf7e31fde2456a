//! `fence`.

use std::io::Write;

use api::manifest::Kind;
use api::proto::coordinator::v1::FenceNodeRequest;

use crate::args::FenceArgs;
use crate::client::Client;
use crate::failure::{Explained as _, Outcome};
use crate::print;

/// Says of a machine that nothing runs there any more, so that its pods come back elsewhere.
///
/// # Errors
/// There is no such machine, or it answers.
pub(crate) async fn fence(client: &Client, args: &FenceArgs, out: &mut impl Write) -> Outcome {
    let request = FenceNodeRequest { name: args.node.clone(), uid: args.uid.clone(), evidence: args.evidence.clone() };
    let fenced = client.system().fence_node(request).await.explained(client)?.into_inner();
    let name = print::qualified_name(Kind::Node, &args.node);
    let released = match fenced.pods {
        0 => "it has no pods".to_owned(),
        1 => "its pod is released".to_owned(),
        pods => format!("its {pods} pods are released"),
    };
    writeln!(out, "{name} fenced: {released}")?;
    Ok(())
}
