//! The frames in the initiator's first packet, and the tokens by which they are acted on at once (docs/PROTOCOL.md, "Packet 0
//! and early data").

use alloc::vec::Vec;

use crate::crypto::EarlyToken;
use crate::error::TransportError;
use crate::id::{PacketNumber, Role};
use crate::path::slots::{FIRST, PathSlot};
use crate::recovery::sent::{Item, SentPackets};
use crate::shared::Shared;
use crate::time::{Duration, Instant};
use crate::wire::frame::put_new_token;
use crate::wire::params::EarlyOutcome;

use super::Connection;
use super::moves::Said;
use super::receive::Stop;
use super::state::State;

/// How long after a token was given out another one goes with what is sent anyway: half as long as it is good, so that the
/// peer of a busy connection always has one.
const RENEWAL: Duration = Duration::from_secs(300);

/// What a connection has to do with early data; most have nothing.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// What went with our handshake packet and is not acknowledged yet.
    flight: Option<EarlyFlight>,
    /// The newest token that there was: the initiator's for another dial, the responder's to be given out again if it is lost.
    token: Option<EarlyToken>,
    /// Responder: how the initiator comes by one.
    issue: Issue,
}

/// Early data that is not acknowledged yet.
#[derive(Debug)]
struct EarlyFlight {
    /// Packet 0 and what it carried.
    packet: SentPackets,
    /// Whether it is in an Init that shows a token.
    with_token: bool,
    /// When the peer has had enough time to apply it: known once it has acknowledged a Data packet.
    lost_at: Option<Instant>,
}

/// When the initiator is given a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Issue {
    #[default]
    Never,
    Now,
    /// From then on a new one, with what is sent anyway.
    From(Instant),
    /// The same again, or a new one from then on.
    Again(Instant),
}

impl Early {
    /// Responder: appends a NEW_TOKEN if one is due and fits before `end`; `make` makes a new token.
    fn put_token(
        &mut self,
        now: Instant,
        sent: &mut SentPackets,
        out: &mut Vec<u8>,
        end: usize,
        make: impl FnOnce() -> EarlyToken,
    ) {
        /// Type and length.
        const HEADER: usize = 2;
        let renewal = match self.issue {
            Issue::Never => return,
            Issue::Now => now,
            Issue::From(renewal) if now < renewal => return,
            Issue::From(renewal) | Issue::Again(renewal) => renewal,
        };
        if out.len().saturating_add(HEADER + EarlyToken::LEN) > end || !sent.takes_item() {
            return;
        }
        let renewal = if renewal <= now {
            self.token = Some(make());
            now + RENEWAL
        } else {
            renewal
        };
        self.issue = Issue::From(renewal);
        if let Some(token) = &self.token {
            put_new_token(out, token.as_bytes());
            sent.push_item(Item::NewToken);
        }
    }

    /// Responder: a token was lost.
    fn on_token_lost(&mut self) {
        if let Issue::From(renewal) = self.issue {
            self.issue = Issue::Again(renewal);
        }
    }
}

/// Why early data is not acted on at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Withheld {
    NoMemory,
    /// It breaks a rule.
    Violation(TransportError),
}

impl Connection {
    /// Packet 0 carries something beside HELLO.
    pub(super) fn on_early_sent(&mut self, now: Instant, mut packet: SentPackets, with_token: bool) {
        packet.record_early(now);
        self.early_mut().flight = Some(EarlyFlight { packet, with_token, lost_at: None });
    }

    /// Initiator: whether what the responder says of early data can be so.
    pub(super) fn is_early_outcome_possible(&self, outcome: EarlyOutcome) -> bool {
        let shown = self.early_flight().is_some_and(|flight| flight.with_token);
        outcome != EarlyOutcome::Applied || shown
    }

    /// Initiator: the responder has said what became of the early data.
    pub(super) fn settle_early(&mut self, cx: &mut Shared, outcome: EarlyOutcome) {
        match outcome {
            EarlyOutcome::Held => {}
            EarlyOutcome::Applied => self.on_early_acked(cx),
            EarlyOutcome::None | EarlyOutcome::Refused => self.lose_early(),
        }
    }

    /// Packet 0 is acknowledged: its frames have been applied.
    pub(super) fn on_early_acked(&mut self, cx: &mut Shared) {
        let Some(mut flight) = self.take_early_flight() else { return };
        if let Some(acked) = flight.packet.ack(0) {
            let memory = &mut cx.memory(&mut self.account);
            for item in flight.packet.items(acked.packet()) {
                self.streams.on_acked(item, memory);
            }
        }
    }

    /// The early data goes again.
    pub(super) fn lose_early(&mut self) {
        if let Some(mut flight) = self.take_early_flight()
            && let Some(packet) = flight.packet.lose_oldest()
        {
            for item in flight.packet.items(&packet) {
                self.streams.on_lost(item);
            }
        }
    }

    /// The peer has acknowledged something after the handshake: the time for its acknowledgement of early data runs.
    pub(super) fn on_progress(&mut self, now: Instant) {
        let pto = self.largest_pto();
        if let Some(flight) = self.early.as_mut().and_then(|early| early.flight.as_mut())
            && flight.lost_at.is_none()
        {
            flight.lost_at = Some(now + pto.saturating_mul(3));
        }
    }

