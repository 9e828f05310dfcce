//! What the sender offers: the files and folders at the given paths, as a list.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::folder::{self, FileId, Folder, Found, Seen};
use crate::text::printable;

use super::entry::{Entry, Kind, List, Version};
use super::fault::{Fault, FaultKind};
use super::path::{PathError, RelPath};

/// What is to be sent, and where it lies.
#[derive(Debug)]
pub(crate) struct Source {
    /// The list, in order.
    pub(crate) entries: Vec<Entry>,
    /// For each entry, where it was found.
    pub(crate) places: Vec<Place>,
    /// What the user has named, without links: by the numbers in `places`.
    pub(crate) bases: Vec<Base>,
    /// Bytes of all files.
    pub(crate) bytes: u64,
    /// Number of files.
    pub(crate) files: u32,
    /// What was left out, and why: a line each.
    pub(crate) left_out: Vec<String>,
}

/// Where an entry was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Number of its base.
    pub(crate) base: u32,
    /// Which file it was.
    pub(crate) id: FileId,
}

/// What the user has named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Base {
    /// This file.
    File(PathBuf),
    /// This folder and all below it, which the first name of an entry's path stands for.
    Folder(PathBuf),
}

impl Source {
    /// Looks at `paths` and all below them. A link named here is followed; below a folder links are left out, and so
    /// are devices and the like.
    pub(crate) fn gather(paths: &[PathBuf]) -> Result<Self, Fault> {
        let mut walk = Walk::default();
        for path in paths {
            let name = own_name(path)?;
            let real = fs::canonicalize(path).map_err(|error| cannot_read(path, &error))?;
            let metadata = fs::metadata(&real).map_err(|error| cannot_read(path, &error))?;
            let base = if metadata.is_dir() { Base::Folder(real) } else { Base::File(real) };
            walk.add(name, path, base, &folder::seen(&metadata))?;
        }
        walk.found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        if let Some(twice) = walk.found.windows(2).find(|pair| pair[0].0.path == pair[1].0.path) {
            return Err(Fault::new(
                FaultKind::Refused,
                format!("two of the paths are named {:?}: send them one after the other", twice[0].0.path),
            ));
        }
        let mut list = List::default();
        let mut places = Vec::with_capacity(walk.found.len());
        for (entry, place) in walk.found {
            list.push(entry)?;
            places.push(place);
        }
        let (bytes, files, bases, left_out) = (list.bytes(), list.files(), walk.bases, walk.left_out);
        Ok(Self { entries: list.into_entries(), places, bases, bytes, files, left_out })
    }
}

/// The name that `path` is sent under: its last; `.` and the like are looked up.
fn own_name(path: &Path) -> Result<PathBuf, Fault> {
    let whole = match path.file_name() {
        Some(name) => return Ok(name.into()),
        None => fs::canonicalize(path).map_err(|error| cannot_read(path, &error))?,
    };
    whole.file_name().map(PathBuf::from).ok_or_else(|| {
        Fault::new(
            FaultKind::Refused,
            format!("{} has no name to send it under: name the folders in it", path.display()),
        )
    })
}

fn cannot_read(path: &Path, error: &io::Error) -> Fault {
    let path = printable(path.as_os_str().as_encoded_bytes());
    match error.kind() {
        io::ErrorKind::NotFound => {
            Fault::new(FaultKind::Refused, format!("there is no file or folder `{path}`"))
        }
        _ => Fault::system("read", path, error),
    }
}

/// The walk through the folders: what was found so far.
#[derive(Default)]
struct Walk {
    found: Vec<(Entry, Place)>,
    bases: Vec<Base>,
    left_out: Vec<String>,
}

/// A folder that the walk is in. They are open, and nothing in them is reached but by its name in them, so that nobody
/// leads the walk elsewhere by putting a link in a folder's place meanwhile.
struct Level {
    /// Where it goes.
    path: PathBuf,
    /// What the user would call it.
    location: PathBuf,
    folder: Folder,
    /// What is still to be looked at in it.
    names: Vec<Vec<u8>>,
}

impl Walk {
    /// Adds what the user calls `location` under the name `start`, and all below it.
    fn add(&mut self, start: PathBuf, location: &Path, base: Base, seen: &Seen) -> Result<(), Fault> {
        let fail = |error| cannot_read(location, &error);
        let Some(path) = self.check(&start, location)? else { return Ok(()) };
        let number = self.bases.len() as u32;
        self.bases.push(base.clone());
        let Base::Folder(real) = base else {
            self.add_one(path, number, location, seen);
            return Ok(());
        };
        // What was opened is what is walked through, whatever it was a moment ago.
        let folder = Folder::open(&real).map_err(fail)?;
        self.add_one(path, number, location, &folder.itself().map_err(fail)?);
        let names = folder.names_in().map_err(fail)?;
        let mut levels = vec![Level { path: start, location: location.to_path_buf(), folder, names }];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let child = self.child(level, &name, number)?;
            levels.extend(child);
        }
        Ok(())
    }

    /// Adds what `name` stands for in a folder; returns it if it is a folder itself.
    fn child(&mut self, level: &Level, name: &[u8], base: u32) -> Result<Option<Level>, Fault> {
        let as_path = folder::path_from_bytes(name);
        let (path, location) = (level.path.join(&as_path), level.location.join(&as_path));
        let fail = |error| cannot_read(&location, &error);
        // It may go away meanwhile.
        let Some(mut seen) = level.folder.see(name).map_err(fail)? else { return Ok(None) };
        let Some(checked) = self.check(&path, &location)? else { return Ok(None) };
        if seen.found != Found::Folder {
            self.add_one(checked, base, &location, &seen);
            return Ok(None);
        }
        let folder = match level.folder.enter(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entered => entered.map_err(fail)?,
        };
        seen = folder.itself().map_err(fail)?;
        self.add_one(checked, base, &location, &seen);
        let names = folder.names_in().map_err(fail)?;
        Ok(Some(Level { path, location, folder, names }))
    }

    /// The path on the wire, if what lies there can be sent.
    fn check(&mut self, path: &Path, location: &Path) -> Result<Option<RelPath>, Fault> {
        let shown = || printable(location.as_os_str().as_encoded_bytes());
        let Some(bytes) = wire_path(path) else {
            self.left_out.push(format!("`{}` is left out: its name is not Unicode", shown()));
            return Ok(None);
        };
        match RelPath::new(&bytes) {
            Ok(path) => Ok(Some(path)),
            Err(error @ PathError::Part) => {
                self.left_out.push(format!("`{}` is left out: {error}", shown()));
                Ok(None)
            }
            Err(error) => {
                Err(Fault::new(FaultKind::Refused, format!("`{}` cannot be sent: {error}", shown())))
            }
        }
    }

    fn add_one(&mut self, path: RelPath, base: u32, location: &Path, seen: &Seen) {
        let kind = match seen.found {
            Found::Folder => Kind::Folder,
            Found::File { size } => Kind::File { size, version: Version(seen.fingerprint()) },
            Found::Link | Found::Special => {
                let link = seen.found == Found::Link;
                let what = if link { "a symbolic link" } else { "neither a file nor a folder" };
                let location = printable(location.as_os_str().as_encoded_bytes());
                self.left_out.push(format!("`{location}` is left out: it is {what}"));
                return;
            }
        };
        self.found.push((Entry { path, mode: seen.mode, kind }, Place { base, id: seen.id }));
    }
}

/// A relative path as on the wire: names joined by `/`.
fn wire_path(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for name in path {
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend(folder::path_bytes(name)?);
    }
    Some(bytes)
}
