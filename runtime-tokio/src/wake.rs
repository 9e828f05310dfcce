//! Whom to wake once the lock is released.

use core::mem;
use core::task::Waker;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::Notify;

/// What several tasks may wait for at once, one [`Notify`] each.
///
/// Where a task's success may mean that there is more for the next one (streams to accept or open), one waiter is woken
/// at a time and passes the news on; a waiter that is dropped after it was woken passes it on too ([`Notify`] sees to
/// that), so that nothing is lost and nobody is woken for nothing.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) accept_bi: Notify,
    pub(crate) accept_uni: Notify,
    pub(crate) open_bi: Notify,
    pub(crate) open_uni: Notify,
    pub(crate) datagram_received: Notify,
    pub(crate) datagram_sendable: Notify,
    /// Each waiter has a count of its own of what it has heard, so all are woken.
    pub(crate) path: Notify,
    pub(crate) closed: Notify,
}

impl Signals {
    fn all(&self) -> [&Notify; 8] {
        [
            &self.accept_bi,
            &self.accept_uni,
            &self.open_bi,
            &self.open_uni,
            &self.datagram_received,
            &self.datagram_sendable,
            &self.path,
            &self.closed,
        ]
    }
}

/// One of a connection's signals.
pub(crate) type Pick = fn(&Signals) -> &Notify;

enum Wake {
    Task(Waker),
    /// Who waits no more.
    Nobody(Waker),
    One(Arc<Signals>, Pick),
    Each(Arc<Signals>, Pick),
    Closed(Arc<Signals>),
    All(Arc<Notify>),
    OneOf(Arc<Notify>),
}

/// A list of those to wake. They are woken when it is dropped, which must be after the lock is released: a waker may run
/// anything, even what takes the same lock. For the same reason no waker is dropped under the lock.
#[derive(Default)]
pub(crate) struct Wakes(SmallVec<[Wake; 4]>);

impl Wakes {
    pub(crate) fn task(&mut self, waker: Option<Waker>) {
        // Not `extend`, which costs more than the check.
        if let Some(waker) = waker {
            self.0.push(Wake::Task(waker));
        }
    }

    /// Drops a waker that was replaced. It must not be woken: two wakers of one task need not know that they are
    /// ([`Waker::will_wake`]), and a task that is woken whenever it goes to sleep never does.
    pub(crate) fn nobody(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.0.push(Wake::Nobody(waker));
        }
    }

    /// One of those who wait for this signal of a connection.
    pub(crate) fn one(&mut self, signals: &Arc<Signals>, pick: Pick) {
        self.0.push(Wake::One(Arc::clone(signals), pick));
    }

    /// All of those who wait for this signal of a connection.
    pub(crate) fn each(&mut self, signals: &Arc<Signals>, pick: Pick) {
        self.0.push(Wake::Each(Arc::clone(signals), pick));
    }

    /// Everybody who waits for anything of a connection.
    pub(crate) fn everybody(&mut self, signals: &Arc<Signals>) {
        self.0.push(Wake::Closed(Arc::clone(signals)));
    }

    /// Everybody who waits for this.
    pub(crate) fn all_of(&mut self, notify: &Arc<Notify>) {
        self.0.push(Wake::All(Arc::clone(notify)));
    }

    /// One of those who wait for this.
    pub(crate) fn one_of(&mut self, notify: &Arc<Notify>) {
        self.0.push(Wake::OneOf(Arc::clone(notify)));
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        for wake in mem::take(&mut self.0) {
            match wake {
                Wake::Task(waker) => waker.wake(),
                Wake::Nobody(waker) => drop(waker),
                Wake::One(signals, pick) => pick(&signals).notify_one(),
                Wake::Each(signals, pick) => pick(&signals).notify_waiters(),
                Wake::Closed(signals) => signals.all().into_iter().for_each(Notify::notify_waiters),
                Wake::All(notify) => notify.notify_waiters(),
                Wake::OneOf(notify) => notify.notify_one(),
            }
        }
    }
}

/// Puts `waker` into `place`, unless the same task waits there already.
pub(crate) fn register(place: &mut Option<Waker>, waker: &Waker, wakes: &mut Wakes) {
    if place.as_ref().is_some_and(|old| old.will_wake(waker)) {
        return;
    }
    wakes.nobody(place.replace(waker.clone()));
}
