//! The receiver's first thread: makes the folders and finds out, file by file, what is there already.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::io;
use std::sync::Arc;

use blake3::{Hash, Hasher};
use tokio::sync::mpsc;

use crate::folder::Existing;

use super::counters::Counters;
use super::entry::{Entry, Kind};
use super::fault::{Fault, FaultKind, TransferError};
use super::hashing;
use super::path::RelPath;
use super::tree::{Part, Tree};
use super::wire::{Have, Message, There};

/// Most incomplete files that are kept open between the threads; further ones are opened, and hashed, once more.
const MAX_HELD: usize = 32;

/// What the writing thread needs to know about a file.
pub(crate) struct Plan {
    /// The file, by its place in the list.
    pub(crate) entry: u32,
    /// What is there.
    pub(crate) found: Found,
}

/// What is there of a file.
pub(crate) enum Found {
    /// Nothing of use.
    Nothing,
    /// Its beginning.
    Beginning(Beginning),
    /// A file of that name; the sender is to show with this nonce whether it is the same.
    File {
        /// Given to nobody else.
        nonce: [u8; 32],
    },
}

/// The beginning of a file, from an earlier try.
pub(crate) struct Beginning {
    /// Its length in bytes.
    pub(crate) length: u64,
    /// Its hash.
    pub(crate) hash: Hash,
    /// The file itself, positioned at its end, if it could be kept open.
    pub(crate) held: Option<Held>,
}

/// An incomplete file kept open.
pub(crate) struct Held {
    pub(crate) part: Part,
    pub(crate) hasher: Box<Hasher>,
    _counted: Counted,
}

/// One of at most [`MAX_HELD`].
struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Counts one more, if there may be one.
    fn new(count: &Arc<AtomicUsize>) -> Option<Self> {
        // Only this thread counts up, so the limit holds.
        (count.load(Relaxed) < MAX_HELD).then(|| {
            count.fetch_add(1, Relaxed);
            Self(Arc::clone(count))
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The thread's work.
pub(crate) struct Check {
    pub(crate) tree: Tree,
    pub(crate) entries: Arc<Vec<Entry>>,
    pub(crate) plans: mpsc::Sender<Plan>,
    pub(crate) messages: mpsc::Sender<Message>,
    /// For the folders that were made here, by their places in the list.
    pub(crate) made: std::sync::mpsc::Sender<Vec<u32>>,
    pub(crate) counters: Arc<Counters>,
}

impl Check {
    /// Works through the list.
    pub(crate) fn run(mut self) -> Result<(), TransferError> {
        let held = Arc::new(AtomicUsize::new(0));
        let (entries, mut made) = (Arc::clone(&self.entries), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            self.counters.pulse.work();
            // For nobody nothing is made.
            if self.messages.is_closed() {
                return Err(TransferError::lost());
            }
            match entry.kind {
                Kind::Folder => {
                    if self.tree.make_folder(&entry.path, entry.mode)? {
                        made.push(index as u32);
                    }
                }
                Kind::File { size, .. } => {
                    let found = self.look(entry, size, &held)?;
                    let what = match &found {
                        Found::Nothing => There::Nothing,
                        Found::Beginning(Beginning { length, hash, .. }) => {
                            There::Beginning { length: *length, hash: *hash.as_bytes() }
                        }
                        Found::File { nonce } => There::File { nonce: *nonce },
                    };
                    let have = Message::Have(Have { entry: index as u32, what });
                    self.messages.blocking_send(have).map_err(|_| TransferError::lost())?;
                    let plan = Plan { entry: index as u32, found };
                    self.plans.blocking_send(plan).map_err(|_| TransferError::lost())?;
                }
            }
        }
        self.made.send(made).map_err(|_| TransferError::lost())
    }

    fn look(&mut self, entry: &Entry, size: u64, held: &Arc<AtomicUsize>) -> Result<Found, TransferError> {
        let has_file = self.tree.has_file(&entry.path)?;
        let wanted = !has_file || self.tree.existing() == Existing::Replace;
        if wanted && (1..=size).contains(&self.tree.part_length(entry)?) {
            let mut part = self.tree.open_part(entry)?;
            if (1..=size).contains(&part.length) {
                let hasher = self.hash(&entry.path, &mut part.file, part.length)?;
                let (length, hash) = (part.length, hasher.finalize());
                let counted = Counted::new(held);
                let held = counted.map(|counted| Held { part, hasher: Box::new(hasher), _counted: counted });
                return Ok(Found::Beginning(Beginning { length, hash, held }));
            }
        }
        Ok(if has_file { Found::File { nonce: nonce()? } } else { Found::Nothing })
    }

    fn hash(&self, path: &RelPath, file: &mut std::fs::File, length: u64) -> Result<Hasher, TransferError> {
        let go_on = || {
            self.counters.pulse.work();
            !self.messages.is_closed() && !self.plans.is_closed()
        };
        hashing::prefix(file, length, go_on).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => TransferError::lost(),
            _ => Fault::system("read", path, &error).into(),
        })
    }
}

/// Something that nobody has seen before.
fn nonce() -> Result<[u8; 32], Fault> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| {
        Fault::new(FaultKind::System, format!("the system gives no random numbers: {error}"))
    })?;
    Ok(nonce)
}
