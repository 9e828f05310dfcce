//! A thousand connections whose applications read slowly, and peers that send all they are allowed to.

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_core::{
    ConnectOptions, ConnectionHandle, Direction, Endpoint, Event, Identity, Instant, Peer as Dialled,
    StreamId,
};
use dunlin_sim::{App, Duration, Host, LinkConfig, World, accept_incoming};

use crate::outcome::{Outcome, describe, round};
use crate::run::{Peer, Run};
use crate::scenario::Scenario;
use crate::stack::{Arrived, PIECE, Windows, dunlin};

const READERS: usize = 1000;
/// Each reads so much so often.
const READ: usize = 2048;
const EVERY: Duration = Duration::from_millis(200);

/// Runs them. The figures: the most memory that each side held, what the limit is, and what the slowest reader got of
/// what it could have read.
pub(crate) fn outcome(scenario: &Scenario, seed: u64) -> Outcome {
    let config = dunlin::config(scenario.link.pipe(), Windows::Default);
    let limit = config.limits.per_endpoint;
    let endpoint =
        |secret: u8| Endpoint::new(config.clone(), Identity::from_secret([secret; 32]), [secret; 32]);
    let (client, server) = (([10, 0, 0, 1], 1000).into(), ([10, 0, 0, 2], 2000).into());
    let mut world = World::new(seed, LinkConfig::default());
    let (there, back) = (scenario.link.forward.clone(), scenario.link.back.clone());
    let (there, back) = (world.add_link(there), world.add_link(back));
    world.route(client, server, there);
    world.route(server, client, back);
    let read = Rc::new(RefCell::new(BTreeMap::new()));
    let readers = Readers { read: Rc::clone(&read), open: Vec::new(), next: None, buffer: vec![0; READ] };
    let sink = world.add_node("readers", &[server], Host::new(endpoint(2), readers));
    let source = world.add_node("writers", &[client], Host::new(endpoint(1), Writers));
    let key = *world.node(sink).endpoint.public_key();
    let mut most = [0; 2];
    let ends = Instant::ZERO + scenario.limit;
    for index in 0.. {
        let now = world.now();
        if index < READERS {
            let options = ConnectOptions::new(server, dunlin::ALPN);
            let dialled = world.node_mut(source).endpoint.connect(now, Dialled::Key(key), options);
            dialled.expect("the dial starts");
        }
        world.run_for(Duration::from_millis(2));
        for (most, node) in most.iter_mut().zip([source, sink]) {
            *most = world.node(node).endpoint.stats().memory_used.max(*most);
        }
        if world.now() >= ends {
            break;
        }
    }
    let read = read.borrow();
    let could = READ as f64 * (scenario.limit.as_secs_f64() - 2.0) / EVERY.as_secs_f64();
    let slowest = if read.len() < READERS { 0 } else { read.values().min().copied().unwrap_or(0) };
    let arrived = Arrived { bytes: read.values().sum(), last: world.now(), ended: false };
    let forward = world.link_mut(there).stats(ends).clone();
    let run = Run { samples: Vec::new(), arrived: vec![arrived], forward, end: ends };
    let mut outcome = describe(&run, scenario, Peer::Dunlin, seed);
    outcome.figures = BTreeMap::from([
        ("memory_writers", most[0] as f64),
        ("memory_readers", most[1] as f64),
        ("memory_limit", limit as f64),
        ("slowest_reader", round(slowest as f64 / could, 3)),
    ]);
    outcome
}

/// One stream on each connection, written to as long as it takes more.
struct Writers;

impl App for Writers {
    fn on_event(&mut self, _now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
        let Some(mut connection) = endpoint.connection(handle) else { return };
        let id = match event {
            Event::Connected => connection.open_uni().expect("the first stream"),
            Event::Writable(id) => *id,
            _ => return,
        };
        while connection.write(id, &PIECE).is_ok() {}
    }
}

/// Reads a little of each stream, all in turn.
struct Readers {
    /// Bytes read on each connection.
    read: Rc<RefCell<BTreeMap<ConnectionHandle, u64>>>,
    open: Vec<(ConnectionHandle, StreamId)>,
    next: Option<Instant>,
    buffer: Vec<u8>,
}

impl App for Readers {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
        accept_incoming(now, endpoint, handle, event);
        if let Event::StreamOpened(Direction::Unidirectional) = event
            && let Some(id) =
                endpoint.connection(handle).and_then(|mut c| c.accept(Direction::Unidirectional))
        {
            self.open.push((handle, id));
            self.next.get_or_insert(now + EVERY);
        }
    }

    fn on_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.next = Some(now + EVERY);
        let mut read = self.read.borrow_mut();
        for (handle, id) in &self.open {
            let Some(mut connection) = endpoint.connection(*handle) else { continue };
            if let Ok(len) = connection.read(*id, &mut self.buffer) {
                *read.entry(*handle).or_insert(0) += len as u64;
            }
        }
    }

    fn timeout(&self) -> Option<Instant> {
        self.next
    }
}
