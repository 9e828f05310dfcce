//! The file system as the program needs it: folders that no name leads out of, modes, private files.
//!
//! A [`Folder`] is an open directory. Everything below it is reached one name at a time and never through a symbolic
//! link, so that neither a peer's names nor somebody who swaps a folder for a link meanwhile leads elsewhere. Where
//! the system has no calls relative to an open directory (`other.rs`), each step is checked by name first, which holds
//! against the peer though not against such swaps.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use other as platform;
#[cfg(unix)]
use unix as platform;

use std::fs::{self, Metadata};
use std::io;
use std::path::PathBuf;

pub(crate) use platform::{
    Folder, for_owner_only, is_of_another, mode_for_others, name_is_usable, open_file, path_bytes,
    path_from_bytes, seen, set_file_mode, sync_parent,
};

/// What is to happen where a file stands already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Existing {
    /// It stays, and the caller gets an error.
    Keep,
    /// It is replaced.
    Replace,
}

/// What tells a file from all others of this machine, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileId {
    device: u64,
    file: u64,
}

/// What a look at something tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    /// What it is.
    pub(crate) found: Found,
    /// Its permission bits.
    pub(crate) mode: u16,
    /// Which one it is.
    pub(crate) id: FileId,
    /// When it was changed last: nanoseconds since 1970, or as many as the file system keeps.
    modified: i128,
}

impl Seen {
    /// Stands for this file in this state, and tells nothing about what is in it: another file, another length or a later
    /// change gives another one. The same as long as the file stays where it is, also after a restart of the machine.
    pub(crate) fn fingerprint(&self) -> [u8; 8] {
        const CONTEXT: &str = "dunlin.net dunlin-tokio 2026 fingerprint of a file's state v1";
        let size = if let Found::File { size } = self.found { size } else { 0 };
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher
            .update(&self.id.file.to_be_bytes())
            .update(&self.modified.to_be_bytes())
            .update(&size.to_be_bytes());
        let mut fingerprint = [0; 8];
        hasher.finalize_xof().fill(&mut fingerprint);
        fingerprint
    }
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// A regular file of `size` bytes.
    File {
        /// Length in bytes.
        size: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link, to whatever.
    Link,
    /// A device, a pipe, a socket.
    Special,
}

impl Found {
    /// What `metadata` tells.
    fn of(metadata: &Metadata) -> Self {
        match metadata.file_type() {
            kind if kind.is_file() => Self::File { size: metadata.len() },
            kind if kind.is_dir() => Self::Folder,
            kind if kind.is_symlink() => Self::Link,
            _ => Self::Special,
        }
    }
}

/// A new folder in the system's place for temporary files, which nobody else can enter. The caller removes it.
pub(crate) fn private_temporary(prefix: &str) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let path = std::env::temp_dir().join(format!("{prefix}-{}", crate::text::hex(&random)));
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&path)?;
    Ok(path)
}
