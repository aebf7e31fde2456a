//! The embedded store's file: a redb database in the format of this program.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    TableDefinition, WriteTransaction,
};

use super::medium::{Fault, Medium, Watched};
use super::record::{Summary, decode_entry, encode_entry};
use super::{Cause, Change, Changes, Entry, StoreError};

/// The version of the format on disk. A store of another version is refused, not guessed at.
pub const FORMAT: u32 = 1;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("setkeeper.meta");
pub(super) const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("setkeeper.entries");
const META_FORMAT: &str = "format";
const META_ID: &str = "id";
const META_SUMMARY: &str = "summary";

/// Reads are from memory, so the cache only has to hold the upper pages of the tree for the next commit.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Ends the name of a store that is being created.
pub(super) const NEW_SUFFIX: &str = ".new";

/// What is on disk when a store is opened.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) id: String,
    pub(super) summary: Summary,
    pub(super) entries: BTreeMap<String, Entry>,
}

/// The file, and what is known to be durable in it.
#[derive(Debug)]
pub(super) struct Disk {
    /// `None` after the disk was full: what the database has in memory is then not what is on disk. Before the medium,
    /// which holds the lock: the database writes while it is closed, and fields are dropped in their order.
    open: Option<Opened>,
    medium: Box<dyn Medium>,
    name: String,
    summary: Summary,
}

