//! The receiving half of a stream.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_core::{Connection, ErrorCode, StreamId, WireVersion};
use tokio::io::{AsyncRead, ReadBuf};

use crate::error::{ReadError, ReadToEndError};
use crate::link::Link;
use crate::send_stream::MAX_COPY;
use crate::state::Locked;

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    Open,
    /// Read to its end.
    Ended,
    /// It ended otherwise; every further read says the same.
    Failed(ReadError),
}

/// The receiving half of a stream.
///
/// Dropping it before its end asks the peer to stop, with code 0, as [`RecvStream::stop`] does. On QOTP's wire the peer
/// cannot be asked: what it sends on is thrown away.
#[derive(Debug)]
pub struct RecvStream {
    link: Arc<Link>,
    id: StreamId,
    state: State,
    /// What a `read_to_end` that was dropped had read. The next reads take it from here.
    put_back: Bytes,
}

impl RecvStream {
    pub(crate) const fn new(link: Arc<Link>, id: StreamId) -> Self {
        Self { link, id, state: State::Open, put_back: Bytes::new() }
    }

    /// The number of the stream on the wire.
    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Reads what there is into `out`, and says how much that was; `None` is the end of the stream. Waits while there
    /// is nothing. An empty `out` reads nothing.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&mut self, out: &mut [u8]) -> Result<Option<usize>, ReadError> {
        poll_fn(|cx| self.poll_read_into(cx, out)).await
    }

    /// Reads at most `max` bytes into a buffer of their exact size; `None` is the end of the stream. Waits while there
    /// is nothing.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|cx| self.poll_chunk(cx, max)).await
    }

    /// Reads the rest of the stream. If it is dropped half-way, nothing is lost: the next read begins where the last one
    /// before did.
    ///
    /// # Errors
    /// [`ReadToEndError::TooLong`] as soon as more than `limit` bytes have come; see [`ReadError`]. What was read is
    /// lost then.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, ReadToEndError> {
        let mut all = PutBack { data: Vec::new(), stream: self };
        loop {
            let chunk = all.stream.read_chunk(usize::MAX).await;
            match chunk {
                Ok(Some(chunk)) if all.data.len().saturating_add(chunk.len()) <= limit => {
                    if all.data.is_empty() {
                        // Takes the chunk's memory over.
                        all.data = chunk.into();
                    } else {
                        all.data.extend_from_slice(&chunk);
                    }
                }
                Ok(None) => return Ok(core::mem::take(&mut all.data)),
                Ok(Some(_)) => {
                    all.data = Vec::new();
                    return Err(ReadToEndError::TooLong { limit });
                }
                Err(error) => {
                    all.data = Vec::new();
                    return Err(error.into());
                }
            }
        }
    }

    /// Wants no more: the peer is asked to stop, with `code`. Further reads fail with [`ReadError::Closed`]. Does
    /// nothing after the end of the stream.
    ///
    /// QOTP cannot ask: there the peer may send on to the end, and what it sends is acknowledged and thrown away.
    pub fn stop(&mut self, code: ErrorCode) {
        if self.state != State::Open {
            return;
        }
        self.state = State::Failed(ReadError::Closed);
        self.put_back = Bytes::new();
        let mut locked = self.link.lock();
        if let (Some(mut connection), ..) = locked.connection(self.link.handle) {
            let stopped = match connection.wire() {
                WireVersion::Qotp => connection.abandon(self.id),
                _ => connection.stop(self.id, code),
            };
            // A stream that cannot be stopped has ended already.
            if stopped.is_ok() {
                self.link.nudge(&mut locked);
            }
        }
    }

    /// Reads through `read` what there is.
    fn poll_with<T>(
        &mut self,
        cx: &Context<'_>,
        read: impl FnOnce(&mut Connection<'_>, StreamId) -> Result<T, dunlin_core::ReadError>,
    ) -> Poll<Result<T, ReadError>> {
        let mut locked = self.link.lock();
        let outcome = match locked.connection(self.link.handle).0 {
            Some(mut connection) => read(&mut connection, self.id),
            None => Err(dunlin_core::ReadError::Closed),
        };
        match outcome {
            Ok(value) => {
                // Reading gives credit, which the peer is to know.
                self.link.nudge(&mut locked);
                Poll::Ready(Ok(value))
            }
            Err(dunlin_core::ReadError::Blocked) if self.link.end(&mut locked).is_none() => {
                if let (_, Some(entry), wakes) = locked.connection(self.link.handle) {
                    entry.await_readable(self.id, cx.waker(), wakes);
                }
                self.link.uncork(&mut locked);
                Poll::Pending
            }
            Err(error) => {
                let error = self.why(error, &mut locked);
                self.state = State::Failed(error.clone());
                Poll::Ready(Err(error))
            }
        }
    }

    /// The engine says no: what is behind it.
    fn why(&self, error: dunlin_core::ReadError, locked: &mut Locked<'_>) -> ReadError {
        match error {
            dunlin_core::ReadError::Reset(code) => ReadError::Reset(code),
            _ => self.link.reason(locked).map_or(ReadError::Closed, ReadError::ConnectionLost),
        }
    }

    fn poll_read_into(&mut self, cx: &Context<'_>, out: &mut [u8]) -> Poll<Result<Option<usize>, ReadError>> {
        if out.is_empty() {
            return Poll::Ready(Ok(Some(0)));
        }
        if !self.put_back.is_empty() {
            let taken = self.put_back.split_to(out.len().min(self.put_back.len()));
            out[..taken.len()].copy_from_slice(&taken);
            return Poll::Ready(Ok(Some(taken.len())));
        }
        match &self.state {
            State::Open => {}
            State::Ended => return Poll::Ready(Ok(None)),
            State::Failed(error) => return Poll::Ready(Err(error.clone())),
        }
        let most = out.len().min(MAX_COPY);
        let read = self.poll_with(cx, |connection, id| connection.read(id, &mut out[..most]));
        read.map_ok(|read| if read > 0 { Some(read) } else { self.on_end() })
    }

    fn poll_chunk(&mut self, cx: &Context<'_>, max: usize) -> Poll<Result<Option<Bytes>, ReadError>> {
        if max == 0 {
            return Poll::Ready(Ok(Some(Bytes::new())));
        }
        if !self.put_back.is_empty() {
            return Poll::Ready(Ok(Some(self.put_back.split_to(max.min(self.put_back.len())))));
        }
        match &self.state {
            State::Open => {}
            State::Ended => return Poll::Ready(Ok(None)),
            State::Failed(error) => return Poll::Ready(Err(error.clone())),
        }
        let chunk = self.poll_with(cx, |connection, id| connection.read_chunk(id, max.min(MAX_COPY)));
        chunk.map_ok(|chunk| chunk.or_else(|| self.on_end()))
    }

    fn on_end<T>(&mut self) -> Option<T> {
        self.state = State::Ended;
        None
    }
}

/// Gives back to the stream what was read of it, unless it was taken.
struct PutBack<'a> {
    data: Vec<u8>,
    stream: &'a mut RecvStream,
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        if !self.data.is_empty() {
            let mut data = core::mem::take(&mut self.data);
            data.extend_from_slice(&self.stream.put_back);
            self.stream.put_back = data.into();
        }
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.stop(ErrorCode::default());
        let mut locked = self.link.lock();
        if let (_, Some(entry), wakes) = locked.connection(self.link.handle) {
            entry.forget_reader(self.id, wakes);
        }
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.get_mut().poll_read_into(cx, buf.initialize_unfilled());
        read.map(|read| {
            buf.advance(read?.unwrap_or(0));
            Ok(())
        })
    }
}
