//! `backup`, `restore` and `check`: the state store, online and offline.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use api::proto::coordinator::v1::BackupRequest;
use coordinator::check::{Findings, Report};
use coordinator::store::backup::{self, Header};
use coordinator::store::{StoreError, offline};
use service_kit::status::chain;

use crate::args::{BackupArgs, Global, RestoreArgs};
use crate::client::Client;
use crate::data_dir::DataDir;
use crate::failure::{Explained as _, Failure, Outcome};

/// Ends the name of a backup that is not whole yet.
const DRAFT_SUFFIX: &str = ".part";

/// Writes a backup of the running system to a file. The file gets its name once it was read back and is whole.
///
/// # Errors
/// The server does not answer, or the file cannot be written.
pub(crate) async fn backup(client: &Client, args: &BackupArgs, out: &mut impl Write) -> Outcome {
    let draft = with_suffix(&args.file, DRAFT_SUFFIX);
    let made = download(client, &draft).await.and_then(|()| finish(&draft, &args.file));
    let (header, entries) = made.inspect_err(|_| {
        // It may not even exist; what is told is why there is no backup.
        let _ = fs::remove_file(&draft);
    })?;
    let Header { store_id, revision, .. } = header;
    writeln!(out, "{}: {entries} entries of store {store_id} at revision {revision}", args.file.display())?;
    Ok(())
}

async fn download(client: &Client, draft: &Path) -> Outcome {
    let mut pieces = client.system().backup(BackupRequest {}).await.explained(client)?.into_inner();
    let unwritable = |error| Failure::new(format_args!("{} cannot be written: {error}", draft.display()));
    // Secrets are in it: a file that somebody else put there, or one that others may read, is not written on.
    let _left_behind = fs::remove_file(draft);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(draft).map_err(unwritable)?;
    while let Some(piece) = pieces.message().await.explained(client)? {
        file.write_all(&piece.data).map_err(unwritable)?;
    }
    file.sync_all().map_err(unwritable)
}

fn finish(draft: &Path, path: &Path) -> Outcome<(Header, u64)> {
    let named = |error| Failure::new(format_args!("{} cannot be written: {error}", path.display()));
    let file = File::open(draft).map_err(named)?;
    let verified = backup::verify(BufReader::new(file)).map_err(|error| Failure::new(chain(&error)))?;
    fs::rename(draft, path).map_err(named)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(named)?;
    Ok(verified)
}

/// Makes the state store of the data directory anew from a backup. Nothing may run on it.
///
/// # Errors
/// Setkeeper runs, the backup is damaged, or there is a store already.
pub(crate) fn restore(global: &Global, args: &RestoreArgs, out: &mut impl Write) -> Outcome {
    let data = DataDir::resolve(global.data_dir.as_deref())?;
    data.create()?;
    let _lock = data.lock()?;
    let store = data.store().join(coordinator::STORE_FILE);
    let backup = open(&args.file)
        .map_err(|error| Failure::new(format_args!("{} cannot be read: {error}", args.file.display())))?;
    let restored = offline::restore(backup, &store, args.force).map_err(refused)?;
    let Header { store_id, revision, created_at, .. } = restored.header;
    writeln!(
        out,
        "restored {} entries of store {store_id}, as of {created_at}, revision {revision}",
        restored.entries
    )?;
    writeln!(out, "the store is now {} at revision {}, in {}", restored.store_id, restored.revision, store.display())?;
    writeln!(out, "Pods that started after the backup end when the coordinator starts; those that it knows go on.")?;
    Ok(())
}

/// The backup in a file, or what is piped in.
fn open(path: &Path) -> io::Result<File> {
    match path == Path::new("-") {
        true => Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?)),
        false => File::open(path),
    }
}

/// Looks whether the state store of the data directory is sound. Nothing may run on it; nothing is changed.
///
/// # Errors
/// It is damaged, in use, or there is none.
pub(crate) fn check(global: &Global, out: &mut impl Write) -> Outcome {
    let data = DataDir::resolve(global.data_dir.as_deref())?;
    let report = coordinator::check::check(&data.store()).map_err(refused)?;
    let Report { store_id, format, revision, bytes, unclean, objects, damage, notes } = report;
    writeln!(out, "store {store_id}, format {format}, revision {revision}, {bytes} bytes")?;
    if unclean {
        writeln!(out, "it was not closed; that is put right at the next start")?;
    }
    for (kind, count) in &objects {
        writeln!(out, "  {count:>7} {kind}")?;
    }
    print("note", &notes, out)?;
    print("damage", &damage, out)?;
    if damage.count > 0 {
        out.flush()?;
        return Err(Failure::new(format_args!(
            "the state store is damaged in {} places: restore a backup with `setkeeper restore FILE --force`",
            damage.count
        )));
    }
    writeln!(out, "sound")?;
    Ok(())
}

fn print(what: &str, findings: &Findings, out: &mut impl Write) -> Outcome {
    for finding in &findings.first {
        writeln!(out, "{what}: {finding}")?;
    }
    if findings.count > findings.first.len() {
        writeln!(out, "{what}: and {} more", findings.count - findings.first.len())?;
    }
    Ok(())
}

fn refused(error: StoreError) -> Failure {
    let remedy = match &error {
        StoreError::InUse { .. } => ": end it first, with `setkeeper down` or by its supervisor",
        StoreError::Corrupt { .. } => ": restore a backup with `setkeeper restore FILE --force`",
        _ => "",
    };
    Failure::new(format_args!("{}{remedy}", chain(&error)))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}
