//! Flow control: credit given and credit had (RFC 9000 section 4).

use crate::time::{Duration, Instant};

/// How many times what passed in the last round trip a window holds, beyond what waits behind holes. Credit given now
/// must last for what arrives in the next one, which in BBR's Startup is twice as much (draft-ietf-ccwg-bbr-06 section
/// 2.5), and until credit is given again; and the beginning of a round has seen little of it yet.
const AHEAD: u64 = 4;
/// A window is told to the peer when its end has moved on by one part in so many of it.
const STEPS: u64 = 8;

/// What became of the data that a window let in, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Usage {
    /// Read by the application, or thrown away, as an offset: what is missing of it and does not matter any more counts too.
    pub(crate) consumed: u64,
    /// That came and were read.
    pub(crate) read: u64,
    /// That came and wait behind holes.
    pub(crate) ahead: u64,
}

impl Usage {
    /// Bytes that came, less those that the application could read and has not: what it would have read if it read at once
    /// and nothing was missing. Only what was sent counts, for offsets cost a peer nothing: a byte at the end of a window is
    /// no window of data.
    const fn passed(self) -> u64 {
        self.read.saturating_add(self.ahead)
    }
}

/// Receive credit, for a stream or a connection: how far the peer may go, and by how much ahead of the reader.
///
/// The window starts small and follows what passes in a round trip, so that it never is what holds a sender whose data
/// is read at once, and stays small for a slow reader however fast the sender is. It does not shrink: credit is never
/// taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    max: u64,
    size: u64,
    /// When the round trip began in which it is counted what passes.
    since: Option<Instant>,
    /// What had passed then.
    from: u64,
    /// A new maximum is to be sent.
    pub(crate) pending: bool,
}

impl Window {
    pub(crate) const fn new(size: u64) -> Self {
        Self { max: size, size, since: None, from: 0, pending: false }
    }

    /// The highest offset that the peer was or is to be allowed.
    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    /// By how much the peer may run ahead of the reader.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Whether [`Self::update`] has something to do.
    pub(crate) const fn is_due(&self, usage: Usage) -> bool {
        self.wanted(usage) > self.size || self.can_tell(usage.consumed)
    }

    /// Follows the reader and the sender. The window may grow to `most` bytes, of which `reserve` grants what there is
    /// memory for. Returns whether there is a new maximum to send.
    pub(crate) fn update(
        &mut self,
        now: Instant,
        rtt: Duration,
        usage: Usage,
        most: u64,
        reserve: impl FnOnce(u64) -> u64,
    ) -> bool {
        if self.wanted(usage) > self.size {
            let wanted = self.since.map_or(0, |since| self.wanted_after(usage, now - since, rtt));
            let wish = wanted.saturating_add(wanted / 4).min(most);
            if wanted > self.size && wish > self.size {
                self.size = self.size.max(reserve(wish));
            }
            if self.wanted(usage) > self.size {
                self.since = Some(now);
                self.from = usage.passed();
            }
        }
        let news = self.can_tell(usage.consumed);
        if news {
            self.max = usage.consumed.saturating_add(self.size);
            self.pending = true;
        }
        news
    }

    /// The size that lets the peer go on at the rate of this round trip and more, if no more than a round trip has passed.
    const fn wanted(&self, usage: Usage) -> u64 {
        usage.ahead.saturating_add(self.in_round(usage).saturating_mul(AHEAD))
    }

    /// The same after `elapsed`. If that is longer than a round trip, what passed in one is taken from the mean: whoever
    /// reads a whole window at once reads a little less often than the round-trip time says, since that tells nothing of
    /// the time which sealing and opening so much takes.
    fn wanted_after(&self, usage: Usage, elapsed: Duration, rtt: Duration) -> u64 {
        let (rtt, elapsed) = (rtt.as_nanos(), elapsed.as_nanos());
        let in_trip =
            u128::from(self.in_round(usage)).saturating_mul(rtt).checked_div(elapsed.max(rtt)).unwrap_or(0);
        usage.ahead.saturating_add(u64::try_from(in_trip).unwrap_or(u64::MAX).saturating_mul(AHEAD))
    }

    /// What has passed since the round trip began.
    const fn in_round(&self, usage: Usage) -> u64 {
        usage.passed().saturating_sub(self.from)
    }

    /// Whether the window has moved far enough to tell the peer.
    const fn can_tell(&self, consumed: u64) -> bool {
        let more = consumed.saturating_add(self.size).saturating_sub(self.max);
        more > 0 && more >= self.size / STEPS
    }
}

/// A limit of the peer that moves with what it acknowledges, as QOTP's does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sliding {
    /// Bytes of data that may be in flight.
    window: u64,
    /// Less credit than for a packet of this size is none.
    packet: u64,
    /// Bytes that the peer has acknowledged, of those sent.
    acked: u64,
}

/// Flow control of a connection, both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flow {
    pub(crate) window: Window,
    /// Sum of the highest offsets received.
    received: u64,
    /// Sum of what was read or thrown away, as offsets.
    consumed: u64,
    /// Sum of what was read.
    read: u64,
    /// Sum of what waits behind holes.
    ahead: u64,
    /// The peer's limit.
    peer_max: u64,
    /// Sum of the highest offsets sent.
    sent: u64,
    sliding: Option<Sliding>,
}

