//! `scale`.

use std::io::Write;

use api::manifest::Kind;
use api::proto::coordinator::v1::ScaleStatefulSetRequest;

use crate::args::{Global, ScaleArgs};
use crate::client::Client;
use crate::failure::{Explained as _, Failure, Outcome};
use crate::{print, references};

/// Changes the number of replicas of a set.
///
/// # Errors
/// The set does not exist, or does not have as many replicas as was said.
pub(crate) async fn scale(client: &Client, global: &Global, args: &ScaleArgs, out: &mut impl Write) -> Outcome {
    let (kind, name) = references::parse_one(&args.what)?;
    if kind != Kind::StatefulSet {
        return Err(Failure::new(format_args!("{} cannot be scaled; only sets can", kind.plural())));
    }
    let request = ScaleStatefulSetRequest {
        namespace: global.namespace().to_owned(),
        name: name.clone(),
        replicas: args.replicas,
        current_replicas: args.current_replicas,
        resource_version: String::new(),
        uid: String::new(),
    };
    client.sets().scale(request).await.explained(client)?;
    writeln!(out, "{} scaled", print::qualified_name(kind, &name))?;
    Ok(())
}
