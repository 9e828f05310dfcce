//! What makes a path move and what does not, packet by packet, and what an attacker gets out of it (docs/PROTOCOL.md,
//! "Moving to another address").

use core::net::SocketAddr;

use dunlin_core::{ConnectionHandle, Disposition, Duration, TransportAddr, fuzzing};
use dunlin_sim::{Injection, LinkConfig, Pair, Receiver, Sender, Verdict, config};

use crate::common::{drop_if, hand_in, line, ms, quick};

const PADDING: u8 = 0x00;
const PING: u8 = 0x01;
const PATH_CHALLENGE: u8 = 0x1a;
/// A packet with a challenge or an answer alone: header and tag 30, frame 9.
const SMALL: u64 = 39;

/// Addresses at which nobody is, of one host.
fn elsewhere(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 7], port))
}

/// Another port of the dialler's own host.
fn beside(pair: &Pair, port: u16) -> SocketAddr {
    SocketAddr::new(pair.client_addr.ip(), port)
}

/// Two that are connected and have nothing to say.
fn connected() -> (Pair, ConnectionHandle, ConnectionHandle) {
    let mut pair = Pair::new(1, quick());
    let (client, server) = pair.connect();
    pair.world.run_for(ms(500));
    (pair, client, server)
}

/// A packet of the dialler with these frames.
fn packet(pair: &mut Pair, client: ConnectionHandle, frames: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    assert!(pair.on_client(client, |connection| fuzzing::seal(connection, frames, &mut packet)));
    packet
}

/// Lets a packet with these frames arrive at the answerer, from `from`.
fn strike(pair: &mut Pair, client: ConnectionHandle, from: SocketAddr, frames: &[u8]) {
    let packet = packet(pair, client, frames);
    let (node, to) = (pair.server, pair.server_addr);
    assert_eq!(hand_in(&mut pair.world, node, to, from, &packet), Disposition::Accepted);
}

/// The dialler is not heard any more, but for what is handed in.
fn mute(pair: &mut Pair) {
    let client = pair.client_addr;
    drop_if(&mut pair.world, move |passing| passing.from == client);
}

fn challenge(data: u8) -> Vec<u8> {
    let mut frames = vec![data; 9];
    frames[0] = PATH_CHALLENGE;
    frames
}

/// Bytes that the answerer has sent to an address.
fn sent_to(pair: &Pair, addr: SocketAddr) -> u64 {
    pair.server().traffic.get(&addr).map_or(0, |(_, sent)| *sent)
}

fn remote(pair: &mut Pair, server: ConnectionHandle) -> TransportAddr {
    pair.on_server(server, |connection| connection.path().remote)
}

fn pto(pair: &mut Pair, server: ConnectionHandle) -> Duration {
    pair.on_server(server, |connection| connection.path().rtt.pto(ms(25)))
}

#[test]
fn only_the_highest_number_moves() {
    let (mut pair, client, server) = connected();
    let late = packet(&mut pair, client, &[PING]);
    let home = pair.client_addr;
    strike(&mut pair, client, home, &[PING]);
    let (node, to) = (pair.server, pair.server_addr);
    assert_eq!(hand_in(&mut pair.world, node, to, elsewhere(1), &late), Disposition::Accepted);
    pair.world.run_for(ms(500));
    assert_eq!(sent_to(&pair, elsewhere(1)), 0, "it was only late");
    strike(&mut pair, client, elsewhere(1), &[PING]);
    pair.world.run_for(ms(1));
    assert_eq!(sent_to(&pair, elsewhere(1)), SMALL, "asked, though not believed");
    assert_eq!(remote(&mut pair, server), TransportAddr::Ip(pair.client_addr));
    pair.finish();
}

#[test]
fn probing_packets_do_not_move() {
    let (mut pair, client, server) = connected();
    strike(&mut pair, client, elsewhere(1), &[PADDING; 40]);
    pair.world.run_for(ms(500));
    assert_eq!(sent_to(&pair, elsewhere(1)), 0);
    for padding in [0, 1171] {
        let before = sent_to(&pair, elsewhere(1));
        let frames = [challenge(7), vec![PADDING; padding]].concat();
        strike(&mut pair, client, elsewhere(1), &frames);
        pair.world.run_for(ms(500));
        let answer = sent_to(&pair, elsewhere(1)) - before;
        assert_eq!(answer, if padding == 0 { SMALL } else { 1200 }, "an answer, as long as is fair");
    }
    assert_eq!(remote(&mut pair, server), TransportAddr::Ip(pair.client_addr));
    pair.finish();
}

