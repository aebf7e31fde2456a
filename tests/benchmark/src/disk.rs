//! The disk itself: append and fdatasync, which no durable store can beat.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crate::samples::{Row, Samples, now};

const RECORD_BYTES: usize = 1024;
/// Enough for a stable p99, some hundred milliseconds on a fast disk.
const SYNCS: usize = 2000;
/// As many as write to the store at once.
const RECORDS_PER_BATCH: usize = 64;
const BATCHES: usize = 500;

pub(crate) fn measure(directory: &Path) -> anyhow::Result<Vec<Row>> {
    let mut file = File::create(directory.join("raw"))?;
    Ok(vec![
        append(&mut file, "append 1 KiB, fdatasync each: records", 1, SYNCS)?,
        append(&mut file, "append 64 x 1 KiB, fdatasync each: records", RECORDS_PER_BATCH, BATCHES)?,
    ])
}

fn append(file: &mut File, name: &str, records: usize, rounds: usize) -> anyhow::Result<Row> {
    let data = vec![0x5a; RECORD_BYTES * records];
    let mut samples = Samples::default();
    let start = now();
    for _ in 0..rounds {
        let before = now();
        file.write_all(&data)?;
        file.sync_data()?;
        samples.0.push(now() - before);
    }
    Ok(Row::rate(name, records * rounds, now() - start, samples))
}
