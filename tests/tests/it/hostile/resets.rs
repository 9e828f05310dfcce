//! Stateless resets: who has lost its state says so, and nobody else can.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    Arrival, CloseReason, Config, ConnectionHandle, Disposition, DropReason, Duration, Endpoint, Event,
    Instant, LocalAddr, Secret, Shard, TrainLimit,
};
use dunlin_sim::{AcceptAll, Injection, Pair, Sender, Verdict, config, endpoint};

use crate::common::{at, ms, quick};
use crate::duo::{Duo, Side, parallel};

const ELSEWHERE: SocketAddr =
    SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(203, 0, 113, 7)), 7);

/// The answerer loses its state.
fn restart(pair: &mut Pair, settings: Config, secret: u8) {
    let server = pair.server;
    pair.world.node_mut(server).endpoint = endpoint(settings, secret, 77);
}

fn ended(pair: &Pair, client: ConnectionHandle) -> Option<(Instant, CloseReason)> {
    pair.client().closed(client).map(|(at, reason)| (at, reason.clone()))
}

/// A dialler in the middle of an upload, and the answerer, that is about to be another one.
fn uploading(settings: &Config) -> (Pair, ConnectionHandle) {
    let (client, server) = (config(), settings.clone());
    let mut pair = Pair::with(1, quick(), client, server, Sender::new(1, 1 << 30), AcceptAll);
    let (client, _) = pair.connect();
    pair.world.run_for(ms(300));
    (pair, client)
}

#[test]
fn ac_41_a_peer_that_was_restarted_says_so_within_a_round_trip() {
    let mut keyed = config();
    keyed.reset_key = Some(Secret::new([5; 32]));
    // With the key of its identity, and with one of its own, whoever it is now.
    for (settings, secret) in [(config(), 2), (keyed, 9)] {
        let (mut pair, client) = uploading(&settings);
        restart(&mut pair, settings, secret);
        let (now, _) = (pair.now(), pair.on_client(client, |connection| connection.send_datagram(b"hello?")));
        // There, and back again.
        pair.world.run_for(ms(41));
        let (when, reason) = ended(&pair, client).expect("it is over");
        assert_eq!(reason, CloseReason::PeerRestarted);
        assert!(when <= now + ms(41), "{when:?}");
        assert!(pair.server().endpoint.stats().resets_sent >= 1);
        let stats = pair.client().endpoint.stats();
        assert_eq!(stats.resets_received, 1, "once is enough");
        let ends = pair.client().events_of(client).filter(|event| matches!(event, Event::Closed(_)));
        assert_eq!(ends.count(), 1);
        pair.finish_among_strangers();
    }
}

/// The answerer notices too, once the dialler has given it an id that is not its first one.
#[test]
fn a_dialler_that_was_restarted_says_so_too() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let (_, server) = pair.connect();
    pair.world.run_for(ms(3_000));
    pair.on_server(server, |connection| connection.send_datagram(b"one").unwrap());
    pair.world.run_for(ms(100));
    // A change of ids, as after a change of networks: both use others than the first ones from now on.
    let now = pair.now();
    let (client_node, server_node) = (pair.client, pair.server);
    pair.world.node_mut(server_node).endpoint.network_changed(now, dunlin_core::NetworkChange::Unspecified);
    pair.world.run_for(ms(500));
    pair.world.node_mut(client_node).endpoint = endpoint(config(), 1, 77);
    pair.on_server(server, |connection| connection.send_datagram(b"two").unwrap());
    pair.world.run_for(ms(100));
    assert_eq!(
        pair.server().closed(server).map(|(_, reason)| reason.clone()),
        Some(CloseReason::PeerRestarted)
    );
    pair.finish_among_strangers();
}

