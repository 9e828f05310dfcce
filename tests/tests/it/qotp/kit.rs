//! What the scenarios of QOTP share.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    CloseReason, Config, Connection, ConnectionHandle, Disposition, Duration, Event, Instant, ReadError,
    StreamId, fuzzing,
};
use dunlin_sim::{AcceptAll, App, Host, LinkConfig, Pair, Received, Receiver, Sender, config};

use crate::common::{Seen, hand_in, kind, quick};

/// Packet types, as bits 5 to 7 of the first byte (docs/PROTOCOL.md, "QOTP").
pub(super) const INIT_SND: u8 = 0;
pub(super) const INIT_RCV: u8 = 1;
pub(super) const INIT_CRYPTO_SND: u8 = 2;
pub(super) const INIT_CRYPTO_RCV: u8 = 3;
pub(super) const DATA: u8 = 4;

/// The size of a full datagram, in bytes.
pub(super) const MTU: usize = 1400;

/// Settings of an endpoint that accepts QOTP.
pub(super) fn qotp() -> Config {
    config().accept_qotp(true)
}

/// Two endpoints that accept QOTP.
pub(super) fn pair(
    seed: u64,
    link: LinkConfig,
    client: impl App + 'static,
    server: impl App + 'static,
) -> Pair {
    Pair::with(seed, link, qotp(), qotp(), client, server)
}

/// Dials, and runs until both sides have a connection, for at most 30 s.
pub(super) fn connect(pair: &mut Pair, known: bool) -> (ConnectionHandle, ConnectionHandle) {
    let (client, at) = (pair.dial_qotp(known), pair.client);
    let connected =
        pair.run_until(Duration::from_secs(30), |world| world.node(at).has(client, &Event::Connected));
    assert!(connected, "the client is connected");
    let server = pair.server_connection(Duration::ZERO).expect("the server was connected before");
    (client, server)
}

/// A pair that has just connected over a quick line, its settings changed.
pub(super) fn connected_with(
    known: bool,
    change: impl Fn(&mut Config),
) -> (Pair, ConnectionHandle, ConnectionHandle) {
    let mut settings = qotp();
    change(&mut settings);
    let mut pair = Pair::with(1, quick(), settings.clone(), settings, AcceptAll, AcceptAll);
    let (client, server) = connect(&mut pair, known);
    (pair, client, server)
}

/// A pair that has just connected over a quick line.
pub(super) fn connected(known: bool) -> (Pair, ConnectionHandle, ConnectionHandle) {
    connected_with(known, |_| {})
}

/// A transfer of `bytes` on each of `streams` streams, about to begin.
pub(super) struct Upload {
    pub(super) pair: Pair,
    pub(super) client: ConnectionHandle,
    pub(super) seen: Rc<RefCell<Received>>,
    streams: usize,
    bytes: u64,
}

impl Upload {
    pub(super) fn new(
        seed: u64,
        link: LinkConfig,
        settings: [Config; 2],
        known: bool,
        streams: usize,
        bytes: u64,
    ) -> Self {
        Self::to(Receiver::new(), seed, link, settings, known, streams, bytes)
    }

    /// To a receiver that reads as it likes.
    pub(super) fn to(
        (receiver, seen): (Receiver, Rc<RefCell<Received>>),
        seed: u64,
        link: LinkConfig,
        [dialler, answerer]: [Config; 2],
        known: bool,
        streams: usize,
        bytes: u64,
    ) -> Self {
        let sender = Sender::new(streams, bytes).bidirectional();
        let mut pair = Pair::with(seed, link, dialler, answerer, sender, receiver);
        let client = pair.dial_qotp(known);
        Self { pair, client, seen, streams, bytes }
    }

    /// Runs to the end of the transfer, for at most `span` from now.
    pub(super) fn complete(&mut self, span: Duration) {
        let (seen, streams) = (Rc::clone(&self.seen), self.streams);
        let done = self.pair.run_until(span, |_| seen.borrow().finished == streams);
        let (total, all) = (self.seen.borrow().total(), self.bytes * self.streams as u64);
        let node = self.pair.client;
        let host = self.pair.world.node_mut(node);
        let closed = host.closed(self.client).map(|(at, reason)| (at, reason.clone()));
        let state = host.endpoint.connection(self.client).map(|c| (c.stats(), c.path()));
        assert!(done, "{total} of {all} bytes, {closed:?}, {state:?}");
        assert_eq!(total, all);
    }
}

/// Lets a packet with this payload, sealed with the keys of the client's connection, arrive at the server.
pub(super) fn strike(pair: &mut Pair, client: ConnectionHandle, payload: &[u8]) -> Disposition {
    let mut packet = Vec::new();
    assert!(pair.on_client(client, |connection| fuzzing::seal(connection, payload, &mut packet)));
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    hand_in(&mut pair.world, node, to, from, &packet)
}

/// Writes all of `data`, which must fit, and ends the stream.
pub(super) fn write_all(connection: &mut Connection<'_>, id: StreamId, data: &[u8]) {
    assert_eq!(connection.write(id, data), Ok(data.len()));
    connection.finish(id).expect("it is open");
}

/// How many bytes there are to read, all of which are read; `None` behind the end.
pub(super) fn drain(connection: &mut Connection<'_>, id: StreamId) -> Option<usize> {
    let (mut buffer, mut all) = ([0; 4096], 0);
    loop {
        match connection.read(id, &mut buffer) {
            Ok(0) | Err(ReadError::Closed) => return None,
            Ok(len) => all += len,
            Err(ReadError::Blocked) => return Some(all),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Somebody else.
pub(super) fn elsewhere(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 4000))
}

/// The first packet of this type that this side sent.
pub(super) fn first(seen: &Rc<RefCell<Vec<Seen>>>, from: SocketAddr, wanted: u8) -> Vec<u8> {
    let wanted = |seen: &&Seen| seen.from == from && kind(&seen.bytes) == wanted;
    seen.borrow().iter().find(wanted).expect("there is one").bytes.clone()
}

/// AEAD and X25519 operations of the answerer so far.
pub(super) fn crypto(pair: &Pair) -> (u64, u64) {
    let stats = pair.server().endpoint.stats();
    (stats.aead_operations, stats.x25519_operations)
}

/// Hands a datagram to the answerer.
pub(super) fn hand_server(pair: &mut Pair, from: SocketAddr, bytes: &[u8]) -> Disposition {
    let (node, to) = (pair.server, pair.server_addr);
    hand_in(&mut pair.world, node, to, from, bytes)
}

/// Hands a datagram of the answerer to the dialler.
pub(super) fn hand_client(pair: &mut Pair, bytes: &[u8]) -> Disposition {
    let (node, to, from) = (pair.client, pair.client_addr, pair.server_addr);
    hand_in(&mut pair.world, node, to, from, bytes)
}

/// When and why a connection ended.
pub(super) fn closed(host: &Host, handle: ConnectionHandle) -> Option<(Instant, CloseReason)> {
    host.closed(handle).map(|(at, reason)| (at, reason.clone()))
}
