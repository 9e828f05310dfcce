//! Whether a path still delivers what it is there for. The loss detector's probes are small and back off; this watches
//! payload, and says twice, without backing off, that it is time to use another path.
//!
//! ```text
//!           no payload acknowledged for the patience           and for as long again
//!   Trusted ────────────────────────────────────────▶ Suspect ──────────────────────▶ Left
//!      ▲         new data goes elsewhere                        all data goes elsewhere  │
//!      └──────────────────────────────────────────────────────────────────────────────────┘
//!        payload is acknowledged, in a packet that came on the path itself
//! ```
//!
//! Only an acknowledgement of payload brings trust back: a path that carries PINGs but no full packets, or that carries
//! packets in one direction only, is none to use. While there is no other path it does not matter what this says, and
//! nobody asks.

use crate::time::{Duration, Instant, part};

/// A packet of this size is payload whatever is in it: it shows that the path carries more than PINGs. In bytes.
const FULL: usize = 600;
/// No patience is longer, unless a round trip takes longer: twice this is the second in which data is to go on elsewhere.
const MAX_PATIENCE: Duration = Duration::from_millis(500);

/// Whether a packet of so many bytes is payload: it `carries` stream data or a datagram, or it is large. A probe of MTU
/// discovery is not when it is sent, for it may well be lost.
pub(crate) const fn is_payload(bytes: usize, carries: bool) -> bool {
    carries || bytes >= FULL
}

/// How long a path may take to acknowledge payload: a probe timeout without back-off (RFC 9002 section 6.2.1), at most half
/// a second, but never less than a round trip and an eighth (the time threshold of RFC 9002 section 6.1.2).
pub(crate) fn patience(pto: Duration, smoothed_rtt: Duration) -> Duration {
    pto.min(MAX_PATIENCE.max(smoothed_rtt.saturating_add(part(smoothed_rtt, 8))))
}

/// The patience is at an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Strike {
    /// For the first time: new data goes elsewhere, and what is outstanding, if it is little.
    First,
    /// And again: whatever is outstanding goes elsewhere.
    Second,
}

/// Watches over the payload of one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Liveness {
    /// Payload is outstanding, and none has been acknowledged since.
    waiting: Option<Instant>,
    last: Option<Strike>,
    /// What was outstanding at the second strike has gone elsewhere.
    rescued: bool,
}

impl Liveness {
    /// A path that nothing is held against.
    pub(crate) const fn new() -> Self {
        Self { waiting: None, last: None, rescued: false }
    }

    /// A packet with payload was sent.
    pub(crate) const fn on_payload_sent(&mut self, now: Instant) {
        if self.waiting.is_none() {
            self.waiting = Some(now);
        }
    }

    /// Payload was acknowledged by a packet that came on this path; `outstanding`: more of it is on its way. An
    /// acknowledgement that came another way is not told here: it does not show that this way leads back.
    pub(crate) fn on_payload_acked(&mut self, now: Instant, outstanding: bool) {
        *self = Self { waiting: outstanding.then_some(now), last: None, rescued: false };
    }

    /// Nothing is outstanding any more, payload or not: there is nothing to wait for.
    pub(crate) const fn on_settled(&mut self) {
        self.waiting = None;
    }

    /// Whether other paths are to be preferred.
    pub(crate) const fn is_suspect(&self) -> bool {
        self.last.is_some()
    }

    /// Whether payload is outstanding.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether what is outstanding, which is `little` or not, is to go elsewhere. That is said once: what is sent later is
    /// there to bring trust back.
    pub(crate) fn take_left(&mut self, little: bool) -> bool {
        let left = match self.last {
            None => false,
            Some(Strike::First) => little,
            Some(Strike::Second) => true,
        };
        left && !core::mem::replace(&mut self.rescued, true)
    }

    /// When patience is at an end.
    pub(crate) fn deadline(&self, patience: Duration) -> Option<Instant> {
        let times = match self.last {
            None => 1,
            Some(Strike::First) => 2,
            Some(Strike::Second) => return None,
        };
        self.waiting.map(|since| since + patience.saturating_mul(times))
    }

