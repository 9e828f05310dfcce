//! What lives in a world: the calls of a sans-IO engine, and the words that they share.

use core::net::SocketAddr;

use dunlin_core::Instant;

pub use dunlin_core::Ecn;

/// What one call of [`Node::poll_transmit`] appended: a datagram, or a train of them, for one destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// The address to send from; with port 0, the node's first address with this IP. `None` is the node's first address
    /// of the destination's family.
    pub local: Option<SocketAddr>,
    /// The destination.
    pub remote: SocketAddr,
    /// How many bytes were appended.
    pub len: usize,
    /// For a train: the length of each datagram in it, but for the last, which may be shorter. `None`: one datagram.
    pub segment_size: Option<usize>,
    /// The codepoint of each datagram.
    pub ecn: Option<Ecn>,
}

impl Transmit {
    /// One unmarked datagram of `len` bytes, from whatever address suits.
    #[must_use]
    pub const fn new(remote: SocketAddr, len: usize) -> Self {
        Self { local: None, remote, len, segment_size: None, ecn: None }
    }
}

/// A protocol engine, or a pair of engine and application, as the world drives it.
///
/// The world hands in all datagrams that are due, then calls [`handle_timeout`](Self::handle_timeout) if the time of
/// [`poll_timeout`](Self::poll_timeout) has come, then calls [`poll_transmit`](Self::poll_transmit) until it has
/// nothing more.
pub trait Node {
    /// Takes in a datagram that arrived at `local` from `remote`. The buffer is the node's to scribble on.
    fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    );

    /// Does what is due at `now`. May serve only part of it and stay due for the rest, but must get ahead: a node that
    /// is due again and again at one instant is reported as spinning.
    fn handle_timeout(&mut self, now: Instant);

    /// Appends the next datagram or train to `out`, which comes empty, and describes it.
    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit>;

    /// When to call [`handle_timeout`](Self::handle_timeout) next; an instant that has passed means at once.
    fn poll_timeout(&self) -> Option<Instant>;
}

impl<N: Node + ?Sized> Node for Box<N> {
    fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    ) {
        (**self).handle_datagram(now, local, remote, ecn, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        (**self).handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        (**self).poll_transmit(now, out)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (**self).poll_timeout()
    }
}
