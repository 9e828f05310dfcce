//! As much data as goes through.

use std::sync::Arc;
use std::time::Instant;

use super::{Client, join, millis, read_number};
use crate::pattern::{self, Check, PIECE};
use crate::process::Meter;
use crate::sample::Sample;
use crate::stack::{Connection, RecvHalf, SendHalf, Stack};

/// Writes until the time is over, and waits until the server says that it has everything.
pub(super) async fn upload<S: Stack>(client: Client, dialer: &S::Dialer, streams: u8) -> Sample {
    let connection = Arc::new(S::dial(dialer).await);
    let meter = Meter::start(client.ends);
    let deadline = client.deadline();
    let tasks = (0..streams).map(|_| tokio::spawn(upload_one(Arc::clone(&connection), deadline))).collect();
    let bytes = join(tasks).await.iter().sum();
    Sample::new(meter, bytes)
}

async fn upload_one(connection: Arc<impl Connection>, deadline: Instant) -> u64 {
    let (mut send, mut recv) = connection.open().await;
    let mut written = 0;
    while Instant::now() < deadline {
        send.write(pattern::at(written, PIECE)).await.expect("an open stream");
        written += PIECE as u64;
    }
    send.finish().await.expect("an open stream");
    assert_eq!(read_number(&mut recv).await, Some(written), "the server has something else");
    written
}

/// Asks for data, and reads it to its end.
pub(super) async fn download<S: Stack>(client: Client, dialer: &S::Dialer, streams: u8) -> Sample {
    let connection = Arc::new(S::dial(dialer).await);
    let meter = Meter::start(client.ends);
    let time = millis(client.setup.time);
    let tasks = (0..streams).map(|_| tokio::spawn(download_one(Arc::clone(&connection), time))).collect();
    let bytes = join(tasks).await.iter().sum();
    Sample::new(meter, bytes)
}

async fn download_one(connection: Arc<impl Connection>, millis: u64) -> u64 {
    let (mut send, mut recv) = connection.open().await;
    send.write(&millis.to_be_bytes()).await.expect("an open stream");
    send.finish().await.expect("an open stream");
    let mut check = Check::default();
    while let Some(piece) = recv.read().await {
        check.take(piece);
    }
    // A server that writes no more than a piece has failed.
    assert!(check.offset() > PIECE as u64, "the server sent {} bytes", check.offset());
    check.offset()
}
