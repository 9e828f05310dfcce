//! From the engine to the sockets, in trains, and several trains at once.

use core::net::SocketAddr;
use core::task::Waker;

use dunlin_core::{
    ConnectionHandle, CustomAddr, Endpoint, Instant, TrainLimit, Transmit, TransportAddr, Tuple,
};

use super::lanes::{GATHER, Lane, MESSAGES};
use crate::socket::DatagramSocket;
use crate::transports::Transports;

/// The trains that are being sent, through one socket or several, which are known by their numbers
/// ([`LocalAddr::socket`](dunlin_core::LocalAddr::socket)), and through custom transports, by their places.
///
/// A socket that takes no more holds no other one up. While the only one does not, nothing is built; but of several, each
/// keeps one load (97 KB at most), and what the engine builds for it beyond that is lost, and counted
/// ([`SocketStats::lost_overflow`](crate::SocketStats::lost_overflow)): it is as if the network had dropped it. A transport
/// is as one more socket. What is for an address to which none of them leads is lost as well, and counted
/// ([`TransportStats::lost_homeless`](crate::TransportStats::lost_homeless)).
#[derive(Debug)]
pub struct Transmitter {
    /// One for each socket, in their order. The first has its room from the beginning, the others when they need it.
    lanes: Vec<Lane<SocketAddr>>,
    /// One for each transport, by their places.
    custom: Vec<Lane<CustomAddr>>,
    transports: Transports,
    /// The socket of the latest train for one, into whose bytes the engine builds the next: mostly it is the same one's.
    latest: usize,
    more: bool,
}

/// How far the trains of a socket came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Sending {
    /// They are gone: sent, or lost as so many are on the way.
    Done,
    /// The socket takes no more. Send again when it is writable.
    Blocked,
    /// One is lost, because datagrams of this size are too large for the system:
    /// [`Endpoint::datagram_too_large`] wants to know. Send again: there may be others behind it.
    TooLarge {
        /// Whose they were.
        connection: ConnectionHandle,
        /// Between which ends.
        ends: Tuple,
        /// Their size, in bytes.
        size: usize,
    },
}

impl Default for Transmitter {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Transmitter {
    /// No trains, and so many sockets; at least one.
    #[must_use]
    pub fn new(sockets: usize) -> Self {
        let mut lanes = vec![Lane::roomy()];
        lanes.resize_with(sockets.max(1), Lane::default);
        Self { lanes, custom: Vec::new(), transports: Transports::default(), latest: 0, more: false }
    }

    /// The same, with these transports beside the sockets.
    #[must_use]
    pub fn with_transports(self, transports: Transports) -> Self {
        let custom = (0..transports.len()).map(|_| Lane::default()).collect();
        Self { custom, transports, ..self }
    }

    /// Whether there are trains for a socket that have not been sent. When the last [`send`](Self::send) was blocked, they
    /// wait for the socket.
    #[must_use]
    pub fn is_loaded(&self, socket: usize) -> bool {
        self.lanes.get(socket).is_some_and(Lane::is_loaded)
    }

    /// Whether there are trains for every socket and every transport, so that no more are built. When the last sends were
    /// blocked, it is no use to wait for the clock.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lanes.iter().all(Lane::is_loaded) && self.custom.iter().all(Lane::is_loaded)
    }

