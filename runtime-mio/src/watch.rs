//! Word of changes of the system's addresses.

use core::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use dunlin_core::NetworkChange;
use dunlin_udp::Watch;

use crate::alarm::Alarm;

/// Watches as long as it is held.
#[derive(Debug)]
pub(crate) struct NetworkWatch {
    /// Rings when there is a change to take.
    pub(crate) alarm: Alarm,
    /// The latest one: lists of addresses replace each other.
    change: Arc<Mutex<Option<NetworkChange>>>,
    _watch: Watch,
}

impl NetworkWatch {
    /// `None`: it does not concern those who are `bound` to these addresses, or the system does not tell.
    pub(crate) fn new(bound: &[SocketAddr]) -> Option<Self> {
        if !Watch::is_worth_it(bound) {
            return None;
        }
        let (alarm, change) = (Alarm::new(), Arc::<Mutex<Option<_>>>::default());
        let (waker, latest) = (alarm.waker(), Arc::clone(&change));
        let watch = Watch::start(move |change| {
            *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
            waker.wake_by_ref();
        });
        Some(Self { alarm, change, _watch: watch.ok()? })
    }

    /// What has changed since it was last asked; at first, the addresses that there are.
    pub(crate) fn take(&mut self) -> Option<NetworkChange> {
        if !self.alarm.has_rung() {
            return None;
        }
        self.change.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