#[test]
fn one_move_at_a_time() {
    let (mut pair, client, _) = connected();
    let [first, second] = [1, 2].map(|port| beside(&pair, port));
    strike(&mut pair, client, first, &[PING]);
    pair.world.run_for(ms(1));
    strike(&mut pair, client, second, &[PING]);
    pair.world.run_for(ms(40));
    assert!(sent_to(&pair, first) > 0);
    assert_eq!(sent_to(&pair, second), 0);
    pair.finish();
}

#[test]
fn three_timeouts_and_it_is_over() {
    let (mut pair, client, server) = connected();
    mute(&mut pair);
    let pto = pto(&mut pair, server);
    let [first, second] = [1, 2].map(|port| beside(&pair, port));
    strike(&mut pair, client, first, &[PING]);
    pair.world.run_for(pto * 3 - ms(1));
    strike(&mut pair, client, second, &[PING]);
    pair.world.run_for(ms(2));
    assert_eq!(sent_to(&pair, second), 0, "the first one's time");
    strike(&mut pair, client, second, &[PING]);
    pair.world.run_for(ms(1));
    assert_eq!(sent_to(&pair, second), SMALL);
    // With nobody anywhere it ends, and leaves the path where it was.
    pair.world.run_for(Duration::from_secs(20));
    assert_eq!(remote(&mut pair, server), TransportAddr::Ip(pair.client_addr));
    assert_eq!((sent_to(&pair, first), sent_to(&pair, second)), (2 * SMALL, 2 * SMALL));
    pair.finish();
}

#[test]
fn five_challenges() {
    let (mut pair, client, server) = connected();
    mute(&mut pair);
    let pto = pto(&mut pair, server);
    // Long enough for five: another host may be slower to reach.
    assert!(pto * 15 < Duration::from_secs(3));
    strike(&mut pair, client, elsewhere(1), &[PING; 60]);
    let mut times = Vec::new();
    let start = pair.now();
    while pair.now() < start + Duration::from_secs(10) {
        let before = sent_to(&pair, elsewhere(1));
        pair.world.run_for(ms(1));
        if sent_to(&pair, elsewhere(1)) > before {
            times.push((pair.now() - start + pto / 2).as_nanos() / pto.as_nanos());
        }
    }
    assert_eq!(sent_to(&pair, elsewhere(1)), 5 * SMALL);
    assert_eq!(times, [0, 1, 3, 7, 15], "in probe timeouts");
    pair.finish();
}

#[test]
fn threefold_at_the_new_address() {
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(1, line(), config(), config(), receiver, Sender::new(1, 20_000_000));
    let (client, server) = pair.connect();
    pair.world.run_for(ms(300));
    for round in 0..200_u64 {
        strike(&mut pair, client, elsewhere(1), &vec![PING; 1 + round as usize * 7 % 1100]);
        for _ in 0..10 {
            pair.world.run_for(ms(1));
            let (came, went) = pair.server().traffic[&elsewhere(1)];
            assert_eq!(came, (0..=round).map(|round| 31 + round * 7 % 1100).sum());
            assert!(went <= 3 * came, "{went} bytes for {came}");
        }
    }
    assert!(sent_to(&pair, elsewhere(1)) > 0);
    assert_eq!(remote(&mut pair, server), TransportAddr::Ip(pair.client_addr));
    assert!(pair.run_until(Duration::from_secs(10), |_| seen.borrow().finished == 1), "data goes on");
    pair.finish();
}

#[test]
fn four_owed_answers_newest_wins() {
    let (mut pair, client, _) = connected();
    for port in 1..=6 {
        for data in [1, 2] {
            strike(&mut pair, client, elsewhere(port), &challenge(data));
        }
    }
    pair.world.run_for(ms(1));
    let answers: Vec<u64> = (1..=6).map(|port| sent_to(&pair, elsewhere(port)) / SMALL).collect();
    assert_eq!(answers, [0, 0, 1, 1, 1, 1]);
    pair.finish();
}

/// Somebody on the way copies packets and lets the copies arrive first, from an address of its own.
struct Copier {
    /// Whether the dialler hears what is sent to that address, as if it came from the answerer.
    relays: bool,
}