    /// Whether another [`load`](Self::load) is worth it although nothing that is loaded could be sent: there is more to
    /// send, perhaps for others than those that are stuck. What is built for these is lost.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.more && !self.is_full()
    }

    /// Whether the engine had more to send when the trains were enough, or has since: whether another
    /// [`load`](Self::load) is worth it before something happens.
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.more
    }

    /// Has the engine do what is due, and build trains if there are none for some socket: a full one, or several that leave
    /// together. None has more than `segments` datagrams: ask [`DatagramSocket::max_gso_segments`] of the sockets, and
    /// take the largest. `false`: there is nothing to send.
    pub fn load(&mut self, now: Instant, engine: &mut Endpoint, segments: usize) -> bool {
        if !self.is_full() {
            self.lanes.iter_mut().for_each(Lane::tidy);
            self.custom.iter_mut().for_each(Lane::tidy);
            engine.handle_timeout(now);
            self.gather(now, engine, TrainLimit { segments, bytes: TrainLimit::MAX_BYTES });
        }
        self.lanes.iter().any(Lane::is_loaded) || self.custom.iter().any(Lane::is_loaded)
    }

    fn gather(&mut self, now: Instant, engine: &mut Endpoint, limit: TrainLimit) {
        let (mut messages, mut bytes) = (0, 0);
        self.more = true;
        while messages < MESSAGES && bytes < GATHER {
            let lane = &mut self.lanes[self.latest];
            let Some(transmit) = engine.poll_transmit(now, limit, &mut lane.bytes) else {
                self.more = false;
                break;
            };
            messages += 1;
            bytes += transmit.len;
            self.sort(&transmit);
        }
    }

    /// Puts the train that was just built where it belongs.
    fn sort(&mut self, transmit: &Transmit) {
        match transmit.remote {
            TransportAddr::Ip(destination) => self.sort_udp(transmit, destination),
            TransportAddr::Custom { transport, address } => {
                let lane = self.transports.place_of(transport).and_then(|place| self.custom.get_mut(place));
                match lane {
                    Some(lane) => {
                        lane.take_last_of(&mut self.lanes[self.latest].bytes, transmit, address);
                    }
                    None => self.lose(transmit),
                }
            }
            _ => self.lose(transmit),
        }
    }

    fn sort_udp(&mut self, transmit: &Transmit, destination: SocketAddr) {
        let owner = usize::from(transmit.local.socket);
        if owner == self.latest {
            self.lanes[owner].keep_last(transmit, destination);
        } else if let Ok([built, lane]) = self.lanes.get_disjoint_mut([self.latest, owner]) {
            lane.take_last_of(&mut built.bytes, transmit, destination);
            self.latest = owner;
        } else {
            // There is no such socket.
            self.lose(transmit);
        }
    }

    /// No way leads where the train that was just built is to go.
    fn lose(&mut self, transmit: &Transmit) {
        self.lanes[self.latest].drop_last(transmit);
        self.transports.count_homeless();
    }

    /// Sends the trains for a socket, or what is left of them.
    pub fn send(&mut self, number: usize, socket: &impl DatagramSocket) -> Sending {
        let Some(lane) = self.lanes.get_mut(number) else { return Sending::Done };
        let sending = lane.send(number, socket);
        // The engine may take it up with smaller ones.
        self.more |= matches!(sending, Sending::TooLarge { .. });
        sending
    }

    /// Forgets the trains for a socket that is gone.
    pub fn discard(&mut self, socket: usize) {
        if let Some(lane) = self.lanes.get_mut(socket) {
            lane.clear();
        }
    }

    /// Sends what there is for the transports. Of those that take no more, `waker` is woken when they do; what is larger than
    /// one takes is lost, and `too_large` told as [`Endpoint::datagram_too_large`] wants to know. `false`: none took anything.
    pub fn send_custom(
        &mut self,
        waker: &Waker,
        mut too_large: impl FnMut(ConnectionHandle, Tuple, usize),
    ) -> bool {
        let mut sent = false;
        for (place, lane) in self.custom.iter_mut().enumerate() {
            let Some(line) = self.transports.line(place).filter(|_| lane.is_loaded()) else { continue };
            let mut known = false;
            loop {
                match lane.send(line) {
                    Sending::Done => {
                        sent = true;
                        break;
                    }
                    Sending::Blocked if known => break,
                    // There may be room before the waker is known, which nobody would tell: so once more.
                    Sending::Blocked => {
                        self.transports.wake(waker);
                        known = true;
                    }
                    Sending::TooLarge { connection, ends, size } => {
                        self.more = true;
                        too_large(connection, ends, size);
                    }
                }
            }
        }
        sent
    }
}
