//! Key log files: the secrets of connections as text, for their owner's eyes only. docs/PROTOCOL.md has the format.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dunlin_tokio::KeyLogEntry;
use zeroize::Zeroizing;

use crate::failure::{Failure, warn};
use crate::folder;

/// More bytes than any entry has as a line: one that grew would leave copies of secrets behind.
const LINE: usize = 1024;

/// A file that entries are appended to.
pub(crate) struct KeyLogFile {
    path: PathBuf,
    /// `None` after it could not be written.
    file: Option<File>,
}

impl KeyLogFile {
    /// Opens the file of `--keylog`, if it was given, and warns.
    pub(crate) fn open(path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let name = path.display();
        let cannot = |error: io::Error| Failure::failed(format!("cannot write the key log {name}: {error}"));
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        folder::for_owner_only(&mut options);
        let file = options.open(path).map_err(cannot)?;
        if !file.metadata().map_err(cannot)?.is_file() {
            return Err(Failure::usage(format!("{name} is no file: name one for --keylog")));
        }
        if folder::is_of_another(&file).map_err(cannot)? {
            return Err(Failure::usage(format!(
                "the key log {name} belongs to another user, who could read it: name another"
            )));
        }
        if let Some(mode) = folder::mode_for_others(&file).map_err(cannot)? {
            return Err(Failure::usage(format!(
                "the key log {name} can be read by others (mode {mode:03o}): run `chmod 600 {name}`, or name another"
            )));
        }
        warn(format_args!(
            "the keys of every connection go to {name}: whoever has that file can read all that is sent"
        ));
        Ok(Some(Self { path: path.to_owned(), file: Some(file) }))
    }

    /// Appends an entry. A fault is told once; the connections go on without.
    pub(crate) fn write(&mut self, entry: &KeyLogEntry) {
        let Some(file) = &mut self.file else { return };
        // One call a line, so that several programs may write to the same file.
        let mut line = Zeroizing::new(Vec::with_capacity(LINE));
        let written = writeln!(line, "{entry}").and_then(|()| file.write_all(&line));
        if let Err(error) = written {
            warn(format_args!("cannot write the key log {}: {error}", self.path.display()));
            self.file = None;
        }
    }
}

/// What is in a key log.
pub(crate) struct KeyLog {
    /// The entries, in their order.
    pub(crate) entries: Vec<KeyLogEntry>,
    /// What is wrong with lines that are none, with their numbers.
    pub(crate) faults: Vec<String>,
}

/// Reads the key log at `path`. Lines that are no entries do not spoil the others.
pub(crate) fn read(path: &Path) -> Result<KeyLog, Failure> {
    let name = path.display();
    let text = std::fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read the key log {name}: {error}")))?;
    let text = Zeroizing::new(text);
    let mut log = KeyLog { entries: Vec::new(), faults: Vec::new() };
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let parsed = core::str::from_utf8(line).map_err(|error| error.to_string());
        match parsed.and_then(|line| line.parse::<KeyLogEntry>().map_err(|error| error.to_string())) {
            Ok(entry) => log.entries.push(entry),
            Err(error) => log.faults.push(format!("line {} of {name}: {error}", index + 1)),
        }
    }
    if log.entries.is_empty() && !log.faults.is_empty() {
        return Err(Failure::usage(format!("{name} is no key log: name a file that --keylog wrote")));
    }
    Ok(log)
}
