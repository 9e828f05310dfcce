//! Limits that make no sense, from a peer that handshakes properly.

use dunlin_core::{Config, ConnectionState, Disposition, Duration, Peer};
use dunlin_sim::{AcceptAll, Pair, Receiver, Sender, config, work_between};

use crate::common::{drop_if, hand_in, line, ms, patterned, quick, record};
use crate::puppet::{Init, Values, answer, hello, number, offer, public, reply, with};

/// The numbers in a HELLO: the idle timeout, the size of datagrams, five windows, two counts of streams, the delay of
/// acknowledgements, the size of unreliable datagrams, the number of paths (docs/PROTOCOL.md, "HELLO").
const NUMBERS: [u64; 12] = [0x01, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x20, 0x34, 0x33];
/// The edges of all of them, and what lies just beyond.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    63,
    64,
    65,
    1_199,
    1_200,
    65_535,
    65_536,
    (1 << 14) - 1,
    1 << 14,
    (1 << 60) - 1,
    1 << 60,
    (1 << 60) + 1,
    (1 << 62) - 1,
];
/// Pairs of which the one makes no sense with the other: a connection's window below a stream's, no streams, delays and paths.
const PAIRS: [[(u64, u64); 2]; 6] = [
    [(0x04, 1), (0x07, 1 << 20)],
    [(0x04, 1 << 20), (0x07, 0)],
    [(0x08, 0), (0x09, 0)],
    [(0x0b, (1 << 14) - 1), (0x01, 1)],
    [(0x34, 64), (0x03, 1_200)],
    [(0x34, 1), (0x20, 65_535)],
];

/// What is at an edge.
type Change = fn(&mut Config);

/// Every HELLO that has one edge, or one of the pairs.
fn extremes(good: &Values) -> Vec<Values> {
    let single = NUMBERS.into_iter().flat_map(|id| EDGES.map(|edge| with(good.clone(), id, &number(edge))));
    let both = PAIRS.map(|pair| {
        pair.into_iter().fold(good.clone(), |values, (id, edge)| with(values, id, &number(edge)))
    });
    single.chain(both).collect()
}

/// As an answer: the dial ends with an error, or a connection that does not spin, talks little to a peer that says nothing
/// more, and ends by itself.
#[test]
fn ac_03_any_limits_of_an_answerer_are_lived_with() {
    let mut connected = 0;
    for values in extremes(&answer()) {
        let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        let server = pair.server_addr;
        drop_if(&mut pair.world, move |passing| passing.to == server);
        let client = pair.dial_as(Peer::Key(public()));
        pair.world.run_for(ms(10));
        let init = seen.borrow()[0].bytes.clone();
        let (_, bytes) = reply(&init, &hello(&values));
        let (node, to) = (pair.client, pair.client_addr);
        hand_in(&mut pair.world, node, to, server, &bytes);
        let stands = pair.on_client(client, |connection| {
            let stands = connection.state() == ConnectionState::Established;
            for _ in 0..3 {
                if let Ok(id) = connection.open_uni() {
                    let _ = connection.write(id, &patterned(id, 50_000));
                }
                let _ = connection.send_datagram(&[7; 1_000]);
            }
            stands
        });
        connected += u32::from(stands);
        pair.world.run_for(Duration::from_secs(10));
        let stats = pair.client().endpoint.stats();
        assert!(
            stats.datagrams_sent <= 100,
            "{} datagrams to a peer that is silent: {values:x?}",
            stats.datagrams_sent
        );
        assert!(stats.timers_fired <= 1_000, "{} timers in ten seconds: {values:x?}", stats.timers_fired);
        pair.finish();
    }
    assert!(connected > 100, "only {connected} were good");
}

/// As an offer: taken or dropped, for a bounded price, and forgotten when nothing follows.
#[test]
fn ac_03_any_limits_of_a_dialler_cost_one_handshake() {
    for values in extremes(&offer()) {
        let mut pair = Pair::new(1, quick());
        let key = pair.server_key();
        let init = Init::new(Some(&key), &hello(&values), b"", 1_200);
        let before = pair.server().endpoint.stats();
        let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
        let disposition = hand_in(&mut pair.world, node, to, from, &init.datagram);
        pair.world.run_for(Duration::from_secs(20));
        let after = pair.server().endpoint.stats();
        assert!(work_between(&before, &after) <= 1_500, "{values:x?}");
        assert_eq!((after.connections, after.memory_used), (0, 0), "{values:x?}");
        assert!(matches!(disposition, Disposition::Accepted | Disposition::Dropped(_)));
        pair.finish();
    }
}

/// Two engines, one of them with limits at an edge: a mebibyte arrives all the same.
#[test]
fn ac_03_a_transfer_ends_under_any_limits() {
    let edges: [(&str, Change); 9] = [
        ("small windows", |config| config.limits.initial_window = 1),
        ("a window of the connection below that of a stream", |config| {
            config.limits.max_window = 20_000;
            config.limits.max_stream_window = 1 << 30;
        }),
        ("one stream", |config| (config.limits.streams_bidi, config.limits.streams_uni) = (0, 1)),
        ("acknowledgements that may wait long", |config| {
            config.max_ack_delay = Duration::from_millis(16_383)
        }),
        ("one path", |config| config.max_paths = 1),
        ("64 paths", |config| config.max_paths = 64),
        ("small datagrams", |config| config.max_receive_size = 1_200),
        ("no datagrams", |config| config.datagrams.receive_buffer = 0),
        ("little memory", |config| config.limits.per_connection = 256 << 10),
    ];
    for (what, change) in edges {
        for edgy in [true, false] {
            let (mut client, mut server) = (config(), config());
            change(if edgy { &mut client } else { &mut server });
            let (receiver, received) = Receiver::new();
            let mut pair = Pair::with(1, line(), client, server, Sender::new(1, 1 << 20), receiver);
            pair.dial();
            let done = pair.run_until(Duration::from_secs(60), |_| received.borrow().total() >= 1 << 20);
            assert!(done, "{what}: {} bytes", received.borrow().total());
            pair.finish();
        }
    }
}
