//! The largest datagram that a path carries: packetization layer path MTU discovery (RFC 8899, with QUIC's way of
//! RFC 9000 section 14.3), as a pure state machine.
//!
//! Sizes are bytes of UDP payload. The base is taken to pass; everything above it has to be shown by a probe, a PING and
//! padding, which carries nothing that would have to be repeated and which congestion control does not hear of.
//!
//! - **Search.** It begins with the first full packet, so that connections with little to say send no probes. The largest
//!   size is tried first, then the middle of what is left, until that is little. A size fails when `MAX_PROBES` probes of
//!   it are lost. Later it is looked again, if there are full packets to send.
//! - **Doubt.** Packets above the base get lost, and none of the full size has arrived since. Loss alone says nothing about
//!   sizes, so it is tested: a probe of the full size, with a packet of no more than the base behind it. One probe or
//!   packet of the full size that arrives ends the doubt. A probe that is lost although the smaller packet arrived is
//!   evidence: with the first, stream data is cut to the base as a precaution; with `VERDICT` in a row the path is a black
//!   hole for this size (RFC 8899 section 4.3), and the search starts again below it.

use crate::config::MtuDiscovery;
use crate::id::PacketNumber;
use crate::stats::count;
use crate::time::{Duration, Instant};

/// Probes of one size that may be lost before the size counts as too large (`MAX_PROBES`, RFC 8899 section 5.1.2).
const MAX_PROBES: u8 = 3;
/// The search ends when no more than this is left to gain, in bytes, or a 64th of what is reached.
const TOLERANCE: u16 = 20;
/// Packets above the base lost, with none of the full size arriving since, that are worth a test: what an occasional loss
/// does not reach.
const SUSPICION: u8 = 3;
/// Tests in a row, each with a full-size packet lost and a smaller one delivered, that make a black hole. At 15 % of
/// random loss a doubt gets there once in a hundred million times.
const VERDICT: u8 = 10;

/// The sizes of one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mtu {
    /// Taken to pass.
    base: u16,
    /// The largest size that was shown to pass, or the base.
    confirmed: u16,
    /// The largest size to look for; the base where nothing is to be looked for.
    ceiling: u16,
    /// How long to rest after a search.
    interval: Duration,
    search: Option<Search>,
    /// No search before this.
    rested: Instant,
    doubt: Option<Doubt>,
    probe: Option<Probe>,
    /// The newest packet above the base that was sent.
    newest_sent: u64,
    /// The newest packet of the confirmed size that was acknowledged.
    newest_acked: u64,
    /// Packets above the base, sent after that one, that were lost.
    suspicion: u8,
    stats: MtuStats,
}

/// Counters of [`Mtu`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct MtuStats {
    pub(crate) probes_sent: u64,
    pub(crate) probes_lost: u64,
    pub(crate) black_holes: u64,
}

/// A search for the largest size that passes.
#[derive(Clone, Copy, Debug)]
struct Search {
    /// The smallest size known, or assumed, not to pass.
    too_large: u16,
    /// Probes lost of the size that is being tried.
    lost: u8,
}

/// The confirmed size is tested.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// Packets sent from this number on can end it.
    since: u64,
    /// Probes lost although a later, smaller packet arrived.
    evidence: u8,
}

/// A probe in flight.
#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u64,
    size: u16,
    sent: Instant,
    /// When to do something about it: ask for news, or count it as lost.
    deadline: Option<Instant>,
}

/// A probe that may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// To find a larger size: when a full packet might go as well.
    Search(u16),
    /// To find out whether the confirmed size still passes: at once.
    Test(u16),
}

impl Wanted {
    /// Its size.
    pub(crate) const fn size(self) -> u16 {
        let (Self::Search(size) | Self::Test(size)) = self;
        size
    }
}

