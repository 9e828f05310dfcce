//! Unix: calls relative to an open directory.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::{FileId, Found, Seen};

/// Permission bits that are kept: those for reading, writing and executing. Set-user-id and the like are not: a file
/// from elsewhere must not run with its receiver's rights for everybody.
const PERMISSIONS: u32 = 0o777;

/// An open directory.
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder at `path`, following links: it is the user's own word.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlag::O_DIRECTORY.bits());
        Ok(Self(options.open(path)?.into()))
    }

    /// Another handle on the same folder.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Opens the folder `name` in this one; a link is an error.
    pub(crate) fn enter(&self, name: &[u8]) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(openat(&self.0, OsStr::from_bytes(name), flags, Mode::empty()).map_err(unfollowed)?))
    }

    /// Creates the folder `name`, with what the system grants of `mode`. Something of that name is `AlreadyExists`.
    pub(crate) fn create(&self, name: &[u8], mode: u16) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(mode.into());
        Ok(mkdirat(&self.0, OsStr::from_bytes(name), mode)?)
    }

    /// The most that the system grants to a new file in this folder: of all permission bits, those that one has which is
    /// created with all of them, for a moment, under `name`. Something of that name is `AlreadyExists`.
    pub(crate) fn grants(&self, name: &[u8]) -> io::Result<u16> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let all = Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO;
        let file = File::from(openat(&self.0, OsStr::from_bytes(name), flags, all)?);
        let seen = file.metadata().map(|metadata| seen(&metadata));
        self.remove(name)?;
        Ok(seen?.mode)
    }

    /// The names in this folder.
    pub(crate) fn names_in(&self) -> io::Result<Vec<Vec<u8>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(&self.0, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            match entry?.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(name.to_vec()),
            }
        }
        Ok(names)
    }

    /// More of what stands under `name`, links not followed.
    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the types of a stat's fields differ from system to system"
    )]
    pub(crate) fn see(&self, name: &[u8]) -> io::Result<Option<Seen>> {
        Ok(self.stat(name)?.map(|stat| Seen {
            found: found(&stat),
            mode: (u32::from(stat.st_mode) & PERMISSIONS) as u16,
            id: FileId { device: stat.st_dev as u64, file: stat.st_ino as u64 },
            modified: nanos(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        }))
    }

    /// What stands under `name`, links not followed.
    pub(crate) fn look(&self, name: &[u8]) -> io::Result<Option<Found>> {
        Ok(self.stat(name)?.as_ref().map(found))
    }

    fn stat(&self, name: &[u8]) -> io::Result<Option<FileStat>> {
        match fstatat(&self.0, OsStr::from_bytes(name), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the regular file `name` for reading; a link is an error.
    pub(crate) fn read(&self, name: &[u8]) -> io::Result<File> {
        self.open_file(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK)
    }

    /// Opens the regular file `name` for reading and writing, creating it for its owner alone; a link is an error.
    pub(crate) fn write(&self, name: &[u8]) -> io::Result<File> {
        self.open_file(name, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NONBLOCK)
    }

    /// Non-blocking, so that a pipe under that name cannot hold us.
    fn open_file(&self, name: &[u8], flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        regular(openat(&self.0, OsStr::from_bytes(name), flags, mode).map_err(unfollowed)?.into())
    }

    /// Whether `name` still stands for `file`.
    pub(crate) fn names(&self, name: &[u8], file: &File) -> io::Result<bool> {
        let open = file.metadata()?;
        // The types of a stat's fields differ from system to system.
        #[allow(
            clippy::unnecessary_cast,
            reason = "the width of dev_t and ino_t differs from system to system"
        )]
        Ok(self
            .stat(name)?
            .is_some_and(|stat| stat.st_ino as u64 == open.ino() && stat.st_dev as u64 == open.dev()))
    }

    /// Gives the file `from` the name `to`, in place of a file that has it.
    pub(crate) fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(renameat(&self.0, OsStr::from_bytes(from), &self.0, OsStr::from_bytes(to))?)
    }

    /// Gives the file `from` the name `to`, unless something has it: that is `AlreadyExists`.
    pub(crate) fn rename_new(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            use nix::fcntl::{RenameFlags, renameat2};
            let (from, to) = (OsStr::from_bytes(from), OsStr::from_bytes(to));
            match renameat2(&self.0, from, &self.0, to, RenameFlags::RENAME_NOREPLACE) {
                // A file system or a kernel that cannot do it at once.
                Err(Errno::EINVAL | Errno::ENOSYS) => {}
                renamed => return Ok(renamed?),
            }
        }
        match self.stat(to)? {
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => self.rename(from, to),
        }
    }

    /// Removes the file `name`.
    pub(crate) fn remove(&self, name: &[u8]) -> io::Result<()> {
        Ok(unlinkat(&self.0, OsStr::from_bytes(name), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Sets the permission bits of this folder.
    pub(crate) fn set_mode(&self, mode: u16) -> io::Result<()> {
        set_file_mode(&File::from(self.0.try_clone()?), mode)
    }

    /// What this folder is.
    pub(crate) fn itself(&self) -> io::Result<Seen> {
        Ok(seen(&File::from(self.0.try_clone()?).metadata()?))
    }
}

/// In plain words what `O_NOFOLLOW` means by "too many levels of symbolic links".
fn unfollowed(error: Errno) -> io::Error {
    match error {
        Errno::ELOOP => io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link"),
        other => other.into(),
    }
}

fn found(stat: &FileStat) -> Found {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => Found::File { size: stat.st_size.try_into().unwrap_or(0) },
        SFlag::S_IFDIR => Found::Folder,
        SFlag::S_IFLNK => Found::Link,
        _ => Found::Special,
    }
}

fn nanos(seconds: i64, nanos: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

/// What `metadata` tells.
pub(crate) fn seen(metadata: &Metadata) -> Seen {
    Seen {
        found: Found::of(metadata),
        mode: (metadata.mode() & PERMISSIONS) as u16,
        id: FileId { device: metadata.dev(), file: metadata.ino() },
        modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
    }
}

/// Opens the regular file at `path` for reading; a link is an error.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    regular(OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?)
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}

/// Sets the permission bits of an open file.
pub(crate) fn set_file_mode(file: &File, mode: u16) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(u32::from(mode) & PERMISSIONS))
}

/// Lets a file that `options` creates be read and written by its owner alone.
pub(crate) fn for_owner_only(options: &mut OpenOptions) {
    options.mode(0o600);
}

/// Whether `file` belongs to neither us nor the system's administrator: whoever it belongs to can change and read it at
/// any time, whatever its mode is now.
pub(crate) fn is_of_another(file: &File) -> io::Result<bool> {
    let owner = file.metadata()?.uid();
    Ok(owner != 0 && owner != geteuid().as_raw())
}

/// Makes sure that a file stays known by `path`, which it has got just now.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

/// The mode of `file` if it lets others than its owner in.
pub(crate) fn mode_for_others(file: &File) -> io::Result<Option<u32>> {
    let mode = file.metadata()?.mode() & PERMISSIONS;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// Whether this system can have a file of that name; Unix takes what the wire does.
pub(crate) const fn name_is_usable(_name: &[u8]) -> bool {
    true
}

/// A file name's bytes.
pub(crate) fn path_bytes(name: &OsStr) -> Option<&[u8]> {
    Some(name.as_bytes())
}

/// A relative path from its bytes on the wire.
pub(crate) fn path_from_bytes(bytes: &[u8]) -> PathBuf {
    std::ffi::OsString::from_vec(bytes.to_vec()).into()
}
