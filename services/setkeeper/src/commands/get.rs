//! `get`.

use std::io::Write;

use api::manifest::Kind;
use futures::{StreamExt as _, stream};
use serde_json::Value;
use service_kit::clock::{Clock as _, SystemClock};
use tonic::Code;

use crate::args::{GetArgs, Global, Output};
use crate::client::Client;
use crate::failure::{Explained as _, Failure, Outcome};
use crate::print::{self, Table};
use crate::references::{self, Wanted};

/// What was found of one kind.
struct Found {
    kind: Kind,
    objects: Vec<Value>,
    revision: u64,
}

/// How rows are laid out.
#[derive(Clone, Copy)]
struct Layout {
    wide: bool,
    namespaces: bool,
    labels: bool,
    kinds: bool,
}

/// Shows objects, and with `--watch` their changes.
///
/// # Errors
/// Something was asked for by name and does not exist, or the server refuses.
pub(crate) async fn get(client: &Client, global: &Global, args: &GetArgs, out: &mut impl Write) -> Outcome {
    let wanted = references::parse(&args.what)?;
    references::check_selector(args.selector.as_deref())?;
    let by_name = wanted.iter().any(|wanted| wanted.name.is_some());
    if by_name && (args.all_namespaces || args.selector.is_some()) {
        return Err(Failure::new("objects asked for by name cannot also be selected by labels or namespaces"));
    }
    let namespace = if args.all_namespaces { "" } else { global.namespace() };
    let selector = args.selector.as_deref().unwrap_or_default();
    let (found, missing) = find(client, &wanted, namespace, selector).await?;
    let errors: Vec<String> = missing.into_iter().filter(|_| !args.ignore_not_found).collect();
    if args.watch && !errors.is_empty() {
        return Err(Failure::Said(errors.join("\n")));
    }
    let one = by_name && wanted.len() == 1;
    match args.output {
        Some(Output::Json | Output::Yaml) if !args.watch => {
            let objects: Vec<Value> = found.iter().flat_map(|found| found.objects.iter().cloned()).collect();
            if !(one && objects.is_empty()) {
                let json = args.output == Some(Output::Json);
                let text = if json { print::as_json(&objects, one) } else { print::as_yaml(&objects, one) };
                out.write_all(text.as_bytes())?;
            }
        }
        _ => show(client, args, namespace, selector, by_name, found, out).await?,
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::Said(errors.join("\n"))) }
}

async fn show(
    client: &Client,
    args: &GetArgs,
    namespace: &str,
    selector: &str,
    by_name: bool,
    found: Vec<Found>,
    out: &mut impl Write,
) -> Outcome {
    let layout = Layout {
        wide: args.output == Some(Output::Wide),
        namespaces: args.all_namespaces,
        labels: args.show_labels,
        kinds: found.len() > 1,
    };
    let mut tables: Vec<Table> = Vec::new();
    let mut shown = 0;
    for found in &found {
        let mut table = Table::new();
        if !found.objects.is_empty() {
            let whole: Vec<_> = found.objects.iter().filter_map(|object| alone(args, found.kind, object)).collect();
            if whole.is_empty() {
                if shown > 0 {
                    writeln!(out)?;
                }
                let mut rows = if args.no_headers { Vec::new() } else { vec![headings(found.kind, layout)] };
                rows.extend(found.objects.iter().map(|object| row(found.kind, object, layout)));
                out.write_all(table.render(&rows).as_bytes())?;
            } else {
                out.write_all(whole.concat().as_bytes())?;
            }
            shown += found.objects.len();
        }
        tables.push(table);
    }
    if shown == 0 && !args.watch && !by_name {
        match namespace {
            "" => eprintln!("No resources found"),
            namespace if found.iter().any(|found| found.kind.namespaced()) => {
                eprintln!("No resources found in {namespace} namespace.");
            }
            _ => eprintln!("No resources found"),
        }
    }
    out.flush()?;
    if args.watch { follow(client, args, namespace, selector, layout, found, tables, out).await } else { Ok(()) }
}

