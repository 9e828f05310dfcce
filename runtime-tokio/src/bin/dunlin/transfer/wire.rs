//! Messages of the control stream and records of the data stream.
//!
//! A message is a type (1 byte), a length (4 bytes, at most [`MAX_MESSAGE`]) and a payload; integers are big-endian.
//!
//! | type | name | from | payload |
//! |---|---|---|---|
//! | 1 | ENTRIES | sender | entries: kind (1: 0 folder, 1 file), mode (2), files only: size (8), version (8); path length (2), path |
//! | 2 | END | sender | number of entries (4), bytes of all files (8) |
//! | 3 | HAVE | receiver | entry (4), what (1); 0, nothing; 1, its beginning: length (8), BLAKE3 of it (32); 2, a file: nonce (32) |
//! | 4 | FINISH | receiver | files (4), bytes (8), hash of all of it (32) |
//! | 5 | FAULT | either | kind (1), explanation, UTF-8, cut after 1,024 bytes |
//! | 6 | VERDICT | receiver | entry (4), what (1): 0 the file there is the same, 1 another one is and stays, 2 send it |
//! | 7 | WORKING | either | nothing; its end is reading, hashing or writing, and has nothing else to say meanwhile |
//!
//! A record of the data stream is a file's entry (4), the offset at which its data starts (8), and pieces: a length (4)
//! and as many bytes. Length 0 ends the file, followed by the BLAKE3 of the whole file (32); length 2^32 - 1 gives it
//! up, and it stays incomplete. There is a record for each HAVE, in the same order. The one for a file that is there
//! starts at its end and has no pieces, and its hash is keyed with the nonce; VERDICT answers it, and those that are to
//! be sent all the same follow after the last HAVE's record, in the same order again.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::counters::Counters;
use super::entry::{Entry, Kind, Version};
use super::fault::{Fault, MAX_TEXT, TransferError};
use super::path::RelPath;

/// Longest payload of a message, in bytes.
pub(crate) const MAX_MESSAGE: usize = 64 << 10;

/// Length of a message's type and length, in bytes.
const HEADER: usize = 5;

/// A piece length that gives the file up.
pub(crate) const GIVE_UP: u32 = u32::MAX;

/// What the receiver has of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Have {
    /// The file, by its place in the list.
    pub(crate) entry: u32,
    /// What is there.
    pub(crate) what: There,
}

/// What is there of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum There {
    /// Nothing of use.
    Nothing,
    /// What an earlier try of the same sender has left.
    Beginning {
        /// Its length in bytes, at least 1.
        length: u64,
        /// Its BLAKE3.
        hash: [u8; 32],
    },
    /// A file of that name. What is in it is not for everybody to know: the sender is to show that it has the same.
    File {
        /// What the sender keys the hash of its own file with.
        nonce: [u8; 32],
    },
}

/// What becomes of a file whose name is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// What is there is the sender's file.
    Same = 0,
    /// What is there is something else, and stays.
    Kept = 1,
    /// What is there is something else, and is to be replaced.
    Send = 2,
}

/// What the receiver has in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Finish {
    pub(crate) files: u32,
    pub(crate) bytes: u64,
    pub(crate) hash: [u8; 32],
}

/// A message of the control stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    /// A piece of the list.
    Entries(Vec<Entry>),
    /// The list is complete.
    End {
        /// Number of entries.
        entries: u32,
        /// Bytes of all files.
        bytes: u64,
    },
    /// What is there of a file.
    Have(Have),
    /// All files are done with.
    Finish(Finish),
    /// This side failed.
    Fault(Fault),
    /// What becomes of a file whose name is taken.
    Verdict {
        /// The file, by its place in the list.
        entry: u32,
        /// What becomes of it.
        verdict: Verdict,
    },
    /// This side is at work.
    Working,
}

