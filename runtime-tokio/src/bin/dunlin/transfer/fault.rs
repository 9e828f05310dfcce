//! What stops a transfer, here or at the other end, and how each is told.

use core::fmt;
use std::io;

use crate::text::printable;

/// Longest explanation that travels, in bytes.
pub(crate) const MAX_TEXT: usize = 1024;

/// Whose fault it is, in the number that travels with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultKind {
    /// No space left, or the quota is used up.
    DiskFull = 1,
    /// Not allowed to write or read there.
    Denied = 2,
    /// A path that may not be written, a list that breaks its rules or limits.
    Refused = 3,
    /// Another transfer writes the same file.
    Busy = 4,
    /// A file changed meanwhile.
    Changed = 5,
    /// The content is not what it should be.
    Mismatch = 6,
    /// The peer broke the protocol.
    Protocol = 7,
    /// Somebody stopped the program.
    Interrupted = 8,
    /// Any other error of the system.
    System = 9,
    /// Nothing was heard for too long.
    Silent = 10,
}

impl FaultKind {
    /// The kind with this number; numbers of later versions count as the system's.
    pub(crate) const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::DiskFull,
            2 => Self::Denied,
            3 => Self::Refused,
            4 => Self::Busy,
            5 => Self::Changed,
            6 => Self::Mismatch,
            7 => Self::Protocol,
            8 => Self::Interrupted,
            10 => Self::Silent,
            _ => Self::System,
        }
    }
}

/// One thing that went wrong: a kind for programs and a line for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// What it was.
    pub(crate) kind: FaultKind,
    /// One line that says what happened and what to do.
    pub(crate) text: String,
}

impl Fault {
    /// A fault with these words.
    pub(crate) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// The system's `error` while `doing` something to `path`.
    pub(crate) fn system(doing: &str, path: impl fmt::Display, error: &io::Error) -> Self {
        use io::ErrorKind as E;
        let (kind, text) = match error.kind() {
            E::StorageFull | E::QuotaExceeded | E::FileTooLarge => (
                FaultKind::DiskFull,
                format!(
                    "no space left for `{path}` ({error}): make room there and send again; what arrived is kept"
                ),
            ),
            E::PermissionDenied | E::ReadOnlyFilesystem => (
                FaultKind::Denied,
                format!("may not {doing} `{path}` ({error}): change its permissions or take another folder"),
            ),
            E::NotADirectory | E::IsADirectory | E::InvalidInput => (
                FaultKind::Refused,
                format!(
                    "cannot {doing} `{path}`, since something else stands in its way ({error}): move that away"
                ),
            ),
            _ => (FaultKind::System, format!("cannot {doing} `{path}`: {error}")),
        };
        Self { kind, text }
    }

    /// A fault as the peer tells it; the words are made harmless.
    pub(crate) fn from_peer(code: u8, text: &[u8]) -> Self {
        Self { kind: FaultKind::from_code(code), text: printable(&text[..text.len().min(MAX_TEXT)]) }
    }
}

/// Why a transfer ended early.
#[derive(Debug)]
pub(crate) enum TransferError {
    /// Something failed at this end.
    Here(Fault),
    /// The other end says that something failed there.
    There(Fault),
    /// The connection ended before the transfer did.
    Lost(io::Error),
}

impl TransferError {
    /// The peer sent what it must not.
    pub(crate) fn protocol(what: &'static str) -> Self {
        Self::Here(Fault::new(FaultKind::Protocol, format!("the peer broke the transfer protocol: {what}")))
    }

    /// The other side of a channel within this process, or of a stream, is gone.
    pub(crate) fn lost() -> Self {
        Self::Lost(io::ErrorKind::UnexpectedEof.into())
    }
}

impl From<Fault> for TransferError {
    fn from(fault: Fault) -> Self {
        Self::Here(fault)
    }
}