    /// Says what is to be done, if it is time. After a long time in which nobody asked that may be both, one after the
    /// other.
    pub(crate) fn on_timeout(&mut self, now: Instant, patience: Duration) -> Option<Strike> {
        self.deadline(patience).filter(|deadline| *deadline <= now)?;
        self.last = match self.last {
            None => Some(Strike::First),
            Some(_) => Some(Strike::Second),
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + ms(millis)
    }

    #[test]
    fn silence_is_noticed_twice_within_a_second() {
        for (pto, rtt, expected) in [
            (ms(80), ms(30), ms(80)),
            (ms(999), ms(333), ms(500)),
            (ms(1_200), ms(400), ms(500)),
            (ms(1_200), ms(800), ms(900)),
            (ms(2_000), Duration::MAX, ms(2_000)),
        ] {
            assert_eq!(patience(pto, rtt), expected, "{pto:?} {rtt:?}");
        }
        let mut path = Liveness::new();
        path.on_payload_sent(at(0));
        let patience = patience(ms(999), ms(333));
        assert_eq!(path.on_timeout(at(499), patience), None);
        assert_eq!(path.on_timeout(at(500), patience), Some(Strike::First));
        path.on_payload_sent(at(900));
        assert_eq!(path.deadline(patience), Some(at(1_000)), "what is sent later changes nothing");
        assert_eq!(path.on_timeout(at(1_000), patience), Some(Strike::Second));
        assert_eq!((path.deadline(patience), path.is_suspect()), (None, true));
    }

    #[test]
    fn what_is_outstanding_leaves_once() {
        let mut path = Liveness::new();
        path.on_payload_sent(at(0));
        path.on_timeout(at(100), PATIENCE);
        assert!(!path.take_left(false), "perhaps only acknowledgements are late");
        let mut copy = path;
        assert!(copy.take_left(true), "what is little can go all the same");
        path.on_timeout(at(200), PATIENCE);
        assert!(path.take_left(false) && !path.take_left(false));
        path.on_payload_sent(at(300));
        assert!(!path.take_left(false), "that is to show whether it works again");
        path.on_payload_acked(at(400), true);
        path.on_timeout(at(500), PATIENCE);
        path.on_timeout(at(600), PATIENCE);
        assert!(path.take_left(false));
    }

    #[test]
    fn large_packets_and_data_are_payload() {
        assert!(is_payload(600, false) && is_payload(60, true) && !is_payload(599, false));
    }

    /// What happens, in any order.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Step {
        Send,
        AckOne,
        AckAll,
        Wait,
        LongWait,
    }

    const STEPS: [Step; 5] = [Step::Send, Step::AckOne, Step::AckAll, Step::Wait, Step::LongWait];

    /// The same by the definition, from all that has happened.
    #[derive(Clone, Debug, Default)]
    struct Oracle {
        now: u64,
        /// When what is outstanding was sent.
        sent: Vec<u64>,
        /// Since when nothing has come of something.
        since: u64,
    }

    impl Oracle {
        fn strikes(&self) -> u64 {
            if self.sent.is_empty() { 0 } else { ((self.now - self.since) / 100).min(2) }
        }
    }

    fn explore(path: Liveness, oracle: &Oracle, depth: usize, seen: &mut u64) {
        *seen += 1;
        let expected = [None, Some(Strike::First), Some(Strike::Second)][oracle.strikes() as usize];
        assert_eq!(path.last, expected, "{path:?} {oracle:?}");
        assert_eq!(path.deadline(PATIENCE).is_some(), !oracle.sent.is_empty() && oracle.strikes() < 2);
        if depth == 0 {
            return;
        }
        for step in STEPS {
            let (mut path, mut oracle) = (path, oracle.clone());
            match step {
                Step::Send => {
                    if oracle.sent.is_empty() {
                        oracle.since = oracle.now;
                    }
                    oracle.sent.push(oracle.now);
                    path.on_payload_sent(at(oracle.now));
                }
                Step::AckOne | Step::AckAll if oracle.sent.is_empty() => continue,
                Step::AckOne | Step::AckAll => {
                    oracle.sent.truncate(if step == Step::AckAll { 0 } else { oracle.sent.len() - 1 });
                    oracle.since = oracle.now;
                    path.on_payload_acked(at(oracle.now), !oracle.sent.is_empty());
                }
                Step::Wait => oracle.now += 60,
                Step::LongWait => oracle.now += 1_000,
            }
            let mut strikes = 0;
            while path.on_timeout(at(oracle.now), PATIENCE).is_some() {
                strikes += 1;
            }
            assert!(strikes <= 2);
            assert_eq!(
                path.on_timeout(at(oracle.now), PATIENCE),
                None,
                "it does not ask to be called for ever"
            );
            explore(path, &oracle, depth - 1, seen);
        }
    }

    #[test]
    fn every_order_of_events_comes_to_what_the_definition_says() {
        let mut seen = 0;
        explore(Liveness::new(), &Oracle::default(), 8, &mut seen);
        assert!(seen > 50_000, "{seen}");
    }
}
