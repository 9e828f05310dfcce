//! More attempts than an endpoint can answer: what it has goes on, who shows his address gets in, and nothing grows
//! (docs/DESIGN.md, "Under load").

use core::net::SocketAddr;

use dunlin_core::{
    Config, ConnectionHandle, DropReason, Duration, Endpoint, Event, Instant, Peer, RetryPolicy,
};
use dunlin_sim::{AcceptAll, App, Injection, Pair, Receiver, Rng, Sender, config};

use crate::common::{INIT, INIT_KNOWN, Undecided, hand_in, kind, line, ms, quick, record};

/// First packets that nobody has made with his own key, without end.
struct Flood {
    known: Vec<u8>,
    clear: Vec<u8>,
    token: [u8; 25],
    rng: Rng,
}

impl Flood {
    /// Of the answerer of [`Pair`].
    fn new() -> Self {
        let mut pair = Pair::new(1, quick());
        let seen = record(&mut pair.world);
        pair.dial();
        pair.dial_as(Peer::AnyKey);
        pair.world.run_for(ms(5));
        let of =
            |wanted| seen.borrow().iter().find(|seen| kind(&seen.bytes) == wanted).unwrap().bytes.clone();
        let (known, clear) = (of(INIT_KNOWN), of(INIT));
        // Another one's token.
        let token = core::array::from_fn(|place| if place == 0 { 1 } else { place as u8 });
        pair.finish();
        Self { known, clear, token, rng: Rng::new(7) }
    }

    /// Somebody, and what he sends: a good IX Init, an IK Init that does not open, or either with a token that is not his.
    fn next(&mut self) -> (SocketAddr, Vec<u8>) {
        let random = self.rng.next_u64();
        let from = SocketAddr::from(((0x0b00_0000 | random as u32 >> 8).to_be_bytes(), 7000));
        let mut bytes = if random >> 32 & 1 == 0 { self.clear.clone() } else { self.known.clone() };
        bytes[1..9].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        bytes[9..17].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        if random >> 33 & 3 == 0 {
            bytes[41] = 25;
            bytes[42..67].copy_from_slice(&self.token);
        }
        (from, bytes)
    }

    /// Lets so many arrive at the answerer in each of the next milliseconds.
    fn pour(&mut self, pair: &mut Pair, each: usize, millis: u64) {
        let to = pair.server_addr;
        for _ in 0..millis {
            for _ in 0..each {
                let (from, bytes) = self.next();
                pair.world.inject(Injection { after: Duration::ZERO, from, to, ecn: None, bytes });
            }
            pair.world.run_for(ms(1));
        }
    }
}

/// What a transfer of three seconds delivers beside so many first packets in a millisecond.
fn transfer_beside(each: usize) -> u64 {
    let (receiver, received) = Receiver::new();
    let mut pair = Pair::with(1, line(), config(), config(), Sender::new(1, 1 << 40), receiver);
    pair.connect();
    pair.world.run_for(Duration::from_secs(1));
    let (mut flood, mut begun) = (Flood::new(), 0);
    let limits = pair.server().endpoint.config().limits.clone();
    let mut memory = 0;
    for second in 0..5 {
        // It has filled what it can fill.
        if second == 2 {
            begun = received.borrow().total();
        }
        let before = pair.server().endpoint.stats();
        flood.pour(&mut pair, each, 1000);
        let after = pair.server().endpoint.stats();
        let operations = after.x25519_operations - before.x25519_operations;
        assert!(operations <= limits.dh_per_second.into(), "{operations} in second {second}");
        let retries = after.retries_sent - before.retries_sent;
        let (places, memory_used) = (after.half_open, after.memory_used);
        println!(
            "{each} a millisecond: {operations} X25519, {retries} Retries, {places} half-open, {memory_used} bytes"
        );
        assert!(retries <= 8 * u64::from(limits.dh_per_second), "{retries} in second {second}");
        // One digest to know an Init by, and those of its Retry; Inits that are dropped at once are not digested.
        assert!(after.digests - before.digests <= 2 * 1000 * each as u64);
        assert!(after.half_open <= (limits.half_open / 2).into(), "{}", after.half_open);
        assert!(after.memory_used <= limits.per_endpoint / 8 + (16 << 20));
        memory = if second <= 2 { after.memory_used } else { memory };
        assert!(after.memory_used <= memory + (4 << 20), "{} after {memory}", after.memory_used);
    }
    let delivered = received.borrow().total() - begun;
    if each > 0 {
        assert!(pair.server().endpoint.stats().retries_sent > 0);
    }
    // Nothing is left of it.
    let server = pair.server;
    pair.world.node_mut(server).app = Box::new(Undecided);
    pair.world.node_mut(server).close_all();
    pair.finish();
    delivered
}

#[test]
fn ac_20_a_transfer_goes_on_beside_20_000_spoofed_first_packets_a_second() {
    let (alone, flooded) = (transfer_beside(0), transfer_beside(20));
    assert!(alone > 30_000_000, "{alone}");
    println!("{alone} bytes alone, {flooded} beside the flood");
    assert!(flooded * 100 >= alone * 95, "{flooded} of {alone} bytes");
}

/// Lets in who has shown his address, and leaves everybody else waiting.
fn picky(now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
    if *event == Event::Incoming
        && let Some(incoming) = endpoint.incoming(handle)
        && incoming.is_validated()
    {
        let _ = incoming.accept(now);
    }
}

