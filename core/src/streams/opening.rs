//! How streams come into being: counted, as on the native wire, or by use, as in QOTP.

use alloc::boxed::Box;

use crate::error::OpenError;
use crate::id::{Direction, Role, StreamId};

use super::by_use::ByUse;
use super::counts::Counts;

/// The rule by which a connection's streams open.
#[derive(Debug)]
pub(super) enum Opening {
    /// In the order of their ids, up to limits that each side tells the other.
    Counted(Counts),
    /// By the first packet that names them, whatever their id.
    ByUse(Box<ByUse>),
}

impl Opening {
    /// The limits told to each other, where there are any.
    pub(super) fn counts(&self) -> Option<&Counts> {
        match self {
            Self::Counted(counts) => Some(counts),
            Self::ByUse(_) => None,
        }
    }

    /// As [`Self::counts`], to change them.
    pub(super) fn counts_mut(&mut self) -> Option<&mut Counts> {
        match self {
            Self::Counted(counts) => Some(counts),
            Self::ByUse(_) => None,
        }
    }

    /// What is known of streams that open by use, where they do.
    pub(super) fn by_use(&self) -> Option<&ByUse> {
        match self {
            Self::Counted(_) => None,
            Self::ByUse(by_use) => Some(by_use),
        }
    }

    /// As [`Self::by_use`], to change it.
    pub(super) fn by_use_mut(&mut self) -> Option<&mut ByUse> {
        match self {
            Self::Counted(_) => None,
            Self::ByUse(by_use) => Some(by_use),
        }
    }

    /// Takes the next id of ours.
    pub(super) fn open(&mut self, role: Role, direction: Direction) -> Result<StreamId, OpenError> {
        match (self, direction) {
            (Self::Counted(counts), _) => {
                let index = counts.open(direction).ok_or(OpenError::Blocked)?;
                Ok(StreamId::new(role, direction, index))
            }
            (Self::ByUse(by_use), Direction::Bidirectional) => by_use.open(role),
            (Self::ByUse(_), Direction::Unidirectional) => Err(OpenError::Unsupported),
        }
    }

    /// The next stream that the peer opened and the application has not seen.
    pub(super) fn accept(&mut self, role: Role, direction: Direction) -> Option<StreamId> {
        match (self, direction) {
            (Self::Counted(counts), _) => {
                let index = counts.accept(direction)?;
                Some(StreamId::new(role.peer(), direction, index))
            }
            (Self::ByUse(by_use), Direction::Bidirectional) => by_use.accept(),
            (Self::ByUse(_), Direction::Unidirectional) => None,
        }
    }

    /// A stream is over. Returns whether the application waits for a place like its.
    pub(super) fn on_closed(&mut self, id: StreamId, ours: bool) -> bool {
        match self {
            Self::Counted(counts) => {
                if !ours {
                    counts.on_peer_stream_closed(id.direction());
                }
                false
            }
            Self::ByUse(by_use) => by_use.on_closed(ours),
        }
    }

    /// Heap held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.by_use().map_or(0, |by_use| size_of::<ByUse>().saturating_add(by_use.heap_bytes()))
    }

    /// Gives the room back that a busier time needed.
    pub(super) fn shrink(&mut self) {
        if let Some(by_use) = self.by_use_mut() {
            by_use.shrink();
        }
    }
}
