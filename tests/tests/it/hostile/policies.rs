//! Policies that decide on attempts without the application (`dunlin_core::admission`): what they let in, and what those cost
//! that they do not want.

use core::net::SocketAddr;
use std::sync::Arc;

use dunlin_core::admission::{Admission, Candidate, Everyone, Known, Verdict};
use dunlin_core::{
    CloseReason, Config, DropReason, Duration, ErrorCode, Event, Identity, IncomingIdentity, Peer, PublicKey,
};
use dunlin_sim::{AcceptAll, Injection, Pair, Rng, config};

use crate::common::{INIT, Undecided, drop_if, kind, ms, quick, record};

/// The dialler of a [`Pair`].
fn dialler() -> PublicKey {
    *Identity::from_secret([1; 32]).public()
}

fn someone_else() -> PublicKey {
    *Identity::from_secret([9; 32]).public()
}

/// An answerer with this policy and an application that decides nothing.
fn with_policy(policy: impl Admission + 'static) -> Pair {
    with(policy, |_| {})
}

fn with(policy: impl Admission + 'static, change: impl Fn(&mut Config)) -> Pair {
    let mut answerer = config();
    answerer.admission = Some(Arc::new(policy));
    change(&mut answerer);
    Pair::with(1, quick(), config(), answerer, AcceptAll, Undecided)
}

/// Says the same of everybody, after it has compared what it is shown.
#[derive(Debug)]
struct Always(Verdict);

impl Admission for Always {
    fn judge(&self, candidate: &Candidate) -> Verdict {
        assert_eq!(candidate.identity.key(), Some(&dialler()));
        self.0
    }
}

#[test]
fn a_peer_that_is_known_is_connected_before_the_application_hears_of_it() {
    let mut pair = with_policy(Known::new([someone_else(), dialler()]));
    let client = pair.dial();
    pair.world.run_for(ms(100));
    assert!(pair.client().has(client, &Event::Connected));
    let told: Vec<_> = pair.server().events.iter().map(|(_, _, event)| event.clone()).collect();
    assert_eq!(told, [Event::Connected]);
    pair.finish();
}

/// Whoever has seen a key in such a dial can write it into one of his own.
#[test]
fn a_key_that_stands_in_clear_says_nothing_about_who_is_known() {
    let mut pair = with_policy(Known::new([dialler()]));
    let client = pair.dial_as(Peer::AnyKey);
    pair.world.run_for(Duration::from_secs(6));
    assert_eq!(pair.client().closed(client).unwrap().1, &CloseReason::NoAnswer);
    let stats = pair.server().endpoint.stats();
    assert_eq!((stats.x25519_operations, stats.memory_used, stats.datagrams_sent), (0, 0, 0));
    pair.finish();
}

#[test]
fn a_key_that_is_not_known_costs_one_x25519_at_most_and_leaves_nothing() {
    for (peer, each) in [(None, 1), (Some(Peer::AnyKey), 0)] {
        let mut pair = with_policy(Known::new([someone_else()]));
        let client = pair.dial_as(peer.unwrap_or_else(|| Peer::Key(pair.server_key())));
        pair.world.run_for(Duration::from_secs(6));
        assert_eq!(pair.client().closed(client).unwrap().1, &CloseReason::NoAnswer);
        let (stats, unwanted) = (pair.server().endpoint.stats(), pair.server().dropped(DropReason::Unwanted));
        assert!(unwanted > 3, "copies of it too: {unwanted}");
        assert_eq!((stats.x25519_operations, stats.digests), (each * unwanted, 0));
        assert_eq!((stats.half_open, stats.memory_used, stats.datagrams_sent), (0, 0, 0));
        assert!(pair.server().events.is_empty());
        pair.finish();
    }
}

