//! Several datagrams and trains, to many destinations, in one call.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use dunlin_udp::{
    BatchOutcome, DatagramSocket, EcnCodepoint, LossCause, Outcome, SEND_BATCH_SIZE, Transmit, UdpSocket,
};

use crate::net::{Datagram, SENDS, V4, V6, bind, receive, to, wait};

/// Sends a batch until every destination has got what is its own, in order; at least one time out of many nothing gets lost
/// over loopback. A message that cannot be sent is left out.
fn deliver(from: &UdpSocket, batch: &[Transmit<'_>], receivers: &[UdpSocket]) -> Vec<Vec<Datagram>> {
    for _ in 0..SENDS {
        assert_eq!(from.try_send_batch(batch), BatchOutcome { sent: batch.len(), last: Outcome::Sent });
        let got: Vec<Vec<Datagram>> = receivers.iter().map(|receiver| hear(from, batch, receiver)).collect();
        if got.iter().zip(receivers).all(|(got, receiver)| {
            let expected = expected(batch, receiver);
            got.iter().map(|datagram| &datagram.bytes[..]).eq(expected)
        }) {
            return got;
        }
    }
    panic!("never came whole");
}

/// The datagrams of a batch that are for `receiver`.
fn expected<'a>(batch: &[Transmit<'a>], receiver: &UdpSocket) -> Vec<&'a [u8]> {
    let own = batch.iter().filter(|transmit| transmit.destination.port() == receiver.local_addr().port());
    own.flat_map(|transmit| {
        transmit.contents.chunks(transmit.segment_size.unwrap_or(transmit.contents.len()).max(1))
    })
    .collect()
}

