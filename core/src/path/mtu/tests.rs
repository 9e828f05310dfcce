use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

const BASE: u16 = 1200;
const RTT: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_millis(112);
const PTO: Duration = Duration::from_millis(150);

/// A machine on a path of which the truth is known: packets longer than `carries` are lost, and what `loses` says.
struct Bench {
    mtu: Mtu,
    carries: u16,
    now: Instant,
    next: u64,
    probes: Vec<u16>,
}

impl Bench {
    fn new(max: u16, carries: u16) -> Self {
        let config = MtuDiscovery { max, ..MtuDiscovery::default() };
        let mtu = Mtu::new(BASE, u16::MAX, &config);
        Self { mtu, carries, now: Instant::ZERO, next: 1, probes: Vec::new() }
    }

    fn number(&mut self) -> PacketNumber {
        self.next += 1;
        PacketNumber(self.next - 1)
    }

    /// Sends a packet of `size` bytes; a round trip later it is known what became of it, because one behind it arrived.
    fn packet(&mut self, size: u16, lost: bool) {
        let number = self.number();
        self.mtu.on_sent(self.now, number, size);
        if size <= self.carries && !lost {
            self.mtu.on_acked(number, size);
        } else {
            let next = PacketNumber(self.next);
            self.mtu.on_lost(number, size, next);
        }
    }

    /// Sends the probe that is wanted, and something small behind it.
    fn probe(&mut self, lost: bool) -> bool {
        let Some(wanted) = self.mtu.wanted() else { return false };
        let (number, size) = (self.number(), wanted.size());
        self.probes.push(size);
        self.mtu.on_probe_sent(self.now, number, size, PTO);
        assert_eq!(self.mtu.wanted(), None, "one at a time");
        let behind = self.number();
        self.now += RTT;
        if size <= self.carries && !lost {
            assert!(self.mtu.on_range_acked(self.now, number.0, behind.0));
        } else {
            assert!(!self.mtu.on_range_acked(self.now, behind.0, behind.0));
            self.mtu.judge(self.now, Some(behind), LATE);
            assert_eq!(self.mtu.deadline(), Some(self.now - RTT + LATE));
            self.now = self.now - RTT + LATE;
            self.mtu.judge(self.now, Some(behind), LATE);
        }
        assert_eq!(self.mtu.deadline(), None);
        true
    }

    fn search(&mut self) {
        let full = self.mtu.packet_size();
        self.packet(full, false);
        while self.probe(false) {}
    }
}

#[test]
fn the_usual_path_takes_one_probe() {
    for max in [1452, 1472, 8952, 65_000] {
        let mut bench = Bench::new(max, max);
        bench.search();
        assert_eq!((bench.mtu.confirmed(), &bench.probes[..]), (max, &[max][..]));
    }
}

#[test]
fn nothing_is_sent_without_need_or_where_it_is_off() {
    let mut bench = Bench::new(1452, 1452);
    bench.packet(700, false);
    assert_eq!(bench.mtu.wanted(), None, "small packets need no larger ones");
    let off = MtuDiscovery { enabled: false, ..MtuDiscovery::default() };
    for mut mtu in
        [Mtu::fixed(1400), Mtu::new(1400, 9000, &off), Mtu::new(1400, 1400, &MtuDiscovery::default())]
    {
        mtu.on_demand(Instant::ZERO);
        mtu.on_sent(Instant::ZERO, PacketNumber(5), 1400);
        mtu.on_probe_timeout(PacketNumber(6));
        assert_eq!((mtu.wanted(), mtu.packet_size()), (None, 1400));
    }
    assert_eq!(Mtu::new(1400, 1300, &MtuDiscovery::default()).packet_size(), 1300, "the peer's limit");
}

#[test]
fn a_lost_probe_is_repeated_and_three_are_a_no() {
    let mut bench = Bench::new(1452, 1452);
    bench.packet(1200, false);
    bench.probe(true);
    bench.probe(true);
    bench.probe(false);
    assert_eq!((bench.mtu.confirmed(), bench.mtu.stats().probes_lost), (1452, 2));
    let mut bench = Bench::new(1452, 1300);
    bench.search();
    assert_eq!(bench.probes, [1452, 1452, 1452, 1326, 1326, 1326, 1263, 1294, 1310, 1310, 1310]);
    assert_eq!((bench.mtu.confirmed(), bench.mtu.packet_size()), (1294, 1294));
}

