//! The file of seen and done operations: lines that are only ever appended, each with its own checksum.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::LogError;
use super::ledger::RESULTS_MAX;

/// Lines after which the file is written anew with what still counts: it stays small, and rewriting stays rare.
const LINES_MAX: usize = 4 * RESULTS_MAX;

/// Hexadecimal digits of a checksum.
const CHECKSUM_DIGITS: usize = 16;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry {
    /// An operation was admitted.
    Seen {
        /// What it is about.
        subject: String,
        /// Whose operation it was; empty where nobody said.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        store: String,
        /// Incarnation of the coordinator.
        epoch: u64,
        /// State generation.
        generation: u64,
    },
    /// An operation succeeded.
    Done {
        /// Its id.
        id: String,
        /// Whose operation it was; empty where nobody said.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        store: String,
        /// Its result.
        #[serde(with = "hexadecimal")]
        result: Bytes,
    },
}

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Bytes that are known to be whole lines.
    length: u64,
    lines: usize,
    /// Lines that were left by the last rewriting; twice as many are allowed before the next.
    lines_kept: usize,
}

impl Log {
    /// Opens or makes the file and gives every entry to `apply`.
    pub(super) fn open(path: &Path, mut apply: impl FnMut(Entry)) -> Result<Self, LogError> {
        let failed = |doing| move |source| LogError::Io { path: path.to_owned(), doing, source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed("opened"))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed("read"))?;
        let mut length = 0;
        let mut lines = 0;
        while let Some(end) = content[length..].iter().position(|byte| *byte == b'\n') {
            let line = &content[length..length + end];
            let next = length + end + 1;
            match parse(line) {
                Some(entry) => apply(entry),
                // A crash tears only what was written last; a block of it may be missing while its end is there.
                None if next == content.len() => break,
                None => return Err(LogError::Damaged { path: path.to_owned(), line: lines + 1 }),
            }
            length = next;
            lines += 1;
        }
        let length = length as u64;
        file.set_len(length).and_then(|()| file.sync_all()).map_err(failed("repaired"))?;
        sync_directory(path).map_err(failed("made durable"))?;
        file.seek(SeekFrom::End(0)).map_err(failed("read"))?;
        Ok(Self { path: path.to_owned(), file, length, lines, lines_kept: 0 })
    }

    /// Returns when the entry survives a crash. After an error it is as if it had never been written.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<(), LogError> {
        let line = render(entry);
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += line.len() as u64;
                self.lines += 1;
                Ok(())
            }
            Err(source) => {
                // Half a line must not be followed by a whole one.
                let repaired = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::End(0)));
                let source = repaired.err().unwrap_or(source);
                Err(LogError::Io { path: self.path.clone(), doing: "written", source })
            }
        }
    }

    pub(super) fn wants_compaction(&self) -> bool {
        self.lines >= LINES_MAX.max(2 * self.lines_kept)
    }

    /// Writes the file anew with `entries` alone. A crash leaves either the old file or the new one.
    pub(super) fn compact(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        let draft = self.path.with_extension("new");
        let content: Vec<u8> = entries.iter().flat_map(render).collect();
        let rewritten = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&content)?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)?;
            sync_directory(&self.path)?;
            Ok(file)
        };
        let path = self.path.clone();
        self.file = rewritten().map_err(|source| LogError::Io { path, doing: "rewritten", source })?;
        self.length = content.len() as u64;
        self.lines = entries.len();
        self.lines_kept = entries.len();
        Ok(())
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn render(entry: &Entry) -> Vec<u8> {
    let json = serde_json::to_string(entry).expect("strings and numbers");
    format!("{:016x} {json}\n", checksum(json.as_bytes())).into_bytes()
}

fn parse(line: &[u8]) -> Option<Entry> {
    let (digits, rest) = line.split_at_checked(CHECKSUM_DIGITS)?;
    let json = rest.strip_prefix(b" ")?;
    let expected = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    if checksum(json) != expected {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// FNV-1a. It guards against torn and rotten lines, not against people.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

mod hexadecimal {
    use std::fmt::Write as _;

    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            let _never_fails = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pair = |index: usize| text.get(index..index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(pair).collect();
        bytes.map(Bytes::from).ok_or_else(|| de::Error::custom("no hexadecimal text"))
    }
}
