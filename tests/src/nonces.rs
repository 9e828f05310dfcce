//! No nonce is used twice: a watch over everything that is sent, with the keys of those who send it.

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;

use dunlin_core::{Inspector, KeyLogEntry, PacketNumber, PathId, Payload, Role, Sequence};

use crate::host::Host;
use crate::world::{Verdict, World};

/// Records the datagrams of a world and reads them with the key logs of its hosts, which must be on
/// ([`Config::key_log`](dunlin_core::Config::key_log)).
///
/// A nonce is made of the key, the path and the full packet number. Numbers of a path never begin again, whatever the key, so
/// on one connection and in one direction no two different packets have the same path and number. The same packet may be sent
/// again.
#[derive(Debug)]
pub struct Nonces {
    sent: Rc<RefCell<Vec<Vec<u8>>>>,
    connections: Vec<KeyLogEntry>,
}

impl Nonces {
    /// Watches all that is sent from now on.
    pub fn watch(world: &mut World<Host>) -> Self {
        let sent = Rc::new(RefCell::new(Vec::new()));
        let record = Rc::clone(&sent);
        world.add_tap(move |passing| {
            record.borrow_mut().push(passing.bytes.clone());
            Verdict::Pass
        });
        Self { sent, connections: Vec::new() }
    }

    /// Fetches what the hosts have logged since the last time. At most 256 entries wait in an endpoint, some three for each
    /// connection.
    pub fn fetch_keys(&mut self, world: &mut World<Host>) {
        let nodes: Vec<_> = world.nodes().map(|(id, _)| id).collect();
        for node in nodes {
            while let Some(entry) = world.node_mut(node).endpoint.poll_key_log() {
                // Both ends log the same keys.
                if entry.to_string().starts_with("NATIVE_TRAFFIC") && !self.connections.contains(&entry) {
                    self.connections.push(entry);
                }
            }
        }
    }

    /// Reads what was sent so far, and says how many different packets have opened.
    ///
    /// # Panics
    /// If two of them have the same nonce, or one of a connection does not open.
    pub fn check(&mut self, world: &mut World<Host>) -> usize {
        self.fetch_keys(world);
        let sent = self.sent.borrow();
        self.connections.iter().map(|connection| check(connection, &sent)).sum()
    }
}

/// The type of Data packets.
const DATA: u8 = 4;

/// The type of a packet (docs/PROTOCOL.md, "Packets").
fn kind(datagram: &[u8]) -> u8 {
    datagram.first().map_or(0, |first| first >> 5)
}

/// The different packets of one connection.
fn check(connection: &KeyLogEntry, sent: &[Vec<u8>]) -> usize {
    let mut inspector = Inspector::new([connection.clone()]);
    let mut used: BTreeMap<(bool, PathId, PacketNumber), &[u8]> = BTreeMap::new();
    for datagram in sent {
        let inspected = inspector.read(datagram);
        // What cannot be read could be anything.
        let unread = matches!(inspected.payload, Payload::Unopened(_));
        assert!(!unread || kind(datagram) != DATA, "a packet of the connection does not open: {inspected}");
        let (Some(sender), Some(Sequence::Native { path, number, .. }), Payload::Frames(_)) =
            (inspected.sender, inspected.sequence, &inspected.payload)
        else {
            continue;
        };
        match used.entry((sender == Role::Initiator, path, number)) {
            Entry::Vacant(vacant) => {
                vacant.insert(datagram);
            }
            Entry::Occupied(before) => {
                assert_eq!(*before.get(), datagram.as_slice(), "two packets have one nonce: {inspected}");
            }
        }
    }
    used.len()
}