#[test]
fn an_attempt_that_was_accepted_and_is_never_confirmed_is_never_told_of() {
    let mut pair = with_policy(Everyone);
    let mut flood = Flood::new();
    flood.pour(&mut pair, 1, 200);
    assert_eq!(pair.server().endpoint.stats().half_open, 200);
    pair.world.run_for(Duration::from_secs(11));
    let stats = pair.server().endpoint.stats();
    assert_eq!((stats.half_open, stats.connections, stats.memory_used), (0, 0, 0));
    assert!(pair.server().events.is_empty());
    pair.finish();
}

#[test]
fn what_a_policy_says_is_done() {
    let code = ErrorCode::from(7);
    let mut pair = with_policy(Always(Verdict::Refuse(code)));
    let client = pair.dial();
    pair.world.run_for(Duration::from_secs(12));
    assert_eq!(pair.client().closed(client).unwrap().1, &CloseReason::Refused { code });
    assert!(pair.server().events.is_empty());
    pair.finish();

    for (verdict, retries) in [(Verdict::Ask, 0), (Verdict::Retry, 1)] {
        let mut pair = with_policy(Always(verdict));
        pair.dial();
        pair.world.run_for(ms(100));
        assert_eq!(pair.server().count(|event| *event == Event::Incoming), 1);
        assert_eq!(pair.server().endpoint.stats().retries_sent, retries);
        pair.world.run_for(Duration::from_secs(12));
        pair.finish();
    }
}

#[test]
fn a_policy_may_change() {
    let mut pair = with_policy(Known::default());
    let client = pair.dial();
    pair.world.run_for(ms(100));
    let known = Known::new([dialler()]);
    pair.world.node_mut(pair.server).endpoint.set_admission(Some(Arc::new(known)));
    pair.world.run_for(ms(300));
    assert!(pair.client().has(client, &Event::Connected));
    pair.finish();
}

#[test]
fn qotp_is_for_everyone_or_for_nobody() {
    let qotp = |config: &mut Config| config.qotp.accept = true;
    for known in [false, true] {
        let mut pair = with(Everyone, qotp);
        pair.dial_qotp(known);
        pair.world.run_for(ms(100));
        assert_eq!(pair.server().events.first().map(|(_, _, event)| event), Some(&Event::Connected));
        pair.world.run_for(Duration::from_secs(120));
        let (_, _, last) = pair.server().events.last().unwrap();
        assert_eq!(*last, Event::Closed(CloseReason::IdleTimeout), "what was told of has an end");
        pair.finish();

        let mut pair = with(Known::new([dialler()]), qotp);
        pair.dial_qotp(known);
        pair.world.run_for(Duration::from_secs(6));
        let stats = pair.server().endpoint.stats();
        assert_eq!((stats.x25519_operations, stats.memory_used, stats.datagrams_sent), (0, 0, 0));
        assert!(pair.server().dropped(DropReason::Unwanted) > 3);
        pair.finish();
    }
}

/// QOTP's connections stand before anything is proved, so the end of each is told.
#[test]
fn ac_15_qotp_attempts_that_a_policy_lets_in_end_after_their_lifetime_and_are_told_of() {
    for known in [false, true] {
        let mut pair = with(Everyone, |config| config.qotp.accept = true);
        let client = pair.client_addr;
        drop_if(&mut pair.world, move |passing| passing.to == client);
        let dial = pair.dial_qotp(known);
        pair.on_client(dial, |connection| {
            let id = connection.open_bi().unwrap();
            connection.write(id, b"nobody reads this").unwrap();
        });
        pair.world.run_for(Duration::from_millis(10_200));
        let told: Vec<_> = pair.server().events.iter().map(|(_, _, event)| event.clone()).collect();
        assert_eq!(told.first(), Some(&Event::Connected));
        assert_eq!(told.last(), Some(&Event::Closed(CloseReason::Unconfirmed)));
        let stats = pair.server().endpoint.stats();
        assert_eq!((stats.half_open, stats.connections, stats.memory_used), (0, 0, 0));
        pair.finish();
    }
}

