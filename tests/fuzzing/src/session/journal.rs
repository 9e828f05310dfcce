//! What was written to streams and read from them: what comes out is what went in, in its order.

use std::collections::BTreeMap;

use dunlin_core::{Connection, ConnectionHandle, StreamId};
use dunlin_sim::pattern;

/// A side's stream of a connection.
pub(super) type Place = (usize, ConnectionHandle, StreamId);

/// How far the streams of both sides have got, in bytes. Every stream carries the pattern of its id.
#[derive(Default, Debug)]
pub(super) struct Journal {
    written: BTreeMap<Place, u64>,
    read: BTreeMap<Place, u64>,
    /// Somebody has spoken with keys that are not his: streams may say anything.
    pub(super) forged: bool,
}

impl Journal {
    /// Writes the next `len` bytes of a stream, and says what the connection says.
    pub(super) fn write(&mut self, connection: &mut Connection<'_>, place: Place, len: usize) -> String {
        let (id, offset) = (place.2, self.written.entry(place).or_default());
        let data: Vec<u8> = (*offset..).take(len).map(|at| pattern(id, at)).collect();
        let result = connection.write(id, &data);
        *offset += result.as_ref().map_or(0, |written| *written as u64);
        format!("{result:?}")
    }

    /// Reads at most `len` bytes of a stream.
    pub(super) fn read(&mut self, connection: &mut Connection<'_>, place: Place, len: usize) -> String {
        let mut out = vec![0; len];
        let result = connection.read(place.2, &mut out);
        self.on_read(place, &out[..*result.as_ref().unwrap_or(&0)]);
        format!("{result:?} {out:?}")
    }

    /// The same into a buffer of its own.
    pub(super) fn read_chunk(&mut self, connection: &mut Connection<'_>, place: Place, max: usize) -> String {
        let result = connection.read_chunk(place.2, max);
        if let Ok(Some(chunk)) = &result {
            self.on_read(place, chunk);
        }
        format!("{result:?}")
    }

    fn on_read(&mut self, place: Place, bytes: &[u8]) {
        let (id, offset) = (place.2, self.read.entry(place).or_default());
        let expected = (*offset..).map(|at| pattern(id, at)).take(bytes.len());
        assert!(
            self.forged || bytes.iter().copied().eq(expected),
            "{id:?} says what nobody wrote, from byte {offset} on"
        );
        *offset += bytes.len() as u64;
    }
}
