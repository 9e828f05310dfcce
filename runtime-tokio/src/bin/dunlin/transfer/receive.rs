//! The receiver's conversation.

use core::future::pending;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::{self, JoinHandle};
use tokio::time::timeout;

use super::check::Check;
use super::counters::{Counters, Summary};
use super::entry::{Entry, List};
use super::fault::{Fault, FaultKind, TransferError};
use super::pulse::Pulse;
use super::send::joined;
use super::store::{Store, Stored};
use super::tree::Destination;
use super::wire::{self, Message, MessageReader};
use super::{PATIENCE, explained, pump, tell};

/// Files that the looking thread may be ahead of the writing one: as many small files can be under way at once.
const AHEAD: usize = 4096;

/// Answers that are written at once, at most.
const ANSWERS: usize = 512;

/// Receives to `to`: `incoming` and `control` are the two halves of the control stream, `data` the data stream.
///
/// # Errors
/// [`TransferError`]. A fault of this side was told to the peer; what arrived is kept.
pub(crate) async fn receive<R, W, D>(
    to: &Destination,
    incoming: R,
    mut control: W,
    mut data: D,
    counters: Arc<Counters>,
) -> Result<Summary, TransferError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    D: AsyncRead + Unpin,
{
    let mut messages = MessageReader::new(incoming, Arc::clone(&counters));
    match converse(to, &mut messages, &mut control, &mut data, counters).await {
        Ok(summary) => Ok(summary),
        Err(TransferError::Here(fault)) => {
            tell(&fault, &mut messages, &mut control).await;
            Err(TransferError::Here(fault))
        }
        Err(error) => Err(explained(error, &mut messages, &mut control).await),
    }
}

async fn converse<R, W, D>(
    to: &Destination,
    messages: &mut MessageReader<R>,
    control: &mut W,
    data: &mut D,
    counters: Arc<Counters>,
) -> Result<Summary, TransferError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    D: AsyncRead + Unpin,
{
    let list = tokio::select! {
        list = read_list(messages) => list?,
        silence = counters.pulse.stop() => return Err(silence),
    };
    counters.begin(list.files(), list.bytes());
    let (fill, intake) = pump::inlet();
    let (answers, answered) = mpsc::channel(ANSWERS);
    let entries = Arc::new(list.into_entries());
    let mut crew = Crew::start(to, &entries, intake, answers, Arc::clone(&counters))?;
    let outcome = tokio::select! {
        // The last answers may be on their way when the threads have ended.
        done = async { tokio::try_join!(crew.finish(), answer(answered, control, &counters.pulse)) } => done.map(|(stored, ())| stored),
        error = carry(fill, data, &counters.pulse) => Err(error),
        silence = counters.pulse.stop() => Err(silence),
        error = watch(messages) => Err(error),
    };
    // The select has dropped its futures and with them the channels: whoever is left of the crew ends, having written
    // what it had. Only then is the folder as this transfer leaves it.
    let stored = match outcome {
        Ok(stored) => stored,
        Err(error) => {
            return Err(match crew.finish().await {
                Err(TransferError::Here(fault)) if matches!(error, TransferError::Lost(_)) => fault.into(),
                _ => error,
            });
        }
    };
    tokio::select! {
        finished = finish(stored, &entries, messages, control) => finished,
        silence = counters.pulse.stop() => Err(silence),
    }
}

async fn read_list<R: AsyncRead + Unpin>(messages: &mut MessageReader<R>) -> Result<List, TransferError> {
    let mut list = List::default();
    let mut count = 0_u32;
    loop {
        match messages.next().await? {
            Some(Message::Entries(entries)) => {
                for entry in entries {
                    list.push(entry)?;
                    count += 1;
                }
            }
            Some(Message::End { entries, bytes }) if entries == count && bytes == list.bytes() => {
                return Ok(list);
            }
            Some(Message::Fault(fault)) => return Err(TransferError::There(fault)),
            Some(_) => return Err(TransferError::protocol("a list that does not add up")),
            None => return Err(TransferError::lost()),
        }
    }
}

/// The two threads.
struct Crew {
    check: Option<JoinHandle<Result<(), TransferError>>>,
    store: Option<JoinHandle<Result<Stored, TransferError>>>,
    checked: Result<(), TransferError>,
}

