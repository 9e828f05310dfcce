//! The server's side: answers whatever the scenario asks.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use super::{REQUEST, is_datagram, read_number};
use crate::grid::{Load, Way};
use crate::pattern::{self, Check, PIECE};
use crate::stack::{Connection, Gone, RecvHalf, SendHalf, Stack};

/// Serves until the process is ended.
pub(crate) async fn serve<S: Stack>(load: Load, mut listener: S::Listener) {
    loop {
        let arriving = S::accept(&mut listener).await;
        tokio::spawn(async move {
            if let Some(connection) = S::welcome(arriving).await {
                answer(load, Arc::new(connection)).await;
            }
        });
    }
}

async fn answer(load: Load, connection: Arc<impl Connection>) {
    let received = Arc::new(AtomicU64::new(0));
    if load == Load::Datagrams {
        tokio::spawn(count(Arc::clone(&connection), Arc::clone(&received)));
    }
    while let Some((send, recv)) = connection.accept().await {
        let received = Arc::clone(&received);
        match load {
            Load::Bulk { way: Way::Up, .. } | Load::Many => drop(tokio::spawn(sink(send, recv))),
            Load::Bulk { way: Way::Down, .. } => drop(tokio::spawn(source(send, recv))),
            Load::PingPong | Load::Handshakes { .. } | Load::Idle => drop(tokio::spawn(echo(send, recv))),
            Load::Requests => drop(tokio::spawn(reply(send, recv))),
            Load::Datagrams => drop(tokio::spawn(tell(send, recv, received))),
        }
    }
}

/// Reads to the end, and says how much it was.
async fn sink(mut send: impl SendHalf, mut recv: impl RecvHalf) -> Result<(), Gone> {
    let mut check = Check::default();
    while let Some(piece) = recv.read().await {
        check.take(piece);
    }
    send.write(&check.offset().to_be_bytes()).await?;
    send.finish().await
}

/// Writes for as long as it is asked to.
async fn source(mut send: impl SendHalf, mut recv: impl RecvHalf) -> Result<(), Gone> {
    let millis = read_number(&mut recv).await.unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(millis);
    let mut written = 0;
    while Instant::now() < deadline {
        send.write(pattern::at(written, PIECE)).await?;
        written += PIECE as u64;
    }
    send.finish().await
}

/// Sends back what comes.
async fn echo(mut send: impl SendHalf, mut recv: impl RecvHalf) -> Result<(), Gone> {
    while let Some(piece) = recv.read().await {
        send.write(piece).await?;
    }
    send.finish().await
}

/// Reads a request, and answers it.
async fn reply(mut send: impl SendHalf, mut recv: impl RecvHalf) -> Result<(), Gone> {
    let mut check = Check::default();
    while let Some(piece) = recv.read().await {
        check.take(piece);
    }
    assert_eq!(check.offset(), REQUEST as u64, "a request of another length");
    send.write(pattern::at(0, REQUEST)).await?;
    send.finish().await
}

/// Counts datagrams.
async fn count(connection: Arc<impl Connection>, received: Arc<AtomicU64>) {
    while let Some(datagram) = connection.read_datagram().await {
        assert!(is_datagram(&datagram), "wrong data in a datagram");
        received.fetch_add(1, Ordering::Relaxed);
    }
}

/// Says how many datagrams have come, once it is asked.
async fn tell(
    mut send: impl SendHalf,
    mut recv: impl RecvHalf,
    received: Arc<AtomicU64>,
) -> Result<(), Gone> {
    read_number(&mut recv).await;
    send.write(&received.load(Ordering::Relaxed).to_be_bytes()).await?;
    send.finish().await
}
