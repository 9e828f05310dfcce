//! A connection in the hands of chance, and what has to hold for it.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use dunlin_core::{
    AddressSource, CloseReason, Direction, Duration, NetworkChange, PathId, PathStats, StreamId, Tuple,
};
use dunlin_sim::{
    End, Filter, Loss, NatConfig, NatId, NodeId, Ppm, Received, Receiver, Toward, Web, pattern,
};

use super::ops::{Op, Way, Weather};
use super::watch::Watch;
use super::{Feature, Table};
use crate::common::ms;
use crate::duo::{BOTH, Duo, Side};

/// What a connection that nothing happens on may hold beyond what it held at first, in bytes: what several paths need,
/// once there were some.
const MEMORY: u64 = 8 << 10;

/// What one side has sent, and what has come of it.
struct Account {
    /// Bytes written, by stream.
    written: BTreeMap<StreamId, u64>,
    /// The streams among them that may still be written to.
    open: Vec<StreamId>,
    /// Datagrams sent, and those that the peer has read.
    datagrams: u64,
    read: BTreeSet<u64>,
    /// What the peer has received.
    received: Rc<RefCell<Received>>,
}

/// A connection, and what was done to it.
pub(super) struct Play {
    duo: Duo,
    watch: Rc<RefCell<Watch>>,
    table: Table,
    feature: Feature,
    nat: Option<NatId>,
    /// What each side has sent.
    accounts: [Account; 2],
    /// Bytes that each side held when nothing had happened yet.
    memory: [u64; 2],
    most_paths: usize,
    /// Which sides have abandoned paths.
    shut: [bool; 2],
    /// A side has ended the connection.
    closed: bool,
    /// The next port at which an interface is seen.
    port: u16,
}

impl Play {
    pub(super) fn new(seed: u64, table: Table, feature: Feature) -> Self {
        let settings = feature.settings();
        let most_paths = usize::from(settings.max_paths);
        let ((client, at_client), (server, at_server)) = (Receiver::new(), Receiver::new());
        let mut web = Web::with(seed, &table.topology(), settings.clone(), settings, client, server);
        let nat = (table == Table::Nat).then(|| web.behind_nat(End::Client(0), NatConfig::default()));
        let watch = Watch::over(&mut web.pair.world);
        for (client, server, toward) in table.holes() {
            web.cut(*client, *server, *toward);
        }
        let mut duo = Duo::over(web);
        let pair = &mut duo.web.pair;
        let entries: Vec<_> = [pair.client, pair.server]
            .into_iter()
            .flat_map(|node| {
                let endpoint = &mut pair.world.node_mut(node).endpoint;
                core::iter::from_fn(|| endpoint.poll_key_log()).collect::<Vec<_>>()
            })
            .collect();
        watch.borrow_mut().unlock(entries);
        let account = |received| Account {
            written: BTreeMap::new(),
            open: Vec::new(),
            datagrams: 0,
            read: BTreeSet::new(),
            received,
        };
        let memory = duo.memory();
        let accounts = [account(at_server), account(at_client)];
        Self {
            duo,
            watch,
            table,
            feature,
            nat,
            accounts,
            memory,
            most_paths,
            shut: [false; 2],
            closed: false,
            port: 3000,
        }
    }

    fn node(&self, side: Side) -> NodeId {
        match side {
            Side::Client => self.duo.web.pair.client,
            Side::Server => self.duo.web.pair.server,
        }
    }

    /// Whether the connection has ended, as it may where a side abandons paths: the other one may have lost what is left.
    fn is_over(&self) -> bool {
        if self.closed {
            return true;
        }
        let ends = BOTH.map(|side| self.duo.end(side));
        let may = self.shut != [false; 2];
        for end in ends.iter().flatten() {
            assert!(may && *end == CloseReason::NoPath, "{ends:?}");
        }
        ends.iter().any(Option::is_some)
    }

    fn pick(&mut self, side: Side, which: u8) -> Option<PathId> {
        let paths = self.duo.paths(side);
        let at = usize::from(which).checked_rem(paths.len())?;
        paths.get(at).map(|path| path.id)
    }