impl Flow {
    pub(crate) const fn new(window: u64, peer_max: u64) -> Self {
        Self {
            window: Window::new(window),
            received: 0,
            consumed: 0,
            read: 0,
            ahead: 0,
            peer_max,
            sent: 0,
            sliding: None,
        }
    }

    /// Flow control that gives no credit, and whose peer allows `window` bytes in flight.
    pub(crate) const fn sliding(window: u64, packet: u16) -> Self {
        let mut flow = Self::new(0, 0);
        flow.set_peer_window(window, packet);
        flow
    }

    /// The peer now allows `window` bytes in flight, which may be less than it did; new data goes as long as a packet
    /// of `packet` bytes fits.
    pub(crate) const fn set_peer_window(&mut self, window: u64, packet: u16) {
        let acked = match self.sliding {
            Some(sliding) => sliding.acked,
            None => 0,
        };
        self.sliding = Some(Sliding { window, packet: packet as u64, acked });
        self.peer_max = acked.saturating_add(window);
    }

    /// The peer has `new` more bytes. Returns whether its limit moves with that.
    pub(crate) const fn on_acked(&mut self, new: u64) -> bool {
        let Some(sliding) = &mut self.sliding else { return false };
        sliding.acked = sliding.acked.saturating_add(new);
        self.peer_max = sliding.acked.saturating_add(sliding.window);
        true
    }

    /// Bytes of data sent and not acknowledged, where the limit moves with that.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> u64 {
        self.sliding.map_or(0, |sliding| self.sent.saturating_sub(sliding.acked))
    }

    /// Whether there is credit again for `waiting` streams: for a packet of each, or for a quarter of the window. Less
    /// would have many of them look in vain for each packet that goes.
    pub(crate) fn can_release(&self, waiting: usize) -> bool {
        let least = self
            .sliding
            .map_or(0, |sliding| sliding.packet.saturating_mul(waiting as u64).min(sliding.window / 4));
        self.send_credit() >= least.max(1)
    }

    /// Bytes of new data that the peer allows us to send.
    pub(crate) fn send_credit(&self) -> u64 {
        let credit = self.peer_max.saturating_sub(self.sent);
        match self.sliding {
            Some(sliding) if credit < sliding.packet => 0,
            _ => credit,
        }
    }

    pub(crate) const fn on_sent(&mut self, new: u64) {
        self.sent = self.sent.saturating_add(new);
    }

    /// The peer's HELLO tells its limit.
    pub(crate) const fn set_peer_max(&mut self, max: u64) {
        self.peer_max = max;
    }

    /// The peer may have raised its limit. Returns by how much.
    pub(crate) fn on_max_data(&mut self, max: u64) -> u64 {
        let more = max.saturating_sub(self.peer_max);
        self.peer_max = self.peer_max.saturating_add(more);
        more
    }

    /// Bytes of new data that we allow the peer to send.
    pub(crate) const fn receive_credit(&self) -> u64 {
        self.window.max().saturating_sub(self.received)
    }

    /// The highest offsets grew by `new` bytes in all.
    pub(crate) const fn on_received(&mut self, new: u64) {
        self.received = self.received.saturating_add(new);
    }

    /// Of one stream, `after` bytes now wait behind holes where there were `before`.
    pub(crate) const fn on_ahead(&mut self, before: u64, after: u64) {
        self.ahead = self.ahead.saturating_sub(before).saturating_add(after);
    }

    /// The application has read `bytes`.
    pub(crate) const fn on_read(&mut self, bytes: u64) {
        self.read = self.read.saturating_add(bytes);
        self.on_discarded(bytes);
    }

    /// Offsets move on by `bytes` that nobody will read any more, or that were read.
    pub(crate) const fn on_discarded(&mut self, bytes: u64) {
        self.consumed = self.consumed.saturating_add(bytes);
    }

    /// What became of the data that was received.
    pub(crate) const fn usage(&self) -> Usage {
        Usage { consumed: self.consumed, read: self.read, ahead: self.ahead }
    }
}

/// What a connection holds of received data, where no credit bounds it, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reception {
    capacity: u64,
    /// Received and not read.
    held: u64,
    /// Of that, in order: can be read now.
    unread: u64,
}

impl Reception {
    pub(crate) const fn new(capacity: u64) -> Self {
        Self { capacity, held: 0, unread: 0 }
    }

    /// The most that is held, but for one packet.
    pub(crate) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes that the application can read.
    pub(crate) const fn unread(&self) -> u64 {
        self.unread
    }

    /// How many more bytes there is room for; `None` if there is already more than that.
    pub(crate) const fn room(&self) -> Option<u64> {
        self.capacity.checked_sub(self.held)
    }

    /// `held` more bytes came, and `unread` more can be read.
    pub(crate) const fn on_received(&mut self, held: u64, unread: u64) {
        self.held = self.held.saturating_add(held);
        self.unread = self.unread.saturating_add(unread);
    }