#[test]
fn a_policy_is_not_told_more_than_it_can_believe() {
    #[derive(Debug)]
    struct Curious;
    impl Admission for Curious {
        fn judge(&self, candidate: &Candidate) -> Verdict {
            let known = matches!(candidate.identity, IncomingIdentity::Unconfirmed(_));
            assert!(!candidate.validated);
            if known { Verdict::Accept } else { Verdict::Ask }
        }
    }
    let mut pair = with_policy(Curious);
    pair.dial_as(Peer::AnyKey);
    pair.dial();
    pair.world.run_for(ms(100));
    let told: Vec<_> = pair.server().events.iter().map(|(_, _, event)| event.clone()).collect();
    assert_eq!(told, [Event::Incoming, Event::Connected]);
    pair.world.run_for(Duration::from_secs(12));
    pair.finish();
}

/// First packets in the name of the dialler, or of nobody who is known.
struct Flood {
    init: Vec<u8>,
    rng: Rng,
}

impl Flood {
    fn new() -> Self {
        let mut pair = Pair::new(1, quick());
        let seen = record(&mut pair.world);
        pair.dial_as(Peer::AnyKey);
        pair.world.run_for(Duration::ZERO);
        let init = seen.borrow().iter().find(|seen| kind(&seen.bytes) == INIT).unwrap().bytes.clone();
        Self { init, rng: Rng::new(5) }
    }

    /// Lets so many arrive in each of the next milliseconds.
    fn pour(&mut self, pair: &mut Pair, each: usize, millis: u64) {
        for _ in 0..millis {
            for _ in 0..each {
                let random = self.rng.next_u64();
                let from = SocketAddr::from(((0x0b00_0000 | random as u32 >> 8).to_be_bytes(), 7000));
                let mut bytes = self.init.clone();
                bytes[1..9].copy_from_slice(&self.rng.next_u64().to_le_bytes());
                bytes[9..17].copy_from_slice(&self.rng.next_u64().to_le_bytes());
                let to = pair.server_addr;
                pair.world.inject(Injection { after: Duration::ZERO, from, to, ecn: None, bytes });
            }
            pair.world.run_for(ms(1));
        }
    }

    /// In somebody else's name.
    fn rename(&mut self) {
        self.init[42..74].copy_from_slice(someone_else().as_bytes());
    }
}

#[test]
fn ac_20_a_flood_from_keys_that_are_not_known_does_not_delay_those_that_are() {
    let mut pair = with_policy(Known::new([dialler()]));
    let mut flood = Flood::new();
    flood.rename();
    flood.pour(&mut pair, 20, 1_000);
    let stats = pair.server().endpoint.stats();
    assert_eq!(pair.server().dropped(DropReason::Unwanted), 20_000);
    assert_eq!((stats.x25519_operations, stats.digests, stats.retries_sent), (0, 0, 0));
    assert_eq!((stats.half_open, stats.memory_used), (0, 0));
    let (client, begun) = (pair.dial(), pair.now());
    flood.pour(&mut pair, 20, 100);
    let connected = pair.client().when(client, &Event::Connected).expect("at once");
    assert_eq!(connected - begun, ms(40), "one round trip");
    pair.finish();
}

#[test]
fn ac_20_a_flood_that_a_policy_lets_in_is_asked_for_its_addresses_as_any_other() {
    let mut pair = with_policy(Everyone);
    let mut flood = Flood::new();
    flood.pour(&mut pair, 20, 500);
    let before = pair.server().endpoint.stats();
    assert!(before.retries_sent > 5_000 && before.x25519_operations <= 10_000, "{before:?}");
    let (client, begun) = (pair.dial(), pair.now());
    flood.pour(&mut pair, 20, 100);
    let connected = pair.client().when(client, &Event::Connected).expect("it shows its address");
    assert_eq!(connected - begun, ms(80), "two round trips");
    pair.world.run_for(Duration::from_secs(11));
    pair.finish();
}
