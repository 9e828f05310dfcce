//! The receiver's folder: finds and makes what a relative path names, and nothing outside.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use crate::folder::{self, Existing, Folder, Found};
use crate::text::{hex, printable};

use super::entry::Entry;
use super::fault::{Fault, FaultKind};
use super::path::{RelPath, part_name};

/// Permission bits of folders that no entry of the list is about.
const FOLDER: u16 = 0o777;

/// Where files are received to, and what may become of those that are there.
pub(crate) struct Destination {
    /// The folder that everything goes to.
    root: Folder,
    /// What becomes of a file whose name another one is to get.
    existing: Existing,
    /// The permission bits that the system grants to what is made there.
    grants: u16,
}

impl Destination {
    /// The folder at `path`, made if it is not there. Finds out now whether it can be written.
    pub(crate) fn open(path: &Path, existing: Existing) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let root = Folder::open(path)?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let grants = root.grants(format!(".dunlin-{}-probe", hex(&random)).as_bytes())?;
        Ok(Self { root, existing, grants })
    }

    /// The tree, for one thread.
    pub(crate) fn tree(&self) -> Result<Tree, Fault> {
        let root = self.root.try_clone().map_err(|error| Fault::system("open", "the folder", &error))?;
        Ok(Tree { root, existing: self.existing, grants: self.grants, last: None })
    }
}

/// The folder that everything goes to. Keeps the last inner folder open, since a list names its neighbours together.
pub(crate) struct Tree {
    root: Folder,
    existing: Existing,
    grants: u16,
    last: Option<(Box<[u8]>, Folder)>,
}

/// An incomplete file that nobody else writes.
pub(crate) struct Part {
    /// The file, locked until it is dropped.
    pub(crate) file: File,
    /// Its length when it was opened, in bytes.
    pub(crate) length: u64,
}

/// What became of a file that was to get its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Naming {
    /// It has it.
    Done,
    /// Another file has it, and keeps it.
    Taken,
}

impl Tree {
    /// What becomes of a file whose name another one is to get.
    pub(crate) const fn existing(&self) -> Existing {
        self.existing
    }

    /// The folder at `path`, made if it is not there.
    pub(crate) fn folder(&mut self, path: &[u8]) -> Result<&Folder, Fault> {
        if path.is_empty() {
            return Ok(&self.root);
        }
        let found = match self.last.take() {
            Some((last, folder)) if *last == *path => folder,
            _ => self.walk(path).map_err(|error| Fault::system("enter", printable(path), &error))?,
        };
        let (_, folder) = self.last.insert((path.into(), found));
        Ok(folder)
    }