#[test]
fn ac_41_another_identity_another_key_or_another_number_of_shards_ends_nothing() {
    let mut other = config();
    other.reset_key = Some(Secret::new([5; 32]));
    let shards = config().for_shard(Shard::new(0, 2).unwrap());
    for (settings, secret) in [(config(), 9), (other, 2), (shards, 2)] {
        let (mut pair, client) = uploading(&config());
        restart(&mut pair, settings, secret);
        pair.world.run_for(Duration::from_secs(60));
        assert_eq!(ended(&pair, client), None);
        assert_eq!(pair.client().endpoint.stats().resets_received, 0);
        pair.world.run_for(Duration::from_secs(60));
        assert_eq!(ended(&pair, client).map(|(_, reason)| reason), Some(CloseReason::IdleTimeout));
        pair.finish_among_strangers();
    }
}

/// Catches the resets that the answerer sends: what they are, and nothing of them arrives.
fn catch(pair: &mut Pair) -> Rc<RefCell<Vec<Vec<u8>>>> {
    let caught = Rc::new(RefCell::new(Vec::new()));
    let (catch, server) = (Rc::clone(&caught), pair.server_addr);
    pair.world.add_tap(move |passing| {
        if passing.from != server || passing.bytes.len() > 64 {
            return Verdict::Pass;
        }
        catch.borrow_mut().push(passing.bytes.clone());
        Verdict::Drop
    });
    caught
}

#[test]
fn ac_41_a_reset_counts_from_where_the_id_is_used_and_with_all_its_bits() {
    let (mut pair, client) = uploading(&config());
    restart(&mut pair, config(), 2);
    let caught = catch(&mut pair);
    pair.on_client(client, |connection| connection.send_datagram(b"hello?").unwrap());
    pair.world.run_for(ms(100));
    let reset = caught.borrow().first().expect("it is answered").clone();
    assert!((31..=64).contains(&reset.len()) && reset[0] == 0x90, "{reset:x?}");
    let (client_addr, server_addr) = (pair.client_addr, pair.server_addr);
    let arrive = |pair: &mut Pair, from: SocketAddr, bytes: &[u8]| {
        pair.world.inject(Injection {
            after: ms(1),
            from,
            to: client_addr,
            ecn: None,
            bytes: bytes.to_vec(),
        });
        pair.world.run_for(ms(2));
        ended(pair, client).map(|(_, reason)| reason)
    };
    let before = pair.client().endpoint.stats();
    assert_eq!(arrive(&mut pair, ELSEWHERE, &reset), None, "the right words from the wrong mouth");
    for bit in 0..128 {
        let mut wrong = reset.clone();
        let byte = wrong.len() - 1 - bit / 8;
        wrong[byte] ^= 1 << (bit % 8);
        assert_eq!(arrive(&mut pair, server_addr, &wrong), None, "bit {bit}");
    }
    let after = pair.client().endpoint.stats();
    // Probes are sealed meanwhile; what the dialler answers to strangers is not.
    let sealed = after.datagrams_sent - before.datagrams_sent - (after.resets_sent - before.resets_sent);
    assert_eq!(after.aead_operations - before.aead_operations, sealed, "nothing is opened for it");
    // Everything but the token is as it likes.
    let mut other = reset.clone();
    let random = 1..other.len() - 16;
    other[random].fill(0xa5);
    assert_eq!(arrive(&mut pair, server_addr, &other), Some(CloseReason::PeerRestarted));
    assert_eq!(arrive(&mut pair, server_addr, &reset), Some(CloseReason::PeerRestarted), "and that is all");
    let ends = pair.client().events_of(client).filter(|event| matches!(event, Event::Closed(_)));
    assert_eq!(ends.count(), 1);
    pair.finish_among_strangers();
}

/// A reset of the id of one path ends the whole connection: there is one peer.
#[test]
fn a_reset_of_one_of_three_paths_ends_the_connection() {
    let mut duo = Duo::new(1, &parallel(3));
    duo.open(Side::Client, 1, 1);
    duo.open(Side::Client, 2, 2);
    let server = duo.web.pair.server;
    let sockets = duo.web.pair.world.node(server).sockets.clone();
    restart(&mut duo.web.pair, config(), 2);
    let now = duo.web.pair.now();
    duo.web.pair.world.node_mut(server).sockets = sockets;
    duo.web.pair.world.node_mut(server).tell_sockets(now);
    duo.on(Side::Client, |connection| connection.send_datagram(b"hello?").unwrap());
    duo.run(ms(200));
    assert_eq!(duo.end(Side::Client), Some(CloseReason::PeerRestarted));
    duo.finish();
}

