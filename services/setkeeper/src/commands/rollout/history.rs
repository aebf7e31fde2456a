//! `rollout history`.

use std::io::Write;

use api::manifest::Kind;
use api::proto::coordinator::v1::HistoryStatefulSetRequest;
use serde_json::Value;

use super::{explain, one};
use crate::args::{Global, Output, RolloutHistoryArgs};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::print;

/// Shows the revisions of a set, or the template of one.
///
/// # Errors
/// There is no such set or revision.
pub(super) async fn history(
    client: &Client,
    global: &Global,
    args: &RolloutHistoryArgs,
    out: &mut impl Write,
) -> Outcome {
    let name = one(&args.what)?;
    let request = HistoryStatefulSetRequest {
        namespace: global.namespace().to_owned(),
        name: name.clone(),
        revision: args.revision,
    };
    let answer = client.sets().history(request).await.map_err(|status| Failure::Said(explain(client, &status)))?;
    let revisions = answer.into_inner().revisions;
    let records = || -> Vec<Value> {
        let records = revisions.iter().filter_map(|revision| revision.controller_revision.clone());
        records.map(api::object::from_struct).collect()
    };
    let text = match args.output {
        Some(Output::Json) => print::as_json(&records(), args.revision != 0),
        Some(Output::Yaml) => print::as_yaml(&records(), args.revision != 0),
        Some(Output::Name) => {
            revisions.iter().map(|one| print::qualified_name(Kind::ControllerRevision, &one.name) + "\n").collect()
        }
        Some(Output::Wide) | None => match revisions.first().filter(|_| args.revision != 0) {
            Some(one) => {
                let template = one.template.clone().map(api::object::from_struct).unwrap_or_default();
                print::revision(&name, one.number, &template)
            }
            None => {
                let rows = revisions.iter().map(|one| (one.number, one.change_cause.as_str())).collect::<Vec<_>>();
                print::history(&name, &rows)
            }
        },
    };
    out.write_all(text.as_bytes())?;
    Ok(())
}
