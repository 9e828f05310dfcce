//! QOTP between two endpoints of ours, and between one of ours and a puppet.

mod attempts;
mod coexist;
mod early;
mod ends;
mod forged;
mod handshake;
mod hostile;
mod kit;
mod puppet;
mod random;
mod streams;
mod throughput;
mod transfer;
mod windows;
