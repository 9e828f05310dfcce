//! How streams end, and what is left of a future that was dropped.

use core::future::Future;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Waker};
use std::sync::Arc;
use std::task::Wake;

use dunlin_tokio::{ErrorCode, ReadError, ReadToEndError, RecvStream, SendStream, WriteError};

use crate::{Pair, config, poll_once, soon};

/// A bidirectional stream, both ends of it.
async fn stream(pair: &Pair) -> ((SendStream, RecvStream), (SendStream, RecvStream)) {
    let ours = soon(pair.dialled.open_bi()).await.unwrap();
    let theirs = soon(pair.accepted.accept_bi()).await.unwrap();
    (ours, theirs)
}

#[tokio::test]
async fn a_reset_reaches_the_reader() {
    let pair = Pair::new().await;
    let ((mut send, _recv), (_their_send, mut their_recv)) = stream(&pair).await;
    send.reset(7.into()).unwrap();
    let reset = ReadError::Reset(ErrorCode::from(7));
    assert_eq!(soon(their_recv.read(&mut [0; 8])).await, Err(reset.clone()));
    assert_eq!(soon(their_recv.read_chunk(8)).await, Err(reset), "it stays so");
    assert_eq!(send.write(b"x").await, Err(WriteError::Closed));
    assert_eq!(soon(send.delivered()).await, Err(WriteError::Closed));
}

#[tokio::test]
async fn a_stop_reaches_the_writer() {
    let pair = Pair::new().await;
    let ((mut send, _recv), (_their_send, mut their_recv)) = stream(&pair).await;
    let code = ErrorCode::from(9);
    their_recv.stop(code);
    assert_eq!(soon(send.stopped()).await, Ok(Some(code)));
    assert_eq!(send.write(b"x").await, Err(WriteError::Stopped(code)));
    assert_eq!(send.finish(), Err(WriteError::Stopped(code)));
    assert_eq!(soon(send.delivered()).await, Err(WriteError::Stopped(code)));
    assert_eq!(soon(their_recv.read(&mut [0; 8])).await, Err(ReadError::Closed));
}

#[tokio::test]
async fn a_writer_that_waits_for_room_hears_of_a_stop() {
    let pair = Pair::new().await;
    let ((mut send, _recv), (_their_send, mut their_recv)) = stream(&pair).await;
    let writer = tokio::spawn(async move {
        let data = vec![0; 64 << 20];
        send.write_all(&data).await
    });
    // Something has come, so the writer is at it; nobody reads on, so it will have to wait.
    soon(their_recv.read_chunk(1)).await.unwrap();
    their_recv.stop(3.into());
    assert_eq!(soon(writer).await.unwrap(), Err(WriteError::Stopped(3.into())));
}

#[tokio::test]
async fn dropped_halves_finish_and_stop() {
    let pair = Pair::new().await;
    let ((mut send, recv), (mut their_send, mut their_recv)) = stream(&pair).await;
    send.write_all(b"all of it").await.unwrap();
    drop(send);
    assert_eq!(soon(their_recv.read_to_end(100)).await.unwrap(), b"all of it");
    drop(recv);
    assert_eq!(soon(their_send.stopped()).await, Ok(Some(0.into())));
}

#[tokio::test]
async fn a_finished_stream_is_over_for_its_writer() {
    let pair = Pair::new().await;
    let ((mut send, _recv), (_their_send, mut their_recv)) = stream(&pair).await;
    send.write_all(b"abc").await.unwrap();
    send.finish().unwrap();
    assert_eq!(send.write(b"d").await, Err(WriteError::Closed));
    assert_eq!(send.finish(), Err(WriteError::Closed));
    assert_eq!(soon(send.delivered()).await, Ok(()));
    assert_eq!(soon(send.stopped()).await, Ok(None));
    let mut byte = [0; 2];
    assert_eq!(soon(their_recv.read(&mut byte)).await, Ok(Some(2)));
    assert_eq!(soon(their_recv.read(&mut byte)).await, Ok(Some(1)));
    assert_eq!(soon(their_recv.read(&mut byte)).await, Ok(None));
    assert_eq!(soon(their_recv.read_chunk(1)).await, Ok(None), "it stays so");
}

