//! `apply`.

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context as _, bail};
use api::manifest::{Kind, MANIFEST_BYTES_MAX};
use serde_json::Value;

use crate::args::{ApplyArgs, DryRun, Global, Output};
use crate::client::Client;
use crate::failure::{Explained as _, Outcome};
use crate::print;

/// Directories inside directories that are followed.
const DEPTH_MAX: usize = 32;

/// Applies manifests as one: all of their objects or none.
///
/// # Errors
/// A file cannot be read, or the server refuses.
pub(crate) async fn apply(client: &Client, global: &Global, args: &ApplyArgs, out: &mut impl Write) -> Outcome {
    let manifest = read_manifests(&args.filename, args.recursive)?;
    let dry_run = args.dry_run == DryRun::Server;
    let applied = client.apply(manifest, global.namespace(), dry_run).await.explained(client)?;
    for warning in &applied.warnings {
        eprintln!("Warning: {warning}");
    }
    let results: Vec<String> = applied.objects.iter().map(|one| one.result.clone()).collect();
    let objects: Vec<Value> =
        applied.objects.into_iter().filter_map(|one| one.object.map(api::object::from_struct)).collect();
    match args.output {
        Some(Output::Json) => out.write_all(print::as_json(&objects, true).as_bytes())?,
        Some(Output::Yaml) => out.write_all(print::as_yaml(&objects, true).as_bytes())?,
        Some(Output::Name) => {
            for object in &objects {
                writeln!(out, "{}", label(object))?;
            }
        }
        Some(Output::Wide) | None => {
            let suffix = if dry_run { " (server dry run)" } else { "" };
            for (object, result) in objects.iter().zip(results) {
                writeln!(out, "{} {result}{suffix}", label(object))?;
            }
        }
    }
    Ok(())
}

/// `statefulset.apps/web`.
pub(super) fn label(object: &Value) -> String {
    let kind = print::text(object, "/kind");
    match Kind::from_text(kind) {
        Some(kind) => print::qualified_name(kind, print::name_of(object)),
        None => format!("{}/{}", kind.to_lowercase(), print::name_of(object)),
    }
}

/// The text of several manifests as one.
///
/// # Errors
/// A file cannot be read, or together they are too large.
pub(crate) fn read_manifests(files: &[PathBuf], recursive: bool) -> anyhow::Result<String> {
    let mut texts = Vec::new();
    for file in files {
        if file.as_os_str() == "-" {
            texts.push(read(io::stdin().lock(), "standard input")?);
        } else if file.is_dir() {
            let before = texts.len();
            read_directory(file, if recursive { DEPTH_MAX } else { 0 }, &mut texts)?;
            if texts.len() == before {
                bail!("{} holds no file that ends in .yaml, .yml or .json", file.display());
            }
        } else {
            texts.push(read_file(file)?);
        }
    }
    let whole = texts.join("\n---\n");
    if whole.len() > MANIFEST_BYTES_MAX {
        bail!(
            "the manifests have {} bytes together, and {MANIFEST_BYTES_MAX} is the most: apply fewer at once",
            whole.len()
        );
    }
    Ok(whole)
}

fn read_directory(directory: &Path, depth: usize, texts: &mut Vec<String>) -> anyhow::Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if depth > 0 {
                read_directory(&path, depth - 1, texts)?;
            }
        } else if path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known)) {
            texts.push(read_file(&path)?);
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> anyhow::Result<String> {
    let name = path.display().to_string();
    let file = fs::File::open(path).with_context(|| format!("{name} cannot be opened"))?;
    read(file, &name)
}

fn read(source: impl io::Read, name: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    // One byte more than allowed tells that there is more.
    let bound = MANIFEST_BYTES_MAX as u64 + 1;
    source.take(bound).read_to_string(&mut text).with_context(|| format!("{name} cannot be read"))?;
    if text.len() > MANIFEST_BYTES_MAX {
        bail!("{name} has more than {MANIFEST_BYTES_MAX} bytes, which is the most a manifest may have");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_manifest_in_the_order_of_names() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("a file");
        write("b.yaml", "b: 1");
        write("a.json", "{\"a\": 1}");
        write("notes.txt", "no manifest");
        fs::create_dir(directory.path().join("more")).expect("a directory");
        write("more/c.yml", "c: 1");
        let files = [directory.path().to_owned()];
        assert_eq!(read_manifests(&files, false).expect("reads"), "{\"a\": 1}\n---\nb: 1");
        assert_eq!(read_manifests(&files, true).expect("reads"), "{\"a\": 1}\n---\nb: 1\n---\nc: 1");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = read_manifests(&[directory.path().to_owned()], false).expect_err("empty").to_string();
        assert!(error.contains(".yaml"), "{error}");
        let error = read_manifests(&["/nonexistent/x.yaml".into()], false).expect_err("missing").to_string();
        assert!(error.contains("/nonexistent/x.yaml"), "{error}");
    }
}