impl Mtu {
    /// A path that carries `base`; nothing is looked for.
    pub(crate) const fn fixed(base: u16) -> Self {
        Self {
            base,
            confirmed: base,
            ceiling: base,
            interval: Duration::ZERO,
            search: None,
            rested: Instant::ZERO,
            doubt: None,
            probe: None,
            newest_sent: 0,
            newest_acked: 0,
            suspicion: 0,
            stats: MtuStats { probes_sent: 0, probes_lost: 0, black_holes: 0 },
        }
    }

    /// A path that carries `base`, to a peer that takes `peer_max`.
    pub(crate) fn new(base: u16, peer_max: u16, config: &MtuDiscovery) -> Self {
        let max = if config.enabled { config.max } else { base };
        let base = base.min(peer_max);
        Self { ceiling: max.min(peer_max).max(base), interval: config.interval, ..Self::fixed(base) }
    }

    /// The same for another way to the peer; only the counters go on.
    pub(crate) fn renewed(&self, base: u16, peer_max: u16, config: &MtuDiscovery) -> Self {
        Self { stats: self.stats, ..Self::new(base, peer_max, config) }
    }

    /// Size of a full packet of stream data now: what is confirmed, or the base while there is reason to doubt it.
    pub(crate) fn packet_size(&self) -> u16 {
        if self.doubt.is_some_and(|doubt| doubt.evidence > 0) { self.base } else { self.confirmed }
    }

    /// The largest size that was shown to pass.
    pub(crate) const fn confirmed(&self) -> u16 {
        self.confirmed
    }

    /// The size that is taken to pass.
    pub(crate) const fn base(&self) -> u16 {
        self.base
    }

    pub(crate) const fn stats(&self) -> MtuStats {
        self.stats
    }

    /// There is use for larger packets.
    pub(crate) fn on_demand(&mut self, now: Instant) {
        if self.search.is_none() && self.confirmed < self.ceiling && self.rested <= now {
            self.search = Some(Search { too_large: self.ceiling.saturating_add(1), lost: 0 });
        }
    }

    /// A packet that is no probe was sent.
    pub(crate) fn on_sent(&mut self, now: Instant, number: PacketNumber, size: u16) {
        if size > self.base {
            self.newest_sent = number.0;
        }
        if size >= self.confirmed {
            self.on_demand(now);
        }
    }

