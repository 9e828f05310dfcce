//! Everything that an application, a network and an attacker can do to a pair of endpoints, as a list to be generated.

use dunlin_core::{
    ConnectError, ConnectOptions, ConnectionHandle, Duration, Instant, LocalSocket, NetworkChange, Peer,
    PublicKey, TrainLimit, TransportAddr, fuzzing,
};
use dunlin_sim::ALPN;

use super::duo::{Duo, Flight, Side};
use super::verbs::Verb;
use crate::frames;

/// What happens next. A `usize` is a side, 0 or 1; other numbers pick among what there is, modulo its count.
#[derive(Clone, Debug)]
pub enum Action {
    /// A side dials the other.
    Connect(usize, Dial),
    /// A side decides about somebody who dials.
    Decide(usize, u8, Decision),
    /// A side's application does something with a connection.
    On(usize, u8, Verb),
    /// Something happens to a datagram on its way.
    Network(u8, Fate),
    /// A datagram that nobody sent arrives at a side.
    Garbage(usize, Vec<u8>),
    /// A packet of a side's connection that opens, with anything inside.
    Sealed(usize, u8, Vec<u8>),
    /// A side's connection changes its keys, allowed or not.
    RotateKeys(usize, u8),
    /// A side's connection abandons all its paths, and is not heard any more.
    AbandonAll(usize, u8),
    /// Time passes.
    Time(Jump),
    /// `handle_timeout`, due or not.
    Fire(usize),
    /// Everything that a side has to send, in trains of at most this length.
    Drain(usize, TrainLimit),
    /// A single poll with a time of its own: that of the deadline and so much more.
    Poll(usize, Option<Duration>),
    /// A side takes its events.
    Events(usize),
    /// A side is told that its network may be another.
    NetworkChanged(usize),
    /// A side's host has these of a few addresses, and no others: a bit for each.
    Addresses(usize, u8),
    /// A side has these of a few sockets: a bit for each.
    Sockets(usize, u8),
    /// So much time passes on a link that loses this percentage.
    Run(Duration, u8),
}

/// Whom a side dials, and how.
#[derive(Clone, Copy, Debug)]
pub enum Dial {
    /// The other side, by its key.
    Known,
    /// Whoever is there, for a first meeting.
    Unknown,
    /// Whoever is there.
    AnyKey,
    /// By a key that the other side does not have.
    WrongKey,
    /// At an address that is none.
    NoAddress,
    /// With no application protocol.
    NoAlpn,
    /// In QOTP, with the key known.
    QotpKey,
    /// In QOTP.
    Qotp,
    /// In QOTP, by a key that the other side does not have.
    QotpWrongKey,
    /// A peer that the wire cannot name.
    WrongWire,
}

/// What becomes of somebody who dials.
#[derive(Clone, Copy, Debug)]
pub enum Decision {
    /// A connection.
    Accept,
    /// An answer that says no.
    Refuse,
    /// Silence.
    Ignore,
    /// It has to show its address first.
    Retry,
}

/// What becomes of a datagram on its way.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It arrives.
    Deliver,
    /// Everything that is on its way arrives.
    DeliverAll,
    /// It is lost.
    Drop,
    /// It arrives, and stays on its way.
    Duplicate,
    /// To the end of the queue.
    Delay,
    /// It arrives with this bit wrong, modulo its length.
    Corrupt(u16),
    /// So many of its bytes arrive, modulo its length.
    Cut(u16),
    /// From this port, another than it was sent from.
    Move(u16),
}

/// How time passes.
#[derive(Clone, Copy, Debug)]
pub enum Jump {
    /// Not at all.
    None,
    /// By the least.
    Nanosecond,
    /// By a step of a clock.
    Millisecond,
    /// By so much that everything ends.
    Hour,
    /// Back, as clocks that are set.
    Back(Duration),
    /// To the deadline of a side, or just before it.
    Due(usize, bool),
}

/// One of `all`.
pub(super) fn pick<T: Copy>(all: &[T], which: impl Into<usize>) -> Option<T> {
    all.get(which.into() % all.len().max(1)).copied()
}

