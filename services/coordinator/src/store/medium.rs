//! Where the embedded store keeps its file: a small file system seam, so that tests own the disk.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

use super::StoreError;

/// Nobody but the owner reads the state: it holds secrets.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Longest note about the owner of the lock, in bytes: a process id.
const OWNER_BYTES_MAX: u64 = 32;

/// A directory with the files of one store.
pub trait Medium: std::fmt::Debug + Send + 'static {
    /// Whether the file exists.
    fn exists(&self, name: &str) -> io::Result<bool>;
    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;
    /// Creates an empty file, in place of what had the name.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;
    /// Makes the content of a file durable.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, atomically.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// The directory and the name of a store's file.
pub(super) fn split(path: &Path) -> Result<(&Path, &str), StoreError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| StoreError::Invalid { why: format!("{} is no file name", path.display()) })?;
    Ok((path.parent().unwrap_or(Path::new("")), name))
}

/// A directory of the operating system, locked against other processes.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory if need be, and locks it for the store `name` in it.
    pub(super) fn lock(path: &Path, name: &str) -> Result<Self, StoreError> {
        let failed = |action| move |source| StoreError::Open { action, source: Arc::<io::Error>::new(source) };
        create_directory(path).map_err(failed("create the directory of"))?;
        let lock_path = path.join(format!("{name}.lock"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let mut lock = options.open(&lock_path).map_err(failed("open the lock of"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { path: path.join(name), owner: owner(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        // Says who has it to whoever is refused; the lock itself is what counts, so a failure here is not one.
        let _ = lock.set_len(0).and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()));
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

impl Medium for Directory {
    fn exists(&self, name: &str) -> io::Result<bool> {
        self.path.join(name).try_exists()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(DiskFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE);
        Ok(Box::new(DiskFile(options.open(self.path.join(name))?)))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        File::open(self.path.join(name))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn owner(lock: &mut File) -> String {
    let mut pid = String::new();
    match lock.take(OWNER_BYTES_MAX).read_to_string(&mut pid) {
        Ok(_) if !pid.is_empty() => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}

/// Creates a directory and those above it, each of them durable.
fn create_directory(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    create_directory(parent)?;
    match std::fs::DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    File::open(parent)?.sync_all()
}

/// A file of the operating system.
#[derive(Debug)]
struct DiskFile(File);

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// What an operation of a file failed with, and what may be done about it.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) error: Arc<io::Error>,
    /// The file holds what it held at the last sync, and nothing is in doubt: a full disk.
    pub(super) recoverable: bool,
}

/// Remembers the first failure of a file: by the time that the database reports it, what failed is no longer known.
///
/// A failed sync is never recoverable, whatever its error: the kernel may have dropped the dirty pages and call the
/// next sync a success.
#[derive(Debug)]
pub(super) struct Watched {
    file: Box<dyn StorageBackend>,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Watched {
    pub(super) fn new(file: Box<dyn StorageBackend>) -> (Self, Arc<Mutex<Option<Fault>>>) {
        let fault = Arc::new(Mutex::new(None));
        (Self { file, fault: fault.clone() }, fault)
    }

    fn note<T>(&self, result: io::Result<T>, writing: bool) -> io::Result<T> {
        result.map_err(|error| {
            use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
            let full = matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge);
            let (kind, text) = (error.kind(), error.to_string());
            let fault = Fault { error: Arc::new(error), recoverable: writing && full };
            self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
            io::Error::new(kind, text)
        })
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.note(self.file.len(), false)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(self.file.read(offset, out), false)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(self.file.set_len(len), true)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.file.sync_data(), false)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.file.write(offset, data), true)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