    /// Does what is to be done next, and looks what has become of it.
    pub(super) fn act(&mut self, op: &Op) {
        if self.is_over() {
            return;
        }
        self.note(op);
        let count = self.table.interfaces();
        match *op {
            Op::Pass(span) => self.duo.run(span),
            Op::Sleep(side, span) => {
                let node = self.node(side);
                self.duo.web.pair.world.node_mut(node).asleep = true;
                self.duo.run(span);
                self.duo.web.pair.world.node_mut(node).asleep = false;
            }
            Op::Way(way, weather) => self.set(&way.within(count), weather),
            Op::Rebind(number) => self.rebind(number % count),
            Op::Hijack(side, packets) => self.watch.borrow_mut().hijack(side, packets),
            Op::Open(side, client, server) => {
                // It may be there already, there may be too many, or no id for it.
                let _ = self.duo.try_open(side, client % count, server % count);
            }
            Op::Shut(side, which) => {
                if let Some(id) = self.pick(side, which) {
                    self.shut[side as usize] |=
                        self.duo.on(side, |connection| connection.close_path(id)).is_ok();
                }
            }
            Op::Status(side, which, status) => {
                if let Some(id) = self.pick(side, which) {
                    let _ = self.duo.on(side, |connection| connection.set_path_status(id, status));
                }
            }
            Op::Select(side, which) => {
                if let Some(id) = self.pick(side, which) {
                    let _ = self.duo.on(side, |connection| connection.select_path(id));
                }
            }
            Op::Write(side, which, bytes) => self.write(side, which, bytes),
            Op::Finish(side, which) => self.finish(side, which),
            Op::Datagram(side, len) => self.send_datagram(side, len),
            Op::Learn(side, number) => self.learn(side, number % count),
            Op::Unlearn(side, number) => self.unlearn(side, number % count),
            Op::Report(side) => {
                let (node, now) = (self.node(side), self.duo.web.pair.now());
                let endpoint = &mut self.duo.web.pair.world.node_mut(node).endpoint;
                endpoint.network_changed(now, NetworkChange::Unspecified);
            }
            Op::Close(side) => {
                self.duo.on(side, |connection| connection.close(0u32.into(), b""));
                self.closed = true;
            }
        }
        self.duo.run(Duration::ZERO);
        if !self.is_over() {
            self.check();
        }
    }

    fn note(&self, what: &impl core::fmt::Debug) {
        if let Some(words) = &mut self.watch.borrow_mut().words {
            words.push(format!("{:?} ---- {what:?}", self.duo.web.pair.now()));
        }
    }

    fn set(&mut self, way: &Way, weather: Weather) {
        let Way { client, server, toward } = *way;
        if self.table.holes().contains(&(client, server, toward)) {
            return;
        }
        match weather {
            Weather::Silent => return self.duo.web.cut(client, server, toward),
            Weather::Good | Weather::Rough | Weather::Narrow => self.duo.web.mend(client, server, toward),
        }
        self.duo.web.link(client, server, toward).configure(|link| {
            let bad = matches!(weather, Weather::Rough);
            link.loss = if bad { Loss::Random(Ppm::percent(5)) } else { Loss::None };
            (link.duplicate, link.reorder) =
                if bad { (Ppm::percent(3), Ppm::percent(5)) } else { (Ppm::NEVER, Ppm::NEVER) };
            link.reorder_by = ms(5);
            link.filter = matches!(weather, Weather::Narrow).then(|| Filter::longer_than(600));
        });
    }

    /// An interface of the dialler is seen at another port.
    fn rebind(&mut self, number: usize) {
        let end = End::Client(number);
        match self.nat {
            Some(nat) if number == 0 => self.duo.web.pair.world.nat_mut(nat).forget(),
            _ => {
                let ip = self.duo.web.address(end).ip();
                self.duo.web.renumber(end, SocketAddr::new(ip, self.port));
                self.port += 1;
            }
        }
    }

    fn write(&mut self, side: Side, which: u8, bytes: u32) {
        let known = self.accounts[side as usize].open.get(usize::from(which % 8)).copied();
        let (id, written) = self.duo.on(side, |connection| {
            let id = known.or_else(|| connection.open(Direction::Unidirectional).ok());
            let from = id.and_then(|id| self.accounts[side as usize].written.get(&id)).copied().unwrap_or(0);
            let data = |id| (from..from + u64::from(bytes)).map(|at| pattern(id, at)).collect::<Vec<_>>();
            // There may be no room now.
            (id, id.map_or(0, |id| connection.write(id, &data(id)).unwrap_or(0)))
        });
        let Some(id) = id else { return };
        let account = &mut self.accounts[side as usize];
        *account.written.entry(id).or_default() += written as u64;
        if known.is_none() {
            account.open.push(id);
        }
    }

    fn finish(&mut self, side: Side, which: u8) {
        let account = &mut self.accounts[side as usize];
        if let Some(at) = usize::from(which).checked_rem(account.open.len()) {
            let id = account.open.remove(at);
            self.duo.on(side, |connection| connection.finish(id)).expect("nobody stopped it");
        }
    }

    fn send_datagram(&mut self, side: Side, len: u16) {
        let account = &mut self.accounts[side as usize];
        let mut data = vec![0; usize::from(len)];
        data[..8].copy_from_slice(&account.datagrams.to_be_bytes());
        account.datagrams += 1;
        // It may be too large now.
        let _ = self.duo.on(side, |connection| connection.send_datagram(&data));
    }

    /// What a side may be told of the other one.
    fn candidate(&self, side: Side, number: usize) -> Tuple {
        let [own, peer] = match side {
            Side::Client => [End::Client(number), End::Server(number)],
            Side::Server => [End::Server(number), End::Client(number)],
        };
        Tuple { local: self.duo.local(own), remote: self.duo.web.address(peer).into() }
    }

