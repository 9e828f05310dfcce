//! Watching the system's addresses, so that nobody has to say that the network changed.

mod hub;
#[cfg_attr(target_os = "linux", path = "netlink.rs")]
#[cfg_attr(any(windows, target_vendor = "apple", target_os = "freebsd"), path = "elsewhere.rs")]
#[cfg_attr(
    not(any(target_os = "linux", windows, target_vendor = "apple", target_os = "freebsd")),
    path = "unsupported.rs"
)]
mod system;
mod worker;

use core::fmt;
use core::net::SocketAddr;
use std::io;

use dunlin_core::NetworkChange;
use hub::Hub;

/// For all who watch in this process.
static SYSTEM: Hub = Hub::new(system::open);

/// As long as it lives, changes of the system's addresses are told: one came or went, or the interface that has it did,
/// or its link (the last on Linux only). Routes are not watched.
///
/// All of a process share one thread, which begins with the first and ends after the last. It asks the system no more
/// than it has to: it sleeps until the kernel has something to tell, waits 50 ms for what comes with it, looks at the
/// addresses, and tells if they are others than before.
///
/// On Linux it sees the network namespace of the thread that began the first.
#[must_use = "dropping it ends the watch"]
pub struct Watch {
    hub: &'static Hub,
    number: u64,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Watch {
    /// Has `on_change` called with the addresses that there are, before this returns, and after every change from now on, by
    /// the thread that watches: it must be quick, and begin or end no watch. It may be called once more while the watch is
    /// being dropped. What it is called with is for [`Endpoint::network_changed`](dunlin_core::Endpoint::network_changed);
    /// where the system does not say which addresses there are, it is [`NetworkChange::Unspecified`].
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::Unsupported`] where nobody is known to tell. It is known of Linux, Windows, Apple's
    /// systems and FreeBSD. (Android tells applications by its own `ConnectivityManager` only.)
    pub fn start(on_change: impl Fn(NetworkChange) + Send + Sync + 'static) -> io::Result<Self> {
        SYSTEM.add(Box::new(on_change))
    }

    /// Whether changes of the system's addresses concern an endpoint that is bound to these: not if all of them are
    /// loopback's.
    #[must_use]
    pub fn is_worth_it(bound: &[SocketAddr]) -> bool {
        bound.iter().any(|address| !address.ip().to_canonical().is_loopback())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_on_loopback_need_not_watch() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        for loopback in [&["127.0.0.2:1"][..], &["[::1]:1", "[::ffff:127.0.0.1]:2"], &[]] {
            assert!(!Watch::is_worth_it(&addresses(loopback)), "{loopback:?}");
        }
        for other in [&["0.0.0.0:0"][..], &["[::]:0"], &["127.0.0.1:1", "192.0.2.1:1"]] {
            assert!(Watch::is_worth_it(&addresses(other)), "{other:?}");
        }
    }
}
