//! The receiver's second thread: takes the files off the data stream, checks and names them.

use std::fs::File;
use std::io::{BufRead, Seek, SeekFrom, Write};
use std::sync::Arc;

use blake3::{Hash, Hasher};
use tokio::sync::mpsc;

use crate::folder;

use super::check::{Beginning, Found, Plan};
use super::counters::{Counters, Tally};
use super::entry::{Entry, Kind};
use super::fault::{Fault, FaultKind, TransferError};
use super::hashing;
use super::pump::Intake;
use super::tree::{Part, Tree};
use super::wire::GIVE_UP;

/// The thread's work.
pub(crate) struct Store {
    pub(crate) tree: Tree,
    pub(crate) entries: Arc<Vec<Entry>>,
    pub(crate) plans: mpsc::Receiver<Plan>,
    pub(crate) intake: Intake,
    pub(crate) counters: Arc<Counters>,
}

/// What stands complete in the end.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The files.
    pub(crate) tally: Tally,
    /// Bytes of them that were there before.
    pub(crate) kept: u64,
    /// Files that the sender gave up.
    pub(crate) failed: Vec<String>,
}

/// How the pieces of a file ended.
enum Ending {
    /// With this hash, by the sender.
    Complete(Hash),
    GivenUp,
}

impl Store {
    /// Works through the list.
    pub(crate) fn run(mut self) -> Result<Stored, TransferError> {
        let entries = Arc::clone(&self.entries);
        let mut stored = Stored { tally: Tally::new(), kept: 0, failed: Vec::new() };
        for (index, entry) in entries.iter().enumerate() {
            let Some(size) = entry.size() else { continue };
            let plan = self.plans.blocking_recv().ok_or_else(TransferError::lost)?;
            let named = u32::from_be_bytes(self.intake.array()?);
            let start = u64::from_be_bytes(self.intake.array()?);
            if named != plan.entry || index != plan.entry as usize {
                return Err(TransferError::protocol("the sender sends a file out of turn"));
            }
            match self.file(entry, size, plan.found, start)? {
                Some(hash) => {
                    stored.kept += start;
                    stored.tally.add(entry, hash);
                }
                None => stored.failed.push(format!("`{}` was given up by the sender", entry.path)),
            }
            self.counters.file_done();
        }
        self.set_folder_modes(&entries)?;
        Ok(stored)
    }

    /// Takes one file off the stream; `None` if the sender gave it up.
    fn file(
        &mut self,
        entry: &Entry,
        size: u64,
        found: Found,
        start: u64,
    ) -> Result<Option<Hash>, TransferError> {
        match found {
            Found::Whole(hash) if start == size => self.confirm(entry, hash),
            Found::Beginning(beginning) if start == beginning.length => {
                let (part, hasher) = self.reopen(entry, beginning)?;
                self.fill(entry, size, part, hasher, start)
            }
            _ if start == 0 => {
                // Nothing of use, or nothing that the sender has too: from the beginning. A lock held on a part goes
                // first, since the part is opened anew.
                drop(found);
                let part = self.tree.open_part(&entry.path)?;
                // Only if it must be: ext4 takes a truncated file for one whose writer will not sync it, and writes it
                // out when it is closed.
                if part.length > 0 {
                    part.file.set_len(0).map_err(|error| Fault::system("write", &entry.path, &error))?;
                }
                self.fill(entry, size, part, Hasher::new(), 0)
            }
            _ => Err(TransferError::protocol("the sender starts a file at an odd place")),
        }
    }

    /// A complete file that was there already: the sender only confirms it.
    fn confirm(&mut self, entry: &Entry, ours: Hash) -> Result<Option<Hash>, TransferError> {
        match u32::from_be_bytes(self.intake.array()?) {
            0 => {}
            GIVE_UP => return Ok(None),
            _ => return Err(TransferError::protocol("the sender sends more of a file than there is")),
        }
        if ours != Hash::from_bytes(self.intake.array()?) {
            return Err(mismatch(entry).into());
        }
        let file = self.tree.read(&entry.path)?;
        set_mode(entry, &file)?;
        self.counters.kept(entry.size().unwrap_or(0));
        Ok(Some(ours))
    }

