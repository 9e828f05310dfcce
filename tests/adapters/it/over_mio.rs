//! The scenarios' traits over `dunlin-mio`: every call is tried, and tried again after each turn of one loop over all
//! endpoints.

use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use dunlin_mio::mio::{self, Events, Token};
use dunlin_mio::{
    CloseReason, Config, ConnectError, ConnectOptions, Connection, ConnectionHandle, DatagramError,
    Direction, Endpoint, ErrorCode, Event, Identity, LocalAddr, OpenError, PathCursor, PathError, PathEvent,
    PathId, PathLog, PathStats, PathStatus, Peer, PublicKey, QotpPublicKey, ReadError, RunError, StreamId,
    TransportAddr, TransportId, UdpSocket, Undelivered, WireVersion, WriteError,
};
use dunlin_udp::{CustomTransport, TransportStats};

use crate::adapter::{Adapter, Fault, Link, Listener, Node, RecvHalf, SendHalf, TOO_LONG};

/// A loop of one thread, with all endpoints in one `Poll`.
pub(crate) struct Mio(Rc<RefCell<Loop>>);

struct Loop {
    poll: mio::Poll,
    events: Events,
    hosts: Vec<Host>,
}

/// An endpoint, and what it has told of its connections.
struct Host {
    endpoint: Endpoint,
    incoming: VecDeque<ConnectionHandle>,
    connected: HashSet<ConnectionHandle>,
    closed: HashMap<ConnectionHandle, (CloseReason, Undelivered)>,
    /// What had happened to the paths of those that have ended, if anybody wanted to know.
    path_logs: HashMap<ConnectionHandle, PathLog>,
    delivered: HashSet<(ConnectionHandle, StreamId)>,
}

impl Loop {
    /// One turn.
    fn turn(&mut self) {
        let mut wait = TOO_LONG;
        for host in &mut self.hosts {
            // Somebody may wait for the end.
            let step = if host.ends(Endpoint::transmit) {
                Some(Duration::ZERO)
            } else {
                host.endpoint.poll_timeout()
            };
            wait = wait.min(step.unwrap_or(TOO_LONG));
        }
        self.poll.poll(&mut self.events, Some(wait)).unwrap();
        for host in &mut self.hosts {
            host.ends(Endpoint::receive);
            while let Some((handle, event)) = host.endpoint.poll_event() {
                host.on_event(handle, event);
            }
        }
    }
}

impl Host {
    /// Does a step, and says whether it was the last one.
    fn ends(&mut self, step: fn(&mut Endpoint) -> Result<(), RunError>) -> bool {
        let open = self.endpoint.socket().is_some();
        match step(&mut self.endpoint) {
            Ok(()) => false,
            Err(RunError::Closed) => open,
            Err(error) => panic!("{error}"),
        }
    }

    fn on_event(&mut self, handle: ConnectionHandle, event: Event) {
        match event {
            Event::Incoming => self.incoming.push_back(handle),
            Event::Connected => {
                self.connected.insert(handle);
            }
            Event::Finished(stream) => {
                self.delivered.insert((handle, stream));
            }
            Event::Closed(reason) => {
                let connection = self.endpoint.connection(handle);
                let log = connection.as_ref().and_then(|connection| connection.path_log());
                let undelivered = connection.map(|connection| connection.undelivered());
                self.closed.insert(handle, (reason, undelivered.unwrap_or_default()));
                self.path_logs.extend(log.map(|log| (handle, log)));
            }
            // The others say that it is worth trying again, which is done anyway.
            _ => {}
        }
    }
}

impl Adapter for Mio {
    type Node = At;

