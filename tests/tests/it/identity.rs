//! Who is proved, and when (docs/PROTOCOL.md, "Handshake").

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{
    ConnectionHandle, Duration, Endpoint, Event, IncomingIdentity, Instant, Peer, PeerIdentity, TransportAddr,
};
use dunlin_sim::{ALPN, AcceptAll, Pair, config};

use crate::common::{DATA, at, drop_if, kind, ms, quick};

type Seen = Rc<RefCell<Vec<(TransportAddr, IncomingIdentity, Vec<Vec<u8>>)>>>;

/// An answerer that looks at who comes before it accepts.
fn looking() -> (impl FnMut(Instant, &mut Endpoint, ConnectionHandle, &Event) + 'static, Seen) {
    let seen = Seen::default();
    let record = Rc::clone(&seen);
    let app = move |now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event| {
        if *event == Event::Incoming {
            let incoming = endpoint.incoming(handle).unwrap();
            let alpns = incoming.alpns().map(<[u8]>::to_vec).collect();
            record.borrow_mut().push((incoming.remote().unwrap(), incoming.identity().unwrap(), alpns));
            incoming.accept(now).unwrap();
        }
    };
    (app, seen)
}

#[test]
fn before_the_confirmation_a_key_is_claimed_or_unconfirmed_and_afterwards_verified() {
    for known in [true, false] {
        let (app, seen) = looking();
        let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, app);
        let client_addr = pair.client_addr;
        drop_if(&mut pair.world, move |passing| {
            passing.from == client_addr && kind(passing.bytes) == DATA && passing.now < at(300)
        });
        pair.dial_as(if known { Peer::Key(pair.server_key()) } else { Peer::AnyKey });
        pair.world.run_for(ms(290));
        let key = pair.client_key();
        let identity =
            if known { IncomingIdentity::Unconfirmed(key) } else { IncomingIdentity::Claimed(key) };
        assert_eq!(*seen.borrow(), [(client_addr.into(), identity, vec![ALPN.to_vec()])]);
        assert_eq!(identity.key(), Some(&key));
        let server = pair.server().events[0].1;
        assert_eq!(pair.server().events.len(), 1, "no Connected before the first Data packet");
        pair.on_server(server, |connection| assert_eq!(connection.peer_identity(), None));
        pair.world.run_for(Duration::from_secs(2));
        assert_eq!(pair.server().count(|event| *event == Event::Connected), 1);
        pair.on_server(server, |connection| {
            assert_eq!(connection.peer_identity(), Some(PeerIdentity::Verified(key)));
        });
        pair.finish();
    }
}

#[test]
fn a_dial_with_a_known_key_shows_neither_key_nor_protocol_and_one_without_shows_both() {
    for known in [true, false] {
        let mut pair = Pair::new(1, quick());
        let seen = crate::common::record(&mut pair.world);
        pair.dial_as(if known { Peer::Key(pair.server_key()) } else { Peer::AnyKey });
        pair.world.run_for(ms(200));
        let contains = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        let (client_key, server_key) = (pair.client_key(), pair.server_key());
        let seen = seen.borrow();
        assert_eq!(contains(&seen[0].bytes, client_key.as_bytes()), !known);
        assert_eq!(contains(&seen[0].bytes, ALPN), !known);
        for later in &seen[1..] {
            for part in [client_key.as_bytes(), server_key.as_bytes()] {
                assert!(!contains(&later.bytes, part), "a key in clear");
            }
        }
        drop(seen);
        pair.finish();
    }
}
