//! Where the files of one pod are.
//!
//! ```text
//! <state>/pods/<uid>/record.json        what must outlive the runtime
//!                    assignment.pb      the last assignment, so that the pod is kept alive without the coordinator
//!                    volumes/<name>     emptyDir, configMap, downwardAPI, projected
//!                    logs/<container>/<instance>.log
//!                    home/<container>   what the container may write of its own
//!                    last-words/<container>
//!                    hosts, resolv.conf
//! <memory>/setkeeper-<uid>/<name>       emptyDir of medium Memory, secret
//! ```

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use domain::Uid;

use super::record::Record;
use super::volumes::Places;

/// The largest record or assignment that is read back, in bytes: ConfigMaps and Secrets of up to 1 MiB each, many times.
const FILE_SIZE_MAX: u64 = 64 << 20;

/// The most of a last word that is told, in bytes (pod rules, section 4).
const LAST_WORDS_MAX: usize = 4096;

/// The most of a log that stands in for a last word: bytes and lines.
const LOG_TAIL_BYTES_MAX: usize = 2048;
const LOG_TAIL_LINES_MAX: usize = 80;

/// The files of one pod.
#[derive(Debug, Clone)]
pub struct PodDirectory {
    root: PathBuf,
    memory: PathBuf,
}

impl PodDirectory {
    /// Where the pods are.
    #[must_use]
    pub fn all(state: &Path) -> PathBuf {
        state.join("pods")
    }

    /// The files of one pod. `memory` is a directory of the machine that is kept in memory, if there is one.
    ///
    /// # Errors
    /// The uid cannot be a directory name.
    pub fn new(state: &Path, memory: Option<&Path>, uid: &Uid) -> io::Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if uid.0.is_empty() || !uid.0.bytes().all(plain) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("uid {uid:?} cannot name a directory")));
        }
        let root = Self::all(state).join(&uid.0);
        let memory = memory.map_or_else(|| root.join("volumes"), |memory| memory.join(format!("setkeeper-{uid}")));
        Ok(Self { root, memory })
    }

    /// Makes it.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn create(&self) -> io::Result<()> {
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&self.root)?;
        private.create(&self.memory)
    }

    /// Removes everything.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn remove(&self) -> io::Result<()> {
        for path in [&self.memory, &self.root] {
            match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Where its volumes are.
    #[must_use]
    pub fn places(&self) -> Places {
        Places { disk: self.root.join("volumes"), memory: self.memory.clone() }
    }

    /// A container's own directory, made if it is missing.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn home(&self, container: &str) -> io::Result<PathBuf> {
        let path = self.root.join("home").join(container);
        super::volumes::open_to_all(&path)?;
        Ok(path)
    }

    /// The log of one run, its directory made if it is missing.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn make_log(&self, container: &str, instance: u32) -> io::Result<PathBuf> {
        let path = self.log(container, instance);
        std::fs::create_dir_all(self.root.join("logs").join(container))?;
        // The run before is kept for `logs --previous`; what is older goes.
        if let Some(old) = instance.checked_sub(2) {
            match std::fs::remove_file(self.log(container, old)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(path)
    }

    /// The log of one run.
    #[must_use]
    pub fn log(&self, container: &str, instance: u32) -> PathBuf {
        self.root.join("logs").join(container).join(format!("{instance}.log"))
    }

    /// An empty file for a container's last word.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn make_last_words(&self, container: &str) -> io::Result<PathBuf> {
        let path = self.root.join("last-words").join(container);
        std::fs::create_dir_all(self.root.join("last-words"))?;
        std::fs::write(&path, "")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        Ok(path)
    }

    /// A container's last word: its file, or the end of its log if `or_log`.
    #[must_use]
    pub fn last_words(&self, container: &str, instance: u32, or_log: bool) -> String {
        let text = read_end(&self.root.join("last-words").join(container), LAST_WORDS_MAX, true);
        if !text.is_empty() || !or_log {
            return text;
        }
        let log = read_end(&self.log(container, instance), LOG_TAIL_BYTES_MAX * 2, false);
        let lines: Vec<&str> = log.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default()).collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES_MAX)..].join("\n");
        let mut start = tail.len().saturating_sub(LOG_TAIL_BYTES_MAX);
        while !tail.is_char_boundary(start) {
            start += 1;
        }
        tail[start..].to_owned()
    }

    /// Writes the hosts file, in place where there is one: containers see it through a mount of the file itself.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn write_hosts(&self, text: &str) -> io::Result<PathBuf> {
        self.write_shared("hosts", text)
    }

    /// Writes the resolver configuration, once: it is as it was when the sandbox was made.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn write_resolv_conf(&self, text: &str) -> io::Result<PathBuf> {
        self.write_shared("resolv.conf", text)
    }

    fn write_shared(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.root.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(path);
        }
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
        Ok(path)
    }

    /// Keeps the record.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn save_record(&self, record: &Record) -> io::Result<()> {
        self.replace("record.json", &serde_json::to_vec(record)?)
    }

    /// The record; none if there is none.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn load_record(&self) -> io::Result<Option<Record>> {
        match self.read("record.json")? {
            Some(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            None => Ok(None),
        }
    }

    /// Keeps the encoded assignment. It may hold Secrets: nobody else may read it.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn save_assignment(&self, bytes: &[u8]) -> io::Result<()> {
        self.replace("assignment.pb", bytes)
    }

    /// The encoded assignment; none if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load_assignment(&self) -> io::Result<Option<Vec<u8>>> {
        self.read("assignment.pb")
    }

    /// Old or new after a crash, never half.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.root.join(format!("{name}.new"));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&temporary, self.root.join(name))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.root.join(name);
        match path.metadata() {
            Ok(meta) if meta.len() > FILE_SIZE_MAX => {
                Err(io::Error::other(format!("{} is larger than {FILE_SIZE_MAX} bytes", path.display())))
            }
            Ok(_) => std::fs::read(&path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// At most `max` bytes of a file, from its start or up to its end; empty if it cannot be read.
fn read_end(path: &Path, max: usize, from_start: bool) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        if !from_start {
            file.seek(SeekFrom::Start(length.saturating_sub(max as u64)))?;
        }
        let mut bytes = Vec::new();
        file.take(max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again() {
        let state = tempfile::tempdir().unwrap();
        assert!(PodDirectory::new(state.path(), None, &Uid("../x".to_owned())).is_err());
        let directory = PodDirectory::new(state.path(), None, &Uid("u-1".to_owned())).unwrap();
        directory.create().unwrap();
        assert_eq!(directory.load_record().unwrap(), None);
        let record = Record { store_id: "s".to_owned(), ..Record::default() };
        directory.save_record(&record).unwrap();
        assert_eq!(directory.load_record().unwrap(), Some(record));
        directory.remove().unwrap();
        directory.remove().unwrap();
    }

    #[test]
    fn last_words_fall_back_to_the_log() {
        let state = tempfile::tempdir().unwrap();
        let directory = PodDirectory::new(state.path(), None, &Uid("u".to_owned())).unwrap();
        directory.create().unwrap();
        let words = directory.make_last_words("c").unwrap();
        let log = directory.make_log("c", 0).unwrap();
        std::fs::write(log, "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:00Z stderr F two words\n").unwrap();
        assert_eq!(directory.last_words("c", 0, false), "");
        assert_eq!(directory.last_words("c", 0, true), "one\ntwo words");
        std::fs::write(words, "bye").unwrap();
        assert_eq!(directory.last_words("c", 0, true), "bye");
    }
}
