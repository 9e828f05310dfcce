//! What several modules of scenarios need: links, taps, recordings.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    Arrival, Config, ConnectionHandle, Disposition, Duration, Endpoint, Event, Instant, LocalAddr, StreamId,
};
use dunlin_sim::{
    App, Host, Injection, LinkConfig, Loss, NodeId, Pair, Passing, Ppm, QueueLimit, Rate, Verdict, World,
    accept_incoming, config, pattern,
};

/// Packet types, as bits 5 to 7 of the first byte (docs/PROTOCOL.md, "Packets").
pub(crate) const INIT: u8 = 0;
pub(crate) const INIT_REPLY: u8 = 1;
pub(crate) const INIT_KNOWN: u8 = 2;
pub(crate) const INIT_KNOWN_REPLY: u8 = 3;
pub(crate) const DATA: u8 = 4;

/// 20 ms each way and nothing else.
pub(crate) fn quick() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(20), ..LinkConfig::default() }
}

/// 100 Mbit/s, 10 ms each way, a queue of 500 kB.
pub(crate) fn line() -> LinkConfig {
    LinkConfig {
        rate: Some(Rate::mbit(100)),
        delay: Duration::from_millis(10),
        queue: QueueLimit::Bytes(500_000),
        ..LinkConfig::default()
    }
}

/// A line that loses `percent` of the packets, reorders and duplicates some.
pub(crate) fn bad_line(percent: u32) -> LinkConfig {
    LinkConfig {
        loss: Loss::Random(Ppm::percent(percent)),
        reorder: Ppm::percent(1),
        reorder_by: Duration::from_millis(3),
        duplicate: Ppm::percent(1),
        ..line()
    }
}

/// Settings for a dial over a bad line: five seconds and seven copies are too few at 30 % of loss, once in a hundred.
pub(crate) fn patient() -> Config {
    let mut config = config();
    config.connect_timeout = Duration::from_secs(60);
    config
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// The packet type of a datagram.
pub(crate) fn kind(datagram: &[u8]) -> u8 {
    datagram[0] >> 5
}

/// A datagram that passed.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// Records every datagram that nodes send from now on, dropped ones too if the tap that drops them comes later.
pub(crate) fn record(world: &mut World<Host>) -> Rc<RefCell<Vec<Seen>>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&seen);
    world.add_tap(move |passing| {
        let (at, from, to, bytes) = (passing.now, passing.from, passing.to, passing.bytes.clone());
        record.borrow_mut().push(Seen { at, from, to, bytes });
        Verdict::Pass
    });
    seen
}

/// Drops what `condition` holds for.
pub(crate) fn drop_if(world: &mut World<Host>, mut condition: impl FnMut(&Passing<'_>) -> bool + 'static) {
    world.add_tap(move |passing| if condition(passing) { Verdict::Drop } else { Verdict::Pass });
}

/// Drops what `condition` holds for as long as the switch is on, which it is at first.
pub(crate) fn drop_while(
    world: &mut World<Host>,
    mut condition: impl FnMut(&Passing<'_>) -> bool + 'static,
) -> Rc<Cell<bool>> {
    let on = Rc::new(Cell::new(true));
    let switch = Rc::clone(&on);
    drop_if(world, move |passing| switch.get() && condition(passing));
    on
}

/// Lets a copy of everything of these kinds that the dialler sends arrive from another address as well, or instead.
pub(crate) fn copy_from(pair: &mut Pair, from: SocketAddr, kinds: &'static [u8], original: Verdict) {
    let (client, to) = (pair.client_addr, pair.server_addr);
    pair.world.add_tap(move |passing| {
        if passing.from != client || !kinds.contains(&kind(passing.bytes)) {
            return Verdict::Pass;
        }
        let bytes = passing.bytes.clone();
        passing.inject(Injection { after: ms(19), from, to, ecn: None, bytes });
        original
    });
}

/// Hands a datagram to a node at once, past the network, and says what became of it.
pub(crate) fn hand_in(
    world: &mut World<Host>,
    node: NodeId,
    local: SocketAddr,
    from: SocketAddr,
    bytes: &[u8],
) -> Disposition {
    let now = world.now();
    let local = LocalAddr { socket: 0, ip: Some(local.ip()) };
    let arrival = Arrival { local, remote: from.into(), ecn: None };
    let host = world.node_mut(node);
    host.traffic.entry(from).or_default().0 += bytes.len() as u64;
    host.endpoint.handle_datagram(now, arrival, &mut bytes.to_vec())
}

/// Lets `bytes` arrive at the answerer from `from` in a millisecond.
pub(crate) fn inject(pair: &mut Pair, from: SocketAddr, bytes: &[u8]) {
    let to = pair.server_addr;
    pair.world.inject(Injection { after: ms(1), from, to, ecn: None, bytes: bytes.to_vec() });
}

/// `len` bytes of the pattern of stream `id`.
pub(crate) fn patterned(id: StreamId, len: usize) -> Vec<u8> {
    (0..len as u64).map(|offset| pattern(id, offset)).collect()
}

/// Trusts whoever answers.
pub(crate) fn trusting(now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
    accept_incoming(now, endpoint, handle, event);
    if matches!(event, Event::PeerKey(_))
        && let Some(mut connection) = endpoint.connection(handle)
    {
        connection.trust();
    }
}

/// Reads what there is on a stream: the bytes, and whether the end came.
pub(crate) fn read_all(connection: &mut dunlin_core::Connection<'_>, id: StreamId) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match connection.read_chunk(id, usize::MAX) {
            Ok(Some(chunk)) => all.extend_from_slice(&chunk),
            Ok(None) => return (all, true),
            Err(_) => return (all, false),
        }
    }
}

/// An application that never answers anybody.
pub(crate) struct Undecided;

impl App for Undecided {
    fn on_event(&mut self, _: Instant, _: &mut Endpoint, _: ConnectionHandle, _: &Event) {}
}