    fn walk(&self, path: &[u8]) -> io::Result<Folder> {
        let mut folder = self.root.try_clone()?;
        for name in path.split(|byte| *byte == b'/') {
            folder = match folder.enter(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make(&folder, name, FOLDER)?;
                    folder.enter(name)?
                }
                entered => entered?,
            };
        }
        Ok(folder)
    }

    /// Makes the folder at `path`, if it is not there, to get `mode` in the end. Returns whether this made it.
    pub(crate) fn make_folder(&mut self, path: &RelPath, mode: u16) -> Result<bool, Fault> {
        // Its owner can do everything in it until all is there.
        const OWNER: u16 = 0o700;
        let (folder, name) = self.place(path)?;
        let made = make(folder, name, mode | OWNER).map_err(|error| Fault::system("make", path, &error))?;
        self.folder(path.as_bytes())?;
        Ok(made)
    }

    /// Gives a folder that this transfer has made its mode, as far as the system grants that.
    pub(crate) fn set_folder_mode(&mut self, entry: &Entry) -> Result<(), Fault> {
        let mode = entry.mode & self.grants;
        let folder = self.folder(entry.path.as_bytes())?;
        folder.set_mode(mode).map_err(|error| Fault::system("set the mode of", &entry.path, &error))
    }

    /// Gives a new file its mode, as far as the system grants that: what comes from elsewhere gets no more rights than
    /// what is made here.
    pub(crate) fn set_mode(&self, entry: &Entry, file: &File) -> Result<(), Fault> {
        folder::set_file_mode(file, entry.mode & self.grants)
            .map_err(|error| Fault::system("set the mode of", &entry.path, &error))
    }

    /// Whether a file stands where the file `path` is to be. Anything else there is a fault.
    pub(crate) fn has_file(&mut self, path: &RelPath) -> Result<bool, Fault> {
        let (folder, name) = self.place(path)?;
        let what = match folder.look(name).map_err(|error| Fault::system("look at", path, &error))? {
            None => return Ok(false),
            Some(Found::File { .. }) => return Ok(true),
            Some(Found::Folder) => "a folder",
            Some(Found::Link) => "a symbolic link",
            Some(Found::Special) => "neither a file nor a folder",
        };
        let text = format!("there is {what} where the file `{path}` should go: move that away");
        Err(Fault::new(FaultKind::Refused, text))
    }

    /// The length of the incomplete file of `entry`; 0 if there is none.
    pub(crate) fn part_length(&mut self, entry: &Entry) -> Result<u64, Fault> {
        let (folder, _, part) = self.part(entry)?;
        match folder.look(&part).map_err(|error| Fault::system("look at", &entry.path, &error))? {
            Some(Found::File { size }) => Ok(size),
            _ => Ok(0),
        }
    }

    /// Opens the complete file `path` for reading.
    pub(crate) fn read(&mut self, path: &RelPath) -> Result<File, Fault> {
        let (folder, name) = self.place(path)?;
        folder.read(name).map_err(|error| Fault::system("read", path, &error))
    }

    /// Opens, or makes, the incomplete file of `entry`.
    pub(crate) fn open_part(&mut self, entry: &Entry) -> Result<Part, Fault> {
        let path = &entry.path;
        let fail = |error: io::Error| Fault::system("write", path, &error);
        let busy = || {
            Fault::new(
                FaultKind::Busy,
                format!("another transfer is writing `{path}` right now: wait for it"),
            )
        };
        let (folder, _, part) = self.part(entry)?;
        let file = folder.write(&part).map_err(fail)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(busy()),
            // A file system without locks: two transfers of the same file at once are then up to the user.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        // Its name may have gone to the complete file between our opening and locking it.
        if !folder.names(&part, &file).map_err(fail)? {
            return Err(busy());
        }
        let length = file.metadata().map_err(fail)?.len();
        Ok(Part { file, length })
    }

    /// Gives the incomplete file of `entry` its name. Where that is taken and is to stay so, the incomplete file goes.
    pub(crate) fn complete(&mut self, entry: &Entry) -> Result<Naming, Fault> {
        let existing = self.existing;
        let (folder, name, part) = self.part(entry)?;
        let renamed = match existing {
            Existing::Keep => folder.rename_new(&part, name),
            Existing::Replace => folder.rename(&part, name),
        };
        match renamed {
            Ok(()) => Ok(Naming::Done),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.discard(entry)?;
                Ok(Naming::Taken)
            }
            Err(error) => Err(Fault::system("write", &entry.path, &error)),
        }
    }

    /// Removes the incomplete file of `entry`.
    pub(crate) fn discard(&mut self, entry: &Entry) -> Result<(), Fault> {
        let (folder, _, part) = self.part(entry)?;
        folder.remove(&part).map_err(|error| Fault::system("remove the part of", &entry.path, &error))
    }

    fn place<'a>(&mut self, path: &'a RelPath) -> Result<(&Folder, &'a [u8]), Fault> {
        let (parent, name) = path.split();
        Ok((self.folder(parent)?, name))
    }

    /// The folder of a file, its name, and that of the incomplete file.
    fn part<'a>(&mut self, entry: &'a Entry) -> Result<(&Folder, &'a [u8], Vec<u8>), Fault> {
        let (folder, name) = self.place(&entry.path)?;
        Ok((folder, name, part_name(name, entry.version())))
    }
}

/// Makes a folder; returns whether it was not there.
fn make(folder: &Folder, name: &[u8], mode: u16) -> io::Result<bool> {
    match folder.create(name, mode) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
