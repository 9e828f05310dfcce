//! Rules of QOTP's handshake that its recordings do not show.

use super::peer::{Says, Wire, named};
use super::*;
use crate::error::CloseReason;
use crate::id::{ErrorCode, Role, StreamId};
use crate::wire::qotp::payload::Payload;

const MTU: usize = 1400;

/// A responder that has accepted the Init of a peer made by hand, and has answered it.
fn responder(wire: &Wire) -> (Endpoint, ConnectionHandle) {
    let mut endpoint = endpoint(named("responder_id"), MTU);
    assert_eq!(feed(&mut endpoint, START, &wire.init(MTU)), Disposition::Accepted);
    let (handle, _) = endpoint.poll_event().unwrap();
    accept(&mut endpoint, START, handle, &wire.responder);
    assert_eq!(transmits(&mut endpoint, START).len(), 1);
    (endpoint, handle)
}

/// A dial to a peer made by hand whose key is known.
fn known_dial(wire: &Wire) -> (Endpoint, ConnectionHandle) {
    let mut endpoint = endpoint(named("initiator_id"), MTU);
    let handle = dial(&mut endpoint, &wire.initiator, Some(public(&named("responder_id"))));
    (endpoint, handle)
}

fn events(endpoint: &mut Endpoint) -> Vec<Event> {
    core::iter::from_fn(|| endpoint.poll_event()).map(|(_, event)| event).collect()
}

/// What the packet says if it is the only one.
fn only<'a>(wire: &Wire, from: Role, packets: &'a mut [Vec<u8>]) -> (Header, Payload<'a>) {
    let [packet] = packets else { panic!("{} packets", packets.len()) };
    wire.read(from, packet)
}

#[test]
fn qotp_any_data_packet_from_there_proves_an_address() {
    let wire = Wire::of_vectors();
    let (mut endpoint, handle) = responder(&wire);
    let elsewhere = TransportAddr::Ip("192.0.2.1:5".parse().unwrap());
    let mut first = wire.packet(Role::Initiator, &wire.data(), 1, &Says::default());
    let disposition = endpoint.handle_datagram(START, Arrival::from_remote(elsewhere), &mut first);
    assert_eq!(disposition, Disposition::Accepted);
    let mut connection = endpoint.connection(handle).unwrap();
    let id = connection.open_id(1).unwrap();
    connection.write(id, &[7; 20_000]).unwrap();
    let sent: usize = transmits(&mut endpoint, START).iter().map(Vec::len).sum();
    assert!(sent <= 3 * MTU, "{sent} bytes to an address that nothing but an Init came from");

    let second = wire.packet(Role::Initiator, &wire.data(), 2, &Says::default());
    let now = START + Duration::from_millis(100);
    assert_eq!(feed(&mut endpoint, now, &second), Disposition::Accepted);
    let more: usize = transmits(&mut endpoint, now).iter().map(Vec::len).sum();
    assert!(sent + more > 3 * (MTU + second.len()), "{sent} and {more} bytes");
}

#[test]
fn qotp_graceful_close_ends_with_the_reply_that_acknowledges_all() {
    let wire = Wire::of_vectors();
    let (mut endpoint, handle) = known_dial(&wire);
    let mut connection = endpoint.connection(handle).unwrap();
    let id = connection.open_bi().unwrap();
    connection.write(id, b"hello").unwrap();
    connection.close_graceful(START + Duration::from_secs(20), ErrorCode::new(3).unwrap(), b"");
    assert_eq!(transmits(&mut endpoint, START).len(), 1);
    let reply = wire.packet(Role::Responder, &wire.reply(true), 0, &Says::acked(0, 0, 5));
    assert_eq!(feed(&mut endpoint, START, &reply), Disposition::Accepted);
    let closed = Event::Closed(CloseReason::Local { code: ErrorCode::new(3).unwrap() });
    assert_eq!(events(&mut endpoint).last(), Some(&closed));
}

