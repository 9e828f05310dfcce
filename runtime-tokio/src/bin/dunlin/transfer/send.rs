//! The sender's conversation.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::{self, JoinError};

use super::counters::{Counters, Summary};
use super::fault::{Fault, FaultKind, TransferError};
use super::offer::{Offer, Sent};
use super::pulse::Pulse;
use super::source::Source;
use super::wire::{self, Finish, Have, MAX_ENTRY, MAX_MESSAGE, Message, MessageReader, Verdict};
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
    let mut messages = MessageReader::new(incoming, Arc::clone(&counters));
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
    let (judged, verdicts) = mpsc::unbounded_channel();
    let (feeder, drain) = pump::outlet();
    let offer = Offer::new(Arc::clone(source), haves, verdicts, feeder, Arc::clone(&counters));
    let worker = task::spawn_blocking(|| offer.run());

    let pulse = &counters.pulse;
    let listing = async {
        write_list(source, control, pulse).await.map_err(TransferError::Lost)?;
        Ok(pulse.tell(control).await)
    };
    let sending = async {
        drain.run(data, pulse).await.map_err(TransferError::Lost)?;
        let sent = joined(worker).await?;
        data.shutdown().await.map_err(TransferError::Lost)?;
        Ok(sent)
    };
    let ears = Ears { known, judged, left: source.files };
    let both = async { tokio::try_join!(sending, ears.listen(messages)) };
    let (sent, heard) = tokio::select! {
        both = both => both?,
        listed = listing => return Err(listed.unwrap_or_else(|error| error)),
        silence = pulse.stop() => return Err(silence),
    };
    compare(source, sent, heard)
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

async fn write_list<W: AsyncWrite + Unpin>(
    source: &Source,
    control: &mut W,
    pulse: &Pulse,
) -> io::Result<()> {
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
        pulse.hear();
        rest = later;
    }
    let end = Message::End { entries: source.entries.len() as u32, bytes: source.bytes };
    wire::write_message(control, &end).await
}

/// Hears what the receiver has until it has everything. The queues are bounded by the number of files.
struct Ears {
    known: mpsc::UnboundedSender<Have>,
    judged: mpsc::UnboundedSender<(u32, Verdict)>,
    /// Files that the receiver has not spoken of.
    left: u32,
}

/// What was heard in the end.
struct Heard {
    finish: Finish,
    /// Files in whose place the receiver keeps others.
    taken: BTreeSet<u32>,
}

impl Ears {
    async fn listen<R: AsyncRead + Unpin>(
        mut self,
        messages: &mut MessageReader<R>,
    ) -> Result<Heard, TransferError> {
        let mut judgeable = 2 * u64::from(self.left);
        let mut taken = BTreeSet::new();
        loop {
            match messages.next().await? {
                Some(Message::Have(have)) if self.left > 0 => {
                    self.left -= 1;
                    // If the thread has ended, its result says why.
                    let _ = self.known.send(have);
                }
                // One that is to be sent may find its name taken once more.
                Some(Message::Verdict { entry, verdict }) if judgeable > 0 => {
                    judgeable -= 1;
                    if verdict == Verdict::Kept {
                        taken.insert(entry);
                    }
                    let _ = self.judged.send((entry, verdict));
                }
                Some(Message::Working) => {}
                Some(Message::Finish(finish)) => return Ok(Heard { finish, taken }),
                Some(Message::Fault(fault)) => return Err(TransferError::There(fault)),
                Some(_) => return Err(TransferError::protocol("a message that a receiver must not send")),
                None => return Err(TransferError::lost()),
            }
        }
    }
}

/// Whether both sides have seen the same bytes.
fn compare(source: &Source, sent: Sent, heard: Heard) -> Result<Summary, TransferError> {
    let Sent { tally, kept, mut failed } = sent;
    let ours = tally.without(&heard.taken).total(&source.entries);
    if ours != heard.finish {
        let text = "the receiver's hash of all files is another than ours: send again";
        return Err(Fault::new(FaultKind::Mismatch, text).into());
    }
    failed.extend(heard.taken.iter().filter_map(|index| source.entries.get(*index as usize)).map(|entry| {
        format!(
            "`{}` was not sent: the receiver has another file of that name and keeps it, unless it runs with --replace",
            entry.path
        )
    }));
    Ok(Summary { files: ours.files, bytes: ours.bytes, kept, hash: ours.hash, failed })
}
