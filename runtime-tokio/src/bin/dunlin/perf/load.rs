//! What a client's streams do.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use dunlin_tokio::{Connection, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::net::code;
use crate::qotp;

use super::histogram::Histogram;
use super::{ALPN, PIECE, Wanted};

/// How long a server may take over the end of a measurement.
const LATE: Duration = Duration::from_secs(3);

/// What all streams of a client have done so far.
#[derive(Debug)]
pub(crate) struct Load {
    /// Bytes that have arrived at the other side, or messages that have come back.
    amount: AtomicU64,
    /// Round-trip times of messages, all, and those since the last look.
    times: Mutex<(Histogram, Histogram)>,
}

impl Load {
    pub(crate) fn new() -> Self {
        Self { amount: AtomicU64::new(0), times: Mutex::new((Histogram::new(), Histogram::new())) }
    }

    /// Counts more. What a server tells may be anything: it counts to the end and not around it.
    fn add(&self, amount: u64) {
        let _ = self.amount.fetch_update(Relaxed, Relaxed, |before| Some(before.saturating_add(amount)));
    }

    pub(crate) fn amount(&self) -> u64 {
        self.amount.load(Relaxed)
    }

    /// The times since the last call.
    pub(crate) fn take_times(&self) -> Histogram {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = core::mem::replace(&mut times.1, Histogram::new());
        times.0.add(&fresh);
        fresh
    }

    /// All times; those since the last look count too.
    pub(crate) fn all_times(&self) -> Histogram {
        self.take_times();
        self.times.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

/// One stream that does `wanted` until `deadline`; an upload ends after `bytes` too.
pub(crate) async fn stream(
    connection: Connection,
    wanted: Wanted,
    bytes: u64,
    deadline: Option<Instant>,
    load: Arc<Load>,
) -> io::Result<()> {
    let work = run(connection, wanted, bytes, deadline, &load);
    match deadline {
        None => work.await,
        Some(deadline) => timeout_at(deadline + LATE, work)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the server stopped answering"))),
    }
}

async fn run(
    connection: Connection,
    wanted: Wanted,
    bytes: u64,
    deadline: Option<Instant>,
    load: &Load,
) -> io::Result<()> {
    let (mut sender, mut receiver) = connection.open_bi().await.map_err(io::Error::other)?;
    qotp::introduce(&connection, &mut sender, ALPN).await?;
    AsyncWriteExt::write_all(&mut sender, &wanted.encode()).await?;
    match wanted {
        Wanted::Upload => {
            let ((), ()) = tokio::try_join!(upload(sender, bytes, deadline), follow(receiver, load))?;
            Ok(())
        }
        Wanted::Download { .. } => {
            sender.shutdown().await?;
            download(&mut receiver, deadline, load).await
        }
        Wanted::Ping { size } => ping(&mut sender, &mut receiver, size, deadline, load).await,
    }
}

/// The far future, for those without a deadline.
fn or_never(deadline: Option<Instant>) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    deadline.unwrap_or_else(|| Instant::now() + YEAR)
}

async fn upload(mut sender: SendStream, mut bytes: u64, deadline: Option<Instant>) -> io::Result<()> {
    let piece = vec![0; PIECE];
    let end = or_never(deadline);
    while bytes > 0 && Instant::now() < end {
        let now = usize::try_from(bytes).map_or(PIECE, |bytes| bytes.min(PIECE));
        // Dropped half-way at the deadline, a part is written; the server counts what came.
        match timeout_at(end, AsyncWriteExt::write_all(&mut sender, &piece[..now])).await {
            Ok(written) => written?,
            Err(_) => break,
        }
        bytes -= now as u64;
    }
    sender.shutdown().await
}

/// Hears from the server how much has arrived.
async fn follow(mut receiver: impl AsyncRead + Unpin, load: &Load) -> io::Result<()> {
    let mut before = 0;
    loop {
        match receiver.read_u64().await {
            Ok(total) => {
                load.add(total.saturating_sub(before));
                before = before.max(total);
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

async fn download(receiver: &mut RecvStream, deadline: Option<Instant>, load: &Load) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let end = or_never(deadline);
    while let Ok(read) = timeout_at(end, AsyncReadExt::read(receiver, &mut piece)).await {
        match read? {
            0 => return Ok(()),
            read => {
                load.add(read as u64);
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    receiver.stop(code::of(code::DONE));
    Ok(())
}

async fn ping(
    sender: &mut SendStream,
    receiver: &mut RecvStream,
    size: usize,
    deadline: Option<Instant>,
    load: &Load,
) -> io::Result<()> {
    let mut message = vec![0; size];
    let end = or_never(deadline);
    loop {
        let begun = std::time::Instant::now();
        AsyncWriteExt::write_all(sender, &message).await?;
        if timeout_at(end, receiver.read_exact(&mut message)).await.is_err() {
            return Ok(());
        }
        load.add(1);
        load.times.lock().unwrap_or_else(PoisonError::into_inner).1.record(begun.elapsed());
        if Instant::now() >= end {
            return sender.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_tells_nonsense_counts_to_the_end_once() {
        let totals = [5, 3, 7, 0, 6].map(u64::to_be_bytes).concat();
        let load = Load::new();
        follow(&totals[..], &load).await.unwrap();
        assert_eq!(load.amount(), 7, "what falls and rises again is not counted again");
        let totals = [u64::MAX, 0, 5].map(u64::to_be_bytes).concat();
        for _ in 0..2 {
            follow(&totals[..], &load).await.unwrap();
            assert_eq!(load.amount(), u64::MAX);
        }
    }
}
