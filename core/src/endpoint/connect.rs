//! Dialling.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::connection::Connection;
use crate::connection::qotp::Dial;
use crate::crypto::{EarlyToken, PublicKey, QotpPublicKey};
use crate::error::ConnectError;
use crate::handshake::initiator::{Dialling, Target};
use crate::handshake::negotiate::check_alpns;
use crate::id::WireVersion;
use crate::path::addr::{LocalAddr, TransportAddr, Tuple};
use crate::stats::count;
use crate::time::{Duration, Instant};

use super::{ConnectionHandle, Endpoint, Entry};

/// Whom to dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Peer {
    /// The holder of this key, and nobody else. Early data may go with the first packet.
    Key(PublicKey),
    /// Somebody whose key is not known: the dial stops at `Event::PeerKey` until `trust` is called. Our own key and the
    /// application protocols go in clear.
    Unknown,
    /// Anybody who answers, without asking: the connection is private, but with whom is not known before it stands. Our
    /// own key and the application protocols go in clear.
    ///
    /// On QOTP's wire: its flow with keys in band, whose first packet carries no data.
    AnyKey,
    /// QOTP only: its flow with a known key, whose first packet carries data that only the holder of this key can read.
    /// Who answers is not proved all the same.
    QotpKey(QotpPublicKey),
}

/// How to dial.
///
/// A peer may have several addresses. On the native wire all of them are dialled at once, as one dial: the first 8 get a copy
/// of the first packet at the same time, one more each 25 ms, at most 32 in all, and where the first answer comes from is
/// where the connection begins. Whoever else answers costs a packet. Addresses of the peer's that the endpoint knows already
/// ([`Endpoint::remote`]) are dialled too, those at which it was met right behind the best that is named here, unless the dial is [`exact`](Self::exact).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Where to: the best address. One that nothing can be sent to is left out, so that a peer whose addresses are known can
    /// be dialled by its key alone.
    pub remote: TransportAddr,
    /// Through which socket, and from which of its addresses. Default: socket 0, and the address that the system chooses.
    /// Without meaning where `remote` is no IP address.
    pub local: LocalAddr,
    /// Further addresses of the same peer, the better ones first, each with the socket to use.
    pub others: Vec<Tuple>,
    /// Addresses at which the peer may be, as somebody else says: a directory, or another peer. Each gets 3 copies of the
    /// first packet at most, and 6 in a minute. This machine's, link-local ones, and those with a port below 1,024 other
    /// than 443 get none: they are dialled only if you name them.
    pub guesses: Vec<Tuple>,
    /// Whether no other address is tried than those. Default: no.
    pub exact: bool,
    /// Application protocols to offer, at least one; QOTP has none.
    pub alpns: Vec<Vec<u8>>,
    /// After how long without an answer the dial fails; the endpoint's `connect_timeout` if `None`.
    pub timeout: Option<Duration>,
    /// Asks that what is written before the first packet goes be acted on at once. Default: no. See [`Self::early`].
    pub early: Option<EarlyToken>,
    /// What to speak. Nothing ever falls back from one wire to another.
    pub wire: WireVersion,
}

impl ConnectOptions {
    /// Dials `remote`, offering one application protocol.
    #[must_use]
    pub fn new(remote: impl Into<TransportAddr>, alpn: &[u8]) -> Self {
        Self::of(remote.into(), alloc::vec![alpn.to_vec()], WireVersion::Native)
    }

    /// Dials `remote` in QOTP: see [`WireVersion::Qotp`] before you do. It has one address: `others` and `guesses` are an
    /// error.
    #[must_use]
    pub fn qotp(remote: impl Into<TransportAddr>) -> Self {
        Self::of(remote.into(), Vec::new(), WireVersion::Qotp)
    }

    fn of(remote: TransportAddr, alpns: Vec<Vec<u8>>, wire: WireVersion) -> Self {
        let (others, guesses) = (Vec::new(), Vec::new());
        let (remote, local) = (remote.canonical(), LocalAddr::default());
        Self { remote, local, others, guesses, exact: false, alpns, timeout: None, early: None, wire }
    }