#[tokio::test]
async fn nothing_is_lost_when_reads_are_dropped() {
    let pair = Pair::new().await;
    let ((mut send, _recv), (_their_send, mut their_recv)) = stream(&pair).await;
    assert!(poll_once(core::pin::pin!(their_recv.read(&mut [0; 8]))).await.is_none());
    assert!(poll_once(core::pin::pin!(their_recv.read_chunk(8))).await.is_none());
    send.write_all(b"one ").await.unwrap();
    {
        // Takes the first part once it has come, waits for more, and is dropped there.
        let mut all = core::pin::pin!(their_recv.read_to_end(100));
        let later = pair.dialled.open_uni().await.unwrap();
        assert_eq!(soon(pair.accepted.accept_uni()).await.unwrap().id(), later.id());
        assert!(poll_once(all.as_mut()).await.is_none());
    }
    send.write_all(b"two").await.unwrap();
    send.finish().unwrap();
    let mut first = [0; 2];
    assert_eq!(soon(their_recv.read(&mut first)).await, Ok(Some(2)));
    assert_eq!(&first, b"on");
    assert_eq!(soon(their_recv.read_to_end(100)).await.unwrap(), b"e two");
}

#[tokio::test]
async fn a_write_that_is_dropped_tells_how_far_it_came() {
    let pair = Pair::new().await;
    let ((mut send, _recv), (_their_send, mut their_recv)) = stream(&pair).await;
    let data: Vec<u8> = (0..64_u32 << 20).map(|index| (index / 251) as u8).collect();
    let read = {
        // Polled until it waits for the reader, who takes one chunk.
        let mut writing = core::pin::pin!(send.write_all(&data));
        loop {
            assert!(poll_once(writing.as_mut()).await.is_none(), "64 MiB do not fit");
            if let Some(chunk) = poll_once(core::pin::pin!(their_recv.read_chunk(1000))).await {
                break chunk.unwrap().unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(read, data[..read.len()]);
    let written = send.written() as usize;
    assert!((read.len()..data.len()).contains(&written));
    let rest = async {
        send.write_all(&data[written..]).await.unwrap();
        send.finish().unwrap();
    };
    let (received, ()) = soon(async { tokio::join!(their_recv.read_to_end(data.len()), rest) }).await;
    assert!(received.unwrap() == data[read.len()..]);
}

#[tokio::test]
async fn opening_waits_for_the_peer_to_allow_it_and_passes_the_place_on() {
    let mut few = config();
    few.limits.streams_uni = 4;
    let pair = Pair::with(config(), few).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(soon(pair.dialled.open_uni()).await.unwrap());
    }
    let mut waits = Box::pin(pair.dialled.open_uni());
    let mut waits_longer = Box::pin(pair.dialled.open_uni());
    assert!(poll_once(waits.as_mut()).await.is_none());
    assert!(poll_once(waits_longer.as_mut()).await.is_none());
    drop(open);
    for _ in 0..4 {
        soon(pair.accepted.accept_uni()).await.unwrap().read_to_end(0).await.unwrap();
    }
    drop(waits);
    assert_eq!(soon(waits_longer).await.unwrap().id().index(), 4);
}

#[tokio::test]
async fn accepting_is_safe_to_drop() {
    let pair = Pair::new().await;
    let mut dropped = Box::pin(pair.accepted.accept_uni());
    assert!(poll_once(dropped.as_mut()).await.is_none());
    let accepted = pair.accepted.clone();
    let other = tokio::spawn(async move { accepted.accept_uni().await.map(|stream| stream.id()) });
    let stream = pair.dialled.open_uni().await.unwrap();
    drop(dropped);
    assert_eq!(soon(other).await.unwrap(), Ok(stream.id()));
}

#[tokio::test]
async fn a_stream_that_is_too_long_is_an_error() {
    let pair = Pair::new().await;
    let ((mut send, _recv), (_their_send, mut their_recv)) = stream(&pair).await;
    send.write_all(&[1; 11]).await.unwrap();
    send.finish().unwrap();
    assert_eq!(soon(their_recv.read_to_end(10)).await, Err(ReadToEndError::TooLong { limit: 10 }));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task may have another waker each time that it is polled. If the last one were woken for that, it would never sleep.
#[tokio::test]
async fn who_waits_again_is_not_woken_for_it() {
    let pair = Pair::new().await;
    let (mut send, mut recv) = pair.dialled.open_bi().await.unwrap();
    let wakers: [Arc<Count>; 3] = Default::default();
    {
        let mut buffer = [0; 1];
        let mut reading = core::pin::pin!(recv.read(&mut buffer));
        let mut delivered = core::pin::pin!(send.delivered());
        for count in &wakers {
            let waker = Waker::from(Arc::clone(count));
            let mut cx = Context::from_waker(&waker);
            assert!(reading.as_mut().poll(&mut cx).is_pending());
            assert!(delivered.as_mut().poll(&mut cx).is_pending());
        }
    }
    assert_eq!(wakers.each_ref().map(|count| count.0.load(Ordering::Relaxed)), [0, 0, 0]);
}
