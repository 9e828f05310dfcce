//! What is to be transferred: the list, its order and its limits.

use super::fault::{Fault, FaultKind};
use super::path::RelPath;

/// Most files and folders of one transfer, those included that are only named on the way to others. With [`MAX_PATH_BYTES`] it bounds what a receiver keeps for a list to about 250 MiB.
pub(crate) const MAX_ENTRIES: usize = 1_000_000;

/// Most bytes of paths in one transfer.
pub(crate) const MAX_PATH_BYTES: usize = 64 << 20;

/// Largest file, in bytes: what file offsets can express.
pub(crate) const MAX_FILE: u64 = i64::MAX as u64;

/// A file or a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Where it goes.
    pub(crate) path: RelPath,
    /// Permission bits, at most 0o777.
    pub(crate) mode: u16,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Length in bytes.
        size: u64,
        /// Which state of which file of the sender it is.
        version: Version,
    },
}

/// Tells a file in one state from all other files, and from itself in other states, without telling what is in it. An
/// incomplete file is called after it: who knows it goes on where an earlier try has stopped, and nobody else comes upon
/// what is there. The sender takes it from what its system knows of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Version(pub(crate) [u8; 8]);

impl Entry {
    /// The size, if it is a file.
    pub(crate) const fn size(&self) -> Option<u64> {
        match self.kind {
            Kind::File { size, .. } => Some(size),
            Kind::Folder => None,
        }
    }

    /// The version; that of a folder means nothing.
    pub(crate) const fn version(&self) -> Version {
        match self.kind {
            Kind::File { version, .. } => version,
            Kind::Folder => Version([0; 8]),
        }
    }
}

/// A list in the making, checked entry by entry: paths strictly rising, so that none comes twice, and nothing below a
/// file.
#[derive(Debug, Default)]
pub(crate) struct List {
    entries: Vec<Entry>,
    path_bytes: usize,
    /// Files and folders that the paths name, those between included.
    names: usize,
    bytes: u64,
    files: u32,
}

impl List {
    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: Entry) -> Result<(), Fault> {
        let refuse =
            |why: &str| Err(Fault::new(FaultKind::Refused, format!("{:?} is refused: {why}", entry.path)));
        let shared = self.entries.last().map_or(0, |last| last.path.names_shared(&entry.path));
        let names = self.names + entry.path.names().count() - shared;
        if names > MAX_ENTRIES || self.path_bytes + entry.path.as_bytes().len() > MAX_PATH_BYTES {
            return Err(Fault::new(
                FaultKind::Refused,
                format!(
                    "more than {MAX_ENTRIES} files and folders, or 64 MiB of names: send it in several parts"
                ),
            ));
        }
        if let Some(last) = self.entries.last() {
            if last.path >= entry.path {
                return refuse("the list names it twice or out of order");
            }
            if last.size().is_some() && last.path.contains(&entry.path) {
                return refuse("it lies below a file");
            }
        }
        if let Kind::File { size, .. } = entry.kind {
            let Some(bytes) = self.bytes.checked_add(size).filter(|bytes| *bytes <= MAX_FILE) else {
                return refuse("it is larger than a file can be");
            };
            self.bytes = bytes;
            self.files += 1;
        }
        self.names = names;
        self.path_bytes += entry.path.as_bytes().len();
        self.entries.push(entry);
        Ok(())
    }

    /// Bytes of all files together.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of files.
    pub(crate) const fn files(&self) -> u32 {
        self.files
    }

    /// The entries, done.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}
