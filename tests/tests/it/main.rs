//! Scenario tests of the engine in the simulator.

mod address;
mod close;
mod common;
mod contract;
mod datagrams;
mod dialling;
mod early;
mod ecn;
mod flow;
mod frames;
mod graceful;
mod half_open;
mod handshake;
mod hostile;
mod identity;
mod loss;
mod memory;
mod messages;
mod packets;
mod puppet;
mod qotp;
mod rekey;
mod scale;
mod stream_ends;
mod streams;
mod transfer;