    /// When early data counts as lost.
    pub(super) fn early_lost_at(&self) -> Option<Instant> {
        self.early_flight()?.lost_at
    }

    /// Whether there is early data of which it is not known what became of it.
    pub(super) fn awaits_early(&self) -> bool {
        self.early_flight().is_some()
    }

    /// Nothing is to go again.
    pub(super) fn forget_early(&mut self) {
        self.take_early_flight();
    }

    fn early_flight(&self) -> Option<&EarlyFlight> {
        self.early.as_ref()?.flight.as_ref()
    }

    fn take_early_flight(&mut self) -> Option<EarlyFlight> {
        self.early.as_mut()?.flight.take()
    }

    fn early_mut(&mut self) -> &mut Early {
        self.early.get_or_insert_default()
    }

    /// Its heap, in bytes.
    pub(super) fn early_bytes(&self) -> usize {
        let flight = self.early_flight().map_or(0, |flight| flight.packet.heap_bytes());
        self.early.as_ref().map_or(0, |_| size_of::<Early>().saturating_add(flight))
    }

    /// Responder: acts on early data before the reply is made, which says so.
    pub(crate) fn apply_early(&mut self, cx: &mut Shared, now: Instant) -> Result<(), Withheld> {
        let State::Answering(answering) = &mut self.state else { return Ok(()) };
        let frames = core::mem::take(&mut answering.attempt.early);
        let mut said = Said::default();
        let applied = self.apply_frames(FIRST, cx, now, &frames, &mut said);
        let State::Answering(answering) = &mut self.state else { return Ok(()) };
        match applied {
            Ok(()) => {
                answering.early = EarlyOutcome::Applied;
                let (number, max_delay) = (PacketNumber::ZERO, cx.config.max_ack_delay);
                self.paths[FIRST].received.on_applied(now, number, said.ack_eliciting, None, max_delay);
                Ok(())
            }
            Err(stop) => {
                answering.attempt.early = frames;
                Err(match stop {
                    Stop::Withhold => Withheld::NoMemory,
                    Stop::Violation(error) => Withheld::Violation(error),
                })
            }
        }
    }

    /// Responder: the initiator has proved its key, and is to have a token for its next dial.
    pub(super) fn issue_tokens(&mut self) {
        self.early_mut().issue = Issue::Now;
    }

    /// Whether the peer is to be given a token although there is nothing else to send.
    pub(super) fn owes_token(&self) -> bool {
        self.early.as_ref().is_some_and(|early| matches!(early.issue, Issue::Now | Issue::Again(_)))
    }

    /// A NEW_TOKEN was lost: the peer gets the same again, so that losses do not make it rich.
    pub(super) fn on_token_lost(&mut self) {
        if let Some(early) = &mut self.early {
            early.on_token_lost();
        }
    }

    /// Appends a NEW_TOKEN if one is due and fits before `end`.
    pub(super) fn put_token(&mut self, at: PathSlot, cx: &mut Shared, out: &mut Vec<u8>, end: usize) {
        let Some(early) = &mut self.early else { return };
        let State::Established(secured) = &self.state else { return };
        let make = || cx.early_secret.token(cx.now, cx.rng.bytes(), &secured.peer);
        early.put_token(cx.now, &mut self.paths[at].sent, out, end, make);
    }

    /// A NEW_TOKEN came. One of a kind that is not known is of no use, and does no harm.
    pub(super) fn on_new_token(&mut self, token: &[u8]) -> Result<(), TransportError> {
        if self.role == Role::Responder {
            return Err(TransportError::Protocol);
        }
        if let Some(token) = EarlyToken::read(token) {
            self.early_mut().token = Some(token);
        }
        Ok(())
    }

