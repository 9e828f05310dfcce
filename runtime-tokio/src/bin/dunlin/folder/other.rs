//! Systems without calls relative to an open directory: every step is checked by name.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{FileId, Found, Seen};

/// A directory, by its path.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, following links: it is the user's own word.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        if path.is_dir() { Ok(Self(path)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// Another handle on the same folder.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.clone()))
    }

    fn path(&self, name: &[u8]) -> io::Result<PathBuf> {
        let name = core::str::from_utf8(name).map_err(|_| io::ErrorKind::InvalidFilename)?;
        Ok(self.0.join(name))
    }

    /// The folder `name` in this one; a link is an error.
    pub(crate) fn enter(&self, name: &[u8]) -> io::Result<Self> {
        match self.look(name)? {
            Some(Found::Folder) => Ok(Self(self.path(name)?)),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Creates the folder `name`. Something of that name is `AlreadyExists`.
    pub(crate) fn create(&self, name: &[u8], _mode: u16) -> io::Result<()> {
        fs::create_dir(self.path(name)?)
    }

    /// The most that the system grants to a new file in this folder; here only whether there can be one, of this `name`.
    /// Something of that name is `AlreadyExists`.
    pub(crate) fn grants(&self, name: &[u8]) -> io::Result<u16> {
        File::create_new(self.path(name)?)?;
        self.remove(name)?;
        Ok(0o777)
    }

    /// The names in this folder.
    ///
    /// # Errors
    /// Names that are not Unicode cannot be told from each other and are an error.
    pub(crate) fn names_in(&self) -> io::Result<Vec<Vec<u8>>> {
        fs::read_dir(&self.0)?
            .map(|child| match child?.file_name().into_string() {
                Ok(name) => Ok(name.into_bytes()),
                Err(_) => Err(io::ErrorKind::InvalidFilename.into()),
            })
            .collect()
    }

    /// What stands under `name`, links not followed.
    pub(crate) fn look(&self, name: &[u8]) -> io::Result<Option<Found>> {
        Ok(self.see(name)?.map(|seen| seen.found))
    }

    /// More of what stands under `name`, links not followed.
    pub(crate) fn see(&self, name: &[u8]) -> io::Result<Option<Seen>> {
        match fs::symlink_metadata(self.path(name)?) {
            Ok(metadata) => Ok(Some(seen(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the regular file `name` for reading; a link is an error.
    pub(crate) fn read(&self, name: &[u8]) -> io::Result<File> {
        self.refuse_others(name)?;
        File::open(self.path(name)?)
    }

    /// Opens the regular file `name` for reading and writing, creating it; a link is an error.
    pub(crate) fn write(&self, name: &[u8]) -> io::Result<File> {
        self.refuse_others(name)?;
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path(name)?)
    }

    fn refuse_others(&self, name: &[u8]) -> io::Result<()> {
        match self.look(name)? {
            Some(Found::File { .. }) | None => Ok(()),
            Some(Found::Link) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link")),
            Some(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
        }
    }

    /// Whether `name` still stands for `file`; here as far as there is a file of that name.
    pub(crate) fn names(&self, name: &[u8], _file: &File) -> io::Result<bool> {
        Ok(matches!(self.look(name)?, Some(Found::File { .. })))
    }

    /// Gives the file `from` the name `to`, in place of a file that has it.
    pub(crate) fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    /// Gives the file `from` the name `to`, unless something has it: that is `AlreadyExists`.
    pub(crate) fn rename_new(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        match self.look(to)? {
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => self.rename(from, to),
        }
    }

    /// Removes the file `name`.
    pub(crate) fn remove(&self, name: &[u8]) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    /// Modes do not exist here.
    pub(crate) fn set_mode(&self, _mode: u16) -> io::Result<()> {
        Ok(())
    }

    /// What this folder is.
    pub(crate) fn itself(&self) -> io::Result<Seen> {
        Ok(seen(&fs::metadata(&self.0)?))
    }
}

/// What `metadata` tells. The mode is the one that such a file would usually have where modes exist; which file it is,
/// the time at which it was made has to tell.
pub(crate) fn seen(metadata: &Metadata) -> Seen {
    let nanos = |time: io::Result<SystemTime>| {
        let since = time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        since.map_or(0, |since| since.as_nanos())
    };
    Seen {
        found: Found::of(metadata),
        mode: if metadata.is_dir() { 0o755 } else { 0o644 },
        id: FileId { device: 0, file: nanos(metadata.created()) as u64 },
        modified: nanos(metadata.modified()) as i128,
    }
}

/// Opens the regular file at `path` for reading; a link is an error.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path)?.file_type() {
        kind if kind.is_file() => File::open(path),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Modes do not exist here.
pub(crate) fn set_file_mode(_file: &File, _mode: u16) -> io::Result<()> {
    Ok(())
}

/// Access lists are inherited from the folder: there is no mode to set.
pub(crate) fn for_owner_only(_options: &mut OpenOptions) {}

/// Owners are a matter of access lists here.
pub(crate) fn is_of_another(_file: &File) -> io::Result<bool> {
    Ok(false)
}

/// Folders cannot be synchronised here.
pub(crate) fn sync_parent(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// There is no mode that could let others in.
pub(crate) fn mode_for_others(_file: &File) -> io::Result<Option<u32>> {
    Ok(None)
}

/// Whether this system can have a file of that name: Unicode, nothing that separates or means a drive or a stream, and
/// none of the names that Windows gives to devices.
pub(crate) fn name_is_usable(name: &[u8]) -> bool {
    const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    let Ok(name) = core::str::from_utf8(name) else { return false };
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    let numbered = ["COM", "LPT"]
        .iter()
        .any(|port| stem.strip_prefix(port).is_some_and(|rest| rest.chars().count() == 1));
    !name.contains(['\\', ':', '<', '>', '"', '|', '?', '*'])
        && !name.chars().any(|character| character.is_ascii_control())
        && !name.ends_with(['.', ' '])
        && !DEVICES.contains(&stem.as_str())
        && !numbered
}

/// A file name's bytes; `None` if it is not Unicode.
pub(crate) fn path_bytes(name: &OsStr) -> Option<&[u8]> {
    name.to_str().map(str::as_bytes)
}

/// A relative path from its bytes on the wire.
pub(crate) fn path_from_bytes(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).split('/').collect()
}