    fn run<F: Future<Output = ()>>(scenario: impl FnOnce(Self) -> F) {
        let (poll, events) = (mio::Poll::new().unwrap(), Events::with_capacity(16));
        let all = Rc::new(RefCell::new(Loop { poll, events, hosts: Vec::new() }));
        let mut scenario = pin!(scenario(Self(Rc::clone(&all))));
        let start = Instant::now();
        while scenario.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            all.borrow_mut().turn();
            assert!(start.elapsed() < TOO_LONG, "the scenario hangs");
        }
    }

    fn bind_all(&self, addresses: &[SocketAddr], secret: u8, config: Config) -> At {
        let builder = addresses[1..].iter().fold(Endpoint::builder(), |builder, also| builder.also_on(*also));
        self.add(builder.config(config).bind(addresses[0], Identity::from_secret([secret; 32])).unwrap())
    }

    fn bind_custom(
        &self,
        address: SocketAddr,
        (id, transport): (TransportId, Box<dyn CustomTransport>),
        secret: u8,
        config: Config,
    ) -> At {
        let builder = Endpoint::builder().transport(id, transport).config(config);
        self.add(builder.bind(address, Identity::from_secret([secret; 32])).unwrap())
    }
}

impl Mio {
    /// Takes the only one of these endpoints into the loop.
    fn add(&self, mut bound: Vec<Endpoint>) -> At {
        let mut endpoint = bound.remove(0);
        let mut all = self.0.borrow_mut();
        let index = all.hosts.len();
        endpoint.register(all.poll.registry(), Token(index)).unwrap();
        all.hosts.push(Host {
            endpoint,
            incoming: VecDeque::new(),
            connected: HashSet::new(),
            closed: HashMap::new(),
            path_logs: HashMap::new(),
            delivered: HashSet::new(),
        });
        drop(all);
        At { all: Rc::clone(&self.0), index }
    }
}

/// Which endpoint.
#[derive(Clone)]
pub(crate) struct At {
    all: Rc<RefCell<Loop>>,
    index: usize,
}

impl At {
    fn with<T>(&self, work: impl FnOnce(&mut Host) -> T) -> T {
        work(&mut self.all.borrow_mut().hosts[self.index])
    }

    /// Waits until `attempt` gives something.
    async fn until<T>(&self, mut attempt: impl FnMut(&mut Host) -> Option<T>) -> T {
        poll_fn(|_| self.with(&mut attempt).map_or(Poll::Pending, Poll::Ready)).await
    }

    async fn connected(&self, handle: ConnectionHandle) -> Result<On, Fault> {
        self.until(|host| match host.closed.get(&handle) {
            _ if host.connected.contains(&handle) => Some(Ok(())),
            Some((reason, _)) => Some(Err(Fault::Lost(reason.clone()))),
            None => None,
        })
        .await?;
        Ok(On { at: self.clone(), handle })
    }
}

impl Node for At {
    type Link = On;

    fn local_addr(&self) -> SocketAddr {
        self.with(|host| host.endpoint.local_addr())
    }

    fn local_addrs(&self) -> Vec<SocketAddr> {
        self.with(|host| host.endpoint.local_addrs().to_vec())
    }

    fn sends(&self) -> Vec<u64> {
        self.with(|host| host.endpoint.sockets().map(|socket| socket.stats().sends).collect())
    }

    fn transport_stats(&self) -> TransportStats {
        self.with(|host| host.endpoint.transport_stats())
    }

    fn rebind(&self, socket: UdpSocket) {
        self.with(|host| host.endpoint.rebind(socket)).unwrap();
    }

    fn public_key(&self) -> PublicKey {
        self.with(|host| *host.endpoint.engine().public_key())
    }

    fn qotp_public_key(&self) -> QotpPublicKey {
        self.with(|host| *host.endpoint.engine().qotp_public_key())
    }

    async fn connect(&self, peer: Peer, options: ConnectOptions) -> Result<On, Fault> {
        let dial = self.with(|host| host.endpoint.connect_with(peer, options));
        self.connected(dial.map_err(|error| match error {
            ConnectError::Closed => Fault::EndpointClosed,
            error => Fault::other(error),
        })?)
        .await
    }

    async fn accept(&self) -> Result<On, Fault> {
        let accepted = self.until(|host| match host.incoming.pop_front() {
            Some(handle) => Some(host.endpoint.accept(handle).map_err(Fault::other)),
            None => host.endpoint.is_closed().then_some(Err(Fault::EndpointClosed)),
        });
        self.connected(accepted.await?).await
    }

