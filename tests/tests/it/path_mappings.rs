//! NATs that forget a mapping after a fixed time, whatever is sent over it.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{Connection, ConnectionHandle, Duration, StreamId};
use dunlin_sim::{
    AcceptAll, Both, End, Filtering, Lifetime, Mapping, NatConfig, NatId, Received, Receiver, Topology, Web,
    config, pattern,
};

use crate::common::{ms, quick};
use crate::duo::{BOTH, Side};

/// How often something is written: each time one packet.
const TICK: Duration = Duration::from_millis(20);

/// A connection whose dialler has two interfaces, each behind a NAT of its own that forgets after a minute, 40 ms there and
/// back. What arrives at either side is taken down.
fn forgetful(
    seed: u64,
    (mapping, filtering): (Mapping, Filtering),
) -> (Web, [NatId; 2], [Rc<RefCell<Received>>; 2]) {
    let ((client, at_client), (server, at_server)) = (Receiver::new(), Receiver::new());
    let links = [quick(), quick()];
    let (client, server) = (Both(AcceptAll, client), Both(AcceptAll, server));
    let mut web = Web::with(seed, &Topology::fan(&links), config(), config(), client, server);
    let lifetime = Lifetime::Absolute(Duration::from_secs(60));
    let nat = NatConfig { mapping, filtering, lifetime, hairpin: false };
    let nats = [0, 1].map(|n| web.behind_nat(End::Client(n), nat));
    (web, nats, [at_client, at_server])
}

/// Someone who writes 500 bytes on one stream every tick.
struct Talker {
    side: Side,
    handle: ConnectionHandle,
    stream: Option<StreamId>,
    said: u64,
}

impl Talker {
    fn talk(&mut self, web: &mut Web, span: Duration) {
        let end = web.pair.now() + span;
        while web.pair.now() < end {
            let say = |connection: &mut Connection<'_>| {
                let id = *self.stream.get_or_insert_with(|| connection.open_uni().unwrap());
                let words: Vec<u8> = (self.said..self.said + 500).map(|offset| pattern(id, offset)).collect();
                assert_eq!(connection.write(id, &words), Ok(500));
                self.said += 500;
            };
            match self.side {
                Side::Client => web.pair.on_client(self.handle, say),
                Side::Server => web.pair.on_server(self.handle, say),
            }
            web.pair.world.run_for(TICK);
        }
    }
}

#[test]
fn path_mappings_that_last_a_minute_stall_nothing_in_half_an_hour() {
    let kinds = [
        (Mapping::EndpointIndependent, Filtering::EndpointIndependent),
        (Mapping::EndpointDependent, Filtering::AddressAndPortDependent),
    ];
    for (seed, (sender, kind)) in (1..).zip(BOTH.into_iter().flat_map(|side| kinds.map(|kind| (side, kind))))
    {
        let (mut web, nats, received) = forgetful(seed, kind);
        let (client, server) = web.pair.connect();
        let handle = if sender == Side::Client { client } else { server };
        let mut talker = Talker { side: sender, handle, stream: None, said: 0 };
        talker.talk(&mut web, Duration::from_secs(10));
        let from = web.pair.now();
        assert_eq!(web.pair.on_client(client, |connection| connection.paths().count()), 2);
        talker.talk(&mut web, Duration::from_secs(30 * 60));
        // A round trip and 100 ms.
        let gap = received[1 - sender as usize].borrow().arrivals.longest_gap(from, web.pair.now() - TICK);
        assert!(gap <= ms(40 + 100), "{sender:?} {kind:?}: {gap:?}");
        assert!(nats.iter().all(|nat| web.pair.world.nat(*nat).stats().mappings >= 29));
        web.pair.finish();
    }
}