impl Copier {
    fn sit_between(self, pair: &mut Pair) {
        let (client, server) = (pair.client_addr, pair.server_addr);
        let mut count = 0_u32;
        pair.world.add_tap(move |passing| {
            let bytes = passing.bytes.clone();
            let after = ms(9);
            if passing.from == client {
                count += 1;
                if count.is_multiple_of(3) {
                    passing.inject(Injection { after, from: elsewhere(1), to: server, ecn: None, bytes });
                }
            } else if passing.to == elsewhere(1) && self.relays {
                passing.inject(Injection { after, from: server, to: client, ecn: None, bytes });
            }
            Verdict::Pass
        });
    }
}

/// A download, for how long it takes, beside somebody who copies.
fn download(copier: Option<Copier>) -> (Pair, ConnectionHandle, Duration) {
    let (receiver, seen) = Receiver::new();
    let link = LinkConfig { rate: Some(dunlin_sim::Rate::mbit(20)), ..line() };
    let mut pair = Pair::with(1, link, config(), config(), receiver, Sender::new(1, 5_000_000));
    let (_, server) = pair.connect();
    pair.world.run_for(ms(500));
    if let Some(copier) = copier {
        copier.sit_between(&mut pair);
    }
    let start = pair.now();
    assert!(pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1));
    let span = pair.now() - start;
    (pair, server, span)
}

#[test]
fn a_copy_from_elsewhere_moves_nothing() {
    let (pair, _, undisturbed) = download(None);
    pair.finish();
    let (mut pair, server, span) = download(Some(Copier { relays: false }));
    assert!(span < undisturbed * 11 / 10, "{span:?} where {undisturbed:?} is usual");
    assert_eq!(remote(&mut pair, server), TransportAddr::Ip(pair.client_addr));
    let (came, went) = pair.server().traffic[&elsewhere(1)];
    assert!(0 < went && went <= 3 * came && went < 12_000, "challenges, and nothing else: {went}");
    pair.finish();
}

/// Who also passes on the challenge answers for another address. The dialler's own answers too, and goes on.
#[test]
fn old_answers_with_higher_numbers_and_stays() {
    let (pair, _, undisturbed) = download(None);
    pair.finish();
    let (mut pair, server, span) = download(Some(Copier { relays: true }));
    let [home, away] = [pair.client_addr, elsewhere(1)].map(|addr| sent_to(&pair, addr));
    assert!(span < undisturbed * 11 / 10, "{span:?} where {undisturbed:?} is usual");
    assert_eq!(remote(&mut pair, server), TransportAddr::Ip(pair.client_addr));
    assert!(away < home / 50, "{away} bytes went another way, {home} to the dialler");
    pair.finish();
}

/// A NAT, or several behind one another, that shows one host under two addresses in turn: both answer, and the path rests.
#[test]
fn two_addresses_in_turn_do_not_make_a_path_restless() {
    let (pair, _, undisturbed) = download(None);
    pair.finish();
    let (receiver, seen) = Receiver::new();
    let link = LinkConfig { rate: Some(dunlin_sim::Rate::mbit(20)), ..line() };
    let mut pair = Pair::with(1, link, config(), config(), receiver, Sender::new(1, 5_000_000));
    let (_, server) = pair.connect();
    pair.world.run_for(ms(500));
    let (client, to, second) = (pair.client_addr, pair.server_addr, beside(&pair, 1));
    let mut count = 0_u32;
    pair.world.add_tap(move |passing| {
        let bytes = passing.bytes.clone();
        let (from, to) = match passing.from == client {
            true if count.is_multiple_of(2) => (second, to),
            false if passing.to == second => (to, client),
            _ => {
                count += u32::from(passing.from == client);
                return Verdict::Pass;
            }
        };
        count += u32::from(passing.from == client);
        passing.inject(Injection { after: ms(10), from, to, ecn: None, bytes });
        Verdict::Drop
    });
    let (start, mut changes, mut last) = (pair.now(), 0, remote(&mut pair, server));
    while seen.borrow().finished == 0 {
        pair.world.run_for(ms(1));
        let now = remote(&mut pair, server);
        changes += u32::from(now != last);
        last = now;
    }
    let span = pair.now() - start;
    assert!(span < undisturbed * 11 / 10, "{span:?} where {undisturbed:?} is usual");
    assert!(changes <= 2, "{changes} changes in {span:?}");
    pair.finish();
}
