//! Rules of QOTP's handshake that its recordings do not show.

use super::peer::{Says, Wire, named};
use super::*;
use crate::id::Role;

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
