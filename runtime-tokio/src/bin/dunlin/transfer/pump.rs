//! Between streams and threads: files are read, hashed and written by threads of their own, so that the runtime's
//! threads have nothing to do but the network. Buffers of [`BUFFER`] bytes go back and forth, at most [`QUEUE`] of them
//! wait, and used ones are used again.

use core::mem;
use std::io::{self, BufRead, Read};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::fault::TransferError;
use super::pulse::Pulse;

/// Bytes of a buffer: large enough that handing it over costs nothing beside filling it.
const BUFFER: usize = 256 << 10;

/// Buffers that wait between a stream and a thread.
const QUEUE: usize = 8;

/// Bytes written to a stream at once: what the slowest network that is not silence takes in a while.
const AT_ONCE: usize = 16 << 10;

/// Where a piece of a file is worth beginning, in bytes left in the buffer.
const WORTH_BEGINNING: usize = 4 << 10;

/// A buffer, filled up to `len`.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    len: usize,
}

/// Used buffers.
#[derive(Clone, Debug, Default)]
struct Pool(Arc<Mutex<Vec<Buffer>>>);

impl Pool {
    fn take(&self) -> Buffer {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        used.unwrap_or_else(|| Buffer { bytes: vec![0; BUFFER].into(), len: 0 })
    }

    fn give(&self, mut buffer: Buffer) {
        buffer.len = 0;
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.bytes.len() == BUFFER && spare.len() < QUEUE {
            spare.push(buffer);
        }
    }
}

/// From a thread to a stream.
pub(crate) fn outlet() -> (Feeder, Drain) {
    let (full, filled) = mpsc::channel(QUEUE);
    let pool = Pool::default();
    (Feeder { full, buffer: pool.take(), pool: pool.clone() }, Drain { filled, pool })
}

/// From a stream to a thread.
pub(crate) fn inlet() -> (Fill, Intake) {
    let (full, filled) = mpsc::channel(QUEUE);
    let pool = Pool::default();
    let current = Buffer { bytes: Box::default(), len: 0 };
    (Fill { full, pool: pool.clone() }, Intake { filled, current, at: 0, pool })
}

/// The thread's end towards a stream. What was put is sent when a buffer is full, or on [`Feeder::flush`].
#[derive(Debug)]
pub(crate) struct Feeder {
    full: mpsc::Sender<Buffer>,
    buffer: Buffer,
    pool: Pool,
}

impl Feeder {
    /// Puts a few bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        if self.buffer.bytes.len() - self.buffer.len < bytes.len() {
            self.flush()?;
        }
        self.buffer.bytes[self.buffer.len..][..bytes.len()].copy_from_slice(bytes);
        self.buffer.len += bytes.len();
        Ok(())
    }

    /// Puts a piece of at most `max` bytes, its length first, as one read of `source` gives it; `seen` is shown the
    /// bytes. Returns their number; at the end of `source` nothing is put.
    pub(crate) fn put_piece(
        &mut self,
        source: &mut impl Read,
        max: u64,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<io::Result<usize>, TransferError> {
        const LENGTH: usize = 4;
        if self.buffer.bytes.len() - self.buffer.len < WORTH_BEGINNING {
            self.flush()?;
        }
        let (length, room) = self.buffer.bytes[self.buffer.len..].split_at_mut(LENGTH);
        let room_len = room.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        let room = &mut room[..room_len];
        let read = loop {
            match source.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(error)),
                Ok(read) => break read,
            }
        };
        if read > 0 {
            seen(&room[..read]);
            length.copy_from_slice(&(read as u32).to_be_bytes());
            self.buffer.len += LENGTH + read;
        }
        Ok(Ok(read))
    }

    /// Sends what was put so far.
    pub(crate) fn flush(&mut self) -> Result<(), TransferError> {
        if self.buffer.len > 0 {
            let full = mem::replace(&mut self.buffer, self.pool.take());
            self.full.blocking_send(full).map_err(|_| TransferError::lost())?;
        }
        Ok(())
    }
}

/// The stream's end of an outlet.
#[derive(Debug)]
pub(crate) struct Drain {
    filled: mpsc::Receiver<Buffer>,
    pool: Pool,
}

impl Drain {
    /// Writes what the thread feeds until it is done. Does not end the stream.
    pub(crate) async fn run<W: AsyncWrite + Unpin>(
        mut self,
        stream: &mut W,
        pulse: &Pulse,
    ) -> io::Result<()> {
        while let Some(buffer) = self.filled.recv().await {
            for piece in buffer.bytes[..buffer.len].chunks(AT_ONCE) {
                stream.write_all(piece).await?;
                pulse.hear();
            }
            self.pool.give(buffer);
        }
        stream.flush().await
    }
}

/// The stream's end of an inlet.
#[derive(Debug)]
pub(crate) struct Fill {
    full: mpsc::Sender<Buffer>,
    pool: Pool,
}

impl Fill {
    /// Reads until the end of the stream, or until the thread takes no more. Whatever was read before an error
    /// reaches the thread.
    pub(crate) async fn run<R: AsyncRead + Unpin>(self, stream: &mut R, pulse: &Pulse) -> io::Result<()> {
        let mut buffer = self.pool.take();
        loop {
            let read = stream.read(&mut buffer.bytes[buffer.len..]).await;
            pulse.hear();
            buffer.len += *read.as_ref().unwrap_or(&0);
            let over = !matches!(read, Ok(1..));
            if over || buffer.len == buffer.bytes.len() {
                if self.full.send(mem::replace(&mut buffer, self.pool.take())).await.is_err() {
                    return Ok(());
                }
            } else if let Ok(place) = self.full.try_reserve() {
                place.send(mem::replace(&mut buffer, self.pool.take()));
            }
            if over {
                return read.map(|_| ());
            }
        }
    }
}

/// The thread's end of an inlet: what the stream brings, in order.
#[derive(Debug)]
pub(crate) struct Intake {
    filled: mpsc::Receiver<Buffer>,
    current: Buffer,
    at: usize,
    pool: Pool,
}

impl Intake {
    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], TransferError> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes).map_err(TransferError::Lost)?;
        Ok(bytes)
    }
}

impl BufRead for Intake {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.current.len {
            let Some(next) = self.filled.blocking_recv() else { return Ok(&[]) };
            self.pool.give(mem::replace(&mut self.current, next));
            self.at = 0;
        }
        Ok(&self.current.bytes[self.at..self.current.len])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.current.len);
    }
}

impl Read for Intake {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = Read::read(&mut self.fill_buf()?, out)?;
        self.consume(read);
        Ok(read)
    }
}
