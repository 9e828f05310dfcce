//! Addresses that nobody has shown, and what can be had sent to them.

use core::net::{IpAddr, SocketAddr};

use dunlin_core::{Duration, ErrorCode, PathId, fuzzing};
use dunlin_sim::{AcceptAll, Evil, Injection, Pair, config};

use crate::common::{DATA, INIT_KNOWN, Undecided, drop_if, hand_in, kind, ms, quick, record};

/// The first packet comes in the victim's name, and a copy of it from where its sender really is: the reply to that tells him
/// the connection's id, at which he can knock.
#[test]
fn ac_62_a_connection_that_is_closed_before_it_is_confirmed_sends_no_flood_to_whoever_seemed_to_dial() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, Undecided);
    let seen = record(&mut pair.world);
    let client = pair.client_addr;
    // Nothing confirms it.
    drop_if(&mut pair.world, move |passing| passing.from == client && kind(passing.bytes) == DATA);
    pair.dial();
    pair.world.run_for(Duration::ZERO);
    let init = seen.borrow().iter().find(|seen| kind(&seen.bytes) == INIT_KNOWN).unwrap().bytes.clone();
    let (victim, thief) = (SocketAddr::from(([203, 0, 113, 1], 9)), SocketAddr::from(([203, 0, 113, 2], 9)));
    let (node, to) = (pair.server, pair.server_addr);
    // Before the honest copy arrives.
    for from in [victim, thief] {
        hand_in(&mut pair.world, node, to, from, &init);
    }
    let (now, endpoint) = (pair.now(), &mut pair.world.node_mut(node).endpoint);
    let (handle, _) = endpoint.poll_event().expect("an attempt");
    let connection = endpoint.incoming(handle).unwrap().accept(now).unwrap();
    pair.world.run_for(ms(100));
    pair.on_server(connection, |connection| connection.close(ErrorCode::from(1), &[b'x'; 512]));
    // Its id is in what the honest dialler says.
    let data = seen.borrow().iter().find(|seen| kind(&seen.bytes) == DATA).expect("a packet").bytes.clone();
    let knock = [&data[..9], &[0; 31]].concat();
    for _ in 0..2_000 {
        hand_in(&mut pair.world, node, to, thief, &knock);
        pair.world.run_for(ms(1));
    }
    let (_, sent) = pair.server().traffic[&victim];
    assert!(sent > 500, "one close at least: {sent}");
    assert!(sent <= 3 * init.len() as u64, "{sent} bytes for {}", init.len());
    pair.finish();
}

/// To another address of ours: the answer leaves from there, which makes it a packet of its own.
#[test]
fn ac_62_a_small_challenge_gets_a_small_answer_from_whichever_of_our_addresses() {
    let mut evil = Evil::new(1, quick(), config());
    let other = SocketAddr::new(IpAddr::from([10, 0, 0, 77]), 2000);
    let (node, from) = (evil.pair.server, evil.pair.client_addr);
    evil.pair.world.add_address(node, other);
    let mut packet = Vec::new();
    let challenge = [&[0x1a][..], &[7; 8]].concat();
    assert!(evil.as_dialler(|dialler| fuzzing::seal_on(dialler, PathId::ZERO, &challenge, &mut packet)));
    let (seen, bytes) = (record(&mut evil.pair.world), packet.clone());
    evil.pair.world.inject(Injection { after: Duration::ZERO, from, to: other, ecn: None, bytes });
    evil.run(ms(1));
    let sent: usize =
        seen.borrow().iter().filter(|seen| seen.from == other).map(|seen| seen.bytes.len()).sum();
    assert!(sent > 0, "it is answered");
    assert!(sent <= 3 * packet.len(), "{sent} bytes for {}", packet.len());
}
