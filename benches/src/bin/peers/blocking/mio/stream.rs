//! A stream, as far as it goes without waiting.

use dunlin_mio::{Connection, ReadError, StreamId, WriteError};

/// A stream of a connection, and what is read into.
pub(super) struct Stream<'a, 'b> {
    pub(super) connection: &'a mut Connection<'b>,
    pub(super) id: StreamId,
    pub(super) buffer: &'a mut [u8],
}

/// How far reading came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    /// There is no more for now.
    Blocked,
    /// There will be no more.
    End,
}

impl Stream<'_, '_> {
    /// Reads what there is.
    pub(super) fn read(&mut self, mut take: impl FnMut(&[u8])) -> Reading {
        loop {
            match self.connection.read(self.id, self.buffer) {
                Ok(0) | Err(ReadError::Closed | ReadError::Reset(_)) => return Reading::End,
                Ok(len) => take(&self.buffer[..len]),
                Err(_) => return Reading::Blocked,
            }
        }
    }

    /// Writes as much as is taken; an event says when there is more to take.
    pub(super) fn write(&mut self, data: &[u8]) -> usize {
        match self.connection.write(self.id, data) {
            Ok(len) => len,
            Err(WriteError::Blocked) => 0,
            // The peer has gone: its end of the stream, or the event of the close, says so.
            Err(_) => data.len(),
        }
    }

    /// Writes all of something short, and says that it was all.
    pub(super) fn write_last(&mut self, data: &[u8]) {
        assert_eq!(self.write(data), data.len(), "a stream that has written nothing takes this");
        self.finish();
    }

    pub(super) fn finish(&mut self) {
        // A peer that has gone needs no end.
        let _ = self.connection.finish(self.id);
    }
}
