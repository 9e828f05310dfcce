//! The reference's recordings against a whole endpoint, with the recorded keys.

mod peer;
mod refusals;
mod replay;
mod rules;

use core::mem;
use core::net::{Ipv4Addr, SocketAddr};
use std::vec::Vec;

use super::*;
use crate::connection::qotp::Dial;
use crate::crypto::Secret;
use crate::crypto::qotp::packet::PacketKey;
use crate::event::Event;
use crate::path::addr::{TrainLimit, TransportAddr};
use crate::time::Duration;
use crate::{Config, Identity, QotpIdentity, QotpPublicKey};

const PEER: TransportAddr =
    TransportAddr::Ip(SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 443));
const START: Instant = Instant::from_nanos(1_000_000_000);

/// An endpoint with this QOTP identity.
fn endpoint(identity: [u8; 32], mtu: usize) -> Endpoint {
    let mut config = Config::default().accept_qotp(true);
    config.qotp.mtu = u16::try_from(mtu).unwrap();
    // A packet with wrong version bits may look like one of the native wire, whose strangers are answered.
    config.limits.stateless_per_second = 0;
    let mut endpoint = Endpoint::new(config, Identity::from_secret([1; 32]), [2; 32]);
    endpoint.set_qotp_identity(QotpIdentity::from_seed(identity));
    endpoint
}

fn secret(key: &[u8; 32]) -> SecretKey {
    SecretKey::new(&Secret::new(*key))
}

/// The public half of a private key.
fn public(key: &[u8; 32]) -> [u8; 32] {
    *secret(key).public()
}

/// The key of packets between the holders of two private keys.
fn shared(one: &[u8; 32], other: &[u8; 32]) -> PacketKey {
    PacketKey::agree(&secret(one), &public(other)).unwrap()
}

/// Dials with this ephemeral key, and in the flow in which the responder's key is known if there is one.
fn dial(endpoint: &mut Endpoint, ephemeral: &[u8; 32], responder: Option<[u8; 32]>) -> ConnectionHandle {
    let key = responder.map(|key| QotpPublicKey::from_bytes(key).unwrap());
    let dial = Dial::new(&Secret::new(*ephemeral), key, START + Duration::from_secs(10));
    endpoint.dial_qotp_with(START, PEER, dial).unwrap()
}

/// Accepts the attempt that waits, with this ephemeral key.
fn accept(endpoint: &mut Endpoint, now: Instant, handle: ConnectionHandle, ephemeral: &[u8; 32]) {
    let Some(Entry::Pending(pending)) = endpoint.slots.get_mut(handle) else { panic!("nothing waits") };
    let decision = mem::replace(&mut pending.decision, Decision::Ignored);
    let Decision::Waiting(Candidate::Qotp(attempt)) = decision else { panic!("no QOTP attempt waits") };
    endpoint.accept_qotp_with(now, handle, *attempt, &secret(ephemeral)).unwrap();
}

fn feed(endpoint: &mut Endpoint, now: Instant, datagram: &[u8]) -> Disposition {
    endpoint.handle_datagram(now, Arrival::from_remote(PEER), &mut datagram.to_vec())
}

/// Everything that the endpoint sends now.
fn transmits(endpoint: &mut Endpoint, now: Instant) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    loop {
        let mut out = Vec::new();
        let Some(transmit) = endpoint.poll_transmit(now, TrainLimit::OFFLOAD, &mut out) else {
            return datagrams;
        };
        assert_eq!((transmit.remote, transmit.len), (PEER, out.len()));
        datagrams.extend(out.chunks(transmit.segment_size).map(<[u8]>::to_vec));
    }
}