    /// Another address of the same peer.
    #[must_use]
    pub fn also(mut self, remote: impl Into<TransportAddr>) -> Self {
        self.others.push(Tuple { local: LocalAddr::default(), remote: remote.into() });
        self
    }

    /// An address at which the peer may be, as somebody else says.
    #[must_use]
    pub fn guess(mut self, remote: impl Into<TransportAddr>) -> Self {
        self.guesses.push(Tuple { local: LocalAddr::default(), remote: remote.into() });
        self
    }

    /// Dials the addresses that are named here and no others that are known of the peer: for who wants this way and no other.
    #[must_use]
    pub const fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Asks the peer to act at once on what is written before the first packet goes, as far as that carries it, without waiting
    /// for the proof that it is us who wrote it. `token` is from an earlier connection to the same peer
    /// ([`Connection::early_token`](crate::Connection::early_token)), by the same identity; each is good for one dial. Where the
    /// peer does not do so, for whatever reason, nothing is lost but the time.
    ///
    /// So write only what may be done twice before [`Event::Connected`](crate::Event::Connected): who can see the packet can hand
    /// it in again, though a peer that keeps to the rules acts on it once; and who ever gets the peer's secret key can read it.
    ///
    /// With [`Peer::Key`] only: other dials carry no early data, and the token is not used.
    #[must_use]
    pub fn early(mut self, token: EarlyToken) -> Self {
        self.early = Some(token);
        self
    }

    /// Lets `choose` say which socket is for an address, for all those that say nothing about it themselves.
    pub fn choose_sockets(&mut self, choose: impl Fn(&TransportAddr) -> u16) {
        let further = self.others.iter_mut().chain(&mut self.guesses);
        let further = further.map(|way| (&way.remote, &mut way.local));
        for (remote, local) in further.chain([(&self.remote, &mut self.local)]) {
            if *local == LocalAddr::default() {
                local.socket = choose(remote);
            }
        }
    }
}

impl Endpoint {
    /// Dials. `Event::Connected`, `Event::PeerKey` or `Event::Closed` says how it went.
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing was started then.
    pub fn connect(
        &mut self,
        now: Instant,
        peer: Peer,
        options: ConnectOptions,
    ) -> Result<ConnectionHandle, ConnectError> {
        let now = self.shared.advance(now);
        let deadline = now + options.timeout.unwrap_or(self.shared.config.connect_timeout);
        match (options.wire, peer) {
            (WireVersion::Native, Peer::Key(key)) => self.dial(now, Target::Key(key), options, deadline),
            (WireVersion::Native, Peer::Unknown) => self.dial(now, Target::Unknown, options, deadline),
            (WireVersion::Native, Peer::AnyKey) => self.dial(now, Target::AnyKey, options, deadline),
            (WireVersion::Qotp, Peer::QotpKey(key)) => self.dial_qotp(now, Some(key), &options, deadline),
            (WireVersion::Qotp, Peer::AnyKey) => self.dial_qotp(now, None, &options, deadline),
            (WireVersion::Native, Peer::QotpKey(_)) | (WireVersion::Qotp, Peer::Key(_) | Peer::Unknown) => {
                Err(ConnectError::Wire)
            }
        }
    }

    fn dial(
        &mut self,
        now: Instant,
        target: Target,
        options: ConnectOptions,
        deadline: Instant,
    ) -> Result<ConnectionHandle, ConnectError> {
        check_alpns(&options.alpns)?;
        if matches!(target, Target::Key(key) if key == *self.public_key()) && !self.shared.config.allow_self {
            return Err(ConnectError::OwnKey);
        }
        self.has_room()?;
        let key = match &target {
            Target::Key(key) => Some(*key),
            Target::Unknown | Target::AnyKey => None,
        };
        let fanout = self.ways(now, key.as_ref(), &options).ok_or(ConnectError::Address)?;
        let dialling = Dialling::new(now, target, options.alpns, options.early, deadline, fanout);
        let (handle, id) = (self.slots.vacant(), self.shared.ids.fresh(&mut self.shared.rng));
        let mut connection =
            Connection::dial(&mut self.shared, now, handle, id, dialling).ok_or(ConnectError::OverBudget)?;
        if let Some(key) = key {
            connection.seek(&mut self.shared, &key);
        }
        self.shared.ids.insert(id, handle.slot);
        self.start(connection);
        Ok(handle)
    }