/// A packet of Data that opens nowhere, to an id of shard `shard` of four.
fn stray(shard: u8, len: usize) -> Vec<u8> {
    let mut packet = vec![0x77; len];
    (packet[0], packet[1]) = (0x90, 64 + shard);
    packet
}

/// What an endpoint answers at once.
fn answers(endpoint: &mut Endpoint, now: Instant, from: SocketAddr, packet: &[u8]) -> Vec<Vec<u8>> {
    let arrival = Arrival { local: LocalAddr::default(), remote: from.into(), ecn: None };
    let disposition = endpoint.handle_datagram(now, arrival, &mut packet.to_vec());
    assert_eq!(disposition, Disposition::Dropped(DropReason::UnknownConnection));
    let mut all = Vec::new();
    let mut out = Vec::new();
    while let Some(transmit) = endpoint.poll_transmit(now, TrainLimit::SINGLE, &mut out) {
        assert_eq!(transmit.remote, from.into());
        all.push(core::mem::take(&mut out));
    }
    all
}

#[test]
fn ac_41_two_that_know_nothing_of_each_other_come_to_an_end() {
    for len in [31, 32, 33, 64, 1_200] {
        let mut sides = [endpoint(config(), 1, 1), endpoint(config(), 2, 2)];
        let mut packet = stray(0, len);
        let mut count = 0;
        loop {
            let heard = &mut sides[count % 2];
            let Some(answer) = answers(heard, at(1_000), ELSEWHERE, &packet).pop() else { break };
            assert!(answer.len() < packet.len() && (31..=64).contains(&answer.len()));
            packet = answer;
            count += 1;
        }
        assert!(count <= 33, "{count} answers to {len} bytes");
        assert_eq!(count > 0, len > 31, "{len} bytes");
    }
}

/// No shard says a word of another one's ids, so none can be made to end another one's connections.
#[test]
fn ac_41_shards_answer_for_their_own_ids_only() {
    let mut tokens = Vec::new();
    for shard in Shard::all(4) {
        let mut engine = endpoint(config().for_shard(shard), 2, 1);
        for of in 0..4 {
            let answer = answers(&mut engine, at(1_000), ELSEWHERE, &stray(of, 100)).pop();
            assert_eq!(answer.is_some(), of == shard.index(), "{shard:?} of {of}");
            tokens.extend(answer.map(|answer| answer[answer.len() - 16..].to_vec()));
        }
    }
    // The same id means another thing where there is another number of shards.
    let mut alone = endpoint(config(), 2, 1);
    let answer = answers(&mut alone, at(1_000), ELSEWHERE, &stray(0, 100)).pop().expect("it is alone");
    assert!(!tokens.contains(&answer[answer.len() - 16..].to_vec()));
}

#[test]
fn ac_41_resets_are_few_in_all_and_for_each_network() {
    let mut engine = endpoint(config(), 2, 1);
    let mut count = |from: fn(u8) -> [u8; 4], now: Instant| {
        let from = |n| SocketAddr::from((from(n), 9));
        (0..250).map(|n| answers(&mut engine, now, from(n), &stray(0, 100)).len()).sum::<usize>()
    };
    assert_eq!(count(|n| [198, 51, 100, n], at(1_000)), 10, "of one network");
    let all = count(|n| [10, n, 0, 1], at(10_000));
    assert!((90..=100).contains(&all), "{all} of many");
    assert_eq!(engine.stats().resets_sent, 10 + all as u64);
    // What is not Data is not answered.
    for first in [0x30, 0x70, 0xb0, 0xd0, 0xf0] {
        let mut packet = stray(0, 100);
        packet[0] = first;
        let arrival = Arrival::from_remote(SocketAddr::from(([10, 1, 2, 3], 9)));
        engine.handle_datagram(at(20_000), arrival, &mut packet);
        assert_eq!(engine.poll_transmit(at(20_000), TrainLimit::SINGLE, &mut Vec::new()), None, "{first:x}");
    }
}