#[test]
fn after_a_while_it_is_looked_again() {
    let mut bench = Bench::new(1452, 1300);
    bench.search();
    bench.carries = 1452;
    bench.search();
    assert_eq!(bench.mtu.confirmed(), 1294, "not at once");
    bench.now += Duration::from_secs(600);
    assert_eq!(bench.mtu.wanted(), None, "not without need");
    bench.search();
    assert_eq!(bench.mtu.confirmed(), 1452);
}

#[test]
fn a_black_hole_is_found_by_tests_and_searched_below() {
    let mut bench = Bench::new(1452, 1452);
    bench.search();
    bench.carries = 1350;
    bench.packet(1452, false);
    bench.packet(1452, false);
    assert_eq!(bench.mtu.wanted(), None);
    bench.packet(1452, false);
    assert_eq!(bench.mtu.wanted(), Some(Wanted::Test(1452)));
    assert_eq!(bench.mtu.packet_size(), 1452, "loss alone lowers nothing");
    bench.probe(false);
    assert_eq!((bench.mtu.packet_size(), bench.mtu.confirmed()), (BASE, 1452), "a precaution");
    while bench.probe(false) {}
    assert_eq!(bench.mtu.stats().black_holes, 1);
    assert_eq!(bench.mtu.confirmed(), 1341);
    assert_eq!(bench.mtu.packet_size(), 1341);
}

#[test]
fn the_probe_timer_raises_a_doubt_only_if_something_large_is_missing() {
    let mut bench = Bench::new(1452, 1452);
    bench.search();
    let next = bench.number();
    bench.mtu.on_probe_timeout(next);
    assert_eq!(bench.mtu.wanted(), None);
    let number = bench.number();
    bench.mtu.on_sent(bench.now, number, 1300);
    bench.mtu.on_probe_timeout(PacketNumber(number.0 + 1));
    assert_eq!(bench.mtu.wanted(), Some(Wanted::Test(1452)));
}

#[test]
fn one_full_packet_that_arrives_ends_the_doubt() {
    let mut bench = Bench::new(1452, 1452);
    bench.search();
    (0..3).for_each(|_| bench.packet(1452, true));
    (0..VERDICT - 1).for_each(|_| assert!(bench.probe(true)));
    assert_eq!(bench.mtu.packet_size(), BASE);
    // Sent before the doubt: no evidence against it.
    bench.mtu.on_acked(PacketNumber(3), 1452);
    assert_eq!(bench.mtu.packet_size(), BASE);
    bench.packet(1300, false);
    assert_eq!(bench.mtu.packet_size(), BASE, "not a full one");
    bench.probe(false);
    assert_eq!((bench.mtu.packet_size(), bench.mtu.wanted()), (1452, None));
    (0..3).for_each(|_| bench.packet(1452, true));
    (0..VERDICT - 1).for_each(|_| assert!(bench.probe(true)));
    bench.packet(1452, false);
    assert_eq!((bench.mtu.packet_size(), bench.mtu.stats().black_holes), (1452, 0));
}

#[test]
fn what_the_own_system_refuses_is_known_at_once() {
    let mut bench = Bench::new(9000, 9000);
    bench.packet(1200, false);
    let number = bench.number();
    bench.mtu.on_probe_sent(bench.now, number, 9000, PTO);
    bench.mtu.on_too_large(bench.now, 9000);
    let mut refused = 0;
    while let Some(wanted) = bench.mtu.wanted() {
        if wanted.size() > 1472 {
            let number = bench.number();
            bench.mtu.on_probe_sent(bench.now, number, wanted.size(), PTO);
            bench.mtu.on_too_large(bench.now, wanted.size());
            refused += 1;
        } else {
            bench.probe(false);
        }
    }
    assert_eq!((refused, bench.mtu.stats().probes_lost), (7, 0));
    assert!((1452..=1472).contains(&bench.mtu.confirmed()), "{:?}", bench.mtu);
    // A confirmed size is refused: the interface has changed.
    bench.mtu.on_too_large(bench.now, bench.mtu.confirmed());
    assert_eq!(bench.mtu.packet_size(), BASE);
    bench.carries = 1400;
    while bench.probe(false) {}
    assert!((1380..=1400).contains(&bench.mtu.confirmed()), "{:?}", bench.mtu);
    for size in [0, BASE, u16::MAX] {
        let before = bench.mtu.confirmed();
        bench.mtu.on_too_large(bench.now, size);
        assert_eq!((bench.mtu.confirmed(), bench.mtu.wanted()), (before, None));
    }
}

