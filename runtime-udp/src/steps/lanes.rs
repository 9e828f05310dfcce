//! The trains of one socket or transport: what waits for it is nobody else's concern.

mod custom;
mod udp;

use core::net::IpAddr;

use dunlin_core::{ConnectionHandle, Ecn, TrainLimit, Transmit};

/// The most messages that are gathered for one send.
pub(super) const MESSAGES: usize = 128;

/// Trains are gathered up to this many bytes, and the one that passes it is the last: half of a full train, so that a
/// full one goes alone, and the engine is not kept for longer than one and a half take to build.
pub(super) const GATHER: usize = TrainLimit::MAX_BYTES / 2;

/// The trains that are being sent through one socket or transport, or wait for it. `D` is what it calls a destination.
#[derive(Debug)]
pub(super) struct Lane<D> {
    /// The bytes of the trains, one behind the other, used again and again.
    pub(super) bytes: Vec<u8>,
    /// What was gathered, of which the first `gone` are sent or lost.
    trains: Vec<Train<D>>,
    gone: usize,
    /// Trains lost for want of room that are not counted yet.
    overflowed: u64,
}

/// What is left to send of a train: `len` bytes from `start` on.
#[derive(Clone, Copy, Debug)]
struct Train<D> {
    connection: ConnectionHandle,
    destination: D,
    source: Option<IpAddr>,
    ecn: Option<Ecn>,
    segment_size: usize,
    start: usize,
    len: usize,
}

impl<D> Default for Lane<D> {
    fn default() -> Self {
        Self { bytes: Vec::new(), trains: Vec::new(), gone: 0, overflowed: 0 }
    }
}

impl<D: Copy> Lane<D> {
    /// With room for all that it ever holds.
    pub(super) fn roomy() -> Self {
        let bytes = Vec::with_capacity(GATHER + TrainLimit::MAX_BYTES);
        Self { bytes, trains: Vec::with_capacity(MESSAGES), ..Self::default() }
    }

    pub(super) const fn is_loaded(&self) -> bool {
        self.gone < self.trains.len()
    }

    /// Forgets what is gone, once everything is.
    pub(super) fn tidy(&mut self) {
        if !self.is_loaded() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.trains.clear();
        self.gone = 0;
    }

    /// Takes the train whose bytes are the last ones here. If there was room for no more, it is lost.
    pub(super) fn keep_last(&mut self, transmit: &Transmit, destination: D) {
        let start = self.bytes.len().saturating_sub(transmit.len);
        if !self.push(transmit, destination, start) {
            self.bytes.truncate(start);
        }
    }

    /// Takes the train whose bytes are the last ones of `built`.
    pub(super) fn take_last_of(&mut self, built: &mut Vec<u8>, transmit: &Transmit, destination: D) {
        let there = built.len().saturating_sub(transmit.len);
        let start = self.bytes.len();
        if self.push(transmit, destination, start) {
            self.bytes.extend_from_slice(&built[there..]);
        }
        built.truncate(there);
    }

    /// Loses the train whose bytes are the last ones here.
    pub(super) fn drop_last(&mut self, transmit: &Transmit) {
        self.bytes.truncate(self.bytes.len().saturating_sub(transmit.len));
    }

    fn push(&mut self, transmit: &Transmit, destination: D, start: usize) -> bool {
        if start >= GATHER || self.trains.len() >= MESSAGES {
            self.overflowed += 1;
            return false;
        }
        self.trains.push(Train {
            connection: transmit.connection,
            destination,
            source: transmit.local.ip,
            ecn: transmit.ecn,
            segment_size: transmit.segment_size.max(1),
            start,
            len: transmit.len,
        });
        true
    }
}

impl<D> Train<D> {
    /// What is left of its bytes, among those of its lane.
    fn bytes<'a>(&self, all: &'a [u8]) -> &'a [u8] {
        all.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// So many of its bytes are gone.
    fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.len);
        self.start += bytes;
        self.len -= bytes;
    }
}
