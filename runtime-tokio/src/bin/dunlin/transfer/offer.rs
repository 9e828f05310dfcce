//! The sender's thread: reads the files, hashes them, and puts what the receiver lacks on the data stream.

use std::fs::File;
use std::io;
use std::sync::Arc;

use blake3::Hasher;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::counters::{Counters, Tally};
use super::fault::TransferError;
use super::hashing;
use super::pump::Feeder;
use super::source::Source;
use super::wire::{GIVE_UP, Have};

/// The thread's work.
pub(crate) struct Offer {
    source: Arc<Source>,
    haves: UnboundedReceiver<Have>,
    feeder: Feeder,
    counters: Arc<Counters>,
    kept: u64,
}

/// What the thread has put on the stream in the end.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The files, as far as they could be read.
    pub(crate) tally: Tally,
    /// Bytes that the receiver had already.
    pub(crate) kept: u64,
    /// Files that could not be read, with the reason.
    pub(crate) failed: Vec<String>,
}

/// What became of a file.
enum Outcome {
    Sent(blake3::Hash),
    GivenUp(String),
}

impl Offer {
    pub(crate) const fn new(
        source: Arc<Source>,
        haves: UnboundedReceiver<Have>,
        feeder: Feeder,
        counters: Arc<Counters>,
    ) -> Self {
        Self { source, haves, feeder, counters, kept: 0 }
    }

    /// Works through the list.
    pub(crate) fn run(mut self) -> Result<Sent, TransferError> {
        let source = Arc::clone(&self.source);
        let mut tally = Tally::new();
        let mut failed = Vec::new();
        for (index, entry) in source.entries.iter().enumerate() {
            let Some(size) = entry.size() else { continue };
            let have = self.next_have()?;
            if have.entry as usize != index || have.offset > size {
                return Err(TransferError::protocol("the receiver speaks of a file out of turn"));
            }
            match self.file(index, size, &have)? {
                Outcome::Sent(hash) => tally.add(entry, hash),
                Outcome::GivenUp(why) => failed.push(format!("`{}` was not sent: {why}", entry.path)),
            }
            self.counters.file_done();
        }
        self.feeder.flush()?;
        Ok(Sent { tally, kept: self.kept, failed })
    }

    /// What the receiver has of the next file. What was put so far goes out before this waits.
    fn next_have(&mut self) -> Result<Have, TransferError> {
        match self.haves.try_recv() {
            Ok(have) => return Ok(have),
            Err(TryRecvError::Disconnected) => return Err(TransferError::lost()),
            Err(TryRecvError::Empty) => self.feeder.flush()?,
        }
        self.haves.blocking_recv().ok_or_else(TransferError::lost)
    }

    fn file(&mut self, index: usize, size: u64, have: &Have) -> Result<Outcome, TransferError> {
        let opened = self.open(index, have);
        let start = opened.as_ref().map_or(have.offset, |(_, _, start)| *start);
        self.feeder.put(&have.entry.to_be_bytes())?;
        self.feeder.put(&start.to_be_bytes())?;
        let outcome = match opened {
            Ok((file, hasher, _)) => {
                self.counters.kept(start);
                self.pieces(file, hasher, size - start)?
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(TransferError::lost()),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(hash) => {
                self.kept += start;
                self.feeder.put(&0_u32.to_be_bytes())?;
                self.feeder.put(hash.as_bytes())?;
                Ok(Outcome::Sent(hash))
            }
            Err(error) => {
                self.feeder.put(&GIVE_UP.to_be_bytes())?;
                Ok(Outcome::GivenUp(match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it became shorter meanwhile; send it again".to_owned(),
                    _ => error.to_string(),
                }))
            }
        }
    }

    /// The file, at the place where sending starts, and the hash of what lies before.
    fn open(&self, index: usize, have: &Have) -> io::Result<(File, Hasher, u64)> {
        let mut file = File::open(self.source.location(index))?;
        if have.offset > 0 {
            // A prefix that cannot be read here is not the receiver's either.
            match hashing::prefix(&mut file, have.offset, || !self.haves.is_closed()) {
                Ok(hasher) if *hasher.finalize().as_bytes() == have.hash => {
                    return Ok((file, hasher, have.offset));
                }
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
                _ => io::Seek::rewind(&mut file)?,
            }
        }
        Ok((file, Hasher::new(), 0))
    }

    /// Puts `left` bytes of `file` on the stream, in pieces.
    fn pieces(
        &mut self,
        mut file: File,
        mut hasher: Hasher,
        mut left: u64,
    ) -> Result<io::Result<blake3::Hash>, TransferError> {
        while left > 0 {
            let read = self.feeder.put_piece(&mut file, left, |bytes| {
                hasher.update(bytes);
            })?;
            match read {
                Ok(0) => return Ok(Err(io::ErrorKind::UnexpectedEof.into())),
                Err(error) => return Ok(Err(error)),
                Ok(read) => {
                    left -= read as u64;
                    self.counters.moved(read as u64);
                }
            }
        }
        Ok(Ok(hasher.finalize()))
    }
}
