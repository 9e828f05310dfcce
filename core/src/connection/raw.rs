//! Packets of arbitrary content, for tests that play a peer with the right keys and no manners.

use alloc::vec::Vec;

use crate::budget::total;
use crate::congestion::SentInfo;
use crate::crypto::keys::{KeyPhase, Timing};
use crate::crypto::packet;
use crate::fuzzing::{IdOf, Opened, Unopened};
use crate::id::{ConnectionId, PacketNumber, PathId};
use crate::path::slots::FIRST;
use crate::time::Instant;
use crate::wire::header::{DATA_HEADER, TAG};

use super::Connection;
use super::send::put_header;
use super::state::State;

impl Connection {
    /// Appends a packet around `frames`, or a payload of QOTP, under the next packet number, outside congestion control
    /// and without hope of an acknowledgement: a Data packet, or a reply where a QOTP responder still sends those. `None`
    /// if there are no keys, or the packet would be too short or too long.
    pub(super) fn put_raw(&mut self, now: Instant, frames: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match &self.state {
            State::Qotp(_) => self.put_raw_qotp(now, frames, out),
            _ => self.put_raw_on(self.paths[self.paths.selected()].id, now, frames, out),
        }
    }

    /// Opens a packet that was sent to us, and remembers its number and nothing else of it.
    pub(super) fn read_raw(&mut self, now: Instant, datagram: &[u8]) -> Option<Opened> {
        let timing = Timing { now, pto: self.largest_pto() };
        let secured = self.state.secured_mut()?;
        let mut packet = datagram.to_vec();
        let field = packet::unmask(&secured.opener, &packet)?;
        let at = self.paths.find(field.path);
        let numbered = field.recover(at.map(|at| self.paths[at].received.highest()));
        let payload = packet::open(&mut secured.opener, &numbered, &mut packet, timing).ok()?;
        if let Some(at) = at {
            self.paths[at].received.mark(numbered.number);
        }
        let frames = packet.get(payload)?.to_vec();
        Some(Opened { path: numbered.path, number: numbered.number.get(), frames })
    }

    /// Leaves numbers of an open path out.
    pub(super) fn skip_raw(&mut self, path: PathId, now: Instant, count: u32) {
        if let Some(at) = self.paths.find(path) {
            (0..count).for_each(|_| self.paths[at].sent.skip(now));
        }
    }

    /// Enters the next key phase, however little the current one has lasted.
    pub(super) fn rotate_raw(&mut self, now: Instant) {
        if let Some(secured) = self.state.secured_mut() {
            secured.sealer.rotate(now);
        }
    }

    fn put_raw_qotp(&mut self, now: Instant, payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (start, number) = (out.len(), self.paths[FIRST].sent.next());
        let State::Qotp(qotp) = &self.state else { return None };
        qotp.put_raw(self.local_id, self.role, number, payload, out)?;
        let Ok(size) = u16::try_from(out.len().saturating_sub(start)) else {
            out.truncate(start);
            return None;
        };
        self.paths[FIRST].sent.record(now, size, SentInfo::default(), KeyPhase::default(), false);
        Some(())
    }

    /// The same on a path, under its next number.
    pub(super) fn put_raw_on(
        &mut self,
        path: PathId,
        now: Instant,
        frames: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let at = self.paths.find(path)?;
        let (to, number) = (self.paths[at].remote_id, self.paths[at].sent.next());
        let (size, phase) = self.seal_frames(to, path, number, frames, out)?;
        self.paths[at].sent.record(now, size, SentInfo::default(), phase, false);
        Some(())
    }

    /// The same on a path that is not open, of which nothing is remembered.
    pub(super) fn put_unopened(&mut self, packet: &Unopened, frames: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let Unopened { path, number, to } = *packet;
        if self.paths.find(path).is_some() {
            return None;
        }
        let to = match to {
            IdOf::OpenPath => self.paths[self.paths.selected()].remote_id,
            IdOf::NoPath => self.cids.remote.any_spare(path.get().into())?,
        };
        self.seal_frames(to, path, PacketNumber::new(number), frames, out).map(|_| ())
    }

    /// Appends a Data packet; its size, and the phase of its key.
    fn seal_frames(
        &mut self,
        to: ConnectionId,
        path: PathId,
        number: PacketNumber,
        frames: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<(u16, KeyPhase)> {
        let size =
            u16::try_from(total([DATA_HEADER, frames.len(), TAG])).ok().filter(|_| !frames.is_empty())?;
        let start = out.len();
        let secured = self.state.secured_mut()?;
        put_header(to, out);
        out.extend_from_slice(frames);
        out.resize(start.saturating_add(usize::from(size)), 0);
        let phase = secured.sealer.phase();
        let sealed = packet::seal(&mut secured.sealer, path, number, out.get_mut(start..)?);
        if sealed.is_err() {
            out.truncate(start);
            return None;
        }
        Some((size, phase))
    }
}
