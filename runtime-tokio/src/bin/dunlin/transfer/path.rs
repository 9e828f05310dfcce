//! Relative paths that stay below where they start.

use core::cmp::Ordering;
use core::fmt;

use crate::folder;
use crate::text::printable;

use super::entry::Version;

/// Longest path, in bytes (Linux's PATH_MAX with its final NUL).
pub(crate) const MAX_PATH: usize = 4095;

/// Longest name, in bytes (Linux's NAME_MAX, and about every file system's).
const MAX_NAME: usize = 255;

/// Most names in a path: deeper trees are not those of people, and each level costs whoever walks through it a file
/// descriptor.
pub(crate) const MAX_DEPTH: usize = 128;

/// What a name ends with while its file is incomplete.
const PART: &[u8] = b".dunlin-part";

/// Why bytes are no path that may be written below a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum PathError {
    /// Nothing, or nothing between two slashes; a leading slash too.
    #[error("it has an empty part or begins with a slash")]
    Empty,
    /// `.` or `..`.
    #[error("it has a part `.` or `..`")]
    Dots,
    /// Contains a NUL.
    #[error("it contains a NUL byte")]
    Nul,
    /// The path or a name in it is too long.
    #[error("it is longer than 4095 bytes, or a name in it longer than 255")]
    TooLong,
    /// Too many names.
    #[error("it is more than 128 names deep")]
    TooDeep,
    /// This system has no such names.
    #[error("this system cannot have a file of that name")]
    Unusable,
    /// The ending of incomplete files.
    #[error("names that end in .dunlin-part mark incomplete files")]
    Part,
}

/// A relative path: names joined by `/`, none of them empty, `.` or `..`, none marked as incomplete. Bytes, not text,
/// since Unix file names are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RelPath(Box<[u8]>);

impl RelPath {
    /// Checks `bytes`, which anybody may have sent.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        if bytes.iter().filter(|byte| **byte == b'/').count() >= MAX_DEPTH {
            return Err(PathError::TooDeep);
        }
        for name in bytes.split(|byte| *byte == b'/') {
            match name {
                b"" => return Err(PathError::Empty),
                b"." | b".." => return Err(PathError::Dots),
                _ if name.contains(&0) => return Err(PathError::Nul),
                _ if name.len() > MAX_NAME => return Err(PathError::TooLong),
                _ if name.ends_with(PART) => return Err(PathError::Part),
                _ if !folder::name_is_usable(name) => return Err(PathError::Unusable),
                _ => {}
            }
        }
        Ok(Self(bytes.into()))
    }

    /// The path as on the wire.
    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names, outermost first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// How many names `other` begins with that this path begins with too.
    pub(crate) fn names_shared(&self, other: &Self) -> usize {
        self.names().zip(other.names()).take_while(|(a, b)| a == b).count()
    }

    /// The folder (empty for the start itself) and the last name.
    pub(crate) fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&[], &self.0),
        }
    }

    /// Whether `other` lies below this path.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.first() == Some(&b'/'))
    }
}

impl Ord for RelPath {
    /// Name by name, so that what a folder contains follows it at once.
    fn cmp(&self, other: &Self) -> Ordering {
        self.names().cmp(other.names())
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RelPath {
    /// Fit for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// The name of `name`'s file in this version while it is incomplete: as much of NAME as fits, 16 digits of a BLAKE3 of
/// both, and the ending.
pub(crate) fn part_name(name: &[u8], version: Version) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    let digits = hasher.update(&version.0).update(name).finalize().to_hex();
    let digits = &digits.as_bytes()[..16];
    let keep = MAX_NAME - PART.len() - digits.len() - 1;
    // Cut between characters where the name is UTF-8: some file systems insist on it.
    let keep = match name.len() {
        fits if fits <= keep => fits,
        _ => (keep - 3..=keep).rev().find(|at| name[*at] & 0xc0 != 0x80).unwrap_or(keep),
    };
    [&name[..keep], b"~", digits, PART].concat()
}
