//! The driver: the one task of a shard, which owns its socket.
//!
//! It receives a batch, hands it to the engine, sends the trains that the engine builds, and sleeps until something
//! arrives, a task has something to send, or the engine's deadline comes. The lock is held for one batch in or one train
//! out; system calls happen outside.

mod key_log;
mod receive;
mod timer;
mod transmit;

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use dunlin_core::{ErrorCode, NetworkChange, Shard};
use dunlin_udp::{Receiver, Transmitter, UdpSocket};
use tracing::debug;

use crate::state::{Phase, Shared};

pub(crate) use key_log::KeyLogSink;
use receive::receive;
use timer::Timer;
use transmit::transmit;

/// Batches in and trains out, taken together, after which other tasks of the thread get their turn.
const ROUNDS_PER_TURN: usize = 8;

/// The socket, and the runtime's eye on it.
#[derive(Debug)]
struct Socket {
    /// Ours: others ask it something at most.
    udp: Arc<UdpSocket>,
    /// Another descriptor of the same socket, for readiness alone.
    readiness: tokio::net::UdpSocket,
}

impl Socket {
    /// The socket that a shard has from now on.
    fn new(udp: UdpSocket, shared: &Shared) -> io::Result<Self> {
        let readiness = tokio::net::UdpSocket::from_std(udp.as_std().try_clone()?)?;
        let udp = Arc::new(udp);
        shared.lock().in_use = Arc::downgrade(&udp);
        Ok(Self { udp, readiness })
    }
}

/// The task. It ends when its endpoint is closed and has said so to every peer, or when the socket fails.
#[derive(Debug)]
pub(crate) struct Driver {
    place: Place,
    socket: Option<Socket>,
    receiver: Receiver,
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
    /// The driver of a shard, with its socket, which hands what the engine logs to `key_log`. Must be called within a runtime.
    pub(crate) fn new(place: Place, udp: UdpSocket, key_log: Option<KeyLogSink>) -> io::Result<Self> {
        let timer = Timer::new(place.shared().clock);
        let socket = Some(Socket::new(udp, place.shared())?);
        Ok(Self { place, socket, receiver: Receiver::new(), transmitter: Transmitter::new(), timer, key_log })
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> io::Result<Next> {
        let Self { place, socket: Some(socket), receiver, transmitter, timer, key_log } = self else {
            return Ok(Next::Stop);
        };
        let shared = &**place.shared();
        rebind(shared, socket)?;
        for _ in 0..ROUNDS_PER_TURN {
            let received = receive(receiver, cx, place, socket, transmitter.has_more())?;
            let sent = transmit(transmitter, cx, shared, socket)?;
            if let Some(key_log) = key_log {
                key_log.drain(shared);
            }
            if received || sent {
                continue;
            }
            match rest(cx, shared, timer, transmitter.is_loaded()) {
                Next::Work => {}
                next => return Ok(next),
            }
        }
        Ok(Next::Work)
    }
}

/// Takes another socket over, if there is one. Whoever waits to hear of the old one is woken by the new one.
fn rebind(shared: &Shared, socket: &mut Socket) -> io::Result<()> {
    let mut locked = shared.lock();
    let Some(udp) = locked.take_socket() else { return Ok(()) };
    locked.engine.network_changed(shared.clock.now(), NetworkChange::Unspecified);
    drop(locked);
    *socket = Socket::new(udp, shared)?;
    Ok(())
}

/// Nothing came and nothing can be sent (if `blocked`, because the socket takes no more): is there anything to wait for?
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
    // What the socket does not take now has to wait for the socket, not for the clock.
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
            Err(error) => debug!(%error, "the socket failed"),
        }
        driver.stop();
        Poll::Ready(())
    }
}

impl Driver {
    /// Closes the socket, then tells everybody who waits. A shard that fails takes the others with it: an endpoint that
    /// hears a part of its peers only is of no use.
    fn stop(&mut self) {
        self.socket = None;
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
