//! A container's log: whole lines with time and stream, as `<RFC 3339> <stdout|stderr> <F|P> <text>`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes after which a log file is set aside as `<name>.1`. One old file is kept, so a log takes at most twice this.
const FILE_MAX: u64 = 10 * 1024 * 1024;

/// Bytes after which a line without an end is written as a part (`P`), as container runtimes do.
const LINE_MAX: usize = 16 * 1024;

/// Which of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Writes one container's log. Never fails: what cannot be written, as on a full disk, is counted and told when there
/// is room again.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    begun: [Vec<u8>; 2],
    lost: u64,
}

impl Log {
    /// Goes on at the end of what is there.
    pub(crate) fn open(path: &Path) -> Self {
        let file = append(path).ok();
        let size = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |meta| meta.len());
        Self { path: path.to_owned(), file, size, begun: [Vec::new(), Vec::new()], lost: 0 }
    }

    /// Takes bytes as the program wrote them.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let mut record = Vec::new();
        let begun = &mut self.begun[stream as usize];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(piece);
            if begun.last() == Some(&b'\n') {
                begun.pop();
                entry(&mut record, stream, 'F', begun);
                begun.clear();
            }
            while begun.len() >= LINE_MAX {
                let rest = begun.split_off(LINE_MAX);
                entry(&mut record, stream, 'P', begun);
                *begun = rest;
            }
        }
        self.append(&record);
    }

    /// Writes what has no line end; the program has ended.
    pub(crate) fn finish(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let begun = std::mem::take(&mut self.begun[stream as usize]);
            if !begun.is_empty() {
                let mut record = Vec::new();
                entry(&mut record, stream, 'F', &begun);
                self.append(&record);
            }
        }
    }

    fn append(&mut self, record: &[u8]) {
        if record.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        if self.lost > 0 {
            let notice = format!("[{} bytes of log could not be written]", self.lost);
            entry(&mut bytes, Stream::Stderr, 'F', notice.as_bytes());
        }
        bytes.extend_from_slice(record);
        match self.try_append(&bytes) {
            Ok(()) => self.lost = 0,
            Err(_) => {
                self.lost += record.len() as u64;
                self.file = None;
            }
        }
    }

    fn try_append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size + bytes.len() as u64 > FILE_MAX && self.size > 0 {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = append(&self.path)?;
                self.size = file.metadata()?.len();
                none.insert(file)
            }
        };
        let before = self.size;
        if let Err(error) = file.write_all(bytes) {
            // A torn line would corrupt the next one.
            let _ = file.set_len(before);
            return Err(error);
        }
        self.size += bytes.len() as u64;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    File::options().create(true).append(true).open(path)
}

fn entry(record: &mut Vec<u8>, stream: Stream, tag: char, text: &[u8]) {
    let now = jiff::Timestamp::now();
    record.extend_from_slice(format!("{now:.9} {} {tag} ", stream.name()).as_bytes());
    record.extend_from_slice(text);
    record.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).expect("a log");
        text.lines().map(|line| line.split_once(' ').expect("a time").1.to_owned()).collect()
    }

    #[test]
    fn lines_are_whole_and_streams_do_not_mix() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deep/web.log");
        let mut log = Log::open(&path);
        log.write(Stream::Stdout, b"one\ntw");
        log.write(Stream::Stderr, b"bad\n");
        log.write(Stream::Stdout, b"o\nlast");
        log.finish();
        assert_eq!(texts(&path), ["stdout F one", "stderr F bad", "stdout F two", "stdout F last"]);
    }

    #[test]
    fn long_lines_are_cut_and_files_set_aside() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("web.log");
        let mut log = Log::open(&path);
        log.write(Stream::Stdout, &vec![b'x'; LINE_MAX + 1]);
        log.finish();
        let lines = texts(&path);
        assert!(lines[0].starts_with("stdout P x") && lines[1] == "stdout F x");
        let mebibyte = [vec![b'y'; LINE_MAX - 1], vec![b'\n']].concat().repeat(64);
        for _ in 0..25 {
            log.write(Stream::Stdout, &mebibyte);
        }
        assert!(fs::metadata(&path).expect("a log").len() <= FILE_MAX);
        assert!(fs::metadata(directory.path().join("web.log.1")).expect("an old log").len() <= FILE_MAX);
    }

    #[test]
    fn what_cannot_be_written_is_told_later() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("logs/web.log");
        fs::write(directory.path().join("logs"), "in the way").expect("a file");
        let mut log = Log::open(&path);
        log.write(Stream::Stdout, b"lost\n");
        fs::remove_file(directory.path().join("logs")).expect("removed");
        log.write(Stream::Stdout, b"kept\n");
        let lines = texts(&path);
        assert!(lines[0].contains("could not be written") && lines[1] == "stdout F kept", "{lines:?}");
    }
}
