//! The sending half of a stream.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use dunlin_core::{Connection, ErrorCode, StreamId};
use tokio::io::AsyncWrite;

use crate::error::WriteError;
use crate::link::Link;
use crate::state::Locked;
use crate::table::Outcome;

/// The most bytes copied while the lock is held: some 20 microseconds' worth.
pub(crate) const MAX_COPY: usize = 256 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    /// A reset was asked for that the wire does not have. The stream goes on, but ends only when it is told to.
    Spoilt,
    Finished,
    Reset,
}

impl State {
    const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Spoilt)
    }
}

/// The sending half of a stream.
///
/// Dropping it finishes the stream, as [`SendStream::finish`] does: the peer reads to the end of what was written, on
/// either wire. Not so after a [`SendStream::reset`] that QOTP could not carry out.
#[derive(Debug)]
pub struct SendStream {
    link: Arc<Link>,
    id: StreamId,
    state: State,
    written: u64,
}

impl SendStream {
    /// The sending half of a stream that the engine has just opened.
    pub(crate) fn opened(link: Arc<Link>, locked: &mut Locked<'_>, id: StreamId) -> Self {
        Self::new(link, locked, id, Outcome::Open)
    }

    /// The sending half of a stream that the engine has just accepted. The peer may have stopped it meanwhile.
    pub(crate) fn accepted(link: Arc<Link>, locked: &mut Locked<'_>, id: StreamId) -> Self {
        let connection = locked.connection(link.handle).0;
        let outcome = match connection.map(|mut connection| connection.write(id, &[])) {
            Some(Err(dunlin_core::WriteError::Stopped(code))) => Outcome::Stopped(code),
            _ => Outcome::Open,
        };
        Self::new(link, locked, id, outcome)
    }

    fn new(link: Arc<Link>, locked: &mut Locked<'_>, id: StreamId, outcome: Outcome) -> Self {
        if let (_, Some(entry), _) = locked.connection(link.handle) {
            entry.add_writer(id, outcome);
        }
        Self { link, id, state: State::Open, written: 0 }
    }