impl Crew {
    fn start(
        to: &Destination,
        entries: &Arc<Vec<Entry>>,
        intake: pump::Intake,
        messages: mpsc::Sender<Message>,
        counters: Arc<Counters>,
    ) -> Result<Self, TransferError> {
        let (planned, plans) = mpsc::channel(AHEAD);
        let (made, known) = std::sync::mpsc::channel();
        let (tree, others) = (to.tree()?, Arc::clone(entries));
        let check = Check {
            tree,
            entries: others,
            plans: planned,
            messages: messages.clone(),
            made,
            counters: Arc::clone(&counters),
        };
        let (tree, entries) = (to.tree()?, Arc::clone(entries));
        let store = Store { tree, entries, plans, made: known, intake, messages, counters };
        Ok(Self {
            check: Some(task::spawn_blocking(|| check.run())),
            store: Some(task::spawn_blocking(|| store.run())),
            checked: Ok(()),
        })
    }

    /// Waits for both. A real fault of either counts before a channel that closed because of it. Can be cancelled and
    /// called again, but not after it has returned an `Ok`.
    async fn finish(&mut self) -> Result<Stored, TransferError> {
        if let Some(check) = &mut self.check {
            let checked = joined(check).await;
            self.check = None;
            self.checked = checked;
        }
        let Some(store) = &mut self.store else { return Err(TransferError::lost()) };
        let stored = joined(store).await;
        self.store = None;
        match (core::mem::replace(&mut self.checked, Ok(())), stored) {
            (Err(TransferError::Here(fault)), _) => Err(fault.into()),
            (_, stored) => stored,
        }
    }
}

/// Carries data to the writing thread; returns if that fails.
async fn carry<D: AsyncRead + Unpin>(fill: pump::Fill, data: &mut D, pulse: &Pulse) -> TransferError {
    match fill.run(data, pulse).await {
        // The thread has all it needs.
        Ok(()) => pending().await,
        Err(error) => TransferError::Lost(error),
    }
}

/// Writes the threads' answers to the sender until both have given their last, and that they are at work where they have
/// none for long.
async fn answer<W: AsyncWrite + Unpin>(
    mut answers: mpsc::Receiver<Message>,
    control: &mut W,
    pulse: &Pulse,
) -> Result<(), TransferError> {
    let mut some = Vec::with_capacity(ANSWERS);
    let (mut bytes, mut worked) = (Vec::new(), pulse.worked());
    loop {
        match timeout(pulse.between_words(), answers.recv_many(&mut some, ANSWERS)).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(_) if pulse.worked() == worked => continue,
            Err(_) => some.push(Message::Working),
        }
        worked = pulse.worked();
        some.drain(..).for_each(|message| message.encode(&mut bytes));
        control.write_all(&bytes).await.map_err(TransferError::Lost)?;
        control.flush().await.map_err(TransferError::Lost)?;
        bytes.clear();
    }
}

/// Listens for a sender that gives up.
async fn watch<R: AsyncRead + Unpin>(messages: &mut MessageReader<R>) -> TransferError {
    loop {
        return match messages.next().await {
            Ok(Some(Message::Working)) => continue,
            Ok(Some(Message::Fault(fault))) => TransferError::There(fault),
            Ok(Some(_)) => TransferError::protocol("a message that a sender must not send"),
            Ok(None) => TransferError::lost(),
            Err(error) => error,
        };
    }
}

/// Tells the sender the hash of all, and waits for its last word.
async fn finish<R, W>(
    stored: Stored,
    entries: &[Entry],
    messages: &mut MessageReader<R>,
    control: &mut W,
) -> Result<Summary, TransferError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Stored { tally, kept, failed } = stored;
    let finish = tally.total(entries);
    wire::write_message(control, &Message::Finish(finish)).await.map_err(TransferError::Lost)?;
    control.shutdown().await.map_err(TransferError::Lost)?;
    match timeout(PATIENCE, last_word(messages)).await {
        Ok(Ok(Some(Message::Fault(fault)))) => Err(TransferError::There(fault)),
        Ok(Ok(Some(_))) => {
            Err(Fault::new(FaultKind::Protocol, "the sender went on after the end of the transfer").into())
        }
        // Every file has been verified by the sender's own hash: a last word that got lost changes nothing.
        Ok(Ok(None) | Err(_)) | Err(_) => {
            Ok(Summary { files: finish.files, bytes: finish.bytes, kept, hash: finish.hash, failed })
        }
    }
}

/// What the sender says in the end, beside that it was at work.
async fn last_word<R: AsyncRead + Unpin>(
    messages: &mut MessageReader<R>,
) -> Result<Option<Message>, TransferError> {
    loop {
        match messages.next().await {
            Ok(Some(Message::Working)) => {}
            other => return other,
        }
    }
}
