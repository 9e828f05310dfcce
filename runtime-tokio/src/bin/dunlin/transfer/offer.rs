//! The sender's thread: reads the files, hashes them, and puts what the receiver lacks on the data stream.

use std::fs::File;
use std::io;
use std::sync::Arc;

use blake3::{Hash, Hasher};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::counters::{Counters, Tally};
use super::entry::Entry;
use super::fault::TransferError;
use super::hashing;
use super::pump::Feeder;
use super::reader::Reader;
use super::source::Source;
use super::wire::{GIVE_UP, Have, There, Verdict};

/// The thread's work.
pub(crate) struct Offer {
    source: Arc<Source>,
    reader: Reader,
    haves: UnboundedReceiver<Have>,
    verdicts: UnboundedReceiver<(u32, Verdict)>,
    feeder: Feeder,
    counters: Arc<Counters>,
    sent: Sent,
    /// Files whose names are taken, with the hash of each as we have it, until the receiver says what becomes of them.
    shown: Vec<(u32, Hash)>,
}

/// What the thread has put on the stream in the end.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The files, as far as they could be read.
    pub(crate) tally: Tally,
    /// Bytes that the receiver had already.
    pub(crate) kept: u64,
    /// Files that could not be read, with the reason.
    pub(crate) failed: Vec<String>,
}

/// What is known of the receiver's part of a file, and where to start.
struct Opened {
    file: File,
    hasher: Hasher,
    start: u64,
}

impl Offer {
    pub(crate) fn new(
        source: Arc<Source>,
        haves: UnboundedReceiver<Have>,
        verdicts: UnboundedReceiver<(u32, Verdict)>,
        feeder: Feeder,
        counters: Arc<Counters>,
    ) -> Self {
        let reader = Reader::new(Arc::clone(&source));
        Self { source, reader, haves, verdicts, feeder, counters, sent: Sent::default(), shown: Vec::new() }
    }

    /// Works through the list, and then through the files that replace others.
    pub(crate) fn run(mut self) -> Result<Sent, TransferError> {
        let source = Arc::clone(&self.source);
        for (index, entry) in source.entries.iter().enumerate() {
            let (index, Some(size)) = (index as u32, entry.size()) else { continue };
            let have = self.next_have()?;
            if have.entry != index {
                return Err(TransferError::protocol("the receiver speaks of a file out of turn"));
            }
            match have.what {
                There::Nothing => self.file(index, size, None)?,
                There::Beginning { length, hash } if length <= size => {
                    self.file(index, size, Some((length, Hash::from_bytes(hash))))?;
                }
                There::Beginning { .. } => {
                    return Err(TransferError::protocol("the receiver has more of a file than there is"));
                }
                There::File { nonce } => self.show(index, size, &nonce)?,
            }
        }
        self.feeder.flush()?;
        for (index, hash) in core::mem::take(&mut self.shown) {
            let size = source.entries.get(index as usize).and_then(Entry::size).unwrap_or(0);
            match self.verdict(index)? {
                Verdict::Same => {
                    self.sent.kept += size;
                    self.sent.tally.add(index, hash);
                    self.counters.kept(size);
                    self.counters.file_done();
                }
                Verdict::Kept => self.counters.file_done(),
                Verdict::Send => self.file(index, size, None)?,
            }
        }
        self.feeder.flush()?;
        Ok(self.sent)
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

    /// What becomes of file number `index`. What was put so far goes out before.
    fn verdict(&mut self, index: u32) -> Result<Verdict, TransferError> {
        self.feeder.flush()?;
        loop {
            match self.verdicts.blocking_recv().ok_or_else(TransferError::lost)? {
                (named, verdict) if named == index => return Ok(verdict),
                // The name of a file that was sent in full was taken meanwhile.
                (_, Verdict::Kept) => {}
                _ => return Err(TransferError::protocol("the receiver judges a file out of turn")),
            }
        }
    }

    /// Shows the receiver, which has a file of that name, whether it is this one.
    fn show(&mut self, index: u32, size: u64, nonce: &[u8; 32]) -> Result<(), TransferError> {
        let shown = self
            .reader
            .open(index as usize)
            .and_then(|mut file| hashing::shown(&mut file, size, nonce, || self.goes_on()));
        self.begin(index, size)?;
        match shown {
            Ok(shown) => {
                self.shown.push((index, shown.hash));
                self.end(shown.proof)
            }
            Err(error) => self.give_up(index, &error),
        }
    }

    /// Puts a file on the stream, as far as the receiver lacks it: `have` is the length and the hash of what it has.
    fn file(&mut self, index: u32, size: u64, have: Option<(u64, Hash)>) -> Result<(), TransferError> {
        let opened = self.open(index, have);
        let start = match (&opened, have) {
            (Ok(opened), _) => opened.start,
            (Err(_), Some((length, _))) => length,
            (Err(_), None) => 0,
        };
        self.begin(index, start)?;
        let outcome = match opened {
            Ok(Opened { file, hasher, .. }) => {
                self.counters.kept(start);
                self.pieces(file, hasher, size - start)?
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(hash) => {
                self.sent.kept += start;
                self.sent.tally.add(index, hash);
                self.counters.file_done();
                self.end(hash)
            }
            Err(error) => self.give_up(index, &error),
        }
    }

    /// The head of a record.
    fn begin(&mut self, index: u32, start: u64) -> Result<(), TransferError> {
        self.feeder.put(&index.to_be_bytes())?;
        self.feeder.put(&start.to_be_bytes())
    }

    /// The end of a record.
    fn end(&mut self, hash: Hash) -> Result<(), TransferError> {
        self.feeder.put(&0_u32.to_be_bytes())?;
        self.feeder.put(hash.as_bytes())
    }

    /// The end of the record of a file that could not be read.
    fn give_up(&mut self, index: u32, error: &io::Error) -> Result<(), TransferError> {
        let why = match error.kind() {
            io::ErrorKind::Interrupted => return Err(TransferError::lost()),
            io::ErrorKind::UnexpectedEof => "it became shorter meanwhile; send it again".to_owned(),
            _ => error.to_string(),
        };
        if let Some(entry) = self.source.entries.get(index as usize) {
            self.sent.failed.push(format!("`{}` was not sent: {why}", entry.path));
        }
        self.counters.file_done();
        self.feeder.put(&GIVE_UP.to_be_bytes())
    }

    /// The file, at the place where sending starts, and the hash of what lies before.
    fn open(&mut self, index: u32, have: Option<(u64, Hash)>) -> io::Result<Opened> {
        let mut file = self.reader.open(index as usize)?;
        if let Some((length, hash)) = have {
            // A prefix that cannot be read here is not the receiver's either.
            match hashing::prefix(&mut file, length, || self.goes_on()) {
                Ok(hasher) if hasher.finalize() == hash => return Ok(Opened { file, hasher, start: length }),
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
                _ => io::Seek::rewind(&mut file)?,
            }
        }
        Ok(Opened { file, hasher: Hasher::new(), start: 0 })
    }

    /// Asked now and then while this reads.
    fn goes_on(&self) -> bool {
        self.counters.pulse.work();
        !self.haves.is_closed()
    }

    /// Puts `left` bytes of `file` on the stream, in pieces.
    fn pieces(
        &mut self,
        mut file: File,
        mut hasher: Hasher,
        mut left: u64,
    ) -> Result<io::Result<Hash>, TransferError> {
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
