//! The one lock of a shard, and what is behind it.

use core::ops::{Deref, DerefMut};
use core::task::Waker;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dunlin_core::{CloseReason, Connection, ConnectionHandle, Endpoint, ErrorCode, Event, Instant};
use dunlin_udp::{Clock, SHUTDOWN_LIMIT, SocketStats, TransportStats, Transports, UdpSocket};
use hashbrown::{HashMap, hash_map};
use tokio::sync::Notify;
use tracing::debug;

use crate::backlog::Backlog;
use crate::table::Entry;
use crate::wake::Wakes;

/// What the driver of a shard and all handles of its connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) clock: Clock,
    /// Somebody dials this shard, or another one of the endpoint.
    pub(crate) incoming: Arc<Notify>,
    /// Nothing is left to do, or the endpoint has closed.
    idle: Arc<Notify>,
}

/// The life of an endpoint, as far as a shard knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Open,
    /// Nothing new; connections close with this code. The driver stops at `deadline` at the latest.
    Closing {
        code: ErrorCode,
        deadline: Instant,
    },
    /// The driver is gone, and the socket with it.
    Stopped,
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) engine: Endpoint,
    pub(crate) phase: Phase,
    /// Boxed, for a table has room for twice what is in it.
    entries: HashMap<ConnectionHandle, Box<Entry>>,
    /// Attempts, and connections that a policy has accepted, that the application has not asked for yet.
    incoming: Backlog,
    /// Connections that have not ended.
    open: usize,
    /// Ended by us: the engine still sees to it that the peer hears of it. Oldest first.
    closing: VecDeque<ConnectionHandle>,
    /// The driver, while it sleeps.
    driver: Option<Waker>,
    /// Somebody waits for `Shared::idle`.
    idle_awaited: bool,
    /// For the driver, in the place of the first one that it has.
    socket: Option<UdpSocket>,
    /// Those that it has, by their numbers, for questions.
    in_use: Vec<Weak<UdpSocket>>,
    /// The transports that it has beside them, likewise.
    transports: Transports,
}

impl Shared {
    pub(crate) fn new(engine: Endpoint, clock: Clock, incoming: &Arc<Notify>) -> Self {
        let state = State {
            engine,
            phase: Phase::Open,
            entries: HashMap::new(),
            incoming: Backlog::default(),
            open: 0,
            closing: VecDeque::new(),
            driver: None,
            idle_awaited: false,
            socket: None,
            in_use: Vec::new(),
            transports: Transports::default(),
        };
        Self {
            state: Mutex::new(state),
            clock,
            incoming: Arc::clone(incoming),
            idle: Arc::new(Notify::new()),
        }
    }

    /// Waits until there is no connection; after a close, until the driver has stopped. `false`: there was no need to wait.
    pub(crate) async fn wait_idle(&self) -> bool {
        let mut waited = false;
        loop {
            let notified = self.idle.notified();
            {
                let mut locked = self.lock();
                let done = match locked.phase {
                    Phase::Open => locked.is_idle(),
                    Phase::Closing { .. } => false,
                    Phase::Stopped => true,
                };
                if done {
                    return waited;
                }
                locked.idle_awaited = true;
            }
            notified.await;
            waited = true;
        }
    }

    /// Takes the lock. A panic under it, which would be a bug of ours, does not take the other connections with it.
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked {
            state: self.state.lock().unwrap_or_else(PoisonError::into_inner),
            wakes: Wakes::default(),
            shared: self,
        }
    }
}

/// The state, locked. When it is dropped, the engine's events are handed over, the lock is released, and those whom the
/// events concern are woken, in this order.
pub(crate) struct Locked<'a> {
    // Fields are dropped in their order: first the lock is released, then wakers run.
    state: MutexGuard<'a, State>,
    pub(crate) wakes: Wakes,
    shared: &'a Shared,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.dispatch();
    }
}

