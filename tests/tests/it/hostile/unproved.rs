//! Addresses that nobody has proved, and peers that would like that to stay so.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{Disposition, PathId, fuzzing};
use dunlin_sim::{AcceptAll, Pair, Verdict, config};

use crate::common::{DATA, copy_from, hand_in, ms, quick};
use crate::frames::ping;

/// A PATH_CHALLENGE.
const CHALLENGE: u8 = 0x1a;

/// Small packets with large gaps between their numbers: acknowledgements of them fill whatever may be sent. The question
/// whether anybody is there goes with them nevertheless, in every packet.
#[test]
fn hostile_gaps_do_not_keep_a_challenge_from_fitting() {
    let elsewhere = SocketAddr::from(([203, 0, 113, 7], 7));
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let server = pair.server_addr;
    // What proves the dialler's key comes from an address that it never showed.
    copy_from(&mut pair, elsewhere, &[DATA], Verdict::Drop);
    let own = pair.dial();
    pair.server_connection(ms(1000)).expect("it is confirmed, if from elsewhere");
    pair.world.node_mut(pair.client).asleep = true;
    pair.world.run_for(ms(3_000));
    let sent = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&sent);
    pair.world.add_tap(move |passing| {
        if passing.to == elsewhere {
            record.borrow_mut().push(passing.bytes.clone());
        }
        Verdict::Pass
    });
    for _ in 0..40 {
        let mut packet = Vec::new();
        pair.on_client(own, |connection| {
            fuzzing::skip_numbers(connection, PathId::ZERO, 20_000);
            assert!(fuzzing::seal(connection, &ping(), &mut packet));
        });
        let node = pair.server;
        assert_eq!(hand_in(&mut pair.world, node, server, elsewhere, &packet), Disposition::Accepted);
        pair.world.run_for(ms(1));
    }
    let sent = sent.take();
    let opened: Vec<_> = sent
        .iter()
        .filter_map(|packet| pair.on_client(own, |connection| fuzzing::open(connection, packet)))
        .collect();
    assert!(opened.len() > 20, "{} packets", opened.len());
    let without = opened.iter().filter(|packet| !packet.frames.contains(&CHALLENGE)).count();
    assert_eq!(without, 0, "of {} packets", opened.len());
    pair.world.node_mut(pair.client).asleep = false;
    pair.finish();
}
