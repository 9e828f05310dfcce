//! The driver: the one task of a shard, which owns its sockets.
//!
//! It receives a batch, hands it to the engine, sends the trains that the engine builds, and sleeps until something
//! arrives, a task has something to send, or the engine's deadline comes. The lock is held for one batch in or one train
//! out; system calls happen outside.

mod key_log;
mod receive;
mod sockets;
mod timer;
mod transmit;

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use dunlin_core::{ErrorCode, NetworkChange, Shard};
use dunlin_udp::{Receiver, Strays, Transmitter, Transports, UdpSocket};
use tracing::debug;

use crate::state::{Phase, Shared};

pub(crate) use key_log::KeyLogSink;
use receive::receive;
use sockets::Sockets;
use timer::Timer;
use transmit::transmit;

/// Batches in and trains out, taken together, after which other tasks of the thread get their turn.
const ROUNDS_PER_TURN: usize = 8;

/// The task. It ends when its endpoint is closed and has said so to every peer, or when its sockets fail.
#[derive(Debug)]
pub(crate) struct Driver {
    place: Place,
    sockets: Option<Sockets>,
    receiver: Receiver,
    strays: Strays,
    transmitter: Transmitter,
    timer: Timer,
    key_log: Option<KeyLogSink>,
}

/// A shard among all of its endpoint.
#[derive(Debug)]
pub(crate) struct Place {
    shards: Arc<[Arc<Shared>]>,
    shard: Shard,
}

impl Place {
    /// Of as many shards as there are in `shards`, the one with its number.
    pub(crate) const fn new(shards: Arc<[Arc<Shared>]>, shard: Shard) -> Self {
        Self { shards, shard }
    }

    pub(crate) const fn index(&self) -> u8 {
        self.shard.index()
    }

    /// All shards but this one.
    fn others(&self) -> impl Iterator<Item = &Shared> {
        let own = usize::from(self.shard.index());
        let others = self.shards.iter().enumerate().filter(move |(index, _)| *index != own);
        others.map(|(_, shared)| Arc::as_ref(shared))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shards[usize::from(self.shard.index())]
    }

    /// The shard to which a datagram belongs, if it is another one.
    fn elsewhere(&self, datagram: &[u8]) -> Option<&Shared> {
        let owner = self.shard.sibling_of(datagram)?;
        self.shards.get(usize::from(owner)).map(Arc::as_ref)
    }
}

/// What the driver may do next.
enum Next {
    /// There is more to do.
    Work,
    Sleep,
    Stop,
}

impl Driver {
    /// The driver of a shard, with its sockets by their numbers and the transports beside them, which hands what the engine
    /// logs to `key_log`. Must be called within a runtime.
    pub(crate) fn new(
        place: Place,
        all: Vec<UdpSocket>,
        transports: Transports,
        key_log: Option<KeyLogSink>,
    ) -> io::Result<Self> {
        let timer = Timer::new(place.shared().clock);
        let transmitter = Transmitter::new(all.len()).with_transports(transports.clone());
        let sockets = Some(Sockets::new(all, transports, place.shared())?);
        let strays = Strays::new(place.shard);
        Ok(Self { place, sockets, receiver: Receiver::new(), strays, transmitter, timer, key_log })
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> io::Result<Next> {
        let Self { place, sockets: Some(sockets), receiver, strays, transmitter, timer, key_log } = self
        else {
            return Ok(Next::Stop);
        };
        let shared = &**place.shared();
        rebind(shared, sockets)?;
        for _ in 0..ROUNDS_PER_TURN {
            let received = receive(receiver, cx, place, sockets, strays, transmitter.has_more())?;
            let sent = transmit(transmitter, cx, shared, sockets)?;
            if let Some(key_log) = key_log {
                key_log.drain(shared);
            }
            if received || sent {
                continue;
            }
            match rest(cx, shared, timer, transmitter.is_full()) {
                Next::Work => {}
                next => return Ok(next),
            }
        }
        Ok(Next::Work)
    }
}

/// Takes another socket over, if there is one.
fn rebind(shared: &Shared, sockets: &mut Sockets) -> io::Result<()> {
    let Some(udp) = shared.lock().take_socket() else { return Ok(()) };
    sockets.replace_first(udp, shared)?;
    shared.lock().engine.network_changed(shared.clock.now(), NetworkChange::Unspecified);
    Ok(())
}

/// Nothing came and nothing can be sent (if `blocked`, because no socket takes more): is there anything to wait for?
fn rest(cx: &mut Context<'_>, shared: &Shared, timer: &mut Timer, blocked: bool) -> Next {
    let now = shared.clock.now();
    let mut locked = shared.lock();
    let idle = locked.is_idle();
    locked.tell_idle();
    if locked.is_rebound() {
        return Next::Work;
    }
    let shutdown = match locked.phase {
        Phase::Open => None,
        Phase::Closing { deadline, .. } if idle || deadline <= now => return Next::Stop,
        Phase::Closing { deadline, .. } => Some(deadline),
        Phase::Stopped => return Next::Stop,
    };
    // What no socket takes now has to wait for one of them, not for the clock.
    let engine = if blocked { None } else { locked.engine.poll_timeout() };
    let deadline = [engine, shutdown].into_iter().flatten().min();
    locked.put_driver_to_sleep(cx.waker().clone());
    drop(locked);
    match deadline {
        Some(deadline) if timer.poll_until(cx, now, deadline).is_ready() => Next::Work,
        Some(_) | None => Next::Sleep,
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        match driver.turn(cx) {
            Ok(Next::Work) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Ok(Next::Sleep) => return Poll::Pending,
            Ok(Next::Stop) => debug!("endpoint stopped"),
            Err(error) => debug!(%error, "the last socket failed"),
        }
        driver.stop();
        Poll::Ready(())
    }
}

impl Driver {
    /// Closes the sockets, then tells everybody who waits. A shard that fails takes the others with it: an endpoint that
    /// hears a part of its peers only is of no use.
    fn stop(&mut self) {
        self.sockets = None;
        self.place.shared().lock().stop();
        for shared in &*self.place.shards {
            shared.lock().close_all(ErrorCode::default(), b"");
        }
    }
}

impl Drop for Driver {
    /// The runtime may shut down at any time.
    fn drop(&mut self) {
        self.stop();
    }
}
