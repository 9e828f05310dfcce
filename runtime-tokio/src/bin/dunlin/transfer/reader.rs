//! Opens what was listed: the very files, whatever became of their names meanwhile.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::folder::{self, Folder};

use super::source::{Base, Source};

/// Opens the files of a list. Keeps the last folder open, since a list names its neighbours together.
pub(crate) struct Reader {
    source: Arc<Source>,
    last: Option<(u32, Box<[u8]>, Folder)>,
}

impl Reader {
    pub(crate) const fn new(source: Arc<Source>) -> Self {
        Self { source, last: None }
    }

    /// Opens the file number `index`. Below the folders that the user has named no link is followed, and the file must be
    /// the one that was listed: others may be allowed to change these folders, and not to read what we may.
    pub(crate) fn open(&mut self, index: usize) -> io::Result<File> {
        let source = Arc::clone(&self.source);
        let (Some(place), Some(entry)) = (source.places.get(index), source.entries.get(index)) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let Some(base) = source.bases.get(place.base as usize) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let file = match base {
            Base::File(path) => folder::open_file(path)?,
            Base::Folder(path) => {
                let (parent, name) = entry.path.split();
                let folder = match self.last.take() {
                    Some((number, last, folder)) if number == place.base && *last == *parent => folder,
                    _ => walk(Folder::open(path)?, parent)?,
                };
                let (_, _, folder) = self.last.insert((place.base, parent.into(), folder));
                folder.read(name)?
            }
        };
        if folder::seen(&file.metadata()?).id == place.id {
            Ok(file)
        } else {
            Err(io::Error::other("another file has taken its place; send it again"))
        }
    }
}

/// The folder at `path` below `base`, which the first name of it stands for.
fn walk(base: Folder, path: &[u8]) -> io::Result<Folder> {
    path.split(|byte| *byte == b'/').skip(1).try_fold(base, |folder, name| folder.enter(name))
}