    fn dial_qotp(
        &mut self,
        now: Instant,
        key: Option<QotpPublicKey>,
        options: &ConnectOptions,
        deadline: Instant,
    ) -> Result<ConnectionHandle, ConnectError> {
        let remote = options.remote.canonical();
        if !options.others.is_empty() || !options.guesses.is_empty() {
            return Err(ConnectError::OneAddress);
        }
        if !remote.is_sendable() {
            return Err(ConnectError::Address);
        }
        // Both ends would have the one id, and this endpoint cannot tell them apart.
        if key.is_some_and(|key| key == *self.qotp_public_key()) {
            return Err(ConnectError::OwnKey);
        }
        let dial = self.fresh_qotp_dial(now, key, deadline);
        let handle = self.dial_qotp_with(now, remote, dial)?;
        if let Some(Entry::Connection(connection)) = self.slots.get_mut(handle) {
            connection.leave_from(options.local.towards(&remote));
        }
        Ok(handle)
    }

    pub(super) fn dial_qotp_with(
        &mut self,
        now: Instant,
        remote: TransportAddr,
        dial: Dial,
    ) -> Result<ConnectionHandle, ConnectError> {
        self.has_room()?;
        let (handle, id) = (self.slots.vacant(), dial.connection_id());
        let connection = Connection::dial_qotp(&mut self.shared, now, handle, id, remote, dial)
            .ok_or(ConnectError::OverBudget)?;
        self.qotp_ids.insert(id, handle.slot);
        self.start(connection);
        Ok(handle)
    }

    /// A dial whose ephemeral key, and with it the connection id, is this shard's and not in use. Nobody can choose the
    /// bytes of a public key, so keys are drawn until one fits: of `count` shards, that takes `count` keys on average, and
    /// more than 20 times as many once in 500 million dials.
    fn fresh_qotp_dial(&mut self, now: Instant, key: Option<QotpPublicKey>, deadline: Instant) -> Dial {
        loop {
            let ephemeral = self.shared.rng.ephemeral_secret(now, &[]);
            let dial = Dial::new(&ephemeral, key, deadline);
            let id = dial.connection_id();
            if self.shared.config.shard.owns(id) && !self.qotp_ids.contains_key(&id) {
                return dial;
            }
        }
    }

    fn has_room(&self) -> Result<(), ConnectError> {
        let full = self.slots.len() >= self.shared.config.limits.connections as usize;
        if full { Err(ConnectError::TooManyConnections) } else { Ok(()) }
    }

    /// Puts a dialling connection into the slot that is vacant.
    fn start(&mut self, connection: Connection) {
        let slot = connection.handle.slot;
        self.slots.insert(Entry::Connection(Box::new(connection)));
        self.ready.push(slot);
        count(&mut self.shared.stats.dials, 1);
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::config::Config;
    use crate::crypto::Identity;
    use crate::endpoint::NetworkChange;
    use crate::path::addr::TrainLimit;

    #[test]
    fn path_a_dial_keeps_to_the_socket_that_it_names() {
        let ip = "192.0.2.1".parse().unwrap();
        for mut options in [
            ConnectOptions::new(SocketAddr::new(ip, 9), b"test"),
            ConnectOptions::qotp(SocketAddr::new(ip, 9)),
        ] {
            let mut endpoint = Endpoint::new(Config::default(), Identity::from_secret([1; 32]), [1; 32]);
            options.local = LocalAddr { socket: 3, ip: Some(ip) };
            endpoint.connect(Instant::ZERO, Peer::AnyKey, options.clone()).unwrap();
            let leaves = |endpoint: &mut Endpoint, now| {
                endpoint.poll_transmit(now, TrainLimit::SINGLE, &mut Vec::new()).unwrap().local
            };
            assert_eq!(leaves(&mut endpoint, Instant::ZERO), options.local);
            // The address may be gone, the socket is not.
            endpoint.network_changed(Instant::ZERO, NetworkChange::Unspecified);
            assert_eq!(leaves(&mut endpoint, Instant::ZERO), LocalAddr { socket: 3, ip: None });
        }
    }
}
