//! Flow control: credit given and credit had (RFC 9000 section 4).

use crate::time::{Duration, Instant};

/// Receive credit, for a stream or a connection: how far the peer may go, and by how much ahead of the reader.
///
/// The window starts small and doubles whenever a reader used half of it within two round trips, for then it may be
/// the window that holds the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    max: u64,
    size: u64,
    updated: Option<Instant>,
    /// A new maximum is to be sent.
    pub(crate) pending: bool,
}

impl Window {
    pub(crate) const fn new(size: u64) -> Self {
        Self { max: size, size, updated: None, pending: false }
    }

    /// The highest offset that the peer was or is to be allowed.
    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    /// By how much the peer may run ahead of the reader.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The size that the window wants after `consumed` bytes were read, if half of it was used up.
    pub(crate) fn wish(&self, now: Instant, consumed: u64, rtt: Duration, most: u64) -> Option<u64> {
        if self.max - consumed.min(self.max) > self.size / 2 {
            return None;
        }
        let hurried = self.updated.is_none_or(|updated| now - updated < rtt * 2);
        Some(if hurried { (self.size * 2).min(most).max(self.size) } else { self.size })
    }

    /// Whether less than a quarter is left to a peer that has sent up to `end`.
    pub(crate) const fn is_pressed(&self, end: u64) -> bool {
        self.max.saturating_sub(end) < self.size / 4
    }

    /// The next size up.
    pub(crate) fn wider(&self, most: u64) -> u64 {
        self.size.saturating_mul(2).min(most).max(self.size)
    }

    /// Gives credit up to `size` bytes beyond `consumed`.
    pub(crate) fn grant(&mut self, now: Instant, consumed: u64, size: u64) {
        self.size = self.size.max(size);
        self.max = self.max.max(consumed.saturating_add(self.size));
        self.updated = Some(now);
        self.pending = true;
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
    /// Sum of what was read or thrown away.
    consumed: u64,
    /// The peer's limit.
    peer_max: u64,
    /// Sum of the highest offsets sent.
    sent: u64,
    sliding: Option<Sliding>,
}

impl Flow {
    pub(crate) const fn new(window: u64, peer_max: u64) -> Self {
        Self { window: Window::new(window), received: 0, consumed: 0, peer_max, sent: 0, sliding: None }
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

    /// The peer raised its limit. Returns whether it was one that held us.
    pub(crate) fn on_max_data(&mut self, max: u64) -> bool {
        let held = self.send_credit() == 0;
        self.peer_max = self.peer_max.max(max);
        held && self.send_credit() > 0
    }

    /// Bytes of new data that we allow the peer to send.
    pub(crate) const fn receive_credit(&self) -> u64 {
        self.window.max().saturating_sub(self.received)
    }

    pub(crate) const fn on_received(&mut self, new: u64) {
        self.received = self.received.saturating_add(new);
    }

    pub(crate) const fn on_consumed(&mut self, bytes: u64) {
        self.consumed = self.consumed.saturating_add(bytes);
    }

    /// Whether the peer has nearly used up its credit, and `backlog`, what one stream whose reader is not slow has used of
    /// it, is most of that: what other streams have used may be waiting for their readers.
    pub(crate) const fn is_pressed_beside(&self, backlog: u64) -> bool {
        let others = self.received.saturating_sub(self.consumed).saturating_sub(backlog);
        self.window.is_pressed(self.received) && others < self.window.size() / 4
    }

    /// Bytes read or thrown away so far.
    pub(crate) const fn consumed(&self) -> u64 {
        self.consumed
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

    #[test]
    fn a_hurried_reader_doubles_the_window_up_to_the_limit() {
        let mut window = Window::new(100);
        assert_eq!(window.wish(at(0), 49, RTT, 300), None);
        assert_eq!(window.wish(at(0), 50, RTT, 300), Some(200));
        window.grant(at(0), 50, 200);
        assert_eq!((window.max(), window.size()), (250, 200));
        assert_eq!(window.wish(at(1), 150, RTT, 300), Some(300));
    }

    #[test]
    fn a_slow_reader_keeps_its_window() {
        let mut window = Window::new(100);
        window.grant(at(0), 50, 200);
        assert_eq!(window.wish(at(20), 150, RTT, 300), Some(200));
    }

    #[test]
    fn credit_is_never_taken_back() {
        let mut window = Window::new(100);
        window.grant(at(0), 100, 50);
        assert_eq!((window.max(), window.size()), (200, 100));
        let mut flow = Flow::new(100, 70);
        flow.on_sent(70);
        assert!(!flow.on_max_data(60));
        assert!(flow.on_max_data(71));
        assert_eq!(flow.send_credit(), 1);
    }
}
