//! What the counters of work count: the bounds that other tests assert stand on them.

use dunlin_core::{Disposition, DropReason, EndpointStats, PathId};
use dunlin_sim::{Evil, Pair, config};

use super::frames::{UNI, connected, strike};
use crate::common::{inject, ms, quick};
use crate::frames::{ack, ping, stream};
use crate::puppet::{Init, hello, offer};

/// How much more work the answerer has done after a packet with these frames.
fn work(frames: &[Vec<u8>]) -> EndpointStats {
    let (mut pair, client, _) = connected(|_| {});
    let before = pair.server().endpoint.stats();
    assert_eq!(strike(&mut pair, client, &frames.concat()), Disposition::Accepted);
    let mut more = pair.server().endpoint.stats();
    more.frames -= before.frames;
    more.ranges -= before.ranges;
    more.digests -= before.digests;
    more.derivations -= before.derivations;
    pair.finish();
    more
}

#[test]
fn every_frame_and_range_of_a_packet_is_counted() {
    assert_eq!(work(&[ping(), ping(), ping()]).frames, 3);
    let acks = work(&[ack(0, 1, 0, &[]), ack(0, 1, 1, &[]), ping()]);
    assert_eq!((acks.frames, acks.ranges), (3, 2));
    assert_eq!((acks.digests, acks.derivations), (0, 0));
}

/// Newest first is the order that moves most: each fragment goes before all that there are.
#[test]
fn fragments_of_a_stream_cost_what_they_move_aside() {
    let fragment = |index: u64| stream(UNI, index * 2 + 1, b"x", false);
    assert_eq!(
        work(&(0..64).map(fragment).collect::<Vec<_>>()).ranges,
        0,
        "at the end there is nothing behind"
    );
    let moved = work(&(0..64).rev().map(fragment).collect::<Vec<_>>()).ranges;
    assert_eq!(moved, (0..64_u64).map(|behind| behind.div_ceil(4)).sum::<u64>());
}

#[test]
fn a_handshake_costs_one_digest_and_three_generations_of_keys() {
    let (pair, ..) = connected(|_| {});
    let [client, server] = [pair.client(), pair.server()].map(|host| host.endpoint.stats());
    assert_eq!([client.digests, server.digests], [0, 1]);
    assert_eq!([client.derivations, server.derivations], [3, 3]);
    pair.finish();
}

/// Frames are looked at before it is known whether they will be applied: in a packet that may open a path, in first packets.
#[test]
fn frames_that_are_never_applied_are_counted() {
    let mut evil = Evil::new(1, quick(), config());
    let (before, from) = (evil.stats().frames, evil.pair.client_addr);
    let path = PathId::new(2).expect("a path id");
    let dropped = evil.strike_from(from, path, &ping().repeat(5_000));
    assert_eq!(dropped, Disposition::Dropped(DropReason::UnknownPath));
    assert_eq!(evil.stats().frames - before, 5_000);
    evil.finish();

    let mut pair = Pair::new(1, quick());
    let (key, from) = (pair.server_key(), pair.client_addr);
    // The last of them may not be said there.
    let payload = [hello(&offer()), ping().repeat(1_300), vec![0x10, 9]].concat();
    let init = Init::new(Some(&key), &payload, b"", 1_200);
    inject(&mut pair, from, &init.datagram);
    pair.world.run_for(ms(5));
    let stats = pair.server().endpoint.stats();
    assert_eq!((stats.frames, stats.dropped(DropReason::BadHandshake)), (1_302, 1));
    pair.finish();
}