    /// The number of the stream on the wire.
    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Bytes that the stream has taken from this handle so far. After a [`SendStream::write_all`] that was dropped
    /// half-way, this tells where to go on.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Writes some of `data`, and says how much; zero only if `data` is empty. Waits while the stream's buffer is full.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        poll_fn(|cx| self.poll_write_data(cx, data)).await
    }

    /// Writes all of `data`.
    ///
    /// If it is dropped half-way, a part of `data` is written; [`SendStream::written`] tells how much.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            let written = self.write(data).await?;
            data = data.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the stream: the peer reads to its end. What was written is still delivered.
    ///
    /// # Errors
    /// [`WriteError::Closed`] if it was finished or reset before, [`WriteError::Stopped`] if the peer stopped it.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        if !self.state.is_open() {
            return Err(WriteError::Closed);
        }
        self.end(State::Finished, |connection, id| connection.finish(id))
    }

    /// Gives the stream up: what has not arrived never will, and the peer is told `code`.
    ///
    /// # Errors
    /// [`WriteError::Closed`] if everything had arrived, or it was reset before; [`WriteError::Stopped`] if the peer
    /// stopped it; [`WriteError::Unsupported`] on QOTP's wire, which has only one end for a stream, the good one. Nothing
    /// has changed then, except that dropping this handle does not finish the stream any more: so what was meant to be
    /// cut off never looks complete, and the peer waits for the rest until the connection ends. Finish it in spite of
    /// that, or close the connection.
    pub fn reset(&mut self, code: ErrorCode) -> Result<(), WriteError> {
        let reset = self.end(State::Reset, |connection, id| connection.reset(id, code));
        if reset == Err(WriteError::Unsupported) && self.state == State::Open {
            self.state = State::Spoilt;
        }
        reset
    }

    fn end(
        &mut self,
        state: State,
        end: impl FnOnce(&mut Connection<'_>, StreamId) -> Result<(), dunlin_core::WriteError>,
    ) -> Result<(), WriteError> {
        let mut locked = self.link.lock();
        let ended = match locked.connection(self.link.handle).0 {
            Some(mut connection) => end(&mut connection, self.id),
            None => Err(dunlin_core::WriteError::Closed),
        };
        ended.map_err(|error| self.why(error, &mut locked))?;
        self.link.nudge(&mut locked);
        drop(locked);
        self.state = state;
        Ok(())
    }

    /// Streams of higher priority send first; equals take turns. The default is 0.
    ///
    /// # Errors
    /// [`WriteError::Closed`] if the stream is over.
    pub fn set_priority(&self, priority: i32) -> Result<(), WriteError> {
        let mut locked = self.link.lock();
        let set = match locked.connection(self.link.handle).0 {
            Some(mut connection) => connection.set_priority(self.id, priority),
            None => Err(dunlin_core::WriteError::Closed),
        };
        set.map_err(|error| self.why(error, &mut locked))
    }

    /// Waits until the peer's transport has everything that was written, the end included. Call it after
    /// [`SendStream::finish`]; before, it waits for the peer to stop the stream or for the connection to end.
    ///
    /// That the peer's application has read it only the application can say.
    ///
    /// # Errors
    /// [`WriteError::Closed`] after a reset; see [`WriteError`].
    pub async fn delivered(&mut self) -> Result<(), WriteError> {
        match self.settled().await? {
            None if self.state == State::Reset => Err(WriteError::Closed),
            None => Ok(()),
            Some(code) => Err(WriteError::Stopped(code)),
        }
    }

    /// Waits until the peer stops the stream, and returns its code; `None` if the stream came to its end before.
    ///
    /// # Errors
    /// [`WriteError::ConnectionLost`].
    pub async fn stopped(&mut self) -> Result<Option<ErrorCode>, WriteError> {
        self.settled().await
    }

    async fn settled(&mut self) -> Result<Option<ErrorCode>, WriteError> {
        poll_fn(|cx| {
            let mut locked = self.link.lock();
            let (_, Some(entry), wakes) = locked.connection(self.link.handle) else {
                return Poll::Ready(Err(WriteError::Closed));
            };
            match (entry.outcome(self.id), &entry.end) {
                (Outcome::Settled, _) => Poll::Ready(Ok(None)),
                (Outcome::Stopped(code), _) => Poll::Ready(Ok(Some(code))),
                (Outcome::Open, Some(end)) => {
                    Poll::Ready(Err(WriteError::ConnectionLost(end.reason.clone())))
                }
                (Outcome::Open, None) => {
                    entry.await_writer(self.id, cx.waker(), wakes);
                    self.link.uncork(&mut locked);
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn poll_write_data(&mut self, cx: &Context<'_>, data: &[u8]) -> Poll<Result<usize, WriteError>> {
        if !self.state.is_open() {
            return Poll::Ready(Err(WriteError::Closed));
        }
        let link = &self.link;
        let mut locked = link.lock();
        let written = match locked.connection(link.handle).0 {
            Some(mut connection) => connection.write(self.id, data.get(..MAX_COPY).unwrap_or(data)),
            None => Err(dunlin_core::WriteError::Closed),
        };
        match written {
            Ok(written) => {
                link.nudge(&mut locked);
                drop(locked);
                self.written += written as u64;
                Poll::Ready(Ok(written))
            }
            Err(dunlin_core::WriteError::Blocked) if link.end(&mut locked).is_none() => {
                if let (_, Some(entry), wakes) = locked.connection(link.handle) {
                    entry.await_writer(self.id, cx.waker(), wakes);
                }
                link.uncork(&mut locked);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(self.why(error, &mut locked))),
        }
    }

    /// The engine says no: what is behind it.
    fn why(&self, error: dunlin_core::WriteError, locked: &mut Locked<'_>) -> WriteError {
        let outcome = locked.connection(self.link.handle).1.map(|entry| entry.outcome(self.id));
        match (error, outcome) {
            (dunlin_core::WriteError::Stopped(code), _) | (_, Some(Outcome::Stopped(code))) => {
                WriteError::Stopped(code)
            }
            (dunlin_core::WriteError::Untrusted, _) => WriteError::Untrusted,
            (dunlin_core::WriteError::Unsupported, _) => WriteError::Unsupported,
            _ => match self.link.reason(locked) {
                Some(reason) if self.state.is_open() => WriteError::ConnectionLost(reason),
                _ => WriteError::Closed,
            },
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        let mut locked = self.link.lock();
        let (connection, entry, wakes) = locked.connection(self.link.handle);
        if let Some(entry) = entry {
            entry.forget_writer(self.id, wakes);
        }
        if let (State::Open, Some(mut connection)) = (self.state, connection) {
            // A stream that cannot be finished has ended already.
            let _ = connection.finish(self.id);
            self.link.nudge(&mut locked);
        }
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_data(cx, data).map_err(Into::into)
    }

    /// Does nothing: what was written is sent without being asked for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Finishes the stream. Does not wait for delivery; [`SendStream::delivered`] does.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        match stream.state {
            State::Finished => Poll::Ready(Ok(())),
            State::Open | State::Spoilt | State::Reset => Poll::Ready(stream.finish().map_err(Into::into)),
        }
    }
}