/// An answerer in the middle of a flood that has lasted for two seconds.
fn flooded(change: impl Fn(&mut Config), app: impl App + 'static) -> (Pair, Flood) {
    let mut answerer = config();
    change(&mut answerer);
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, app);
    let mut flood = Flood::new();
    flood.pour(&mut pair, 20, 2000);
    (pair, flood)
}

#[test]
fn ac_17_who_shows_his_address_gets_in_within_a_second_though_nobody_else_is_decided_on() {
    for known in [false, true] {
        let (mut pair, mut flood) = flooded(|_| {}, picky);
        let stats = pair.server().endpoint.stats();
        assert!(stats.half_open <= 4096 / 2 && stats.half_open > 1000, "{}", stats.half_open);
        assert!(stats.memory_used <= stats.half_open * (4 << 10), "{} held", stats.memory_used);
        let client = pair.dial_as(if known { Peer::Key(pair.server_key()) } else { Peer::AnyKey });
        let begun = pair.now();
        flood.pour(&mut pair, 20, 1000);
        let connected = pair.client().when(client, &Event::Connected).expect("within a second");
        assert_eq!(connected - begun, ms(80), "two round trips");
        pair.finish();
    }
}

#[test]
fn whoever_floods_keeps_everybody_out_where_nobody_is_asked() {
    let (mut pair, mut flood) = flooded(|config| config.retry = RetryPolicy::Never, Undecided);
    flood.pour(&mut pair, 20, 1000);
    let stats = pair.server().endpoint.stats();
    assert_eq!((stats.half_open, stats.retries_sent), (4096, 0));
    let client = pair.dial();
    flood.pour(&mut pair, 20, 1000);
    assert!(!pair.client().has(client, &Event::Connected));
    pair.finish();
}

#[test]
fn where_every_address_is_to_be_shown_a_flood_from_invented_ones_costs_no_x25519() {
    let (pair, _) = flooded(|config| config.retry = RetryPolicy::Always, AcceptAll);
    let stats = pair.server().endpoint.stats();
    assert_eq!((stats.x25519_operations, stats.half_open, stats.incoming), (0, 0, 0));
    assert_eq!((stats.memory_used, stats.retries_sent), (0, 40_000));
    pair.finish();
}

#[test]
fn one_network_that_shows_its_addresses_gets_a_quarter_of_what_is_left() {
    let mut answerer = config();
    answerer.limits.dh_per_second = 1_000;
    answerer.limits.half_open = 1 << 20;
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, Undecided);
    // Honest dials, all from one address.
    let dials: Vec<_> = (0..300).map(|_| pair.dial()).collect();
    pair.world.run_for(ms(110));
    let stats = pair.server().endpoint.stats();
    // Half of the operations are for whoever comes: a hundred attempts of five. Of the other hundred a network gets about a
    // fifth, which is a quarter of what it leaves.
    assert!((118..=126).contains(&stats.half_open), "{}", stats.half_open);
    assert!(pair.server().dropped(DropReason::RateLimited) > 0);
    drop(dials);
    pair.world.run_for(Duration::from_secs(11));
    pair.finish();
}

#[test]
fn an_endpoint_that_may_compute_nothing_answers_nobody() {
    let mut answerer = config();
    answerer.limits.dh_per_second = 0;
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, AcceptAll);
    for policy in [None, Some(Peer::AnyKey)] {
        pair.dial_as(policy.unwrap_or_else(|| Peer::Key(pair.server_key())));
    }
    pair.world.run_for(Duration::from_secs(6));
    let stats = pair.server().endpoint.stats();
    assert_eq!((stats.x25519_operations, stats.datagrams_sent), (0, 0));
    assert_eq!(pair.server().dropped(DropReason::RateLimited), 14);
    pair.finish();
}

#[test]
fn half_open_attempts_hold_a_quarter_of_the_memory_at_most() {
    let mut answerer = config();
    answerer.limits.per_endpoint = 16 << 20;
    answerer.limits.dh_per_second = u32::MAX;
    answerer.retry = RetryPolicy::Never;
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, AcceptAll);
    let mut flood = Flood::new();
    for _ in 0..1_000 {
        let (from, bytes) = flood.next();
        let (node, to) = (pair.server, pair.server_addr);
        hand_in(&mut pair.world, node, to, from, &bytes);
        pair.world.run_for(Duration::ZERO);
        // One attempt more than fits: it is let in before it is known what it will hold.
        assert!(pair.server().endpoint.stats().memory_used <= (4 << 20) + (80 << 10));
    }
    assert!(pair.server().dropped(DropReason::OverBudget) > 100);
    pair.finish();
}

#[test]
fn ac_07_every_policy_survives_what_is_no_first_packet() {
    for policy in [RetryPolicy::UnderLoad, RetryPolicy::Always, RetryPolicy::Never] {
        let mut answerer = config();
        answerer.retry = policy;
        let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, Undecided);
        let mut flood = Flood::new();
        let (node, to) = (pair.server, pair.server_addr);
        for round in 0..2_000_usize {
            let (from, mut bytes) = flood.next();
            match round % 4 {
                0 => bytes.truncate(1200 - round % 1200),
                1 => bytes[41] = round as u8,
                2 => bytes.resize(1200 + round, 1),
                _ => bytes[round % 1200] ^= 0x55,
            }
            hand_in(&mut pair.world, node, to, from, &bytes);
        }
        pair.world.run_for(Duration::from_secs(11));
        let stats = pair.server().endpoint.stats();
        assert_eq!((stats.half_open, stats.memory_used), (0, 0), "{policy:?}");
        assert!(stats.bytes_sent * 3 <= stats.bytes_received);
        pair.finish();
    }
}