/// What comes until there are as many as there should be, or nothing comes any more.
fn hear(from: &UdpSocket, batch: &[Transmit<'_>], receiver: &UdpSocket) -> Vec<Datagram> {
    let number = expected(batch, receiver).len();
    let mut got = Vec::new();
    while got.len() < number && wait(receiver) {
        let mut received = Vec::new();
        receive(receiver, &mut received, &mut 0);
        got.extend(received.into_iter().map(|(_, datagram)| datagram));
        got.retain(|datagram| datagram.remote.port() == from.local_addr().port());
    }
    got
}

#[test]
fn many_datagrams_to_many_destinations_leave_in_one_call() {
    for ip in [V4, V6] {
        let Some(from) = bind(ip) else { continue };
        let receivers: Vec<UdpSocket> = (0..64).filter_map(|_| bind(ip)).collect();
        let contents: Vec<[u8; 40]> = (0..128).map(|n| [n; 40]).collect();
        let ecn = Some(EcnCodepoint::Ect0);
        let batch: Vec<_> = contents
            .iter()
            .zip(receivers.iter().cycle())
            .map(|(bytes, receiver)| Transmit { ecn, ..to(receiver.local_addr(), bytes) })
            .collect();
        let got = deliver(&from, &batch, &receivers);
        assert!(got.iter().flatten().all(|datagram| (datagram.ecn, datagram.local) == (ecn, Some(ip))));
        let stats = from.stats();
        assert_eq!(stats.sends % 128, 0);
        assert_eq!(stats.send_calls, stats.sends.div_ceil(SEND_BATCH_SIZE as u64));
    }
}

/// Every message with another codepoint, source, length and segment size, of both families.
#[test]
fn what_goes_beside_the_bytes_is_each_messages_own() {
    let (Some(from), Some(four), Some(six)) = (bind(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), bind(V4), bind(V6))
    else {
        return;
    };
    if !from.speaks(V4) {
        return;
    }
    let train: Vec<u8> = (0..25_u8).collect();
    let (a, b) = (four.local_addr(), six.local_addr());
    let batch = [
        Transmit { ecn: Some(EcnCodepoint::Ect0), ..to(a, b"plain, to IPv4") },
        Transmit { segment_size: Some(10), src_ip: Some(V6), ecn: Some(EcnCodepoint::Ce), ..to(b, &train) },
        Transmit { src_ip: other_source(), ..to(a, b"from another address") },
        Transmit { ecn: Some(EcnCodepoint::Ect1), ..to(b, b"plain, to IPv6") },
        Transmit { segment_size: Some(7), src_ip: Some(V4), ..to(a, &train) },
    ];
    let got = deliver(&from, &batch, &[four, six]);
    let seen = |datagrams: &[Datagram]| -> Vec<(SocketAddr, Option<EcnCodepoint>, usize)> {
        datagrams.iter().map(|datagram| (datagram.remote, datagram.ecn, datagram.bytes.len())).collect()
    };
    let port = from.local_addr().port();
    let (v4, v6) = (SocketAddr::from((V4, port)), SocketAddr::from((V6, port)));
    let other = SocketAddr::from((other_source().unwrap_or(V4), port));
    assert_eq!(
        seen(&got[0]),
        [
            (v4, Some(EcnCodepoint::Ect0), 14),
            (other, None, 20),
            (v4, None, 7),
            (v4, None, 7),
            (v4, None, 7),
            (v4, None, 4),
        ]
    );
    let ce = Some(EcnCodepoint::Ce);
    assert_eq!(seen(&got[1]), [(v6, ce, 10), (v6, ce, 10), (v6, ce, 5), (v6, Some(EcnCodepoint::Ect1), 14)]);
}

/// Linux has all of 127/8 on the loopback interface.
fn other_source() -> Option<IpAddr> {
    cfg!(target_os = "linux").then_some(IpAddr::from([127, 0, 0, 2]))
}

/// 65,535 bytes: see `loopback`.
#[test]
fn one_that_is_too_big_stops_the_batch_there_and_loses_no_other() {
    let (Some(from), Some(receiver)) = (bind(V4), bind(V4)) else { return };
    let (there, big) = (receiver.local_addr(), vec![0; 65_535]);
    let batch = [to(there, b"a"), to(there, b"b"), to(there, &big), to(there, b"c"), to(there, b"d")];
    let too_big = Outcome::Lost(LossCause::TooBig);
    assert_eq!(from.try_send_batch(&batch), BatchOutcome { sent: 2, last: too_big });
    assert_eq!(from.try_send_batch(&batch[2..]), BatchOutcome { sent: 0, last: too_big });
    assert_eq!(from.stats().lost_too_big, 2);
    let got = deliver(&from, &batch[3..], &[receiver]);
    let last = got[0].iter().map(|datagram| &datagram.bytes[..]);
    assert!(last.eq([b"c", b"d"]));
}

#[test]
fn one_of_another_family_stops_the_batch_there() {
    let (Some(from), Some(receiver)) = (bind(V4), bind(V4)) else { return };
    let six = to((V6, 9).into(), b"x");
    let four = to(receiver.local_addr(), b"y");
    let unreachable = Outcome::Lost(LossCause::Unreachable);
    let batch = [four.clone(), four.clone(), six, four];
    assert_eq!(from.try_send_batch(&batch), BatchOutcome { sent: 2, last: unreachable });
    assert_eq!(from.try_send_batch(&batch[2..]), BatchOutcome { sent: 0, last: unreachable });
    assert_eq!(from.try_send_batch(&[]), BatchOutcome { sent: 0, last: Outcome::Sent });
}

#[test]
fn more_than_one_call_takes_goes_in_several() {
    let (Some(from), Some(receiver)) = (bind(V4), bind(V4)) else { return };
    let contents: Vec<[u8; 2]> = (0..300_u16).map(u16::to_be_bytes).collect();
    let batch: Vec<_> = contents.iter().map(|bytes| to(receiver.local_addr(), bytes)).collect();
    let got = deliver(&from, &batch, &[receiver]);
    assert_eq!(got[0].len(), 300);
    let stats = from.stats();
    let calls = if SEND_BATCH_SIZE == 1 { 300 } else { 300_u64.div_ceil(SEND_BATCH_SIZE as u64) };
    assert_eq!(stats.send_calls, stats.sends / 300 * calls);
}
