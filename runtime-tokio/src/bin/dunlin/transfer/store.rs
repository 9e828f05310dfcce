//! The receiver's second thread: takes the files off the data stream, checks and names them.

use std::fs::File;
use std::io::{self, BufRead, Seek, SeekFrom, Write};
use std::sync::Arc;

use blake3::{Hash, Hasher};
use tokio::sync::mpsc;

use crate::folder::Existing;

use super::check::{Beginning, Found, Plan};
use super::counters::{Counters, Tally};
use super::entry::Entry;
use super::fault::{Fault, FaultKind, TransferError};
use super::hashing;
use super::pump::Intake;
use super::tree::{Naming, Part, Tree};
use super::wire::{GIVE_UP, Message, Verdict};

/// The thread's work.
pub(crate) struct Store {
    pub(crate) tree: Tree,
    pub(crate) entries: Arc<Vec<Entry>>,
    pub(crate) plans: mpsc::Receiver<Plan>,
    /// The folders that were made, by their places in the list; comes after the last plan.
    pub(crate) made: std::sync::mpsc::Receiver<Vec<u32>>,
    pub(crate) intake: Intake,
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) counters: Arc<Counters>,
}

/// What stands complete in the end.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The files, added up.
    pub(crate) tally: Tally,
    /// Bytes of them that were there before.
    pub(crate) kept: u64,
    /// Files that the sender gave up, or whose names were taken.
    pub(crate) failed: Vec<String>,
}

/// How the pieces of a file ended.
enum Ending {
    /// With this hash, by the sender.
    Complete(Hash),
    GivenUp,
}

/// What became of a file.
enum Outcome {
    /// It is there, with this hash; so many bytes of it were before.
    Complete { hash: Hash, kept: u64 },
    /// The sender gave it up.
    GivenUp,
    /// Another file has its name and keeps it.
    Taken,
    /// Another file has its name; the sender sends it after all others.
    Later,
}

