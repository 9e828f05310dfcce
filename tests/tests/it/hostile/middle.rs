//! A man in the middle who remakes what passes: there is no connection with anybody else than was dialled, and none that the
//! two ends see differently.

use core::cell::Cell;
use std::rc::Rc;

use dunlin_core::{
    Connection, ConnectionState, Duration, Event, Identity, Peer, PeerIdentity, RetryPolicy, Secret, Suite,
};
use dunlin_sim::{AcceptAll, Pair, Rng, Verdict, config, seeds};

use crate::common::{DATA, INIT, INIT_KNOWN, kind, quick};

/// Where the parts of an Init lie (docs/PROTOCOL.md, "Packets").
const ID: core::ops::Range<usize> = 1..9;
const EPHEMERAL: core::ops::Range<usize> = 9..41;
const TOKEN_LEN: usize = 41;
const STATIC: core::ops::Range<usize> = 42..74;

/// What he does to every handshake datagram of a dial.
#[derive(Clone, Copy, Debug)]
enum Remake {
    /// Another version, or another type.
    FirstByte(u8),
    /// Another routing id.
    Id(u8),
    /// An ephemeral key of his own.
    Ephemeral,
    /// In IX the claim of another identity, in IK what hides it.
    Static,
    /// A token that was not there, with or without bytes for it.
    Token(u8),
    /// A bit of what is behind: in IX the clear HELLO with versions, suites, protocols and limits, and padding.
    Bit(usize),
    /// A byte less, or some more.
    Cut,
    Longer,
}

impl Remake {
    fn pick(rng: &mut Rng) -> Self {
        let byte = rng.below(255) as u8 + 1;
        match rng.below(16) {
            0 | 1 => Self::FirstByte(byte),
            2 => Self::Id(byte),
            3 => Self::Ephemeral,
            4 | 5 => Self::Static,
            6 => Self::Token(byte),
            7..=13 => Self::Bit(rng.below(1_200 * 8) as usize),
            14 => Self::Cut,
            _ => Self::Longer,
        }
    }

    fn apply(self, bytes: &mut Vec<u8>) {
        let his = *Identity::from_secret([66; 32]).public();
        let first_message = matches!(kind(bytes), INIT | INIT_KNOWN);
        match self {
            Self::FirstByte(change) => bytes[0] ^= change,
            Self::Id(change) => bytes[ID.start + usize::from(change % 8)] ^= change,
            Self::Ephemeral => bytes[EPHEMERAL].copy_from_slice(his.as_bytes()),
            Self::Static if first_message => bytes[STATIC].copy_from_slice(his.as_bytes()),
            Self::Token(len) if first_message => {
                bytes[TOKEN_LEN] = len;
                if len % 2 == 0 {
                    let token = vec![len; usize::from(len)];
                    bytes.splice(STATIC.start..STATIC.start, token);
                }
            }
            Self::Bit(place) => {
                // Behind the header, whose parts have their own turn.
                let place = place % ((bytes.len() - EPHEMERAL.start) * 8);
                bytes[EPHEMERAL.start + place / 8] ^= 1 << (place % 8);
            }
            Self::Cut => drop(bytes.pop()),
            Self::Longer | Self::Static | Self::Token(_) => bytes.extend_from_slice(&[0; 16]),
        }
    }
}

/// What both ends of a connection have to see alike.
fn view(connection: &Connection<'_>) -> ([u8; 32], Option<Suite>, Option<Vec<u8>>, Secret) {
    let exported = connection.export(b"middle", b"").expect("a short label").expect("keys");
    let hash = connection.handshake_hash().expect("a handshake");
    (hash, connection.suite(), connection.alpn().map(<[u8]>::to_vec), exported)
}

/// Which of the datagrams he remakes: Retries count as replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victim {
    Inits,
    Replies,
    /// Of each kind the first copy only.
    FirstCopies,
}

fn run(seed: u64, known: bool, victim: Victim, retry: RetryPolicy) {
    let mut answerer = config();
    answerer.retry = retry;
    let mut pair = Pair::with(seed, quick(), config(), answerer, AcceptAll, AcceptAll);
    let (server, remake) = (pair.server_addr, Remake::pick(&mut pair.world.rng(43)));
    let remade = Rc::new(Cell::new(0));
    let count = Rc::clone(&remade);
    let mut done = [false; 2];
    pair.world.add_tap(move |passing| {
        let inits = passing.to == server;
        let wanted = match victim {
            Victim::Inits => inits,
            Victim::Replies => !inits,
            Victim::FirstCopies => !core::mem::replace(&mut done[usize::from(inits)], true),
        };
        if wanted && passing.bytes[0] & 31 == 16 && kind(passing.bytes) != DATA {
            remake.apply(passing.bytes);
            count.set(count.get() + 1);
        }
        Verdict::Pass
    });
    let key = pair.server_key();
    let client = pair.dial_as(if known { Peer::Key(key) } else { Peer::AnyKey });
    pair.world.run_for(Duration::from_secs(10));
    assert!(remade.get() > 0, "he has done nothing");
    let state = pair.world.node_mut(pair.client).endpoint.connection(client).map(|client| client.state());
    let connected = state == Some(ConnectionState::Established);
    let what = format!("{remake:?} {known} {victim:?} {retry:?}");
    assert!(!connected || victim == Victim::FirstCopies, "{what}");
    let accepted = pair.server().events.iter().find(|(_, _, event)| *event == Event::Connected);
    let accepted = accepted.map(|(_, handle, _)| *handle);
    assert!(accepted.is_none() || connected, "{what}: only one side is connected");
    if connected {
        let ours = pair.on_client(client, |connection| {
            assert_eq!(connection.peer_identity(), Some(PeerIdentity::Verified(key)), "{what}");
            view(connection)
        });
        let theirs = pair.on_server(accepted.expect("both are"), |connection| view(connection));
        assert!(ours == theirs, "{what}");
    }
    pair.finish();
}

#[test]
fn ac_43_whoever_remakes_a_handshake_only_prevents_it() {
    for seed in seeds(300) {
        for known in [true, false] {
            for victim in [Victim::Inits, Victim::Replies, Victim::FirstCopies] {
                run(seed, known, victim, RetryPolicy::UnderLoad);
                run(seed, known, victim, RetryPolicy::Always);
            }
        }
    }
}