impl Locked<'_> {
    /// The connection in the engine and in the table, and the list of those to wake.
    pub(crate) fn connection(
        &mut self,
        handle: ConnectionHandle,
    ) -> (Option<Connection<'_>>, Option<&mut Entry>, &mut Wakes) {
        let State { engine, entries, .. } = &mut *self.state;
        (engine.connection(handle), entries.get_mut(&handle).map(Box::as_mut), &mut self.wakes)
    }

    /// There is something to send: wakes the driver if it sleeps.
    pub(crate) fn nudge(&mut self) {
        let driver = self.state.driver.take();
        self.wakes.task(driver);
    }

    /// The driver gets another socket, unless it is on its way out.
    pub(crate) fn rebind(&mut self, socket: UdpSocket) {
        if self.phase == Phase::Open {
            self.socket = Some(socket);
            self.nudge();
        }
    }

    /// The socket that the driver is to have, if it is another one.
    pub(crate) fn take_socket(&mut self) -> Option<UdpSocket> {
        self.socket.take()
    }

    /// Hands over what the engine has to tell.
    pub(crate) fn dispatch(&mut self) {
        while let Some((handle, event)) = self.state.engine.poll_event() {
            let State { engine, phase, entries, open, closing, incoming, .. } = &mut *self.state;
            match &event {
                // Only QOTP's, which no list of application protocols keeps out.
                Event::Incoming if *phase != Phase::Open => {
                    if let Some(attempt) = engine.incoming(handle) {
                        attempt.ignore();
                    }
                    continue;
                }
                Event::Incoming => {
                    incoming.push(handle, |handle| is_alive(engine, entries, handle));
                    self.wakes.one_of(&self.shared.incoming);
                    continue;
                }
                Event::Closed(reason) => {
                    debug!(?handle, %reason, "connection ended");
                    *open = open.saturating_sub(1);
                    if matches!(reason, CloseReason::Local { .. } | CloseReason::Violation(_)) {
                        closing.push_back(handle);
                    }
                }
                Event::Connected => {
                    debug!(?handle, "connected");
                    // Accepted by the policy: nobody has asked for it.
                    if let hash_map::Entry::Vacant(vacant) = entries.entry(handle) {
                        vacant.insert(Box::new(Entry::new(Arc::default())));
                        *open += 1;
                        if let (Phase::Closing { code, .. }, Some(mut connection)) =
                            (*phase, engine.connection(handle))
                        {
                            connection.close(code, b"");
                        }
                        incoming.push(handle, |handle| is_alive(engine, entries, handle));
                        self.wakes.one_of(&self.shared.incoming);
                    }
                }
                _ => {}
            }
            if let Some(entry) = entries.get_mut(&handle) {
                entry.on_event(event, engine.connection(handle).as_mut(), &mut self.wakes);
            }
        }
    }

    /// Refuses everything new and closes every connection, once.
    pub(crate) fn close_all(&mut self, code: ErrorCode, reason: &[u8]) {
        if self.phase != Phase::Open {
            return;
        }
        let now = self.shared.clock.now();
        self.phase = Phase::Closing { code, deadline: now + SHUTDOWN_LIMIT };
        self.engine.set_alpns(Vec::new());
        self.engine.handle_timeout(now);
        self.end_all(code, reason);
        self.wakes.all_of(&self.shared.incoming);
        self.nudge();
    }

    fn end_all(&mut self, code: ErrorCode, reason: &[u8]) {
        let State { engine, entries, incoming, .. } = &mut *self.state;
        while let Some(handle) = incoming.pop() {
            if let Some(attempt) = engine.incoming(handle) {
                attempt.ignore();
            }
        }
        for handle in entries.keys() {
            if let Some(mut connection) = engine.connection(*handle) {
                connection.close(code, reason);
            }
        }
        self.dispatch();
    }

    /// The driver stops, for whatever reason: nothing will be sent or received any more.
    pub(crate) fn stop(&mut self) {
        let code = match self.phase {
            Phase::Open => ErrorCode::default(),
            Phase::Closing { code, .. } => code,
            Phase::Stopped => return,
        };
        self.end_all(code, b"");
        self.phase = Phase::Stopped;
        self.socket = None;
        // The driver has them still: here they are never dropped under the lock.
        self.transports = Transports::default();
        self.wakes.all_of(&self.shared.incoming);
        self.wakes.all_of(&self.shared.idle);
        let driver = self.driver.take();
        self.wakes.task(driver);
    }

    /// Tells those who wait for it that nothing is left to do.
    pub(crate) fn tell_idle(&mut self) {
        if self.state.is_idle() && self.state.idle_awaited {
            self.state.idle_awaited = false;
            self.wakes.all_of(&self.shared.idle);
        }
    }
}

impl State {
    /// A connection came into being.
    pub(crate) fn insert(&mut self, handle: ConnectionHandle, entry: Entry) {
        self.open += 1;
        self.entries.insert(handle, Box::new(entry));
    }

    /// The last handle is gone. The entry is returned to be dropped after the lock is released.
    pub(crate) fn remove(&mut self, handle: ConnectionHandle) -> Option<Box<Entry>> {
        self.entries.remove(&handle)
    }

    /// The oldest of what waits for the application, if it is there still.
    pub(crate) fn next_incoming(&mut self) -> Option<ConnectionHandle> {
        let Self { engine, entries, incoming, .. } = self;
        core::iter::from_fn(|| incoming.pop()).find(|handle| is_alive(engine, entries, *handle))
    }

    /// What there is of a connection.
    pub(crate) fn entry(&self, handle: ConnectionHandle) -> Option<&Entry> {
        self.entries.get(&handle).map(|entry| &**entry)
    }

    /// Whether another socket waits for the driver.
    pub(crate) const fn is_rebound(&self) -> bool {
        self.socket.is_some()
    }

    /// The driver has this socket from now on.
    pub(crate) fn uses(&mut self, number: usize, socket: &Arc<UdpSocket>) {
        if self.in_use.len() <= number {
            self.in_use.resize_with(number + 1, Weak::new);
        }
        self.in_use[number] = Arc::downgrade(socket);
    }

    /// The driver has these transports beside its sockets.
    pub(crate) fn uses_transports(&mut self, transports: &Transports) {
        self.transports = transports.clone();
    }

    /// The counters of those transports.
    pub(crate) fn transport_stats(&self) -> TransportStats {
        self.transports.stats()
    }

    /// The counters of the sockets that it has.
    pub(crate) fn socket_stats(&self) -> impl Iterator<Item = SocketStats> {
        self.in_use.iter().filter_map(Weak::upgrade).map(|socket| socket.stats())
    }

    /// The driver goes to sleep.
    pub(crate) fn put_driver_to_sleep(&mut self, driver: Waker) {
        self.driver = Some(driver);
    }

    /// Whether every connection has ended, and every peer has heard of it or had the time to.
    pub(crate) fn is_idle(&mut self) -> bool {
        while let Some(handle) = self.closing.front()
            && self.engine.connection(*handle).is_none()
        {
            self.closing.pop_front();
        }
        self.open == 0 && self.closing.is_empty()
    }
}

/// Whether what waits for the application is there still. The entry of a connection that is not is removed: nobody has a handle.
fn is_alive(
    engine: &mut Endpoint,
    entries: &mut HashMap<ConnectionHandle, Box<Entry>>,
    handle: ConnectionHandle,
) -> bool {
    let alive = engine.incoming(handle).is_some() || engine.connection(handle).is_some();
    if !alive {
        entries.remove(&handle);
    }
    alive
}