impl Message {
    /// Appends the message.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([self.code(), 0, 0, 0, 0]);
        match self {
            Self::Entries(entries) => entries.iter().for_each(|entry| encode_entry(entry, out)),
            Self::End { entries, bytes } => {
                out.extend(entries.to_be_bytes());
                out.extend(bytes.to_be_bytes());
            }
            Self::Have(have) => {
                out.extend(have.entry.to_be_bytes());
                match have.what {
                    There::Nothing => out.push(0),
                    There::Beginning { length, hash } => {
                        out.push(1);
                        out.extend(length.to_be_bytes());
                        out.extend(hash);
                    }
                    There::File { nonce } => {
                        out.push(2);
                        out.extend(nonce);
                    }
                }
            }
            Self::Finish(finish) => {
                out.extend(finish.files.to_be_bytes());
                out.extend(finish.bytes.to_be_bytes());
                out.extend(finish.hash);
            }
            Self::Fault(fault) => {
                out.push(fault.kind as u8);
                out.extend(&fault.text.as_bytes()[..fault.text.len().min(MAX_TEXT)]);
            }
            Self::Working => {}
            Self::Verdict { entry, verdict } => {
                out.extend(entry.to_be_bytes());
                out.push(*verdict as u8);
            }
        }
        let length = (out.len() - start - HEADER) as u32;
        out[start + 1..start + HEADER].copy_from_slice(&length.to_be_bytes());
    }

    const fn code(&self) -> u8 {
        match self {
            Self::Entries(_) => 1,
            Self::End { .. } => 2,
            Self::Have(_) => 3,
            Self::Finish(_) => 4,
            Self::Fault(_) => 5,
            Self::Verdict { .. } => 6,
            Self::Working => 7,
        }
    }

    fn decode(code: u8, payload: &[u8]) -> Result<Self, TransferError> {
        const MALFORMED: &str = "a message is malformed";
        let mut rest = Fields(payload);
        let message = match code {
            1 => Some(Self::Entries(decode_entries(rest)?)),
            2 => rest.end(|f| Some(Self::End { entries: f.u32()?, bytes: f.u64()? })),
            3 => rest.end(|f| {
                let (entry, what) = (f.u32()?, f.u8()?);
                let what = match what {
                    0 => There::Nothing,
                    1 => There::Beginning { length: f.u64()?, hash: f.array()? },
                    2 => There::File { nonce: f.array()? },
                    _ => return None,
                };
                Some(Self::Have(Have { entry, what }))
            }),
            4 => rest
                .end(|f| Some(Self::Finish(Finish { files: f.u32()?, bytes: f.u64()?, hash: f.array()? }))),
            5 => rest.u8().map(|kind| Self::Fault(Fault::from_peer(kind, rest.0))),
            6 => rest.end(|f| {
                let (entry, verdict) = (f.u32()?, f.u8()?);
                let verdict = match verdict {
                    0 => Verdict::Same,
                    1 => Verdict::Kept,
                    2 => Verdict::Send,
                    _ => return None,
                };
                Some(Self::Verdict { entry, verdict })
            }),
            7 => rest.end(|_| Some(Self::Working)),
            _ => return Err(TransferError::protocol("a message of an unknown type")),
        };
        message.ok_or_else(|| TransferError::protocol(MALFORMED))
    }
}

/// Most bytes of one entry.
pub(crate) const MAX_ENTRY: usize = 21 + super::path::MAX_PATH;

/// Bytes of `entry` in ENTRIES.
pub(crate) fn encoded_len(entry: &Entry) -> usize {
    let size = if matches!(entry.kind, Kind::File { .. }) { 16 } else { 0 };
    5 + size + entry.path.as_bytes().len()
}

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    out.push(u8::from(matches!(entry.kind, Kind::File { .. })));
    out.extend(entry.mode.to_be_bytes());
    if let Kind::File { size, version } = entry.kind {
        out.extend(size.to_be_bytes());
        out.extend(version.0);
    }
    let path = entry.path.as_bytes();
    out.extend((path.len() as u16).to_be_bytes());
    out.extend(path);
}

fn decode_entries(mut fields: Fields<'_>) -> Result<Vec<Entry>, TransferError> {
    let mut entries = Vec::new();
    while !fields.0.is_empty() {
        let raw = (|| {
            let is_file = fields.u8()?;
            let mode = fields.u16()?;
            let kind = match is_file {
                0 => Kind::Folder,
                1 => Kind::File { size: fields.u64()?, version: Version(fields.array()?) },
                _ => return None,
            };
            let length = fields.u16()?;
            Some((kind, mode, fields.take(length.into())?))
        })();
        let (kind, mode, path) = raw.ok_or_else(|| TransferError::protocol("an entry is malformed"))?;
        let path = RelPath::new(path).map_err(|error| {
            let path = crate::text::printable(path);
            Fault::new(super::fault::FaultKind::Refused, format!("the path `{path}` is refused: {error}"))
        })?;
        entries.push(Entry { path, mode: mode & 0o777, kind });
    }
    Ok(entries)
}

/// Takes fields off the front of a payload.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// What `parse` makes of the fields, if it takes all of them.
    fn end<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        parse(self).filter(|_| self.0.is_empty())
    }
}

/// Reads messages off a stream. Cancel-safe: what has been read of a message is kept.
#[derive(Debug)]
pub(crate) struct MessageReader<R> {
    stream: R,
    counters: Arc<Counters>,
    buffer: Vec<u8>,
    start: usize,
}

impl<R: AsyncRead + Unpin> MessageReader<R> {
    pub(crate) const fn new(stream: R, counters: Arc<Counters>) -> Self {
        Self { stream, counters, buffer: Vec::new(), start: 0 }
    }

    /// The next message; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, TransferError> {
        loop {
            if let Some(message) = self.take()? {
                self.counters.pulse.hear();
                return Ok(Some(message));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.reserve(16 << 10);
            if self.stream.read_buf(&mut self.buffer).await.map_err(TransferError::Lost)? == 0 {
                let clean = self.buffer.is_empty();
                return if clean { Ok(None) } else { Err(TransferError::lost()) };
            }
        }
    }

    /// The next message of those that are here already.
    fn take(&mut self) -> Result<Option<Message>, TransferError> {
        let Some((&[code, a, b, c, d], rest)) = self.buffer[self.start..].split_first_chunk::<HEADER>()
        else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_MESSAGE {
            return Err(TransferError::protocol("a message is too long"));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let message = Message::decode(code, payload)?;
        self.start += HEADER + length;
        Ok(Some(message))
    }
}

/// Writes one message.
pub(crate) async fn write_message<W: AsyncWrite + Unpin>(
    stream: &mut W,
    message: &Message,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await
}