    fn learn(&mut self, side: Side, number: usize) {
        let (to, now) = (self.candidate(side, number), self.duo.web.pair.now());
        let [node, peer] = [self.node(side), self.node(side.other())];
        let key = *self.duo.web.pair.world.node(peer).endpoint.public_key();
        let endpoint = &mut self.duo.web.pair.world.node_mut(node).endpoint;
        endpoint.add_address(now, &key, to, AddressSource::Application).expect("there is room");
    }

    fn unlearn(&mut self, side: Side, number: usize) {
        let to = self.candidate(side, number);
        let [node, peer] = [self.node(side), self.node(side.other())];
        let key = *self.duo.web.pair.world.node(peer).endpoint.public_key();
        self.duo.web.pair.world.node_mut(node).endpoint.remove_address(&key, &to.remote);
    }

    /// What holds at any time.
    fn check(&mut self) {
        for side in BOTH {
            let paths = self.duo.paths(side).len();
            assert!(paths <= self.most_paths, "{side:?}: {paths} paths");
            let host = self.duo.web.pair.world.node(self.node(side));
            assert!(!host.endpoint.has_events());
            for stranger in &self.watch.borrow().strangers {
                let (received, sent) = host.traffic.get(stranger).copied().unwrap_or_default();
                assert!(sent <= 3 * received, "{side:?}: {sent} for {received} bytes to {stranger}");
            }
            self.read_datagrams(side);
        }
    }

    fn read_datagrams(&mut self, side: Side) {
        let mut data = Vec::new();
        loop {
            data.clear();
            if self.duo.on(side, |connection| connection.read_datagram(&mut data)).is_none() {
                return;
            }
            let number = u64::from_be_bytes(*data.first_chunk().expect("it was sent"));
            let sent = &mut self.accounts[side.other() as usize];
            assert!(number < sent.datagrams && sent.read.insert(number), "datagram {number} came twice");
        }
    }

    /// The network is well again, and both sides have something to say.
    pub(super) fn heal(&mut self) {
        if self.is_over() {
            return;
        }
        self.note(&"heal");
        for client in 0..self.table.interfaces() {
            for server in 0..self.table.interfaces() {
                for toward in Toward::BOTH {
                    self.set(&Way { client, server, toward }, Weather::Good);
                }
            }
        }
        for side in BOTH {
            self.write(side, u8::MAX, 1000);
            while !self.accounts[side as usize].open.is_empty() {
                self.finish(side, 0);
            }
        }
    }

    /// All that was written arrives within `span`.
    pub(super) fn deliver(&mut self, span: Duration) {
        let all = |accounts: &[Account; 2]| {
            accounts.iter().all(|account| account.received.borrow().finished == account.written.len())
        };
        let deadline = self.duo.web.pair.now() + span;
        while self.duo.web.pair.now() < deadline && !self.is_over() && !all(&self.accounts) {
            self.duo.run(ms(100));
        }
        if self.is_over() {
            return;
        }
        for side in BOTH {
            let paths = self.paths();
            let account = &self.accounts[side as usize];
            let received = account.received.borrow();
            let (arrived, sent) = (received.finished, account.written.len());
            assert_eq!(arrived, sent, "streams of the {side:?} that have arrived, and all: {paths:#?}");
            assert_eq!(received.bytes, account.written, "{side:?}");
        }
        self.check();
    }

    /// Nothing is to be done: little is sent, and on one path nothing. What several paths needed is given back.
    pub(super) fn rest(&mut self) {
        self.duo.run(ms(30_000));
        if self.is_over() {
            return;
        }
        let paths = self.duo.paths(Side::Client).len() as u64;
        let sent = self.sent_within(ms(60_000));
        // Some are paths that the dialler tries.
        assert!(sent <= 40 * (paths + 2), "{sent} packets to keep {paths} paths: {:?}", self.paths());
        if self.feature == Feature::Kept {
            return;
        }
        for path in self.duo.paths(Side::Client) {
            // The last one stays.
            let _ = self.duo.on(Side::Client, |connection| connection.close_path(path.id));
        }
        self.duo.run(ms(60_000));
        if self.is_over() {
            return;
        }
        assert_eq!(BOTH.map(|side| self.duo.paths(side).len()), [1; 2], "{:?}", self.paths());
        let sent = self.sent_within(ms(60_000));
        assert_eq!(sent, 0, "sent on one path where nobody has anything to say: {:?}", self.paths());
        let held = self.duo.memory();
        for (held, before) in held.into_iter().zip(self.memory) {
            assert!(held <= before + MEMORY, "{before} bytes became {held}");
        }
    }

    fn sent_within(&mut self, span: Duration) -> u64 {
        let before = self.duo.web.pair.world.stats().sent;
        self.duo.run(span);
        self.duo.web.pair.world.stats().sent - before
    }

    fn paths(&mut self) -> [Vec<PathStats>; 2] {
        BOTH.map(|side| self.duo.paths(side))
    }

    /// Both sides end, and hold nothing any more.
    pub(super) fn end(self) {
        self.duo.finish();
    }
}
