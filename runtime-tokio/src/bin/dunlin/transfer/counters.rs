//! How far a transfer is, for whoever shows it, and what it amounted to in the end.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::collections::BTreeSet;

use super::entry::Entry;
use super::pulse::Pulse;
use super::wire::Finish;

/// Counted by the transfer while it runs, read by whoever shows it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Bytes of all files.
    total: AtomicU64,
    /// Bytes of those that are done with, by moving or by being there already.
    done: AtomicU64,
    /// Bytes that were there already.
    kept: AtomicU64,
    /// Number of files.
    files: AtomicU64,
    /// Files that are done with.
    files_done: AtomicU64,
    /// Whether anything goes on.
    pub(crate) pulse: Pulse,
}

/// The counters at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Count {
    /// Bytes of all files.
    pub(crate) total: u64,
    /// Bytes of those that are done with.
    pub(crate) done: u64,
    /// Bytes that were there already.
    pub(crate) kept: u64,
    /// Number of files; 0 before the list is known.
    pub(crate) files: u64,
    /// Files that are done with.
    pub(crate) files_done: u64,
}

impl Counters {
    /// For a transfer that ends after so much silence.
    #[cfg(test)]
    pub(crate) fn with_silence(silence: core::time::Duration) -> Self {
        Self { pulse: Pulse::new(silence), ..Self::default() }
    }

    pub(crate) fn begin(&self, files: u32, bytes: u64) {
        self.total.store(bytes, Relaxed);
        self.files.store(files.into(), Relaxed);
    }

    pub(crate) fn moved(&self, bytes: u64) {
        self.pulse.work();
        self.done.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn kept(&self, bytes: u64) {
        self.kept.fetch_add(bytes, Relaxed);
        self.done.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn file_done(&self) {
        self.files_done.fetch_add(1, Relaxed);
    }

    /// The counters now.
    pub(crate) fn get(&self) -> Count {
        Count {
            total: self.total.load(Relaxed),
            done: self.done.load(Relaxed),
            kept: self.kept.load(Relaxed),
            files: self.files.load(Relaxed),
            files_done: self.files_done.load(Relaxed),
        }
    }
}

/// What was transferred and verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Summary {
    /// Files that stand complete at the receiver.
    pub(crate) files: u32,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Of those, bytes that the receiver had already.
    pub(crate) kept: u64,
    /// The hash of all of it: a single file's BLAKE3, otherwise that of the text that `b3sum` would print for the
    /// files in the order of the list.
    pub(crate) hash: [u8; 32],
    /// Files that the sender could not read to their end, or that the receiver has others in place of, with the reason;
    /// they are in none of the figures above.
    pub(crate) failed: Vec<String>,
}

/// Collects what both sides must agree on in the end.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Files by their places in the list, in any order.
    files: Vec<(u32, blake3::Hash)>,
}

impl Tally {
    /// The file number `index` is complete, with this hash.
    pub(crate) fn add(&mut self, index: u32, hash: blake3::Hash) {
        self.files.push((index, hash));
    }

    /// Takes these files out again.
    pub(crate) fn without(mut self, taken: &BTreeSet<u32>) -> Self {
        self.files.retain(|(index, _)| !taken.contains(index));
        self
    }

    /// Adds up, in the order of the list.
    pub(crate) fn total(mut self, entries: &[Entry]) -> Finish {
        self.files.sort_unstable_by_key(|(index, _)| *index);
        let (mut lines, mut bytes) = (blake3::Hasher::new(), 0);
        for (index, hash) in &self.files {
            let Some(entry) = entries.get(*index as usize) else { continue };
            lines.update(hash.to_hex().as_bytes()).update(b"  ").update(entry.path.as_bytes()).update(b"\n");
            bytes += entry.size().unwrap_or(0);
        }
        let hash = match self.files[..] {
            [(_, only)] => only,
            _ => lines.finalize(),
        };
        Finish { files: self.files.len() as u32, bytes, hash: *hash.as_bytes() }
    }
}