/// Every copy of an Init without data is acknowledged under the name that the end of an empty stream 0 has too.
#[test]
fn qotp_replies_acknowledge_nothing_but_the_init() {
    for known in [false, true] {
        let wire = Wire::of_vectors();
        let mut endpoint = endpoint(named("initiator_id"), MTU);
        let responder = known.then(|| public(&named("responder_id")));
        let handle = dial(&mut endpoint, &wire.initiator, responder);
        assert_eq!(transmits(&mut endpoint, START).len(), 1);
        let reply = |number| wire.packet(Role::Responder, &wire.reply(known), number, &Says::acked(0, 0, 0));
        assert_eq!(feed(&mut endpoint, START, &reply(0)), Disposition::Accepted);
        let mut connection = endpoint.connection(handle).unwrap();
        let id = connection.open_bi().unwrap();
        assert_eq!(id, StreamId::qotp(0));
        connection.finish(id).unwrap();
        let mut sent = transmits(&mut endpoint, START);
        assert!(only(&wire, Role::Initiator, &mut sent).1.close);

        assert_eq!(feed(&mut endpoint, START, &reply(1)), Disposition::Accepted);
        assert!(!events(&mut endpoint).contains(&Event::Finished(id)), "the peer has not seen the end");
        let data = wire.packet(Role::Responder, &wire.data(), 2, &Says::acked(0, 0, 0));
        assert_eq!(feed(&mut endpoint, START, &data), Disposition::Accepted);
        assert!(events(&mut endpoint).contains(&Event::Finished(id)));
    }
}

/// A responder sends nothing new before it has a Data packet, and ours asks for no acknowledgement.
#[test]
fn qotp_initiators_show_themselves_until_they_hear_something() {
    let wire = Wire::of_vectors();
    let (mut endpoint, handle) = known_dial(&wire);
    let mut connection = endpoint.connection(handle).unwrap();
    let id = connection.open_bi().unwrap();
    connection.write(id, b"hello").unwrap();
    transmits(&mut endpoint, START);
    let reply = wire.packet(Role::Responder, &wire.reply(true), 0, &Says::acked(0, 0, 5));
    assert_eq!(feed(&mut endpoint, START, &reply), Disposition::Accepted);
    let mut now = START;
    let mut times = Vec::new();
    while now < START + Duration::from_secs(1) {
        for mut packet in transmits(&mut endpoint, now) {
            let (header, payload) = wire.read(Role::Initiator, &mut packet);
            assert_eq!((header, payload.stream), (wire.data(), None), "an acknowledgement of nothing");
            times.push((now - START).as_millis());
        }
        now = endpoint.poll_timeout().unwrap();
        endpoint.handle_timeout(now);
    }
    assert_eq!(times, [0, 200, 600]);
    transmits(&mut endpoint, now);
    let says = Says { part: Some((0, 0, b"world")), ..Says::default() };
    let answer = wire.packet(Role::Responder, &wire.data(), 1, &says);
    assert_eq!(feed(&mut endpoint, now, &answer), Disposition::Accepted);
    assert_eq!(transmits(&mut endpoint, now).len(), 1);
    let later = now + Duration::from_secs(20);
    while let Some(due) = endpoint.poll_timeout().filter(|due| *due < later) {
        endpoint.handle_timeout(due);
        assert!(transmits(&mut endpoint, due).is_empty());
    }
}

/// The names of one chunk's copies are the same. An acknowledgement right after the second one is for the first: what was
/// sent between them is not late, and nothing of it goes again.
#[test]
fn qotp_a_late_ack_after_a_probe_is_not_the_probes() {
    let wire = Wire::of_vectors();
    let (mut endpoint, handle) = known_dial(&wire);
    let mut connection = endpoint.connection(handle).unwrap();
    let id = connection.open_bi().unwrap();
    connection.write(id, &[7; 12_000]).unwrap();
    transmits(&mut endpoint, START);
    let mut now = START + Duration::from_millis(40);
    let reply = wire.packet(Role::Responder, &wire.reply(true), 0, &Says::acked(0, 0, 1303));
    assert_eq!(feed(&mut endpoint, now, &reply), Disposition::Accepted);
    let mut sent = Vec::new();
    while endpoint.connection(handle).unwrap().stats().probe_timeouts == 0 {
        for mut packet in transmits(&mut endpoint, now) {
            let part = wire.read(Role::Initiator, &mut packet).1.stream;
            sent.extend(part.map(|part| (part.offset, u16::try_from(part.data.len()).unwrap())));
        }
        now = endpoint.poll_timeout().unwrap();
        endpoint.handle_timeout(now);
    }
    let ends = sent.iter().map(|(offset, len)| offset + u64::from(*len));
    assert_eq!(ends.max(), Some(12_000));
    assert!(!transmits(&mut endpoint, now).is_empty(), "probes");

    for (number, (offset, len)) in (1..).zip(sent) {
        now += Duration::from_millis(2);
        let ack = wire.packet(Role::Responder, &wire.data(), number, &Says::acked(0, offset, len));
        assert_eq!(feed(&mut endpoint, now, &ack), Disposition::Accepted);
        assert!(transmits(&mut endpoint, now).is_empty());
    }
    assert_eq!(endpoint.connection(handle).unwrap().stats().packets_lost, 0);
}
