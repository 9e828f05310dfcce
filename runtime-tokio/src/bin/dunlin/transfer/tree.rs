//! The receiver's folder: finds and makes what a relative path names, and nothing outside.

use std::fs::{File, TryLockError};
use std::io;

use crate::folder::{Folder, Found};
use crate::text::printable;

use super::fault::{Fault, FaultKind};
use super::path::{RelPath, part_name};

/// The folder that everything goes to. Keeps the last inner folder open, since a list names its neighbours together.
pub(crate) struct Tree {
    root: Folder,
    last: Option<(Box<[u8]>, Folder)>,
}

/// An incomplete file that nobody else writes.
pub(crate) struct Part {
    /// The file, locked until it is dropped.
    pub(crate) file: File,
    /// Its length when it was opened, in bytes.
    pub(crate) length: u64,
}

impl Tree {
    pub(crate) const fn new(root: Folder) -> Self {
        Self { root, last: None }
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
                    folder.create(name)?;
                    folder.enter(name)?
                }
                entered => entered?,
            };
        }
        Ok(folder)
    }

    /// What stands where the file `path` is to be: its length, if a file is there. Anything else is a fault.
    pub(crate) fn existing(&mut self, path: &RelPath) -> Result<Option<u64>, Fault> {
        let (folder, name) = self.place(path)?;
        let what = match folder.look(name).map_err(|error| Fault::system("look at", path, &error))? {
            None => return Ok(None),
            Some(Found::File { size }) => return Ok(Some(size)),
            Some(Found::Folder) => "a folder",
            Some(Found::Link) => "a symbolic link",
            Some(Found::Special) => "neither a file nor a folder",
        };
        let text = format!("there is {what} where the file `{path}` should go: move that away");
        Err(Fault::new(FaultKind::Refused, text))
    }

    /// The length of the incomplete file of `path`; 0 if there is none.
    pub(crate) fn part_length(&mut self, path: &RelPath) -> Result<u64, Fault> {
        let (folder, name) = self.place(path)?;
        match folder.look(&part_name(name)).map_err(|error| Fault::system("look at", path, &error))? {
            Some(Found::File { size }) => Ok(size),
            _ => Ok(0),
        }
    }

    /// Opens the complete file `path` for reading.
    pub(crate) fn read(&mut self, path: &RelPath) -> Result<File, Fault> {
        let (folder, name) = self.place(path)?;
        folder.read(name).map_err(|error| Fault::system("read", path, &error))
    }

    /// Opens, or makes, the incomplete file of `path`.
    pub(crate) fn open_part(&mut self, path: &RelPath) -> Result<Part, Fault> {
        let fail = |error: io::Error| Fault::system("write", path, &error);
        let busy = || {
            Fault::new(
                FaultKind::Busy,
                format!("another transfer is writing `{path}` right now: wait for it"),
            )
        };
        let (folder, name) = self.place(path)?;
        let name = part_name(name);
        let file = folder.write(&name).map_err(fail)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(busy()),
            // A file system without locks: two transfers of the same file at once are then up to the user.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        // Its name may have gone to the complete file between our opening and locking it.
        if !folder.names(&name, &file).map_err(fail)? {
            return Err(busy());
        }
        let length = file.metadata().map_err(fail)?.len();
        Ok(Part { file, length })
    }

    /// Gives the incomplete file of `path` its name.
    pub(crate) fn complete(&mut self, path: &RelPath) -> Result<(), Fault> {
        let (folder, name) = self.place(path)?;
        folder.rename(&part_name(name), name).map_err(|error| Fault::system("write", path, &error))
    }

    /// Removes the incomplete file of `path`.
    pub(crate) fn discard(&mut self, path: &RelPath) -> Result<(), Fault> {
        let (folder, name) = self.place(path)?;
        folder.remove(&part_name(name)).map_err(|error| Fault::system("remove the part of", path, &error))
    }

    fn place<'a>(&mut self, path: &'a RelPath) -> Result<(&Folder, &'a [u8]), Fault> {
        let (parent, name) = path.split();
        Ok((self.folder(parent)?, name))
    }
}