    /// The probe that may be sent now.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        if self.probe.is_some() {
            None
        } else if self.doubt.is_some() {
            Some(Wanted::Test(self.confirmed))
        } else {
            self.search.map(|search| Wanted::Search(self.candidate(search)))
        }
    }

    /// A probe was sent. `patience` is how long its acknowledgement may take (the probe timeout).
    pub(crate) fn on_probe_sent(
        &mut self,
        now: Instant,
        number: PacketNumber,
        size: u16,
        patience: Duration,
    ) {
        count(&mut self.stats.probes_sent, 1);
        self.probe = Some(Probe { number: number.0, size, sent: now, deadline: Some(now + patience) });
    }

    /// Packets `from` to `to` are acknowledged. Says whether the probe is among them.
    pub(crate) fn on_range_acked(&mut self, now: Instant, from: u64, to: u64) -> bool {
        let Some(probe) = self.probe.filter(|probe| (from..=to).contains(&probe.number)) else {
            return false;
        };
        self.probe = None;
        if probe.size > self.confirmed {
            self.confirmed = probe.size;
            self.search = self.search.map(|search| Search { lost: 0, ..search });
        }
        self.on_acked(PacketNumber(probe.number), probe.size);
        self.end_search(now);
        true
    }

    /// A packet that is no probe was acknowledged.
    pub(crate) fn on_acked(&mut self, number: PacketNumber, size: u16) {
        if size < self.confirmed || number.0 < self.newest_acked {
            return;
        }
        self.newest_acked = number.0;
        self.suspicion = 0;
        if self.doubt.is_some_and(|doubt| number.0 >= doubt.since) {
            self.doubt = None;
        }
    }

    /// A packet that is no probe is lost; `next` is the number of the next one to be sent.
    pub(crate) fn on_lost(&mut self, number: PacketNumber, size: u16, next: PacketNumber) {
        if size > self.base && number.0 > self.newest_acked {
            self.suspicion = self.suspicion.saturating_add(1);
            if self.suspicion >= SUSPICION {
                self.begin_doubt(next);
            }
        }
    }

    /// The probe timer of the path fired: perhaps because a packet above the base did not get through.
    pub(crate) fn on_probe_timeout(&mut self, next: PacketNumber) {
        if self.newest_sent > self.newest_acked {
            self.begin_doubt(next);
        }
    }

    /// Everything up to some number beyond the probe's arrived, or did not, by now: is the probe lost? `loss_delay` is the
    /// time after which a packet is late.
    pub(crate) fn judge(&mut self, now: Instant, largest_acked: Option<PacketNumber>, loss_delay: Duration) {
        let Some(probe) = &mut self.probe else { return };
        if largest_acked.is_none_or(|largest| largest.0 < probe.number) {
            return;
        }
        let late = probe.sent + loss_delay;
        if now < late {
            probe.deadline = Some(late);
            return;
        }
        let size = probe.size;
        self.probe = None;
        self.on_probe_lost(now, size);
    }

    /// Whether a probe is in flight.
    pub(crate) const fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    /// When [`Self::judge`] may have something to say, or [`Self::is_unanswered`].
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.probe.and_then(|probe| probe.deadline)
    }

    /// Whether the probe has waited long enough without a word from the peer: a small packet behind it shall bring one.
    /// Says so once.
    pub(crate) fn is_unanswered(&mut self, now: Instant) -> bool {
        self.probe.as_mut().is_some_and(|probe| probe.deadline.take_if(|at| *at <= now).is_some())
    }

    /// The own system refuses datagrams of `size`: no path from here carries them.
    pub(crate) fn on_too_large(&mut self, now: Instant, size: u16) {
        if size <= self.base || size > self.ceiling {
            return;
        }
        if self.confirmed >= size {
            self.confirmed = self.base;
            self.doubt = None;
        }
        self.probe = self.probe.filter(|probe| probe.size < size);
        let too_large = self.search.map_or(size, |search| search.too_large.min(size));
        self.search = Some(Search { too_large, lost: 0 });
        self.end_search(now);
    }

    fn on_probe_lost(&mut self, now: Instant, size: u16) {
        count(&mut self.stats.probes_lost, 1);
        if let Some(doubt) = &mut self.doubt {
            doubt.evidence = doubt.evidence.saturating_add(1);
            if doubt.evidence >= VERDICT {
                count(&mut self.stats.black_holes, 1);
                self.search = Some(Search { too_large: self.confirmed, lost: 0 });
                self.confirmed = self.base;
                self.doubt = None;
                self.suspicion = 0;
                self.end_search(now);
            }
        } else if let Some(search) = &mut self.search {
            search.lost = search.lost.saturating_add(1);
            if search.lost >= MAX_PROBES {
                *search = Search { too_large: size, lost: 0 };
                self.end_search(now);
            }
        }
    }

    /// Starts to test the confirmed size, if there is a smaller one to compare it with. What the search had in flight is
    /// forgotten: there is one probe at a time.
    fn begin_doubt(&mut self, next: PacketNumber) {
        if self.doubt.is_none() && self.confirmed > self.base {
            self.probe = None;
            self.doubt = Some(Doubt { since: next.0, evidence: 0 });
        }
    }

    /// What to try next: the largest size first, which most paths carry, then halves of what is left.
    const fn candidate(&self, search: Search) -> u16 {
        if search.too_large > self.ceiling { self.ceiling } else { self.confirmed.midpoint(search.too_large) }
    }

    /// Ends the search if there is little left to gain.
    fn end_search(&mut self, now: Instant) {
        let Some(search) = self.search else { return };
        let left = search.too_large.saturating_sub(self.confirmed);
        let untried = search.too_large > self.ceiling && self.confirmed < self.ceiling;
        if !untried && left <= TOLERANCE.max(self.confirmed / 64) {
            self.search = None;
            self.rested = now + self.interval;
        }
    }
}

#[cfg(test)]
mod tests;