impl Action {
    /// Does it.
    ///
    /// # Panics
    /// The contract is broken.
    pub fn apply(self, duo: &mut Duo) {
        match self {
            Self::Connect(side, dial) => connect(duo, side, dial),
            Self::Decide(side, which, decision) => decide(duo, side, which, decision),
            Self::On(side, which, verb) => {
                on_connection(duo, side, which, |duo, handle| verb.apply(duo, side, handle))
            }
            Self::Network(which, fate) => fate.apply(duo, which.into()),
            Self::Garbage(to, bytes) => {
                let from = duo.sides[1 - to].addr;
                duo.deliver(Flight { to, socket: 0, from, bytes });
            }
            Self::Sealed(side, which, payload) => on_connection(duo, side, which, |duo, handle| {
                duo.on_forged();
                let mut bytes = Vec::new();
                let from = duo.sides[side].addr;
                let connection = duo.sides[side].endpoint.connection(handle);
                if connection
                    .is_some_and(|mut connection| fuzzing::seal(&mut connection, &payload, &mut bytes))
                {
                    duo.deliver(Flight { to: 1 - side, socket: 0, from, bytes });
                }
            }),
            Self::RotateKeys(side, which) => on_connection(duo, side, which, |duo, handle| {
                duo.sides[side].endpoint.connection(handle).as_mut().map(fuzzing::rotate_keys);
            }),
            Self::AbandonAll(side, which) => {
                on_connection(duo, side, which, |duo, handle| abandon_all(duo, side, handle))
            }
            Self::Time(jump) => jump.apply(duo),
            Self::Fire(side) => duo.fire(side),
            Self::Drain(side, limit) => duo.drain(side, limit),
            Self::Poll(side, wait) => poll(duo, side, wait),
            Self::Events(side) => {
                duo.events(side);
            }
            Self::NetworkChanged(side) => {
                let now = duo.tell_time(side);
                duo.sides[side].endpoint.network_changed(now, NetworkChange::Unspecified);
                duo.note(&duo.sides[side].endpoint.poll_timeout());
            }
            Self::Addresses(side, which) => {
                let now = duo.tell_time(side);
                let own = duo.sides[side].addr.ip();
                let there = [own, [10, 1, 1, 1].into(), [10, 2, 2, 2].into()];
                let there = there.into_iter().enumerate().filter(|(bit, _)| which & 1 << bit != 0);
                let change = NetworkChange::Addresses(there.map(|(_, ip)| ip).collect());
                duo.sides[side].endpoint.network_changed(now, change);
                duo.note(&duo.sides[side].endpoint.poll_timeout());
            }
            Self::Sockets(side, which) => {
                let now = duo.tell_time(side);
                let bound =
                    ["0.0.0.0:1", "[::]:1", "10.1.1.1:1", "[::1]:1"].map(|addr| addr.parse().unwrap());
                let sockets = (0..).zip(bound).filter(|(number, _)| which & 1 << number != 0);
                let sockets: Vec<_> =
                    sockets.map(|(number, bound)| LocalSocket::new(number, bound)).collect();
                duo.sides[side].endpoint.set_sockets(now, &sockets);
                duo.note(&duo.sides[side].endpoint.poll_timeout());
            }
            Self::Run(span, loss) => {
                let mut count = 0u32;
                duo.run(span, Duration::from_millis(5), || {
                    count = count.wrapping_add(1);
                    (count.wrapping_mul(0x9e37_79b9) >> 24) % 100 < u32::from(loss)
                });
            }
        }
    }
}

/// What the peer of a connection can be asked when it has no path left, until it gives up.
fn abandon_all(duo: &mut Duo, side: usize, handle: ConnectionHandle) {
    let Some(mut connection) = duo.sides[side].endpoint.connection(handle) else { return };
    let paths =
        connection.paths().map(|path| frames::path_abandon(path.id.get().into(), path.generation.into(), 0));
    let (said, mut bytes) = (paths.collect::<Vec<_>>().concat(), Vec::new());
    if !fuzzing::seal(&mut connection, &said, &mut bytes) {
        return;
    }
    let (to, from) = (1 - side, duo.sides[side].addr);
    duo.deliver(Flight { to, socket: 0, from, bytes });
    for _ in 0..4 {
        for handle in duo.sides[to].handles.clone() {
            Verb::Look.apply(duo, to, handle);
        }
        duo.run(Duration::from_secs(1), Duration::from_millis(5), || true);
    }
}

/// A single poll in the middle of things, with a `now` of its own or a limit that lets little go.
fn poll(duo: &mut Duo, side: usize, wait: Option<Duration>) {
    let due = duo.sides[side].endpoint.poll_timeout();
    match wait {
        None => duo.note(&due),
        Some(wait) => {
            // Early, or late.
            let before = duo.now;
            duo.now = due.unwrap_or(before) + wait.min(Duration::from_secs(1));
            duo.settle(side, TrainLimit::SINGLE);
            duo.now = duo.now.max(before);
        }
    }
}

