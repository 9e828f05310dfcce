//! Word of changes of the system's addresses.

use core::net::SocketAddr;

use dunlin_udp::Watch;

use crate::alarm::Alarm;

/// Watches as long as it is held.
#[derive(Debug)]
pub(crate) struct NetworkWatch {
    /// Rings when the addresses have changed.
    pub(crate) alarm: Alarm,
    _watch: Watch,
}

impl NetworkWatch {
    /// `None`: it does not concern those who are `bound` to these addresses, or the system does not tell.
    pub(crate) fn new(bound: &[SocketAddr]) -> Option<Self> {
        if !Watch::is_worth_it(bound) {
            return None;
        }
        let alarm = Alarm::new();
        let waker = alarm.waker();
        let watch = Watch::start(move || waker.wake_by_ref());
        Some(Self { alarm, _watch: watch.ok()? })
    }
}