    /// `held` bytes are gone, `unread` of which could have been read.
    pub(crate) const fn on_gone(&mut self, held: u64, unread: u64) {
        self.held = self.held.saturating_sub(held);
        self.unread = self.unread.saturating_sub(unread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(10);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// What became of data of which `read` bytes were read at once, and `passed` came in all.
    fn usage(read: u64, passed: u64) -> Usage {
        Usage { consumed: read, read, ahead: passed - read }
    }

    /// A window after [`Window::update`], which may have as much memory as it wants.
    fn updated(window: &mut Window, millis: u64, usage: Usage, most: u64) -> (u64, u64) {
        window.update(at(millis), RTT, usage, most, |wish| wish);
        (window.max(), window.size())
    }

    #[test]
    fn a_window_follows_what_passes_in_a_round_trip_up_to_the_limit() {
        let mut window = Window::new(1000);
        assert!(!window.is_due(usage(100, 100)));
        // Nobody knows how long the first bytes took.
        assert_eq!(updated(&mut window, 100, usage(300, 300), 10_000), (1300, 1000));
        assert_eq!(updated(&mut window, 105, usage(500, 500), 10_000), (1500, 1000));
        assert_eq!(updated(&mut window, 109, usage(700, 700), 10_000), (2700, 2000));
        assert_eq!(updated(&mut window, 109, usage(900, 900), 10_000), (3900, 3000));
        assert_eq!(updated(&mut window, 109, usage(3900, 3900), 10_000), (13_900, 10_000));
    }

    #[test]
    fn what_waits_behind_a_hole_is_added() {
        let mut window = Window::new(1000);
        assert_eq!(updated(&mut window, 100, usage(0, 300), 10_000), (1000, 1000));
        assert_eq!(updated(&mut window, 105, usage(0, 600), 10_000), (2250, 2250));
    }

    /// A byte here and there, the last at the end of what the peer may send; what lies between is skipped in the end.
    #[test]
    fn offsets_without_data_make_no_window_grow() {
        let mut window = Window::new(1000);
        for round in 0..20 {
            let usage = Usage { consumed: 1000 * round, read: 0, ahead: 2 };
            window.update(at(10 * round), RTT, usage, 10_000, |wish| wish);
        }
        assert_eq!((window.size(), window.max()), (1000, 20_000));
    }

    #[test]
    fn a_steady_rate_keeps_the_window_that_suits_it() {
        let mut window = Window::new(1000);
        // 400 bytes in a round trip, in parts.
        for part in 0..100 {
            let end = 40 * (part + 1);
            updated(&mut window, part, usage(end, end), 10_000);
        }
        assert!((1600..=2200).contains(&window.size()), "{window:?}");
        assert!(window.max() - 4000 > 400 * 3, "{window:?}");
    }

    #[test]
    fn whoever_reads_all_of_a_small_window_at_once_gets_a_larger_one() {
        let mut window = Window::new(1000);
        // As a train brings it, half as long again after the last one as a round trip takes.
        updated(&mut window, 0, usage(1000, 1000), 10_000);
        assert_eq!(updated(&mut window, 15, usage(2000, 2000), 10_000), (5330, 3330));
        updated(&mut window, 30, usage(5330, 5330), 10_000);
        assert_eq!(window.size(), 10_000);
    }

    #[test]
    fn a_slow_reader_keeps_its_window() {
        let mut window = Window::new(1000);
        for read in 1..50 {
            // The sender fills the window at once, and a tenth of it is read in each round trip.
            updated(&mut window, 10 * read, usage(100 * read, 100 * read), 10_000);
        }
        assert_eq!(window.size(), 1000);
        assert!(window.max() - 4900 > 850, "{window:?}");
        for read in 1..50 {
            // Or all of it, in each eighth one.
            updated(&mut window, 490 + 80 * read, usage(4900 + 1000 * read, 4900 + 1000 * read), 10_000);
        }
        assert_eq!(window.size(), 1000);
    }

    #[test]
    fn without_memory_a_window_stays_as_it_is_and_does_not_ask_for_every_packet() {
        let mut window = Window::new(1000);
        let mut asked = 0;
        for end in 1..=1000 {
            let usage = usage(10 * end, 10 * end);
            if window.is_due(usage) {
                window.update(at(0), RTT, usage, 10_000, |_| {
                    asked += 1;
                    0
                });
            }
        }
        assert!(window.size() == 1000 && asked <= 40, "asked {asked} times, {window:?}");
    }

    #[test]
    fn credit_is_never_taken_back() {
        let mut window = Window::new(100);
        assert_eq!(updated(&mut window, 0, usage(100, 100), 50), (200, 100));
        assert_eq!(updated(&mut window, 0, usage(100, 150), 50), (200, 100));
        let mut flow = Flow::new(100, 70);
        flow.on_sent(70);
        assert_eq!(flow.on_max_data(60), 0);
        assert_eq!(flow.on_max_data(71), 1);
        assert_eq!(flow.send_credit(), 1);
    }
}