    /// The newest token that the peer has given out.
    pub(super) fn early_token(&self) -> Option<&EarlyToken> {
        self.early.as_ref()?.token.as_ref().filter(|_| self.role == Role::Initiator)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::config::Config;
    use crate::crypto::keys::{KeyLimits, data_keys};
    use crate::crypto::noise::{OwnKey, Party};
    use crate::crypto::{Identity, Secret, packet};
    use crate::endpoint::Endpoint;
    use crate::error::CloseReason;
    use crate::event::Event;
    use crate::handshake::initiator::{Dialling, Target};
    use crate::handshake::responder::hello_frame;
    use crate::handshake::{Message, negotiate, read_payload};
    use crate::id::{ConnectionId, PathId};
    use crate::key_log::KeyLog;
    use crate::path::addr::{Arrival, LocalAddr, TrainLimit, TransportAddr, Tuple};
    use crate::remote::fanout::{Fanout, Guess};
    use crate::wire::header::PacketType;

    /// What an answerer puts into a packet after so many seconds: the n-th token that it has made, if one.
    fn put(early: &mut Early, made: &mut u8, sent: &mut SentPackets, seconds: u64) -> Option<u8> {
        let mut out = Vec::new();
        let make = || {
            *made += 1;
            EarlyToken::from_bytes([*made; EarlyToken::LEN])
        };
        early.put_token(Instant::ZERO + Duration::from_secs(seconds), sent, &mut out, 1_200, make);
        out.last().copied()
    }

    #[test]
    fn hostile_losses_of_a_token_bring_the_same_again() {
        let (mut made, mut sent) = (0, SentPackets::new(PacketNumber::ZERO));
        let (mut early, sent) = (Early::default(), &mut sent);
        assert_eq!(put(&mut early, &mut made, sent, 0), None);
        early.issue = Issue::Now;
        assert_eq!(put(&mut early, &mut made, sent, 1), Some(1));
        for second in 2..301 {
            assert_eq!(put(&mut early, &mut made, sent, second), None);
            early.on_token_lost();
            assert_eq!(put(&mut early, &mut made, sent, second), Some(1));
        }
        early.on_token_lost();
        for (second, token) in [(301, Some(2)), (600, None), (601, Some(3)), (602, None)] {
            assert_eq!(put(&mut early, &mut made, sent, second), token, "{second} s");
        }
    }

    #[test]
    fn hostile_packets_that_take_no_more_items_leave_the_token_for_later() {
        let (mut made, mut sent) = (0, SentPackets::new(PacketNumber::ZERO));
        let mut early = Early { issue: Issue::Now, ..Early::default() };
        sent.push_item(Item::MaxData);
        sent.begin_packet(0);
        while sent.takes_item() {
            sent.push_item(Item::MaxData);
        }
        let before = sent.heap_bytes();
        assert_eq!(put(&mut early, &mut made, &mut sent, 0), None);
        assert_eq!(sent.heap_bytes(), before);
        sent.begin_packet(usize::MAX);
        assert_eq!(put(&mut early, &mut made, &mut sent, 0), Some(1));
    }

    /// The events of an answerer that got these frames in the first packet, and those in the one that proves the key.
    fn events_of(early: &[u8], data: &[u8]) -> Vec<Event> {
        let (now, config) = (Instant::ZERO, Config { alpns: vec![b"x".to_vec()], ..Config::default() });
        let mut answerer = Endpoint::new(config.clone(), Identity::from_secret([2; 32]), [1; 32]);
        let remote = TransportAddr::Ip(([192, 0, 2, 1], 9).into());
        let (identity, mut count, mut log) = (Identity::from_secret([1; 32]), 0, KeyLog::new(false));
        let mut party =
            Party { identity: &identity, own_key: OwnKey::Refuse, agreements: &mut count, key_log: &mut log };
        let fanout = Fanout::new(Guess::vouched(Tuple { local: LocalAddr::default(), remote }), []);
        let target = Target::Key(*answerer.public_key());
        let mut dial = Dialling::new(now, target, config.alpns.clone(), None, Instant::MAX, fanout);
        let payload = [hello_frame(&negotiate::offer(&config, &config.alpns), 0), early.to_vec()].concat();
        dial.make_init(now, &mut party, ConnectionId([7; 8]), &Secret::new([9; 32]), &payload).unwrap();
        let mut init = dial.copy_due(now).unwrap().0.to_vec();
        answerer.handle_datagram(now, Arrival::from_remote(remote), &mut init);
        let (handle, _) = answerer.poll_event().unwrap();
        answerer.incoming(handle).unwrap().accept(now).unwrap();
        let mut reply = Vec::new();
        answerer.poll_transmit(now, TrainLimit::SINGLE, &mut reply).unwrap();
        let message = &mut reply[9..];
        let opened = dial.read_reply(now, PacketType::InitKnownReply, &mut party, message).unwrap();
        let hello = read_payload(Message::Reply, &message[opened.payload], &mut 0).unwrap().hello;
        let suite = crate::crypto::Suite::from_id(hello.suites[0].into()).unwrap();
        let limits = KeyLimits::of(suite);
        let (mut sealer, _) = data_keys(&opened.finished, Role::Initiator, suite, limits, now);
        let id = hello.connection_id.unwrap();
        let mut bytes = [&[0x90][..], id.as_bytes(), &[0; 5], data, &[0; 16]].concat();
        packet::seal(&mut sealer, PathId::ZERO, PacketNumber(1), &mut bytes).unwrap();
        answerer.handle_datagram(now, Arrival::from_remote(remote), &mut bytes);
        core::iter::from_fn(|| answerer.poll_event()).map(|(_, event)| event).collect()
    }

    #[test]
    fn ac_04_hostile_ends_in_the_first_two_packets_end_a_connection_once() {
        let close = |code| [0x1d, code, 0];
        let peer = |code: u32| CloseReason::Peer { code: code.into(), reason: bytes::Bytes::new() };
        let stream_of_ours = [0x0a, 3, 0];
        let violation = CloseReason::Violation(TransportError::StreamState);
        for (early, data, reason) in [
            (&close(1)[..], &close(2)[..], peer(1)),
            (&stream_of_ours, &close(2), violation.clone()),
            (&close(1), &stream_of_ours, peer(1)),
            (&[1], &close(2), peer(2)),
        ] {
            assert_eq!(events_of(early, data), [Event::Connected, Event::Closed(reason)]);
        }
    }
}
