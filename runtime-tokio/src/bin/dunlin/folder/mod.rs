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

use std::fs;
use std::io;
use std::path::PathBuf;

pub(crate) use platform::{
    Folder, for_owner_only, mode_for_others, mode_of, name_is_usable, path_bytes, path_from_bytes,
    set_file_mode,
};

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
