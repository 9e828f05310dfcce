//! Signs of life: whether anything goes on in a transfer, at either end.

use core::future::pending;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::sleep;

use super::fault::{Fault, FaultKind, TransferError};
use super::wire::{self, Message};

/// A transfer in which nothing was heard for this long, and nothing done, is over. The connection itself would last: it asks
/// for signs of life every few seconds, which an end that only wants to hold a place gives.
const SILENCE: Duration = Duration::from_secs(60);

/// Of so many parts of [`SILENCE`], one without a word makes an end that is at work say so.
const WORDS: u32 = 6;

/// Counts what goes on.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// What came from the peer, or was taken by it.
    heard: AtomicU64,
    /// What was done here: reading, hashing and writing files.
    worked: AtomicU64,
    silence: Duration,
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new(SILENCE)
    }
}

impl Pulse {
    /// One that stops after so much silence.
    pub(crate) const fn new(silence: Duration) -> Self {
        Self { heard: AtomicU64::new(0), worked: AtomicU64::new(0), silence }
    }

    /// The peer was heard, or has taken something.
    pub(crate) fn hear(&self) {
        self.heard.fetch_add(1, Relaxed);
    }

    /// Something was done here.
    pub(crate) fn work(&self) {
        self.worked.fetch_add(1, Relaxed);
    }

    /// How long to wait before a word.
    pub(crate) fn between_words(&self) -> Duration {
        self.silence / WORDS
    }

    /// What has been done here so far.
    pub(crate) fn worked(&self) -> u64 {
        self.worked.load(Relaxed)
    }

    /// Waits until there has been silence.
    pub(crate) async fn stop(&self) -> TransferError {
        let now = || (self.heard.load(Relaxed), self.worked());
        let mut before = now();
        loop {
            sleep(self.silence).await;
            let after = now();
            if after == before {
                let seconds = self.silence.as_secs();
                let text = format!("nothing came from the other side for {seconds} seconds: send again");
                return Fault::new(FaultKind::Silent, text).into();
            }
            before = after;
        }
    }

    /// Says now and then that this end is at work, as long as it is; never ends but by a stream that breaks.
    pub(crate) async fn tell<W: AsyncWrite + Unpin>(&self, control: &mut W) -> TransferError {
        let mut before = self.worked();
        loop {
            sleep(self.between_words()).await;
            let after = self.worked();
            if after != before && wire::write_message(control, &Message::Working).await.is_err() {
                // Whoever reads will find out why.
                return pending().await;
            }
            before = after;
        }
    }
}
