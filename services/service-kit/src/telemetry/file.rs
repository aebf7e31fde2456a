//! A log file that does not grow without end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Largest log file, in bytes: some fifty thousand lines, days of a busy machine. One older file of the same size is kept.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// A file that is written at its end, and put aside when it is full.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    size_max: u64,
}

impl LogFile {
    /// Goes on with the file, or begins it, for its owner alone.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::bounded(path, FILE_BYTES_MAX)
    }

    /// The same with another bound, in bytes.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn bounded(path: &Path, size_max: u64) -> io::Result<Self> {
        let file = appending(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, size_max })
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        fs::rename(&self.path, older)?;
        self.file = appending(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

impl Write for LogFile {
    /// Each call is one line, and stays whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.size > 0 && self.size + line.len() as u64 > self.size_max {
            self.begin_anew()?;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn appending(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_the_one_before_it_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.log");
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            // As after a restart: what is there counts.
            LogFile::bounded(&path, 8).expect("opens").write_all(line.as_bytes()).expect("writes");
        }
        let read = |path: &Path| fs::read_to_string(path).expect("is there");
        assert_eq!(read(&path), "four\n");
        assert_eq!(read(&directory.path().join("a.log.1")), "three\n");
        assert_eq!(fs::read_dir(directory.path()).expect("is there").count(), 2);
    }
}