    async fn refuse(&self, code: ErrorCode) {
        let handle = self.until(|host| host.incoming.pop_front()).await;
        self.with(|host| {
            let now = host.endpoint.now();
            host.endpoint.engine_mut().incoming(handle).expect("it waits").refuse(now, code);
        });
    }

    fn close(&self, code: ErrorCode, reason: &[u8]) {
        self.with(|host| host.endpoint.close(code, reason));
    }

    async fn closed(&self) {
        self.until(|host| host.endpoint.socket().is_none().then_some(())).await;
    }
}

/// Which connection.
#[derive(Clone)]
pub(crate) struct On {
    at: At,
    handle: ConnectionHandle,
}

impl On {
    /// Waits until `attempt` does not say `None`, which is why it failed if the connection has ended.
    async fn until<T>(
        &self,
        mut attempt: impl FnMut(&mut Connection<'_>) -> Option<Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.at
            .until(|host| {
                let tried = host.endpoint.connection(self.handle).and_then(|mut view| attempt(&mut view));
                tried.or_else(|| Some(Err(Fault::Lost(host.closed.get(&self.handle)?.0.clone()))))
            })
            .await
    }

    /// Calls once.
    fn once<T>(&self, call: impl FnOnce(&mut Connection<'_>) -> T) -> Option<T> {
        self.at.with(|host| host.endpoint.connection(self.handle).map(|mut view| call(&mut view)))
    }

    async fn open(&self, direction: Direction) -> Result<Half, Fault> {
        let id = self
            .until(|view| match view.open(direction) {
                Err(OpenError::Blocked | OpenError::Closed) => None,
                Err(OpenError::Unsupported) => Some(Err(Fault::Unsupported)),
                opened => Some(opened.map_err(Fault::other)),
            })
            .await?;
        Ok(Half { on: self.clone(), id })
    }

    async fn accept(&self, direction: Direction) -> Result<Half, Fault> {
        let id = self.until(|view| view.accept(direction).map(Ok)).await?;
        Ok(Half { on: self.clone(), id })
    }

    async fn end(&self) -> (CloseReason, Undelivered) {
        self.at.until(|host| host.closed.get(&self.handle).cloned()).await
    }
}

impl Link for On {
    type Send = Half;
    type Recv = Half;
    type Listener = PathEvents;

    fn wire(&self) -> WireVersion {
        self.once(|view| view.wire()).expect("it is not forgotten")
    }

    fn path(&self) -> PathStats {
        self.once(|view| view.path()).expect("it is not forgotten")
    }

    fn paths(&self) -> Vec<PathStats> {
        self.once(|view| view.paths().collect()).expect("it is not forgotten")
    }

    fn open_path(&self, remote: TransportAddr, local: LocalAddr) -> Result<PathId, PathError> {
        self.once(|view| view.open_path(remote, Some(local))).expect("it is not forgotten")
    }

    fn close_path(&self, id: PathId) -> Result<(), PathError> {
        self.once(|view| view.close_path(id)).expect("it is not forgotten")
    }

    fn select_path(&self, id: PathId) -> Result<(), PathError> {
        self.once(|view| view.select_path(id)).expect("it is not forgotten")
    }

    fn set_path_status(&self, id: PathId, status: PathStatus) -> Result<(), PathError> {
        self.once(|view| view.set_path_status(id, status)).expect("it is not forgotten")
    }

    fn path_events(&self) -> PathEvents {
        let cursor = self.once(|view| view.subscribe_paths()).expect("it is not forgotten");
        PathEvents { on: self.clone(), cursor }
    }

    async fn open_bi(&self) -> Result<(Half, Half), Fault> {
        self.open(Direction::Bidirectional).await.map(|half| (half.clone(), half))
    }

    async fn open_uni(&self) -> Result<Half, Fault> {
        self.open(Direction::Unidirectional).await
    }

    async fn accept_bi(&self) -> Result<(Half, Half), Fault> {
        self.accept(Direction::Bidirectional).await.map(|half| (half.clone(), half))
    }

    async fn accept_uni(&self) -> Result<Half, Fault> {
        self.accept(Direction::Unidirectional).await
    }

    fn max_datagram(&self) -> Option<usize> {
        self.once(|view| view.max_datagram())?
    }

    fn send_datagram(&self, data: &[u8]) -> Result<(), Fault> {
        match self.once(|view| view.send_datagram(data)) {
            Some(Err(DatagramError::Unsupported)) => Err(Fault::Unsupported),
            Some(sent) => sent.map_err(Fault::other),
            None => Err(Fault::other("forgotten")),
        }
    }

    fn read_datagram(&self) -> Option<Vec<u8>> {
        let mut datagram = Vec::new();
        self.once(|view| view.read_datagram(&mut datagram))?.map(|_| datagram)
    }

    fn close(&self, code: ErrorCode, reason: &[u8]) {
        self.once(|view| view.close(code, reason));
    }

    async fn close_graceful(&self, code: ErrorCode, reason: &[u8]) -> Undelivered {
        let deadline = self.at.with(|host| host.endpoint.now()) + TOO_LONG;
        self.once(|view| view.close_graceful(deadline, code, reason));
        self.end().await.1
    }

    async fn closed(&self) -> CloseReason {
        self.end().await.0
    }
}

/// Who has heard how much of what happens to the paths of a connection.
pub(crate) struct PathEvents {
    on: On,
    cursor: PathCursor,
}

impl Listener for PathEvents {
    async fn next(&mut self) -> Option<PathEvent> {
        let Self { on, cursor } = self;
        on.at
            .until(|host| match host.path_logs.get(&on.handle) {
                Some(log) => Some(log.read(cursor)),
                None => host.endpoint.connection(on.handle)?.path_events(cursor).map(Some),
            })
            .await
    }
}

/// Which stream, or which half of it.
#[derive(Clone)]
pub(crate) struct Half {
    on: On,
    id: StreamId,
}

fn write_fault(error: WriteError) -> Option<Fault> {
    match error {
        WriteError::Blocked | WriteError::Closed => None,
        WriteError::Stopped(code) => Some(Fault::Stopped(code)),
        WriteError::Unsupported => Some(Fault::Unsupported),
        error => Some(Fault::other(error)),
    }
}

impl SendHalf for Half {
    async fn write_all(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        while !data.is_empty() {
            let written = self.on.until(|view| match view.write(self.id, data) {
                Ok(written) => Some(Ok(written)),
                Err(error) => write_fault(error).map(Err),
            });
            data = &data[written.await?..];
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.on.once(|view| view.finish(self.id)).expect("it is not forgotten").map_err(Fault::other)
    }

    fn reset(&mut self, code: ErrorCode) -> Result<(), Fault> {
        let reset = self.on.once(|view| view.reset(self.id, code)).expect("it is not forgotten");
        reset.map_err(|error| write_fault(error).unwrap_or_else(|| Fault::other(error)))
    }

    async fn delivered(&mut self) -> Result<(), Fault> {
        let id = (self.on.handle, self.id);
        let done = self.on.at.until(|host| match host.closed.get(&id.0) {
            _ if host.delivered.contains(&id) => Some(Ok(())),
            Some((reason, _)) => Some(Err(Fault::Lost(reason.clone()))),
            None => None,
        });
        done.await
    }
}

impl RecvHalf for Half {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let read = self.on.until(|view| match view.read(self.id, out) {
            Ok(read) => Some(Ok(read)),
            Err(ReadError::Blocked | ReadError::Closed) => None,
            Err(ReadError::Reset(code)) => Some(Err(Fault::Reset(code))),
            Err(error) => Some(Err(Fault::other(error))),
        });
        read.await
    }

    fn stop(&mut self, code: ErrorCode) {
        // What has ended needs no stop.
        let _ = self.on.once(|view| view.stop(self.id, code));
    }
}
