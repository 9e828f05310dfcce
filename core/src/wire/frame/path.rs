//! What is said of one path among several: PATH_STATUS and PATH_ABANDON (docs/PROTOCOL.md, "Frames"). The frames are those
//! of draft-ietf-quic-multipath with a generation: there a path id is never used twice, here it is.

use alloc::vec::Vec;

use crate::id::{ErrorCode, PathId};
use crate::wire::codec::{Reader, put_varint};

use super::{FrameError, code, ty};

/// What an application wants a path to be used for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum PathStatus {
    /// Anything.
    Available,
    /// Nothing, as long as another one will do.
    Backup,
}

/// A PATH_STATUS frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StatusChange {
    pub(crate) path: PathId,
    /// How often the path id had been used before.
    pub(crate) generation: u32,
    /// Counts the changes of a path's status, so that a late frame changes nothing.
    pub(crate) sequence: u64,
    pub(crate) status: PathStatus,
}

impl StatusChange {
    pub(super) fn decode(reader: &mut Reader<'_>, status: PathStatus) -> Result<Self, FrameError> {
        let (path, generation) = (path_id(reader)?, generation(reader)?);
        Ok(Self { path, generation, sequence: reader.varint()?, status })
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let ty = match self.status {
            PathStatus::Available => ty::PATH_STATUS_AVAILABLE,
            PathStatus::Backup => ty::PATH_STATUS_BACKUP,
        };
        put_fields(out, ty, self.path, self.generation, self.sequence);
    }
}

/// A PATH_ABANDON frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Abandon {
    pub(crate) path: PathId,
    /// How often the path id had been used before.
    pub(crate) generation: u32,
    /// Why.
    pub(crate) code: ErrorCode,
}

impl Abandon {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self { path: path_id(reader)?, generation: generation(reader)?, code: code(reader)? })
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_fields(out, ty::PATH_ABANDON, self.path, self.generation, self.code.get());
    }
}

/// A path id, which is no larger in a frame than in a packet.
pub(super) fn path_id(reader: &mut Reader<'_>) -> Result<PathId, FrameError> {
    u8::try_from(reader.varint()?).ok().and_then(PathId::new).ok_or(FrameError::Malformed)
}

fn generation(reader: &mut Reader<'_>) -> Result<u32, FrameError> {
    u32::try_from(reader.varint()?).map_err(|_| FrameError::Malformed)
}

fn put_fields(out: &mut Vec<u8>, ty: u64, path: PathId, generation: u32, last: u64) {
    for field in [ty, u64::from(path.get()), u64::from(generation), last] {
        put_varint(out, field);
    }
}
