//! The steps of an adapter's loop, between the engine and a socket. Waiting is left to the adapter.

mod clock;
mod hardware;
mod receiver;
#[cfg(test)]
mod tests;
mod transmitter;

pub use clock::Clock;
pub use hardware::has_aes;
pub use receiver::{Left, Receiver};
pub use transmitter::{Sending, Transmitter};
