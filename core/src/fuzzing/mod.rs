//! Ways past the encryption, and into the parts, for fuzzers and abuse tests. No part of the API: it may change with any
//! release.

mod decode;
mod handshake;
mod models;

use alloc::vec::Vec;

use crate::connection::view::Connection;
use crate::endpoint::Endpoint;
use crate::id::PathId;

pub use decode::{decode_hello, decode_native, decode_qotp};
pub use handshake::Stranger;
pub use models::{Outgoing, Ranges, Reassembly, Window};

/// Appends a packet of `connection` that opens at its peer and carries `frames` (QOTP: a payload), whatever they say.
/// `false` if there are no keys yet or any more, or `frames` is too short or does not fit into a datagram.
pub fn seal(connection: &mut Connection<'_>, frames: &[u8], out: &mut Vec<u8>) -> bool {
    connection.seal_raw(frames, out)
}

/// As [`seal`], on a path, under its next number. `false` also if it is not open.
pub fn seal_on(connection: &mut Connection<'_>, path: PathId, frames: &[u8], out: &mut Vec<u8>) -> bool {
    connection.seal_raw_on(path, frames, out)
}

/// Which of the peer's ids a packet goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdOf {
    /// That of the path that data takes.
    OpenPath,
    /// One that is there to open a path with.
    NoPath,
}

/// A packet on a path that the connection has not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unopened {
    /// The path.
    pub path: PathId,
    /// Its number, which nobody but the caller keeps count of: with the same twice the nonce is the same.
    pub number: u64,
    /// What it goes to.
    pub to: IdOf,
}

/// As [`seal`], on a path that is not open. `false` also if it is, or if the peer has given no such id.
pub fn seal_unopened(
    connection: &mut Connection<'_>,
    packet: &Unopened,
    frames: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    connection.seal_unopened(packet, frames, out)
}

/// A packet of a connection's peer, opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The path that it was sent on.
    pub path: PathId,
    /// Its number there.
    pub number: u64,
    /// Its frames.
    pub frames: Vec<u8>,
}

/// Opens a Data packet that was sent to `connection`, which learns nothing of what is in it. `None` if it is another packet,
/// or does not open.
pub fn open(connection: &mut Connection<'_>, datagram: &[u8]) -> Option<Opened> {
    connection.open_raw(datagram)
}

/// Leaves `count` packet numbers of a path out.
pub fn skip_numbers(connection: &mut Connection<'_>, path: PathId, count: u32) {
    connection.skip_raw(path, count);
}

/// Lets `connection` seal with its next keys from now on, whether or not it may change them yet.
pub fn rotate_keys(connection: &mut Connection<'_>) {
    connection.rotate_raw();
}

/// Whether a packet of `connection` has had this number: it is one that was given out, and not left out. What the peer
/// knows from what it receives. True for numbers so old that nobody remembers.
#[must_use]
pub fn is_sent(connection: &Connection<'_>, number: u64) -> bool {
    connection.is_sent(number)
}

/// Whether `connection` has given out this number, to a packet or to be left out.
#[must_use]
pub fn is_known(connection: &Connection<'_>, number: u64) -> bool {
    number < connection.next_number()
}

/// Counts again what `endpoint` holds: memory, half-open attempts, ids of QOTP.
///
/// # Panics
/// A counter is wrong.
pub fn recount(endpoint: &Endpoint) {
    endpoint.recount();
}
