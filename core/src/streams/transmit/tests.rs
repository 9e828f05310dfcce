use super::*;
use crate::budget::{Account, Budget};
use crate::config::Limits;
use crate::congestion::SentInfo;
use crate::crypto::keys::KeyPhase;
use crate::id::{PacketNumber, Role};
use crate::recovery::sent::SentPacket;
use crate::rng::Rng;
use crate::streams::blocks::BlockPool;
use crate::time::Instant;
use crate::wire::params::TransportParams;

const STREAMS: u64 = 300;

/// Streams that the peer has stopped, so that the ends of all are to be told.
fn stopped() -> Streams {
    let hasher = Rng::new(&[1; 32], &[2; 32]).number_hasher();
    let mut streams = Streams::new(Role::Initiator, &Limits::default(), false, hasher);
    streams.set_peer_params(&TransportParams { max_streams_uni: STREAMS, ..TransportParams::DEFAULT });
    let (mut pool, mut account) = (BlockPool::new(0), Account::new(usize::MAX));
    let (mut budget, mut ranges) = (Budget::new(usize::MAX), 0);
    let memory =
        &mut Memory { pool: &mut pool, account: &mut account, budget: &mut budget, ranges: &mut ranges };
    for _ in 0..STREAMS {
        let id = streams.open(Direction::Unidirectional, memory).expect("the peer allows it");
        streams.on_stop_sending(id, 1_u32.into(), memory).expect("it is open");
    }
    streams
}

/// Puts control frames into a packet, and says how many items were remembered for it.
fn packet(streams: &mut Streams, sent: &mut SentPackets, room: usize) -> usize {
    let mut out = Vec::new();
    sent.begin_packet(room);
    streams.put_controls(&mut out, 65_000, sent);
    sent.record(Instant::ZERO, 1200, SentInfo::default(), KeyPhase::default(), true);
    let recorded = sent.oldest().expect("it is in flight");
    let items = sent.items(&recorded.1).count();
    sent.ack(recorded.0.get());
    sent.forget(Instant::ZERO, crate::time::Duration::ZERO);
    items
}

/// Where there is no memory to remember more, the rest goes in the next packets. Nothing is forgotten.
#[test]
fn hostile_ends_of_many_streams_take_as_many_packets_as_there_is_memory_for() {
    let (mut streams, mut sent) = (stopped(), SentPackets::new(PacketNumber::ZERO));
    sent.push_item(Item::Datagram);
    let before = sent.heap_bytes();
    let mut told = 0;
    while streams.has_output() {
        let items = packet(&mut streams, &mut sent, 0);
        assert!(items > 0, "nothing goes any more");
        told += items;
    }
    assert_eq!(told as u64, STREAMS + 1);
    assert!(sent.heap_bytes() <= before + 8 * size_of::<SentPacket>(), "{} bytes", sent.heap_bytes());
    let mut sent = SentPackets::new(PacketNumber::ZERO);
    assert_eq!(packet(&mut stopped(), &mut sent, usize::MAX) as u64, STREAMS, "with memory it is one packet");
}
