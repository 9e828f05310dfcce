//! Addresses that are not the sender's: nobody gets more than three times what came in his name, and nobody's path goes where
//! a stranger wants it.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use dunlin_core::{Disposition, Duration, Event, LocalAddr, PathId, Tuple};
use dunlin_sim::{AcceptAll, Evil, Injection, Pair, Receiver, Sender, Verdict, config};

use super::paths::{elsewhere, open_second};
use super::speaking;
use crate::common::{INIT_KNOWN_REPLY, hand_in, kind, line, ms, quick};
use crate::frames::{path_challenge, ping, stream};
use crate::puppet::{Init, hello, offer};

/// Bytes of a Data packet that are no frames: header, sequence field, tag.
const OVERHEAD: usize = 9 + 5 + 16;

fn stranger(number: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, number], 4_000))
}

/// Bytes that came in the name of each stranger.
#[derive(Default)]
struct Ledger(BTreeMap<SocketAddr, u64>);

impl Ledger {
    /// A datagram of `bytes` has come in the name of `stranger`.
    fn note(&mut self, stranger: SocketAddr, bytes: usize) {
        *self.0.entry(stranger).or_default() += bytes as u64;
    }

    /// No stranger has been sent more than three times that (RFC 9000 section 8.1). Says how much went to all of them.
    fn check(&self, pair: &Pair) -> u64 {
        let mut all = 0;
        for (address, (_, sent)) in &pair.server().traffic {
            let received = self.0.get(address).copied().unwrap_or(0);
            let proved = [pair.client_addr, elsewhere()].contains(address);
            assert!(proved || *sent <= 3 * received, "{address}: {sent} for {received}");
            all += if proved { 0 } else { *sent };
        }
        all
    }
}

/// A copy of the answer arrives first, from an address that the copier has made up.
#[test]
fn ac_45_a_copied_reply_takes_a_dial_nowhere() {
    let mut pair = Pair::with(1, quick(), config(), config(), Sender::new(1, 200_000), AcceptAll);
    let (client_addr, server) = (pair.client_addr, pair.server_addr);
    pair.world.add_tap(move |passing| {
        if passing.from == server && kind(passing.bytes) == INIT_KNOWN_REPLY {
            let bytes = passing.bytes.clone();
            passing.inject(Injection { after: ms(1), from: stranger(1), to: client_addr, ecn: None, bytes });
        }
        Verdict::Pass
    });
    let client = pair.dial();
    pair.world.run_for(Duration::from_secs(5));
    assert!(pair.client().has(client, &Event::Connected));
    let (_, sent) = pair.client().traffic.get(&stranger(1)).copied().unwrap_or_default();
    assert_eq!(sent, 0, "bytes to an address that nobody dialled");
    pair.on_client(client, |connection| assert_eq!(connection.path().remote, server.into()));
    pair.finish();
}

/// Whatever comes in a stranger's name, at any time no more than three times as much has gone to him.
#[test]
fn ac_62_no_stranger_gets_more_than_three_times_what_came_in_his_name() {
    let refusing = |now, endpoint: &mut dunlin_core::Endpoint, handle, event: &Event| {
        if *event == Event::Incoming
            && let Some(incoming) = endpoint.incoming(handle)
        {
            incoming.refuse(now, 7_u32.into());
        }
    };
    for accepts in [true, false] {
        let mut pair = match accepts {
            true => Pair::new(1, quick()),
            false => Pair::with(1, quick(), config(), config(), AcceptAll, refusing),
        };
        let (key, mut ledger) = (pair.server_key(), Ledger::default());
        let (node, to) = (pair.server, pair.server_addr);
        for number in 0..40 {
            let init = Init::new((number % 2 == 0).then_some(&key), &hello(&offer()), b"", 1_200);
            // The same again and again, and as it would come from elsewhere.
            for copy in 0..4 {
                for from in [stranger(number), stranger(number + copy)] {
                    hand_in(&mut pair.world, node, to, from, &init.datagram);
                    ledger.note(from, init.datagram.len());
                }
                pair.world.run_for(ms(300));
                ledger.check(&pair);
            }
        }
        pair.world.run_for(Duration::from_secs(30));
        assert!(ledger.check(&pair) > 0, "they were answered");
        pair.finish();
    }
}

