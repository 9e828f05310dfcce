//! What the sender offers: the files and folders at the given paths, as a list.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::folder;
use crate::text::printable;

use super::entry::{Entry, Kind, List};
use super::fault::{Fault, FaultKind};
use super::path::{PathError, RelPath};

/// What is to be sent, and where it lies.
#[derive(Debug)]
pub(crate) struct Source {
    /// The list, in order.
    pub(crate) entries: Vec<Entry>,
    /// For each entry, which of `bases` its path is relative to.
    base_of: Vec<u32>,
    bases: Vec<PathBuf>,
    /// Bytes of all files.
    pub(crate) bytes: u64,
    /// Number of files.
    pub(crate) files: u32,
    /// What was left out, and why: a line each.
    pub(crate) left_out: Vec<String>,
}

impl Source {
    /// Looks at `paths` and all below them. A link named here is followed; below a folder links are left out, and so
    /// are devices and the like.
    pub(crate) fn gather(paths: &[PathBuf]) -> Result<Self, Fault> {
        let mut walk = Walk::default();
        let mut bases = Vec::with_capacity(paths.len());
        for path in paths {
            let (base, name) = base_and_name(path)?;
            let metadata = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
            walk.add(name.as_os_str().into(), bases.len() as u32, path, &metadata)?;
            bases.push(base);
        }
        walk.found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        if let Some(twice) = walk.found.windows(2).find(|pair| pair[0].0.path == pair[1].0.path) {
            return Err(Fault::new(
                FaultKind::Refused,
                format!("two of the paths are named {:?}: send them one after the other", twice[0].0.path),
            ));
        }
        let mut list = List::default();
        let mut base_of = Vec::with_capacity(walk.found.len());
        for (entry, base) in walk.found {
            list.push(entry)?;
            base_of.push(base);
        }
        let (bytes, files) = (list.bytes(), list.files());
        Ok(Self { entries: list.into_entries(), base_of, bases, bytes, files, left_out: walk.left_out })
    }

    /// Where the entry number `index` lies.
    pub(crate) fn location(&self, index: usize) -> PathBuf {
        self.bases[self.base_of[index] as usize]
            .join(folder::path_from_bytes(self.entries[index].path.as_bytes()))
    }
}

/// The folder that `path` lies in and its name there; `.` and the like are looked up.
fn base_and_name(path: &Path) -> Result<(PathBuf, PathBuf), Fault> {
    let whole = match path.file_name() {
        Some(_) => path.to_path_buf(),
        None => fs::canonicalize(path).map_err(|error| cannot_read(path, &error))?,
    };
    match (whole.parent(), whole.file_name()) {
        (Some(base), Some(name)) => Ok((base.to_path_buf(), name.into())),
        _ => Err(Fault::new(
            FaultKind::Refused,
            format!("{} has no name to send it under: name the folders in it", path.display()),
        )),
    }
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

/// The walk through the folders: what was found so far, with the number of its base.
#[derive(Default)]
struct Walk {
    found: Vec<(Entry, u32)>,
    left_out: Vec<String>,
}

impl Walk {
    /// Adds what lies at `location` under the name `start`, and all below it.
    fn add(&mut self, start: PathBuf, base: u32, location: &Path, metadata: &Metadata) -> Result<(), Fault> {
        let Some(path) = self.check(&start, location)? else { return Ok(()) };
        if !metadata.is_dir() {
            self.add_one(path, base, location, metadata);
            return Ok(());
        }
        self.add_one(path, base, location, metadata);
        let mut folders = vec![(start, location.to_path_buf())];
        while let Some((path, location)) = folders.pop() {
            let listing = fs::read_dir(&location).map_err(|error| cannot_read(&location, &error))?;
            for child in listing {
                let child = child.map_err(|error| cannot_read(&location, &error))?;
                let (path, location) = (path.join(child.file_name()), child.path());
                let metadata = match child.metadata() {
                    Ok(metadata) => metadata,
                    // It went away meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(cannot_read(&location, &error)),
                };
                let Some(checked) = self.check(&path, &location)? else { continue };
                self.add_one(checked, base, &location, &metadata);
                if metadata.is_dir() {
                    folders.push((path, location));
                }
            }
        }
        Ok(())
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

    fn add_one(&mut self, path: RelPath, base: u32, location: &Path, metadata: &Metadata) {
        let kind = if metadata.is_dir() {
            Kind::Folder
        } else if metadata.is_file() {
            Kind::File { size: metadata.len() }
        } else {
            let what = if metadata.is_symlink() { "a symbolic link" } else { "neither a file nor a folder" };
            let location = printable(location.as_os_str().as_encoded_bytes());
            self.left_out.push(format!("`{location}` is left out: it is {what}"));
            return;
        };
        self.found.push((Entry { path, mode: folder::mode_of(metadata), kind }, base));
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
