//! Packets of arbitrary content, for tests that play a peer with the right keys and no manners.

use alloc::vec::Vec;

use crate::congestion::SentInfo;
use crate::crypto::packet;
use crate::time::Instant;
use crate::wire::header::{DATA_HEADER, TAG};

use super::Connection;
use super::send::put_header;

impl Connection {
    /// Appends a Data packet around `frames` under the next packet number, outside congestion control and without
    /// hope of an acknowledgement. `None` if there are no keys, or the packet would be too short or too long.
    pub(super) fn put_raw(&mut self, now: Instant, frames: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let size = u16::try_from(DATA_HEADER + frames.len() + TAG).ok().filter(|_| !frames.is_empty())?;
        let start = out.len();
        let secured = self.state.secured_mut()?;
        put_header(self.remote_id, out);
        out.extend_from_slice(frames);
        out.resize(start + usize::from(size), 0);
        let number = self.path.sent.next();
        let phase = secured.sealer.phase();
        let sealed = packet::seal(&mut secured.sealer, self.path.id, number, out.get_mut(start..)?);
        if sealed.is_err() {
            out.truncate(start);
            return None;
        }
        self.path.sent.record(now, size, SentInfo::default(), phase, false);
        Some(())
    }
}
