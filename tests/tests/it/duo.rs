//! Two endpoints with several interfaces each and one connection between them: where tests of several paths start.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    Config, Connection, ConnectionHandle, Duration, LocalAddr, PathCursor, PathError, PathEvent, PathId,
    PathState, PathStats,
};
use dunlin_sim::{AcceptAll, App, End, Received, Receiver, Sender, Topology, Web, config};

use crate::common::{ms, quick};

/// A connection over a web.
pub(crate) struct Duo {
    pub(crate) web: Web,
    pub(crate) client: ConnectionHandle,
    pub(crate) server: ConnectionHandle,
    cursors: [PathCursor; 2],
}

/// A side of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

pub(crate) const BOTH: [Side; 2] = [Side::Client, Side::Server];

/// A dialler with so many interfaces, each 20 ms from the answerer's one.
pub(crate) fn fan(interfaces: usize) -> Topology {
    Topology::fan(&vec![quick(); interfaces])
}

/// As many interfaces on each side, joined in pairs, 20 ms apart.
pub(crate) fn parallel(interfaces: usize) -> Topology {
    Topology::parallel(&vec![quick(); interfaces])
}

impl Duo {
    /// Connected, over the first interfaces, for so long that each side has ids to open paths with.
    pub(crate) fn new(seed: u64, topology: &Topology) -> Self {
        Self::with(seed, topology, config(), config(), AcceptAll, AcceptAll)
    }

    /// The same with everything chosen.
    pub(crate) fn with(
        seed: u64,
        topology: &Topology,
        client: Config,
        server: Config,
        client_app: impl App + 'static,
        server_app: impl App + 'static,
    ) -> Self {
        // Paths come and go when the test says so.
        let by_hand = |mut config: Config| {
            config.automatic_paths = false;
            config
        };
        let [client, server] = [client, server].map(by_hand);
        let mut web = Web::with(seed, topology, client, server, client_app, server_app);
        let (client, server) = web.pair.connect();
        let cursors = [
            web.pair.on_client(client, |connection| connection.subscribe_paths()),
            web.pair.on_server(server, |connection| connection.subscribe_paths()),
        ];
        let mut duo = Self { web, client, server, cursors };
        duo.run(ms(1500));
        duo
    }

    /// The same with alike settings, and `bytes` on their way from one side, with what arrives of them.
    pub(crate) fn sending(
        seed: u64,
        topology: &Topology,
        settings: &Config,
        sender: Side,
        bytes: u64,
    ) -> (Self, Rc<RefCell<Received>>) {
        let (receiver, received) = Receiver::new();
        let (sending, [client, server]) = (Sender::new(1, bytes), [settings.clone(), settings.clone()]);
        let duo = match sender {
            Side::Client => Self::with(seed, topology, client, server, sending, receiver),
            Side::Server => Self::with(seed, topology, client, server, receiver, sending),
        };
        (duo, received)
    }

    pub(crate) fn run(&mut self, span: Duration) {
        self.web.pair.world.run_for(span);
    }

    /// Acts on one side's connection.
    pub(crate) fn on<R>(&mut self, side: Side, act: impl FnOnce(&mut Connection<'_>) -> R) -> R {
        match side {
            Side::Client => self.web.pair.on_client(self.client, act),
            Side::Server => self.web.pair.on_server(self.server, act),
        }
    }

    /// The socket of an interface and its address.
    pub(crate) fn local(&self, end: End) -> LocalAddr {
        let (End::Client(number) | End::Server(number)) = end;
        LocalAddr { socket: number as u16, ip: Some(self.web.address(end).ip()) }
    }

    /// One side opens a path between two interfaces, the dialler's given first.
    pub(crate) fn try_open(&mut self, side: Side, client: usize, server: usize) -> Result<PathId, PathError> {
        let ends = [End::Client(client), End::Server(server)];
        let [local, remote] = if side == Side::Client { ends } else { [ends[1], ends[0]] };
        let (local, remote): (LocalAddr, SocketAddr) = (self.local(local), self.web.address(remote));
        self.on(side, |connection| connection.open_path(remote, Some(local)))
    }

    /// The same, and it works within half a second.
    pub(crate) fn open(&mut self, side: Side, client: usize, server: usize) -> PathId {
        let id = self.try_open(side, client, server).expect("the path is begun");
        self.run(ms(500));
        for side in BOTH {
            assert_eq!(self.path(side, id).map(|path| path.state), Some(PathState::Open), "{side:?}");
        }
        id
    }

    pub(crate) fn paths(&mut self, side: Side) -> Vec<PathStats> {
        self.on(side, |connection| connection.paths().collect())
    }

    pub(crate) fn path(&mut self, side: Side, id: PathId) -> Option<PathStats> {
        self.paths(side).into_iter().find(|path| path.id == id)
    }

    /// The path that data takes.
    pub(crate) fn selected(&mut self, side: Side) -> PathId {
        self.on(side, |connection| connection.path().id)
    }

    /// What has happened to one side's paths since it was asked last.
    pub(crate) fn events(&mut self, side: Side) -> Vec<PathEvent> {
        let mut cursor = self.cursors[side as usize].clone();
        let events =
            self.on(side, |connection| core::iter::from_fn(|| connection.path_events(&mut cursor)).collect());
        self.cursors[side as usize] = cursor;
        events
    }

    /// What both sides hold of a connection at rest.
    pub(crate) fn memory(&mut self) -> [u64; 2] {
        BOTH.map(|side| self.on(side, |connection| connection.stats().memory_used))
    }

    /// Why a side's connection has ended, if it has.
    pub(crate) fn end(&self, side: Side) -> Option<dunlin_core::CloseReason> {
        let (host, handle) = match side {
            Side::Client => (self.web.pair.client(), self.client),
            Side::Server => (self.web.pair.server(), self.server),
        };
        host.closed(handle).map(|(_, reason)| reason.clone())
    }

    pub(crate) fn finish(self) {
        self.web.pair.finish();
    }
}