fn connect(duo: &mut Duo, side: usize, dial: Dial) {
    let key: PublicKey = *duo.sides[1 - side].endpoint.public_key();
    let own: PublicKey = *duo.sides[side].endpoint.public_key();
    let mut options = ConnectOptions::new(duo.sides[1 - side].addr, ALPN);
    let peer = match dial {
        Dial::Known => {
            // The newest of the first connection that has one, be it used or not.
            let Side { endpoint, handles, .. } = &mut duo.sides[side];
            let mut tokens = handles.iter().filter_map(|handle| endpoint.connection(*handle)?.early_token());
            options.early = tokens.next();
            Peer::Key(key)
        }
        Dial::Unknown => Peer::Unknown,
        Dial::AnyKey => Peer::AnyKey,
        Dial::WrongKey => Peer::Key(own),
        Dial::NoAddress => {
            options.remote = TransportAddr::Ip("0.0.0.0:0".parse().expect("an address"));
            Peer::Key(key)
        }
        Dial::NoAlpn => {
            options.alpns.clear();
            Peer::Key(key)
        }
        Dial::QotpKey | Dial::Qotp | Dial::QotpWrongKey | Dial::WrongWire => {
            options = ConnectOptions::qotp(options.remote);
            let side = if let Dial::QotpKey = dial { 1 - side } else { side };
            match dial {
                Dial::Qotp => Peer::AnyKey,
                Dial::WrongWire => Peer::Key(key),
                _ => Peer::QotpKey(*duo.sides[side].endpoint.qotp_public_key()),
            }
        }
    };
    let now = duo.tell_time(side);
    // A peer that is known needs no address.
    let known = matches!(peer, Peer::Key(key) if duo.sides[side].endpoint.remote(&key).is_some());
    let result = duo.sides[side].endpoint.connect(now, peer, options);
    let limited = matches!(result, Err(ConnectError::TooManyConnections | ConnectError::OverBudget));
    let good = matches!(dial, Dial::Known | Dial::Unknown | Dial::AnyKey | Dial::QotpKey | Dial::Qotp);
    let good = good || known && matches!(dial, Dial::NoAddress) && result.is_ok();
    assert!(limited || result.is_ok() == good, "{dial:?} gives {result:?}");
    if let Ok(handle) = result {
        duo.sides[side].handles.push(handle);
    }
    duo.note(&result);
}

fn decide(duo: &mut Duo, side: usize, which: u8, decision: Decision) {
    let Some(handle) = pick(&duo.sides[side].handles, which) else { return };
    if duo.sides[side].endpoint.incoming(handle).is_none() {
        return;
    }
    let now = duo.tell_time(side);
    let Some(incoming) = duo.sides[side].endpoint.incoming(handle) else { return };
    let seen = (
        incoming.wire(),
        incoming.remote(),
        incoming.identity().and_then(|identity| identity.key().copied()),
        incoming.alpns().count(),
    );
    let accepted = match decision {
        Decision::Accept => Some(incoming.accept(now)),
        Decision::Refuse => {
            incoming.refuse(now, 9u32.into());
            None
        }
        Decision::Ignore => {
            incoming.ignore();
            None
        }
        Decision::Retry => {
            let asked = incoming.retry(now);
            return duo.note(&(seen, asked));
        }
    };
    duo.note(&(seen, accepted));
}

fn on_connection(duo: &mut Duo, side: usize, which: u8, act: impl FnOnce(&mut Duo, ConnectionHandle)) {
    if let Some(handle) = pick(&duo.sides[side].handles, which) {
        act(duo, handle);
    }
}

impl Fate {
    fn apply(self, duo: &mut Duo, which: usize) {
        if duo.wire.is_empty() {
            return;
        }
        let which = which % duo.wire.len();
        if let Self::DeliverAll = self {
            for flight in core::mem::take(&mut duo.wire) {
                duo.deliver(flight);
            }
            return;
        }
        let mut flight = duo.wire.remove(which);
        match self {
            Self::Drop | Self::DeliverAll => {}
            Self::Delay => duo.wire.push(flight),
            Self::Deliver => drop(duo.deliver(flight)),
            Self::Duplicate => {
                duo.wire.push(flight.clone());
                duo.deliver(flight);
            }
            Self::Corrupt(at) => {
                let at = usize::from(at) % (flight.bytes.len() * 8);
                flight.bytes[at / 8] ^= 1 << (at % 8);
                duo.deliver(flight);
            }
            Self::Cut(len) => {
                flight.bytes.truncate(usize::from(len) % flight.bytes.len());
                duo.deliver(flight);
            }
            Self::Move(port) => {
                flight.from.set_port(port);
                duo.deliver(flight);
            }
        }
    }
}

impl Jump {
    fn apply(self, duo: &mut Duo) {
        duo.now = match self {
            Self::None => duo.now,
            Self::Nanosecond => duo.now + Duration::from_nanos(1),
            Self::Millisecond => duo.now + Duration::from_millis(1),
            Self::Hour => duo.now + Duration::from_secs(3600),
            Self::Back(span) => duo.now - span,
            Self::Due(side, early) => {
                let due = duo.sides[side].endpoint.poll_timeout().unwrap_or(Instant::ZERO);
                if early { due - Duration::from_nanos(1) } else { due }.max(duo.now)
            }
        };
    }
}