impl Store {
    /// Works through the list, and then through the files that replace others.
    pub(crate) fn run(mut self) -> Result<Stored, TransferError> {
        let entries = Arc::clone(&self.entries);
        let mut stored = Stored { tally: Tally::default(), kept: 0, failed: Vec::new() };
        let mut later = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let Some(size) = entry.size() else { continue };
            let plan = self.plans.blocking_recv().ok_or_else(TransferError::lost)?;
            if index != plan.entry as usize {
                return Err(TransferError::lost());
            }
            let start = self.record(plan.entry)?;
            match self.file(plan.entry, entry, size, plan.found, start)? {
                Outcome::Later => later.push(plan.entry),
                outcome => self.note(&mut stored, plan.entry, entry, outcome),
            }
        }
        for index in later {
            let Some(entry) = entries.get(index as usize) else { continue };
            let (size, start) = (entry.size().unwrap_or(0), self.record(index)?);
            let outcome = self.file(index, entry, size, Found::Nothing, start)?;
            self.note(&mut stored, index, entry, outcome);
        }
        self.set_folder_modes(&entries)?;
        Ok(stored)
    }

    /// The head of the record of file number `index`: where its data starts.
    fn record(&mut self, index: u32) -> Result<u64, TransferError> {
        let named = u32::from_be_bytes(self.intake.array()?);
        let start = u64::from_be_bytes(self.intake.array()?);
        if named == index {
            Ok(start)
        } else {
            Err(TransferError::protocol("the sender sends a file out of turn"))
        }
    }

    fn note(&self, stored: &mut Stored, index: u32, entry: &Entry, outcome: Outcome) {
        match outcome {
            Outcome::Complete { hash, kept } => {
                stored.kept += kept;
                stored.tally.add(index, hash);
            }
            Outcome::GivenUp => stored.failed.push(format!("`{}` was given up by the sender", entry.path)),
            Outcome::Taken | Outcome::Later => stored.failed.push(format!(
                "`{}` was kept as it is; the sender has another file of that name",
                entry.path
            )),
        }
        self.counters.file_done();
    }

    fn say(&self, entry: u32, verdict: Verdict) -> Result<(), TransferError> {
        let verdict = Message::Verdict { entry, verdict };
        self.messages.blocking_send(verdict).map_err(|_| TransferError::lost())
    }

    /// Takes one file off the stream.
    fn file(
        &mut self,
        index: u32,
        entry: &Entry,
        size: u64,
        found: Found,
        start: u64,
    ) -> Result<Outcome, TransferError> {
        match found {
            Found::File { nonce } if start == size => self.confirm(index, entry, size, &nonce),
            Found::Beginning(beginning) if start == beginning.length => {
                let (part, hasher) = self.reopen(entry, beginning)?;
                self.fill(index, entry, size, part, hasher, start)
            }
            Found::Nothing | Found::Beginning(_) if start == 0 => {
                // Nothing of use, or nothing that the sender has too: from the beginning. A lock held on a part goes
                // first, since the part is opened anew.
                drop(found);
                let part = self.tree.open_part(entry)?;
                // Only if it must be: ext4 takes a truncated file for one whose writer will not sync it, and writes it
                // out when it is closed.
                if part.length > 0 {
                    part.file.set_len(0).map_err(|error| Fault::system("write", &entry.path, &error))?;
                }
                self.fill(index, entry, size, part, Hasher::new(), 0)
            }
            _ => Err(TransferError::protocol("the sender starts a file at an odd place")),
        }
    }

    /// A file of that name was there already: the sender shows that it has the same, or has not.
    fn confirm(
        &mut self,
        index: u32,
        entry: &Entry,
        size: u64,
        nonce: &[u8; 32],
    ) -> Result<Outcome, TransferError> {
        match u32::from_be_bytes(self.intake.array()?) {
            0 => {}
            GIVE_UP => return Ok(Outcome::GivenUp),
            _ => return Err(TransferError::protocol("the sender sends a file before it may")),
        }
        let theirs = Hash::from_bytes(self.intake.array()?);
        if let Some(hash) = self.same(entry, size, nonce, theirs)? {
            self.counters.kept(size);
            self.say(index, Verdict::Same)?;
            return Ok(Outcome::Complete { hash, kept: size });
        }
        match self.tree.existing() {
            Existing::Keep => {
                self.say(index, Verdict::Kept)?;
                Ok(Outcome::Taken)
            }
            Existing::Replace => {
                self.say(index, Verdict::Send)?;
                Ok(Outcome::Later)
            }
        }
    }

    /// The hash of the file that is there, if it is the one that `proof` was made from.
    fn same(
        &mut self,
        entry: &Entry,
        size: u64,
        nonce: &[u8; 32],
        proof: Hash,
    ) -> Result<Option<Hash>, TransferError> {
        let fail = |error: io::Error| Fault::system("read", &entry.path, &error);
        let mut file = self.tree.read(&entry.path)?;
        if file.metadata().map_err(fail)?.len() != size {
            return Ok(None);
        }
        let go_on = || {
            self.counters.pulse.work();
            !self.messages.is_closed()
        };
        match hashing::shown(&mut file, size, nonce, go_on) {
            // The comparison takes the same time wherever they differ.
            Ok(shown) => Ok((shown.proof == proof).then_some(shown.hash)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(TransferError::lost()),
            Err(error) => Err(fail(error).into()),
        }
    }

    /// The beginning that the first thread has found, at its end.
    fn reopen(&mut self, entry: &Entry, beginning: Beginning) -> Result<(Part, Hasher), TransferError> {
        if let Some(held) = beginning.held {
            return Ok((held.part, *held.hasher));
        }
        let mut part = self.tree.open_part(entry)?;
        let go_on = || {
            self.counters.pulse.work();
            !self.messages.is_closed()
        };
        let hasher = hashing::prefix(&mut part.file, beginning.length, go_on);
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
        index: u32,
        entry: &Entry,
        size: u64,
        mut part: Part,
        mut hasher: Hasher,
        start: u64,
    ) -> Result<Outcome, TransferError> {
        let fail = |error| Fault::system("write", &entry.path, &error);
        part.file.seek(SeekFrom::Start(start)).map_err(fail)?;
        self.counters.kept(start);
        let (ending, left) = self.pieces(entry, size - start, &mut part.file, &mut hasher)?;
        let Ending::Complete(theirs) = ending else {
            if left == size {
                self.tree.discard(entry)?;
            }
            return Ok(Outcome::GivenUp);
        };
        if left > 0 {
            return Err(TransferError::protocol("the sender sends less of a file than it announced"));
        }
        if hasher.finalize() != theirs {
            self.tree.discard(entry)?;
            return Err(mismatch(entry).into());
        }
        self.tree.set_mode(entry, &part.file)?;
        match self.tree.complete(entry)? {
            Naming::Done => Ok(Outcome::Complete { hash: theirs, kept: start }),
            // Somebody was faster.
            Naming::Taken => {
                self.say(index, Verdict::Kept)?;
                Ok(Outcome::Taken)
            }
        }
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

    /// Inner folders first: an outer one may be closed to us afterwards. Those that were there stay as they are.
    fn set_folder_modes(&mut self, entries: &[Entry]) -> Result<(), TransferError> {
        let made = self.made.recv().map_err(|_| TransferError::lost())?;
        for entry in made.iter().rev().filter_map(|index| entries.get(*index as usize)) {
            self.tree.set_folder_mode(entry)?;
        }
        Ok(())
    }
}

fn mismatch(entry: &Entry) -> Fault {
    let text = format!("the content of `{}` does not have the sender's hash: send it again", entry.path);
    Fault::new(FaultKind::Mismatch, text)
}
