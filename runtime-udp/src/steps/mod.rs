//! The steps of an adapter's loop, between the engine and its sockets. Waiting is left to the adapter.

mod clock;
mod engine;
mod hardware;
mod lanes;
mod receiver;
mod strays;
#[cfg(test)]
mod tests;
mod timer;
mod transmitter;

pub use clock::Clock;
pub use engine::{engine, settings_of_a_port};
pub use receiver::{Left, Receiver};
pub use strays::Strays;
pub use timer::FineTimer;
pub use transmitter::{Sending, Transmitter};

use core::time::Duration;

/// How long a closed endpoint waits for its last packets. The closing period of a connection is three probe timeouts
/// (RFC 9000 section 10.2), on most paths below a second.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);
