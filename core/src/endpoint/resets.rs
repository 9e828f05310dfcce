//! Stateless resets: packets for connections of which nothing is known here, and the word of peers that know nothing of ours
//! (docs/PROTOCOL.md, "Stateless reset").

use smallvec::SmallVec;

use crate::cids::reset::ResetToken;
use crate::id::ConnectionId;
use crate::path::addr::Arrival;
use crate::stats::{Disposition, DropReason, count};
use crate::time::Instant;
use crate::wire::header::{MIN_DATA, PacketType};

use super::{Endpoint, Entry};

/// The longest reset, in bytes: among short packets it is one like others.
const MAX_RESET: usize = 64;
/// Random bytes of the longest: what stands between the first byte and the token.
const MAX_RANDOM: usize = MAX_RESET - 1 - ResetToken::LEN;

impl Endpoint {
    /// A Data packet came to an id that nobody has here: a reset of one of our connections, or a packet of a connection that
    /// we have forgotten.
    pub(super) fn handle_stray(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        to: ConnectionId,
        datagram: &[u8],
    ) -> Disposition {
        if self.is_reset(now, arrival, datagram) {
            return Disposition::Accepted;
        }
        self.answer_stray(now, arrival, to, datagram.len());
        Disposition::Dropped(DropReason::UnknownConnection)
    }

    /// Whether it ends with the token of an id that one of our connections sends to. Then that connection is over.
    fn is_reset(&mut self, now: Instant, arrival: &Arrival, datagram: &[u8]) -> bool {
        let Some(token) = ResetToken::at_end_of(datagram) else { return false };
        let slots: SmallVec<[u32; 1]> = self.shared.resets.find(&token).collect();
        let mut any = false;
        for slot in slots {
            if let Some(Entry::Connection(connection)) = self.slots.at_mut(slot)
                && connection.on_reset(&mut self.shared, now, &arrival.remote, &token)
            {
                connection.finish_verb(&mut self.shared);
                self.ready.push(slot);
                any = true;
            }
        }
        any
    }

    /// Tells whoever sends to an id that we may have issued that nothing is known of it, in fewer bytes than it has sent, so
    /// that two who know nothing of each other come to an end. Ids of other shards are theirs to speak of.
    fn answer_stray(&mut self, now: Instant, arrival: &Arrival, to: ConnectionId, len: usize) {
        let longest = MAX_RESET.min(len.saturating_sub(1));
        let cx = &mut self.shared;
        if longest < MIN_DATA
            || !cx.config.shard.owns(to)
            || !self.stateless.may_answer(cx, now, &arrival.remote)
        {
            return;
        }
        let choice = cx.rng.below(longest.saturating_sub(MIN_DATA).saturating_add(1) as u64) as usize;
        let random: [u8; MAX_RANDOM] = cx.rng.bytes();
        let random =
            random.get(..(MIN_DATA - 1 - ResetToken::LEN).saturating_add(choice)).unwrap_or_default();
        let token = cx.reset_token(to);
        let parts: [&[u8]; 3] = [&[PacketType::Data.first_byte()], random, token.as_bytes()];
        count(&mut cx.stats.resets_sent, self.stateless.answer(&arrival.tuple(), &parts).into());
    }
}
