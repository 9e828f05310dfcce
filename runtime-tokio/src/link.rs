//! What every handle of a connection holds on to.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

use dunlin_core::{CloseReason, ConnectionHandle, ErrorCode};

use crate::state::{Locked, Shared};
use crate::table::{End, Entry};
use crate::wake::{Pick, Signals};

/// The tie between the handles of a connection and its endpoint. When the last one goes, the connection is closed.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) handle: ConnectionHandle,
    signals: Arc<Signals>,
    /// A dial, or an accepted attempt with early data, that was not looked at yet: its first packet waits for what is written
    /// meanwhile.
    corked: AtomicBool,
}

impl Link {
    /// Ties a new connection of the engine to the handles that are about to be made.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        locked: &mut Locked<'_>,
        handle: ConnectionHandle,
        corked: bool,
    ) -> Arc<Self> {
        let signals = Arc::new(Signals::default());
        locked.insert(handle, Entry::new(Arc::clone(&signals)));
        Arc::new(Self { shared: Arc::clone(shared), handle, signals, corked: AtomicBool::new(corked) })
    }

    /// Ties a connection to the handles that are about to be made which the policy has accepted, before there were any.
    pub(crate) fn adopt(
        shared: &Arc<Shared>,
        locked: &Locked<'_>,
        handle: ConnectionHandle,
    ) -> Option<Arc<Self>> {
        let signals = Arc::clone(&locked.entry(handle)?.signals);
        Some(Arc::new(Self { shared: Arc::clone(shared), handle, signals, corked: AtomicBool::new(false) }))
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        self.shared.lock()
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    /// There is something to send, which a dial that waits for more holds back.
    pub(crate) fn nudge(&self, locked: &mut Locked<'_>) {
        if !self.corked.load(Relaxed) {
            locked.nudge();
        }
    }

    /// Nothing more will be written before something is heard: the first packet may go.
    pub(crate) fn uncork(&self, locked: &mut Locked<'_>) {
        if self.corked.swap(false, Relaxed) {
            locked.nudge();
        }
    }

    /// How the connection ended, if it did.
    pub(crate) fn end<'a>(&self, locked: &'a mut Locked<'_>) -> Option<&'a End> {
        locked.connection(self.handle).1?.end.as_deref()
    }

    /// Why the connection ended. Asked when the engine does not know it any more, or says that it is closed.
    pub(crate) fn reason(&self, locked: &mut Locked<'_>) -> Option<CloseReason> {
        self.end(locked).map(|end| end.reason.clone())
    }

    /// Waits until `attempt` gives something other than `None`. It is tried at once, and again whenever the signal comes.
    ///
    /// One signal wakes one waiter; who succeeds passes the signal on, for there may be more.
    pub(crate) async fn wait_for<T>(
        &self,
        pick: Pick,
        mut attempt: impl FnMut(&mut Locked<'_>) -> Option<Result<T, CloseReason>>,
    ) -> Result<T, CloseReason> {
        let signal = pick(&self.signals);
        loop {
            let notified = signal.notified();
            let outcome = {
                let mut locked = self.lock();
                let outcome = attempt(&mut locked).or_else(|| self.reason(&mut locked).map(Err));
                if outcome.is_none() {
                    self.uncork(&mut locked);
                }
                outcome
            };
            match outcome {
                Some(Ok(value)) => {
                    signal.notify_one();
                    return Ok(value);
                }
                Some(Err(reason)) => return Err(reason),
                None => notified.await,
            }
        }
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> End {
        loop {
            let notified = self.signals.closed.notified();
            if let Some(end) = self.end(&mut self.lock()) {
                return end.clone();
            }
            notified.await;
        }
    }

    /// Closes, at once.
    pub(crate) fn close(&self, code: ErrorCode, reason: &[u8]) {
        let mut locked = self.lock();
        self.advance(&mut locked);
        if let (Some(mut connection), ..) = locked.connection(self.handle) {
            connection.close(code, reason);
        }
        locked.nudge();
    }

    /// Tells the engine the time, which a borrowed connection otherwise takes from the latest packet.
    pub(crate) fn advance(&self, locked: &mut Locked<'_>) {
        let now = self.shared.clock.now();
        locked.engine.handle_timeout(now);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let entry = {
            let mut locked = self.lock();
            self.advance(&mut locked);
            let (connection, entry, _) = locked.connection(self.handle);
            match (connection, entry.and_then(|entry| entry.end.as_ref()).map(|end| &end.reason)) {
                (Some(mut connection), None) => connection.close(ErrorCode::default(), b""),
                // The engine still tells the peer.
                (Some(_), Some(CloseReason::Local { .. } | CloseReason::Violation(_))) | (None, _) => {}
                // Nobody will read what is left.
                (Some(connection), Some(_)) => connection.forget(),
            }
            locked.dispatch();
            locked.nudge();
            locked.remove(self.handle)
        };
        drop(entry);
    }
}
