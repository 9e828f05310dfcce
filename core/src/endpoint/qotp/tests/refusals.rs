//! Packets that are to be refused, each in the state in which the vectors have it.

use serde_json::Value;

use super::peer::{Says, Wire, named};
use super::*;
use crate::Role;
use crate::crypto::qotp::vectors::{bytes, len, number, private_key, role, section, text};

/// What the reference accepts and we refuse, and how often the packet has to come for that.
const REFUSED_HERE: [(&str, usize); 4] = [
    // A reply of the flow that was not dialled: whoever answers has not even read the Init that was sent.
    ("an initiator that sent InitCryptoSnd also accepts an InitRcv (and takes over its identity key)", 1),
    ("an initiator that sent InitSnd also accepts an InitCryptoRcv", 1),
    // A key is set once, by the first reply.
    ("replaces the key of a running connection: the reference accepts it (missing state check)", 1),
    // A number is good for one packet.
    ("the same packet is accepted again and again: there is no replay window", 2),
];
/// What nobody can refuse: nothing in QOTP's replies proves who made them.
const STRANGER: &str = "made without the responder's identity key: the reference accepts it (missing authentication of the responder)";

/// A state of the vectors.
struct State {
    endpoint: Endpoint,
    /// What is accepted there, if nothing has changed.
    good: Vec<u8>,
}

impl State {
    /// The state that `state` describes. `open`: a responder that has got a Data packet.
    fn new(state: &Value, open: bool) -> Self {
        let (mtu, wire) = (len(&state["mtu"]), Wire::of_vectors());
        let mut endpoint = endpoint(private_key(&state["own_id_key"]), mtu);
        let ping = |from, header: &Header, number| wire.packet(from, header, number, &Says::default());
        let good = match (role(&state["role"]), state["conn_exists"] == true) {
            (Role::Responder, false) => wire.init(mtu),
            (Role::Responder, true) => {
                assert_eq!(feed(&mut endpoint, START, &wire.init(mtu)), Disposition::Accepted);
                let (handle, _) = endpoint.poll_event().unwrap();
                accept(&mut endpoint, START, handle, &private_key(&state["own_ep_key"]));
                if open {
                    let first = ping(Role::Initiator, &wire.data(), 900);
                    assert_eq!(feed(&mut endpoint, START, &first), Disposition::Accepted);
                }
                ping(Role::Initiator, &wire.data(), 901)
            }
            (Role::Initiator, _) => {
                let known = number(&state["flow"]) == 2;
                let responder = known.then(|| public(&named("responder_id")));
                dial(&mut endpoint, &private_key(&state["own_ep_key"]), responder);
                assert_eq!(transmits(&mut endpoint, START).len(), 1);
                let reply = ping(Role::Responder, &wire.reply(known), 900);
                if state["secret_known"] == true {
                    assert_eq!(feed(&mut endpoint, START, &reply), Disposition::Accepted);
                    ping(Role::Responder, &wire.data(), 901)
                } else {
                    reply
                }
            }
        };
        settle(&mut endpoint);
        Self { endpoint, good }
    }

    /// Checks that `datagram` is dropped and changes nothing, and that what is right is still accepted.
    fn refuses(mut self, datagram: &[u8], what: &str) {
        let before = self.describe();
        let disposition = feed(&mut self.endpoint, START, datagram);
        assert!(matches!(disposition, Disposition::Dropped(_)), "{what}");
        assert_eq!(self.endpoint.poll_event(), None, "{what}");
        assert!(transmits(&mut self.endpoint, START).is_empty(), "{what}");
        assert_eq!(self.describe(), before, "{what}");
        assert_eq!(feed(&mut self.endpoint, START, &self.good), Disposition::Accepted, "{what}");
        assert!(settle(&mut self.endpoint), "{what}: something is to be said to that");
    }

    /// What can be seen of the endpoint, but for counters.
    fn describe(&mut self) -> (u64, u64, u64, Option<Instant>) {
        let stats = self.endpoint.stats();
        (stats.connections, stats.memory_used, stats.incoming, self.endpoint.poll_timeout())
    }
}

/// Takes all that the endpoint has to say, and tells whether that was anything.
fn settle(endpoint: &mut Endpoint) -> bool {
    let sent = !transmits(endpoint, START).is_empty();
    let told = core::iter::from_fn(|| endpoint.poll_event()).count() > 0;
    sent || told
}

/// The state, the packet and the name of each case with this outcome.
fn cases(expect: &'static str) -> impl Iterator<Item = (&'static Value, Vec<u8>, &'static str)> {
    let packets = section("negative").iter().filter(|case| case["layer"] == "packet");
    let cases = packets.filter(move |case| case["expect"] == expect);
    cases.map(|case| (&case["state"], bytes(&case["input"]), text(&case["why"])))
}

#[test]
fn qotp_vectors_of_refused_packets_change_nothing() {
    let mut seen = 0;
    for (state, datagram, what) in cases("reject") {
        for open in [false, true] {
            State::new(state, open).refuses(&datagram, what);
        }
        seen += 1;
    }
    assert_eq!(seen, 66);
}

#[test]
fn qotp_packets_that_only_the_reference_accepts_are_refused_in_their_state() {
    let mut seen = 0;
    for (state, datagram, what) in cases("accept") {
        let Some((_, times)) = REFUSED_HERE.iter().find(|(refused, _)| *refused == what) else { continue };
        for open in [false, true] {
            let mut state = State::new(state, open);
            for _ in 1..*times {
                assert_eq!(feed(&mut state.endpoint, START, &datagram), Disposition::Accepted, "{what}");
                settle(&mut state.endpoint);
            }
            state.refuses(&datagram, what);
        }
        seen += 1;
    }
    assert_eq!(seen, REFUSED_HERE.len());
}

#[test]
fn qotp_lenient_packets_of_the_vectors_are_accepted() {
    let mut seen = 0;
    for (state, datagram, what) in cases("accept") {
        if REFUSED_HERE.iter().any(|(refused, _)| *refused == what) {
            continue;
        }
        let stranger = what == STRANGER;
        assert!(stranger || state["conn_exists"] == false, "{what}");
        let State { mut endpoint, .. } = State::new(state, false);
        assert_eq!(feed(&mut endpoint, START, &datagram), Disposition::Accepted, "{what}");
        let (handle, event) = endpoint.poll_event().unwrap();
        assert_eq!(event, if stranger { Event::Connected } else { Event::Incoming }, "{what}");
        if !stranger {
            accept(&mut endpoint, START, handle, &named("responder_ep"));
            assert_eq!(transmits(&mut endpoint, START).len(), 1, "{what}: a reply");
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}