#[derive(Debug)]
struct Opened {
    database: Database,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Disk {
    /// Opens the store of this name, creating it if there is none, and reads all of it.
    pub(super) fn open(medium: Box<dyn Medium>, name: &str) -> Result<(Self, Loaded), StoreError> {
        if !medium.exists(name).map_err(failed("look for"))? {
            create(medium.as_ref(), name, &service_kit::random::uid(), |_| Ok(Summary::default()))?;
        }
        // Whoever renamed the file may have died before its name was durable.
        medium.sync_directory().map_err(failed("sync the directory of"))?;
        let opened = open(medium.as_ref(), name)?;
        let loaded = guard(|| load(&opened.database))?;
        let disk = Self { medium, name: name.to_owned(), open: Some(opened), summary: loaded.summary };
        Ok((disk, loaded))
    }

    /// Makes commits durable, all of them or none.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`]: nothing has changed, and it may be tried again. Any other: the file must not be written
    /// again before it is opened anew.
    pub(super) fn write(&mut self, commits: &[Changes]) -> Result<(), StoreError> {
        let opened = match self.open.take() {
            Some(opened) => opened,
            None => self.reopen()?,
        };
        match guard(|| Ok(transact(&opened.database, commits, self.summary))).and_then(|result| opened.explain(result))
        {
            Ok(summary) => {
                self.summary = summary;
                self.open = Some(opened);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// After the disk was full: goes back to what is durable, which must be what was acknowledged.
    fn reopen(&self) -> Result<Opened, StoreError> {
        let into_failed = |error| match error {
            StoreError::NoSpace { .. } => error,
            error => StoreError::Failed { source: Arc::new(error) },
        };
        let opened = open(self.medium.as_ref(), &self.name).map_err(into_failed)?;
        let summary = opened.explain(read_summary(&opened.database))?;
        if summary.as_ref() != Some(&self.summary) {
            let what = "after the disk was full it holds a commit that was refused".to_owned();
            return Err(StoreError::Failed { source: Arc::new(StoreError::Corrupt { what }) });
        }
        Ok(opened)
    }
}

impl Opened {
    /// Says what an error of the database means for the store.
    fn explain<T>(&self, result: Result<T, redb::Error>) -> Result<T, StoreError> {
        result.map_err(|error| match fault(&self.fault) {
            Some(Fault { error, recoverable: true }) => StoreError::NoSpace { source: error },
            Some(Fault { error, recoverable: false }) => StoreError::Failed { source: error },
            None => StoreError::Failed { source: Arc::new(error) },
        })
    }
}

fn fault(fault: &Mutex<Option<Fault>>) -> Option<Fault> {
    fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Makes a store under another name and gives it its own only when all of it is durable, so that a crash at any moment
/// leaves a whole store or none. `fill` writes its entries, and says what they add up to.
pub(super) fn create(
    medium: &dyn Medium,
    name: &str,
    id: &str,
    fill: impl FnOnce(&WriteTransaction) -> Result<Summary, StoreError>,
) -> Result<(), StoreError> {
    let temporary = format!("{name}{NEW_SUFFIX}");
    let (file, fault_seen) = Watched::new(medium.create(&temporary).map_err(failed("create"))?);
    let database = builder().create_with_backend(file).map_err(|error| explain_open(error, fault(&fault_seen)))?;
    let opened = Opened { database, fault: fault_seen };
    let transaction = opened.explain(opened.database.begin_write().map_err(Into::into))?;
    let summary = fill(&transaction)?;
    opened.explain(initialize(transaction, id, &summary))?;
    drop(opened);
    medium.sync(&temporary).map_err(failed("sync"))?;
    medium.rename(&temporary, name).map_err(failed("name"))?;
    medium.sync_directory().map_err(failed("sync the directory of"))
}

fn initialize(mut transaction: WriteTransaction, id: &str, summary: &Summary) -> Result<(), redb::Error> {
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT.to_string().as_bytes())?;
        meta.insert(META_ID, id.as_bytes())?;
        meta.insert(META_SUMMARY, summary.encode().as_slice())?;
        transaction.open_table(ENTRIES)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Reads all of a file and checks every page of it. Says whether it was left without being closed.
pub(super) fn inspect(file: impl StorageBackend) -> Result<(Loaded, bool), StoreError> {
    if file.len().map_err(failed("measure"))? == 0 {
        return Err(StoreError::Corrupt { what: "its file is empty".to_owned() });
    }
    let unclean = Arc::new(AtomicBool::new(false));
    let seen = unclean.clone();
    guard(|| {
        let mut builder = builder();
        builder.set_repair_callback(move |_| seen.store(true, Ordering::Relaxed));
        let mut database = builder.create_with_backend(file).map_err(|error| explain_open(error, None))?;
        if !database.check_integrity().map_err(|error| explain_open(error, None))? {
            return Err(StoreError::Corrupt { what: "the pages of its database do not fit together".to_owned() });
        }
        load(&database)
    })
    .map(|loaded| (loaded, unclean.load(Ordering::Relaxed)))
}

fn open(medium: &dyn Medium, name: &str) -> Result<Opened, StoreError> {
    let file = medium.open(name).map_err(failed("open"))?;
    if file.len().map_err(failed("measure"))? == 0 {
        return Err(StoreError::Corrupt { what: "its file is empty".to_owned() });
    }
    let (file, fault_seen) = Watched::new(file);
    let database =
        guard(|| builder().create_with_backend(file).map_err(|error| explain_open(error, fault(&fault_seen))))?;
    Ok(Opened { database, fault: fault_seen })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn explain_open(error: DatabaseError, fault: Option<Fault>) -> StoreError {
    if let Some(Fault { error, recoverable: true }) = fault {
        return StoreError::NoSpace { source: error };
    }
    match error {
        DatabaseError::UpgradeRequired(version) => {
            StoreError::UnknownFormat { found: format!("of database version {version}"), supported: FORMAT }
        }
        DatabaseError::Storage(StorageError::Corrupted(what)) => StoreError::Corrupt { what },
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Corrupt { what: error.to_string() }
        }
        error => StoreError::Open { action: "open", source: Arc::new(error) },
    }
}

/// The database panics on some damage, and panics at opening or writing must not take the process along unexplained.
fn guard<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for an unknown reason");
        Err(StoreError::Corrupt { what: format!("the database gave up: {text}") })
    })
}

pub(super) fn failed(action: &'static str) -> impl Fn(std::io::Error) -> StoreError {
    move |source| StoreError::Open { action, source: Arc::new(source) }
}

fn load(database: &Database) -> Result<Loaded, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt { what: what.to_owned() };
    let transaction = database.begin_read().map_err(unreadable)?;
    let meta = transaction.open_table(META).map_err(unreadable)?;
    let meta = |key: &str| -> Result<Vec<u8>, StoreError> {
        let value = meta.get(key).map_err(unreadable)?;
        value.map(|value| value.value().to_vec()).ok_or_else(|| corrupt(&format!("it has no {key}")))
    };
    let format = String::from_utf8_lossy(&meta(META_FORMAT)?).into_owned();
    if format != FORMAT.to_string() {
        return Err(StoreError::UnknownFormat { found: format, supported: FORMAT });
    }
    let id = String::from_utf8(meta(META_ID)?).map_err(|_| corrupt("its id is not text"))?;
    let summary = Summary::decode(&meta(META_SUMMARY)?)?;
    let mut found = Summary::empty(summary.revision);
    let mut entries = BTreeMap::new();
    for record in transaction.open_table(ENTRIES).map_err(unreadable)?.iter().map_err(unreadable)? {
        let (key, value) = record.map_err(unreadable)?;
        let entry = decode_entry(key.value(), value.value())?;
        if entry.modified > summary.revision {
            return Err(corrupt(&format!("{} is newer than the store", entry.key)));
        }
        found.add(&entry);
        entries.insert(entry.key.clone(), entry);
    }
    if found != summary {
        return Err(corrupt("its entries do not add up to its summary"));
    }
    Ok(Loaded { id, summary, entries })
}

fn unreadable(error: impl Into<redb::Error>) -> StoreError {
    let cause: redb::Error = error.into();
    match cause {
        redb::Error::TableDoesNotExist(_) => {
            StoreError::Corrupt { what: "it is a database of something else, or of a newer format".to_owned() }
        }
        redb::Error::Corrupted(what) => StoreError::Corrupt { what },
        cause => StoreError::Open { action: "read", source: Arc::new(cause) as Cause },
    }
}

fn read_summary(database: &Database) -> Result<Option<Summary>, redb::Error> {
    let meta = database.begin_read()?.open_table(META)?;
    let summary = meta.get(META_SUMMARY)?;
    Ok(summary.and_then(|bytes| Summary::decode(bytes.value()).ok()))
}

/// One transaction for all commits of a group. Returns what they add up to.
fn transact(database: &Database, commits: &[Changes], mut summary: Summary) -> Result<Summary, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        for commit in commits {
            for change in &commit.changes {
                write_change(&mut entries, change, &mut summary)?;
            }
            summary.revision = commit.revision;
        }
        transaction.open_table(META)?.insert(META_SUMMARY, summary.encode().as_slice())?;
    }
    transaction.commit()?;
    Ok(summary)
}

fn write_change(
    entries: &mut redb::Table<'_, &str, &[u8]>,
    change: &Change,
    summary: &mut Summary,
) -> Result<(), redb::Error> {
    let key = change.key();
    let before = match change {
        Change::Put(entry) => {
            summary.add(entry);
            entries.insert(key, encode_entry(entry).as_slice())?
        }
        Change::Delete { .. } => entries.remove(key)?,
    };
    if let Some(before) = before {
        summary.remove(before.value());
    }
    Ok(())
}