#[expect(clippy::too_many_arguments, reason = "one caller, which has them all at hand")]
async fn follow(
    client: &Client,
    args: &GetArgs,
    namespace: &str,
    selector: &str,
    layout: Layout,
    found: Vec<Found>,
    mut tables: Vec<Table>,
    out: &mut impl Write,
) -> Outcome {
    let name = match references::parse(&args.what)?.as_slice() {
        [Wanted { name: Some(name), .. }] => name.clone(),
        _ => String::new(),
    };
    let mut watches = Vec::new();
    for (index, found) in found.iter().enumerate() {
        let changes = client.watch(found.kind, namespace, &name, selector, found.revision.max(1)).await;
        watches.push(changes.explained(client)?.map(move |change| (index, change)));
    }
    let mut changes = stream::select_all(watches);
    let mut headed: Vec<bool> = found.iter().map(|found| !found.objects.is_empty() || args.no_headers).collect();
    while let Some((index, change)) = changes.next().await {
        let change = change.explained(client)?;
        if change.kind == "BOOKMARK" {
            continue;
        }
        let kind = found[index].kind;
        let text = alone(args, kind, &change.object).unwrap_or_else(|| {
            let mut rows = Vec::new();
            if !std::mem::replace(&mut headed[index], true) {
                rows.push(headings(kind, layout));
            }
            rows.push(row(kind, &change.object, layout));
            tables[index].render(&rows)
        });
        out.write_all(text.as_bytes())?;
        out.flush()?;
    }
    Err(Failure::new("the server ended the watch"))
}

/// One object of several that are told one after the other; none where it is a row of a table.
fn alone(args: &GetArgs, kind: Kind, object: &Value) -> Option<String> {
    match args.output? {
        Output::Json => Some(print::as_json(std::slice::from_ref(object), true)),
        Output::Yaml => Some(format!("---\n{}", print::as_yaml(std::slice::from_ref(object), true))),
        Output::Name => Some(format!("{}\n", print::qualified_name(kind, print::name_of(object)))),
        Output::Wide => None,
    }
}

/// What exists, and what to say about what does not.
async fn find(
    client: &Client,
    wanted: &[Wanted],
    namespace: &str,
    selector: &str,
) -> Outcome<(Vec<Found>, Vec<String>)> {
    let mut all: Vec<Found> = Vec::new();
    let mut missing = Vec::new();
    for wanted in wanted {
        let (objects, revision) = match &wanted.name {
            Some(name) => match client.get(wanted.kind, namespace, name).await {
                Ok(object) => {
                    let version = print::text(&object, "/metadata/resourceVersion").parse().unwrap_or_default();
                    (vec![object], version)
                }
                Err(status) if status.code() == Code::NotFound => {
                    missing.push(client.explain(&status));
                    (Vec::new(), 0)
                }
                Err(status) => return Err(status).explained(client),
            },
            None => {
                let listed = client.list(wanted.kind, namespace, selector).await.explained(client)?;
                (listed.objects, listed.revision)
            }
        };
        match all.iter_mut().find(|found| found.kind == wanted.kind) {
            Some(found) => found.objects.extend(objects),
            None => all.push(Found { kind: wanted.kind, objects, revision }),
        }
    }
    for found in all.iter_mut().filter(|found| found.kind == Kind::Event) {
        print::sort_events(&mut found.objects);
    }
    Ok((all, missing))
}

fn headings(kind: Kind, layout: Layout) -> Vec<String> {
    let mut headings = print::headers(kind, layout.wide);
    if layout.namespaces && kind.namespaced() {
        headings.insert(0, "NAMESPACE".to_owned());
    }
    if layout.labels {
        headings.push("LABELS".to_owned());
    }
    headings
}

fn row(kind: Kind, object: &Value, layout: Layout) -> Vec<String> {
    let mut cells = print::row(kind, object, layout.wide, SystemClock.now());
    if layout.kinds && kind != Kind::Event {
        cells[0] = format!("{}/{}", print::resource_name(kind), cells[0]);
    }
    if layout.namespaces && kind.namespaced() {
        cells.insert(0, print::text(object, "/metadata/namespace").to_owned());
    }
    if layout.labels {
        cells.push(print::labels(object));
    }
    cells
}
