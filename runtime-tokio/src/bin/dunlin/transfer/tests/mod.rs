//! Transfers over streams in memory, and what may go wrong with them.

mod cuts;
mod disk;
mod escapes;
mod lists;
mod silence;
mod strangers;
mod trees;

use core::pin::Pin;
use core::task::{Context, Poll};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, ReadBuf, duplex, split};

use super::entry::Version;
use super::*;
use crate::folder::{self, Existing};
use crate::testing::Scratch;

/// What one side makes of a transfer.
type Outcome = Result<Summary, TransferError>;

/// A stream that breaks after so many bytes.
struct Cut<S> {
    stream: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut some = vec![0; out.remaining().min(self.left)];
        let mut limited = ReadBuf::new(&mut some);
        core::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut limited))?;
        self.left -= limited.filled().len();
        out.put_slice(limited.filled());
        Poll::Ready(Ok(()))
    }
}

/// Sends `paths` into `root`; the data stream breaks after `cut` bytes. The sender's outcome comes first.
async fn transfer_cut(paths: &[PathBuf], root: &Path, cut: usize) -> (Outcome, Outcome) {
    transfer_as(paths, root, Existing::Keep, cut).await
}

/// The same, where what is there is kept or replaced.
async fn transfer_as(paths: &[PathBuf], root: &Path, existing: Existing, cut: usize) -> (Outcome, Outcome) {
    let source = Source::gather(paths).unwrap();
    let ((near, far), (near_data, far_data)) = (duplex(64 << 10), duplex(64 << 10));
    let sender = tokio::spawn(async move {
        let (incoming, control) = split(near);
        send(source, incoming, control, near_data, Arc::default()).await
    });
    let to = Destination::open(root, existing).unwrap();
    let (incoming, control) = split(far);
    let data = Cut { stream: far_data, left: cut };
    let received = receive(&to, incoming, control, data, Arc::default()).await;
    (sender.await.unwrap(), received)
}

/// Sends `paths` into `root`.
async fn transfer(paths: &[PathBuf], root: &Path) -> (Outcome, Outcome) {
    transfer_cut(paths, root, usize::MAX).await
}

/// A transfer that must succeed and may replace what is there.
async fn must_replace(paths: &[PathBuf], root: &Path) -> Summary {
    agreed(transfer_as(paths, root, Existing::Replace, usize::MAX).await)
}

/// A transfer that must succeed; both sides must agree on what it was.
async fn must_transfer(paths: &[PathBuf], root: &Path) -> Summary {
    agreed(transfer(paths, root).await)
}

fn agreed((sent, received): (Outcome, Outcome)) -> Summary {
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.files, sent.bytes, sent.kept), (received.files, received.bytes, received.kept));
    assert_eq!(sent.hash, received.hash);
    sent
}

/// Plays a sender that says whatever it likes: `talk` writes to the control stream, `data` goes on the data stream.
async fn receive_from(talk: &[Message], data: &[u8], root: &Path) -> (Outcome, Vec<Message>) {
    use tokio::io::AsyncWriteExt;
    let ((near, far), (mut near_data, far_data)) = (duplex(1 << 20), duplex(1 << 20));
    let to = Destination::open(root, Existing::Keep).unwrap();
    let receiver = tokio::spawn(async move {
        let (incoming, control) = split(far);
        receive(&to, incoming, control, far_data, Arc::default()).await
    });
    let (incoming, mut control) = split(near);
    for message in talk {
        wire::write_message(&mut control, message).await.unwrap();
    }
    near_data.write_all(data).await.unwrap();
    drop(near_data);
    let mut replies = Vec::new();
    let mut messages = MessageReader::new(incoming, Arc::default());
    while let Ok(Some(message)) = messages.next().await {
        let last = matches!(message, Message::Fault(_) | Message::Finish(_));
        replies.push(message);
        if last {
            control.shutdown().await.unwrap();
        }
    }
    (receiver.await.unwrap(), replies)
}

/// `length` bytes that look random and depend on `seed`.
fn content(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Everything below `root`: relative path and content, `None` for folders, in order.
fn listing(root: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for child in fs::read_dir(folder).unwrap() {
            let path = child.unwrap().path();
            let relative = path.strip_prefix(root).unwrap().to_path_buf();
            if path.is_dir() {
                found.push((relative, None));
                folders.push(path);
            } else {
                found.push((relative, Some(fs::read(&path).unwrap())));
            }
        }
    }
    found.sort();
    found
}

/// Where the file at `from` goes to in `folder` while it is incomplete.
fn part_of(from: &Path, folder: &Path) -> PathBuf {
    let version = Version(folder::seen(&fs::metadata(from).unwrap()).fingerprint());
    let name = path::part_name(from.file_name().unwrap().as_encoded_bytes(), version);
    folder.join(core::str::from_utf8(&name).unwrap())
}

/// Two folders, to send from and to receive into.
fn folders() -> (Scratch, PathBuf, PathBuf) {
    let scratch = Scratch::new();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    (scratch, from, to)
}

/// The fault of an outcome, and whether it was this side's.
fn fault(outcome: &Outcome) -> (bool, &Fault) {
    match outcome {
        Err(TransferError::Here(fault)) => (true, fault),
        Err(TransferError::There(fault)) => (false, fault),
        other => panic!("a fault was expected, not {other:?}"),
    }
}