    /// The beginning that the first thread has found, at its end.
    fn reopen(&mut self, entry: &Entry, beginning: Beginning) -> Result<(Part, Hasher), TransferError> {
        if let Some(held) = beginning.held {
            return Ok((held.part, *held.hasher));
        }
        let mut part = self.tree.open_part(&entry.path)?;
        let hasher = hashing::prefix(&mut part.file, beginning.length, || true);
        match hasher {
            Ok(hasher) if part.length == beginning.length && hasher.finalize() == beginning.hash => {
                Ok((part, hasher))
            }
            _ => {
                let text = format!("`{}` was changed by another program meanwhile: send again", entry.path);
                Err(Fault::new(FaultKind::Changed, text).into())
            }
        }
    }

    /// Appends what comes to `part`, which holds `start` bytes with the hash so far, and completes the file.
    fn fill(
        &mut self,
        entry: &Entry,
        size: u64,
        mut part: Part,
        mut hasher: Hasher,
        start: u64,
    ) -> Result<Option<Hash>, TransferError> {
        let fail = |error| Fault::system("write", &entry.path, &error);
        part.file.seek(SeekFrom::Start(start)).map_err(fail)?;
        self.counters.kept(start);
        let (ending, left) = self.pieces(entry, size - start, &mut part.file, &mut hasher)?;
        let Ending::Complete(theirs) = ending else {
            if left == size {
                self.tree.discard(&entry.path)?;
            }
            return Ok(None);
        };
        if left > 0 {
            return Err(TransferError::protocol("the sender sends less of a file than it announced"));
        }
        if hasher.finalize() != theirs {
            self.tree.discard(&entry.path)?;
            return Err(mismatch(entry).into());
        }
        set_mode(entry, &part.file)?;
        self.tree.complete(&entry.path)?;
        Ok(Some(theirs))
    }

    /// Writes the pieces of a file as they come, `left` bytes at most; returns how many of these did not come.
    fn pieces(
        &mut self,
        entry: &Entry,
        mut left: u64,
        file: &mut File,
        hasher: &mut Hasher,
    ) -> Result<(Ending, u64), TransferError> {
        loop {
            let mut piece = match u32::from_be_bytes(self.intake.array()?) {
                0 => return Ok((Ending::Complete(Hash::from_bytes(self.intake.array()?)), left)),
                GIVE_UP => return Ok((Ending::GivenUp, left)),
                length if u64::from(length) > left => {
                    return Err(TransferError::protocol("the sender sends more of a file than it announced"));
                }
                length => length as usize,
            };
            left -= piece as u64;
            while piece > 0 {
                let here = self.intake.fill_buf().map_err(TransferError::Lost)?;
                let here = &here[..here.len().min(piece)];
                if here.is_empty() {
                    return Err(TransferError::lost());
                }
                hasher.update(here);
                file.write_all(here).map_err(|error| Fault::system("write", &entry.path, &error))?;
                let taken = here.len();
                self.intake.consume(taken);
                self.counters.moved(taken as u64);
                piece -= taken;
            }
        }
    }

    /// Inner folders first: an outer one may be closed to us afterwards.
    fn set_folder_modes(&mut self, entries: &[Entry]) -> Result<(), Fault> {
        for entry in entries.iter().rev().filter(|entry| entry.kind == Kind::Folder) {
            let folder = self.tree.folder(entry.path.as_bytes())?;
            folder
                .set_mode(entry.mode)
                .map_err(|error| Fault::system("set the mode of", &entry.path, &error))?;
        }
        Ok(())
    }
}

fn set_mode(entry: &Entry, file: &File) -> Result<(), Fault> {
    folder::set_file_mode(file, entry.mode)
        .map_err(|error| Fault::system("set the mode of", &entry.path, &error))
}

fn mismatch(entry: &Entry) -> Fault {
    let text = format!("the content of `{}` does not have the sender's hash: send it again", entry.path);
    Fault::new(FaultKind::Mismatch, text)
}
