//! Reads the log of a container run. Each line of the file is `<RFC 3339> <stdout|stderr> F <text>`.

use std::collections::BTreeMap;
use std::io::{self, SeekFrom};
use std::time::Duration;

use domain::Uid;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::{mpsc, watch};

use super::directory::PodDirectory;
use super::worker::Summary;
use crate::spec::Role;

/// The largest piece that is sent at once, in bytes.
pub const PIECE_SIZE_MAX: usize = 64 << 10;

/// How often a log that is followed is looked at for more. Short enough to feel immediate, and cheap: one read.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// A pod whose logs can be read.
pub struct LogPod {
    /// Its incarnation.
    pub uid: Uid,
    /// Its files.
    pub directory: PodDirectory,
    /// Its containers.
    pub containers: BTreeMap<String, Role>,
    /// What it does.
    pub summary: watch::Receiver<Summary>,
}

/// What part of a log, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// Go on until the run ends.
    pub follow: bool,
    /// Only so many last lines.
    pub tail_lines: Option<u32>,
    /// Each line begins with its time.
    pub timestamps: bool,
}

/// Sends the log of one run until it is read, or, when following, until the run is over or nobody listens.
///
/// # Errors
/// The file cannot be read. A file that does not exist (yet) is empty.
pub async fn stream(
    pod: &LogPod,
    container: &str,
    instance: u32,
    wish: Wish,
    pieces: &mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let path = pod.directory.log(container, instance);
    let mut position = 0;
    let mut begun = false;
    let mut rest: Vec<u8> = Vec::new();
    loop {
        // Asked before reading: what is written before the end is read after it.
        let over = !runs(pod, container, instance);
        if let Some(mut file) = open(&path).await? {
            let length = file.metadata().await?.len();
            if !std::mem::replace(&mut begun, true) {
                position = start_of_tail(&mut file, length, wish.tail_lines).await?;
            }
            if length < position {
                position = 0; // The file was cut: begin again.
                rest.clear();
            }
            file.seek(SeekFrom::Start(position)).await?;
            let mut buffer = vec![0; PIECE_SIZE_MAX / 2];
            loop {
                let read = file.read(&mut buffer).await?;
                if read == 0 {
                    break;
                }
                position += read as u64;
                rest.extend_from_slice(&buffer[..read]);
                if pieces.send(take_lines(&mut rest, wish.timestamps)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !wish.follow || over {
            if !rest.is_empty() {
                rest.push(b'\n');
                let _ = pieces.send(take_lines(&mut rest, wish.timestamps)).await;
            }
            return Ok(());
        }
        tokio::select! {
            () = pieces.closed() => return Ok(()),
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
        }
    }
}

async fn open(path: &std::path::Path) -> io::Result<Option<File>> {
    match File::open(path).await {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn runs(pod: &LogPod, container: &str, instance: u32) -> bool {
    let summary = pod.summary.borrow();
    let begun = summary.containers.get(container).copied();
    // A run that was begun and is not a process yet is on its way.
    let current = begun.is_some_and(|(known, running)| {
        known == Some(instance) && (running || !pod.directory.log(container, instance).exists())
    });
    current && !summary.stopped && pod.summary.has_changed().is_ok()
}

/// Takes the whole lines out of `rest`, in the form that was asked for; at most [`PIECE_SIZE_MAX`] stay behind.
fn take_lines(rest: &mut Vec<u8>, timestamps: bool) -> Vec<u8> {
    let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let end = if end == 0 && rest.len() > PIECE_SIZE_MAX { rest.len() } else { end };
    let mut piece = Vec::with_capacity(end);
    for line in rest[..end].split_inclusive(|byte| *byte == b'\n') {
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        match (fields.next(), fields.next(), fields.next(), fields.next()) {
            (Some(time), Some(_), Some(_), Some(text)) => {
                if timestamps {
                    piece.extend_from_slice(time);
                    piece.push(b' ');
                }
                piece.extend_from_slice(text);
            }
            _ => piece.extend_from_slice(line),
        }
    }
    rest.drain(..end);
    piece
}

/// Where the last lines begin: reads backwards, so that the end of a large log is cheap.
async fn start_of_tail(file: &mut File, length: u64, lines: Option<u32>) -> io::Result<u64> {
    let Some(lines) = lines else { return Ok(0) };
    if lines == 0 {
        return Ok(length);
    }
    let mut found = 0;
    let mut end = length;
    while end > 0 {
        let size = end.min(PIECE_SIZE_MAX as u64);
        let start = end - size;
        file.seek(SeekFrom::Start(start)).await?;
        let mut block = vec![0; usize::try_from(size).unwrap_or(PIECE_SIZE_MAX)];
        file.read_exact(&mut block).await?;
        for (index, byte) in block.iter().enumerate().rev() {
            let position = start + index as u64;
            // The newline that ends the file begins no line.
            if *byte == b'\n' && position + 1 < length {
                found += 1;
                if found == lines {
                    return Ok(position + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str, wish: Wish) -> String {
        let state = tempfile::tempdir().unwrap();
        let uid = Uid("u".to_owned());
        let directory = PodDirectory::new(state.path(), None, &uid).unwrap();
        directory.create().unwrap();
        std::fs::write(directory.make_log("c", 0).unwrap(), text).unwrap();
        let (_keep, summary) = watch::channel(Summary::default());
        let pod = LogPod { uid, directory, containers: BTreeMap::new(), summary };
        let (sender, mut receiver) = mpsc::channel(64);
        stream(&pod, "c", 0, wish, &sender).await.unwrap();
        drop(sender);
        let mut all = Vec::new();
        while let Some(piece) = receiver.recv().await {
            all.extend(piece);
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn lines_come_as_asked() {
        let text = "T1 stdout F one\nT2 stderr F two words\nT3 stdout F \n";
        assert_eq!(read(text, Wish::default()).await, "one\ntwo words\n\n");
        assert_eq!(read(text, Wish { timestamps: true, ..Wish::default() }).await, "T1 one\nT2 two words\nT3 \n");
        assert_eq!(read(text, Wish { tail_lines: Some(2), ..Wish::default() }).await, "two words\n\n");
        assert_eq!(read(text, Wish { tail_lines: Some(0), ..Wish::default() }).await, "");
        assert_eq!(read(text, Wish { tail_lines: Some(9), ..Wish::default() }).await, "one\ntwo words\n\n");
        assert_eq!(read(text, Wish { follow: true, ..Wish::default() }).await, "one\ntwo words\n\n", "the run is over");
    }
}
