//! Acknowledgements owed: one for each packet, in their order, each in a packet of its own or beside data.

use alloc::collections::VecDeque;

use crate::budget::room;
use crate::id::StreamId;

/// An acknowledgement: it repeats what the packet said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Owed {
    pub(super) stream: u32,
    pub(super) offset: u64,
    pub(super) len: u16,
}

/// The stream of acknowledgements that acknowledge nothing: QOTP v0.2.19 takes their window and ignores the rest,
/// provided that it has no such stream. Where there is one, nobody has sent a packet of that length on it.
const NOBODY: u32 = u32::MAX;

impl Owed {
    /// For an InitSnd, which counts as an empty packet of stream 0.
    pub(super) const INIT: Self = Self { stream: 0, offset: 0, len: 0 };
    /// For nothing: a Data packet that shows that we are there, or tells the window.
    pub(super) const NOTHING: Self = Self { stream: NOBODY, offset: 0, len: u16::MAX };

    pub(super) fn new(id: StreamId, offset: u64, len: usize) -> Self {
        Self {
            stream: id.qotp_number().unwrap_or(NOBODY),
            offset,
            len: u16::try_from(len).unwrap_or(u16::MAX),
        }
    }
}

/// Acknowledgements waiting at most; packets beyond that are dropped unacknowledged. A batch of reads is far smaller.
const MAX_WAITING: usize = 4096;
/// Room beyond this many bytes is given back when the connection rests.
const KEEP: usize = 1 << 10;

/// The queue of them.
#[derive(Debug, Default)]
pub(super) struct Acks {
    waiting: VecDeque<Owed>,
}

impl Acks {
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, owed: Owed) {
        if !self.is_full() {
            self.waiting.push_back(owed);
        }
    }

    pub(super) fn first(&self) -> Option<Owed> {
        self.waiting.front().copied()
    }

    /// The first one is on its way.
    pub(super) fn pop(&mut self) {
        self.waiting.pop_front();
    }

    pub(super) fn heap_bytes(&self) -> usize {
        room::<Owed>(self.waiting.capacity())
    }

    pub(super) fn is_roomy(&self) -> bool {
        self.heap_bytes() > KEEP && self.waiting.is_empty()
    }

    pub(super) fn shrink(&mut self) {
        self.waiting.shrink_to_fit();
    }
}
