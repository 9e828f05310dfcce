//! The receiver's first thread: makes the folders and finds out, file by file, what is there already.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::io;
use std::sync::Arc;

use blake3::{Hash, Hasher};
use tokio::sync::mpsc;

use super::entry::{Entry, Kind};
use super::fault::{Fault, TransferError};
use super::hashing;
use super::path::RelPath;
use super::tree::{Part, Tree};
use super::wire::{Have, Message};

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
    /// A complete file of the right size, with this hash.
    Whole(Hash),
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
}

impl Check {
    /// Works through the list.
    pub(crate) fn run(mut self) -> Result<(), TransferError> {
        let held = Arc::new(AtomicUsize::new(0));
        let entries = Arc::clone(&self.entries);
        for (index, entry) in entries.iter().enumerate() {
            match entry.kind {
                Kind::Folder => self.make_folder(&entry.path)?,
                Kind::File { size } => {
                    let found = self.look(&entry.path, size, &held)?;
                    let (offset, hash) = match &found {
                        Found::Nothing => (0, [0; 32]),
                        Found::Beginning(beginning) => (beginning.length, *beginning.hash.as_bytes()),
                        Found::Whole(hash) => (size, *hash.as_bytes()),
                    };
                    let have = Message::Have(Have { entry: index as u32, offset, hash });
                    self.messages.blocking_send(have).map_err(|_| TransferError::lost())?;
                    let plan = Plan { entry: index as u32, found };
                    self.plans.blocking_send(plan).map_err(|_| TransferError::lost())?;
                }
            }
        }
        Ok(())
    }

    /// Makes a folder, or opens one to its owner that an earlier try had closed; its own mode comes in the end.
    fn make_folder(&mut self, path: &RelPath) -> Result<(), Fault> {
        const OWNER: u16 = 0o700;
        let folder = self.tree.folder(path.as_bytes())?;
        let opened = folder.mode().and_then(|mode| match mode & OWNER {
            OWNER => Ok(()),
            _ => folder.set_mode(mode | OWNER),
        });
        opened.map_err(|error| Fault::system("enter", path, &error))
    }

    fn look(&mut self, path: &RelPath, size: u64, held: &Arc<AtomicUsize>) -> Result<Found, TransferError> {
        let existing = self.tree.existing(path)?;
        if (1..=size).contains(&self.tree.part_length(path)?) {
            let mut part = self.tree.open_part(path)?;
            if (1..=size).contains(&part.length) {
                let hasher = self.hash(path, &mut part.file, part.length)?;
                let (length, hash) = (part.length, hasher.finalize());
                let counted = Counted::new(held);
                let held = counted.map(|counted| Held { part, hasher: Box::new(hasher), _counted: counted });
                return Ok(Found::Beginning(Beginning { length, hash, held }));
            }
        }
        if existing == Some(size) && size > 0 {
            let mut file = self.tree.read(path)?;
            return Ok(Found::Whole(self.hash(path, &mut file, size)?.finalize()));
        }
        Ok(Found::Nothing)
    }

    fn hash(&self, path: &RelPath, file: &mut std::fs::File, length: u64) -> Result<Hasher, TransferError> {
        hashing::prefix(file, length, || !self.messages.is_closed() && !self.plans.is_closed()).map_err(
            |error| match error.kind() {
                io::ErrorKind::Interrupted => TransferError::lost(),
                _ => Fault::system("read", path, &error).into(),
            },
        )
    }
}