/// Packets of a connection that seem to come from elsewhere: asked whether somebody is there, with no more than came.
#[test]
fn ac_62_a_connection_that_seems_to_move_sends_no_flood_after_it() {
    let mut evil = speaking(60_000, ms(100));
    let mut ledger = Ledger::default();
    let mut strike = |evil: &mut Evil, from, path: u8, frames: &[u8]| {
        evil.strike_from(from, PathId::new(path).expect("a path"), frames);
        ledger.note(from, frames.len() + OVERHEAD);
        ledger.check(&evil.pair);
    };
    for round in 0..200_u8 {
        let frames = [ping(), path_challenge([round; 8]), stream(2, u64::from(round), b"x", false)];
        strike(&mut evil, stranger(round % 5), 0, &frames[usize::from(round) % 3]);
        if round % 7 == 0 {
            strike(&mut evil, stranger(round % 5), round % 4, &[ping(), vec![0; 1_200]].concat());
        }
        evil.run(ms(u64::from(round)));
    }
    evil.run(Duration::from_secs(5));
    assert!(ledger.check(&evil.pair) > 0, "they were asked");
    evil.finish();
}

/// Packets of two paths in the name of one stranger, before anything was answered: each counts once, whether the second path is
/// opened by it or stands elsewhere.
#[test]
fn ac_62_what_came_in_a_strangers_name_is_not_counted_on_two_paths() {
    for (stands, order) in [(true, [2, 0]), (true, [0, 2]), (false, [2, 0]), (false, [0, 2])] {
        let mut evil = Evil::new(1, quick(), config());
        let mut ledger = Ledger::default();
        if stands {
            open_second(&mut evil);
        }
        for path in order {
            let frames = match path {
                2 => path_challenge([1; 8]),
                _ => [ping(), vec![0; 400]].concat(),
            };
            let path = PathId::new(path).expect("a path");
            assert_eq!(evil.strike_from(stranger(1), path, &frames), Disposition::Accepted);
            ledger.note(stranger(1), frames.len() + OVERHEAD);
        }
        evil.run(Duration::from_secs(5));
        ledger.check(&evil.pair);
        evil.finish();
    }
}

/// What a router is said to have said of the size of packets.
#[test]
fn ac_40_forged_reports_of_a_small_path_change_little() {
    let (receiver, received) = Receiver::new();
    let mut pair = Pair::with(1, line(), config(), config(), Sender::new(1, 40 << 20), receiver);
    let client = pair.dial();
    pair.world.run_for(Duration::from_secs(2));
    let mtu = pair.on_client(client, |connection| connection.path().mtu);
    let before = received.borrow().total();
    let ends = Tuple {
        local: LocalAddr { socket: 0, ip: Some(pair.client_addr.ip()) },
        remote: pair.server_addr.into(),
    };
    for size in (600..=1_200).chain([0, 1, 65_535]) {
        let (now, node) = (pair.now(), pair.client);
        pair.world.node_mut(node).endpoint.datagram_too_large(now, client, ends, size);
    }
    pair.on_client(client, |connection| assert_eq!(connection.path().mtu, mtu));
    for _ in 0..1_000 {
        let (now, node) = (pair.now(), pair.client);
        pair.world.node_mut(node).endpoint.datagram_too_large(now, client, ends, 1_300);
        pair.world.run_for(ms(1));
    }
    let rate = received.borrow().total() - before;
    assert!(rate >= 9 * before / 20, "{rate} bytes in a second, {before} in two");
    pair.finish();
}
