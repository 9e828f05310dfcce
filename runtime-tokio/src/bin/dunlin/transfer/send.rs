//! The sender's conversation.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::{self, JoinError};

use super::counters::{Counters, Summary};
use super::fault::{Fault, FaultKind, TransferError};
use super::offer::{Offer, Sent};
use super::source::Source;
use super::wire::{self, Finish, Have, MAX_ENTRY, MAX_MESSAGE, Message, MessageReader};
use super::{explained, pump, tell};

/// Sends `source`: `incoming` and `control` are the two halves of the control stream, `data` the data stream.
///
/// # Errors
/// [`TransferError`]. A fault of this side was told to the peer.
pub(crate) async fn send<R, W, D>(
    source: Source,
    incoming: R,
    mut control: W,
    mut data: D,
    counters: Arc<Counters>,
) -> Result<Summary, TransferError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    D: AsyncWrite + Unpin,
{
    counters.begin(source.files, source.bytes);
    let source = Arc::new(source);
    let mut messages = MessageReader::new(incoming);
    match converse(&source, &mut messages, &mut control, &mut data, counters).await {
        Ok(summary) => {
            // The end of the control stream confirms; a receiver that has gone already knew.
            let _ = control.shutdown().await;
            Ok(summary)
        }
        Err(TransferError::Here(fault)) => {
            tell(&fault, &mut messages, &mut control).await;
            Err(TransferError::Here(fault))
        }
        Err(error) => Err(explained(error, &mut messages, &mut control).await),
    }
}

async fn converse<R, W, D>(
    source: &Arc<Source>,
    messages: &mut MessageReader<R>,
    control: &mut W,
    data: &mut D,
    counters: Arc<Counters>,
) -> Result<Summary, TransferError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    D: AsyncWrite + Unpin,
{
    let (known, haves) = mpsc::unbounded_channel();
    let (feeder, drain) = pump::outlet();
    let offer = Offer::new(Arc::clone(source), haves, feeder, counters);
    let worker = task::spawn_blocking(|| offer.run());

    let listing = async { write_list(source, control).await.map_err(TransferError::Lost) };
    let sending = async {
        drain.run(data).await.map_err(TransferError::Lost)?;
        let sent = joined(worker).await?;
        data.shutdown().await.map_err(TransferError::Lost)?;
        Ok(sent)
    };
    let ((), sent, finish) = tokio::try_join!(listing, sending, listen(messages, known, source.files))?;
    compare(sent, finish)
}

/// The result of a thread.
pub(super) async fn joined<T, F>(worker: F) -> Result<T, TransferError>
where
    F: Future<Output = Result<Result<T, TransferError>, JoinError>>,
{
    worker.await.unwrap_or_else(|error| {
        Err(Fault::new(FaultKind::System, format!("a thread of this program failed: {error}")).into())
    })
}

async fn write_list<W: AsyncWrite + Unpin>(source: &Source, control: &mut W) -> io::Result<()> {
    let mut rest = &source.entries[..];
    while !rest.is_empty() {
        let mut length = 0;
        let fits = rest.iter().take_while(|entry| {
            length += wire::encoded_len(entry);
            length <= MAX_MESSAGE
        });
        const { assert!(MAX_ENTRY <= MAX_MESSAGE, "at least one entry fits, so this ends") };
        let (now, later) = rest.split_at(fits.count());
        wire::write_message(control, &Message::Entries(now.to_vec())).await?;
        rest = later;
    }
    let end = Message::End { entries: source.entries.len() as u32, bytes: source.bytes };
    wire::write_message(control, &end).await
}

/// Hears what the receiver has until it has everything. The queue is bounded by the number of files.
async fn listen<R: AsyncRead + Unpin>(
    messages: &mut MessageReader<R>,
    known: mpsc::UnboundedSender<Have>,
    files: u32,
) -> Result<Finish, TransferError> {
    let mut heard = 0;
    loop {
        match messages.next().await? {
            Some(Message::Have(have)) if heard < files => {
                heard += 1;
                // If the thread has ended, its result says why.
                let _ = known.send(have);
            }
            Some(Message::Finish(finish)) => return Ok(finish),
            Some(Message::Fault(fault)) => return Err(TransferError::There(fault)),
            Some(_) => return Err(TransferError::protocol("a message that a receiver must not send")),
            None => return Err(TransferError::lost()),
        }
    }
}

/// Whether both sides have seen the same bytes.
fn compare(sent: Sent, finish: Finish) -> Result<Summary, TransferError> {
    let tally = &sent.tally;
    let ours = Finish { files: tally.files(), bytes: tally.bytes(), hash: tally.hash() };
    if ours != finish {
        let text = "the receiver's hash of all files is another than ours: send again";
        return Err(Fault::new(FaultKind::Mismatch, text).into());
    }
    Ok(Summary {
        files: ours.files,
        bytes: ours.bytes,
        kept: sent.kept,
        hash: ours.hash,
        failed: sent.failed,
    })
}