#[test]
fn silence_is_no_loss_but_worth_one_question() {
    let mut bench = Bench::new(1452, 1452);
    bench.packet(1200, false);
    let number = bench.number();
    bench.mtu.on_probe_sent(bench.now, number, 1452, PTO);
    let deadline = bench.mtu.deadline().unwrap();
    assert_eq!(deadline, bench.now + PTO);
    assert!(!bench.mtu.is_unanswered(bench.now));
    bench.mtu.judge(deadline, Some(PacketNumber(1)), LATE);
    assert!(bench.mtu.is_unanswered(deadline));
    assert_eq!((bench.mtu.deadline(), bench.mtu.wanted(), bench.mtu.stats().probes_lost), (None, None, 0));
    let behind = bench.number();
    bench.mtu.judge(deadline + RTT, Some(behind), LATE);
    assert_eq!((bench.mtu.wanted(), bench.mtu.stats().probes_lost), (Some(Wanted::Search(1452)), 1));
}

proptest! {
    /// Whatever the path carries, the search ends near it, soon.
    #[test]
    fn the_search_ends_near_the_truth(max in BASE..=65_000, carries in BASE..=65_000) {
        let mut bench = Bench::new(max, carries);
        bench.search();
        let (truth, found) = (max.min(carries), bench.mtu.confirmed());
        prop_assert!(found <= truth && truth - found <= TOLERANCE.max(found / 64), "{found} of {truth}");
        // 13 halvings of 65,000 bytes leave less than the tolerance; each may take three probes.
        prop_assert!(bench.probes.len() <= 3 * 13, "{:?}", bench.probes);
    }

    /// Any order of calls: sizes stay within their bounds, and no panic.
    #[test]
    fn any_order_of_calls_is_harmless(
        steps in proptest::collection::vec((0..9u8, any::<u64>(), any::<u16>(), 0..1_000_000_000u64), 0..200),
    ) {
        let mut bench = Bench::new(9000, 9000);
        let mtu = &mut bench.mtu;
        for (step, number, size, span) in steps {
            let (at, packet) = (bench.now, PacketNumber(number));
            match step {
                0 => mtu.on_sent(at, packet, size),
                1 => mtu.on_acked(packet, size),
                2 => mtu.on_lost(packet, size, PacketNumber(number.saturating_add(1))),
                3 => mtu.on_probe_timeout(packet),
                4 => mtu.judge(at, Some(packet), LATE),
                5 => mtu.on_too_large(at, size),
                6 => mtu.on_demand(at),
                7 => {
                    mtu.on_range_acked(at, number, number.saturating_add(u64::from(size)));
                }
                _ => {
                    if let Some(wanted) = mtu.wanted() {
                        prop_assert!((BASE..=9000).contains(&wanted.size()));
                        mtu.on_probe_sent(at, packet, wanted.size(), PTO);
                    }
                }
            }
            prop_assert!((BASE..=9000).contains(&mtu.confirmed()) && mtu.packet_size() <= mtu.confirmed());
            bench.now += Duration::from_nanos(span);
        }
    }
}

/// A sender with a full packet now and then, 15 % of which get lost, for a day: the size stays.
#[test]
fn random_loss_is_no_black_hole() {
    let mut rng = Rng::new(&[1; 32], &[2; 32]);
    let mut bench = Bench::new(1452, 1452);
    bench.search();
    for _ in 0..1_000_000 {
        let lost = rng.below(100) < 15;
        bench.packet(1452, lost);
        if lost {
            let next = PacketNumber(bench.next);
            bench.mtu.on_probe_timeout(next);
        }
        bench.probe(rng.below(100) < 15);
        assert_eq!((bench.mtu.confirmed(), bench.mtu.stats().black_holes), (1452, 0));
    }
}
