//! Links alone: what each setting does, to the nanosecond or within bounds for a seed.

use proptest::prelude::*;

use super::*;
use crate::rng::{Ppm, Rng};

fn link(config: LinkConfig) -> Link {
    Link::new(config, Rng::new(1))
}

fn micros(n: u64) -> Instant {
    Instant::from_nanos(n * 1_000)
}

/// Sends `count` datagrams of `len` bytes, one every `gap`; returns what became of each.
fn send_many(link: &mut Link, count: u64, len: usize, gap: Duration) -> Vec<Result<Deliveries, DropCause>> {
    let datagram = vec![0; len];
    let mut now = Instant::ZERO;
    (0..count)
        .map(|_| {
            let outcome = link.send(now, &datagram, Some(Ecn::Ect0));
            now += gap;
            outcome
        })
        .collect()
}

fn lost(outcomes: &[Result<Deliveries, DropCause>]) -> usize {
    outcomes.iter().filter(|outcome| **outcome == Err(DropCause::Loss)).count()
}

#[test]
fn the_default_link_is_perfect() {
    let mut link = link(LinkConfig::default());
    let outcome = link.send(micros(3), &[0; 9_000], Some(Ecn::Ect1));
    let first = Delivery { at: micros(3), ecn: Some(Ecn::Ect1), corruption: None };
    assert_eq!(outcome, Ok(Deliveries { first, copy: None }));
}

#[test]
fn rate_and_delay_are_exact() {
    let mut link = link(LinkConfig {
        rate: Some(Rate::mbit(10)),
        delay: Duration::from_millis(20),
        ..LinkConfig::default()
    });
    // 1250 bytes are a millisecond at 10 Mbit/s. The second waits for the first, the third finds the wire free.
    let mut at = |now| link.send(now, &[0; 1_250], None).unwrap().first.at;
    assert_eq!(at(micros(0)), micros(21_000));
    assert_eq!(at(micros(500)), micros(22_000));
    assert_eq!(at(micros(5_000)), micros(26_000));
}

#[test]
fn fractions_of_nanoseconds_are_not_lost() {
    // 7 bits per second divide no nanosecond; after 7 million bits exactly a million seconds have passed.
    let mut link = link(LinkConfig { rate: Some(Rate::bits(7)), ..LinkConfig::default() });
    let outcomes = send_many(&mut link, 7_000, 125, Duration::ZERO);
    let last = outcomes.last().unwrap().unwrap().first.at;
    assert_eq!(last, micros(1_000_000_000_000));
}

#[test]
fn a_full_queue_drops_the_tail() {
    for (queue, kept) in
        [(QueueLimit::Packets(7), 7), (QueueLimit::Bytes(5_500), 5), (QueueLimit::Unlimited, 20)]
    {
        let mut link = link(LinkConfig { rate: Some(Rate::mbit(1)), queue, ..LinkConfig::default() });
        let outcomes = send_many(&mut link, 20, 1_000, Duration::ZERO);
        assert!(outcomes[..kept].iter().all(Result::is_ok), "{queue:?}");
        assert!(outcomes[kept..].iter().all(|outcome| *outcome == Err(DropCause::Queue)), "{queue:?}");
        // Once one has left there is room for another.
        assert!(link.send(micros(8_000), &[0; 1_000], None).is_ok());
        let stats = link.stats(micros(8_000));
        assert_eq!(stats.queue_bytes_max, kept * 1_000);
        assert_eq!(
            stats.dropped_queue,
            Count { packets: 20 - kept as u64, bytes: (20 - kept as u64) * 1_000 }
        );
    }
}

#[test]
fn the_queueing_delay_is_known_over_time() {
    // A burst of 10 ms, then 90 ms of nothing: the delay is above zero for a tenth of the time.
    let mut link = link(LinkConfig { rate: Some(Rate::mbit(10)), ..LinkConfig::default() });
    send_many(&mut link, 10, 1_250, Duration::ZERO);
    let queueing = link.take_stats(micros(100_000)).queueing;
    assert_eq!(queueing.observed(), Duration::from_millis(100));
    assert_eq!(queueing.percentile(50), Duration::ZERO);
    let p95 = queueing.percentile(95);
    assert!(p95 >= Duration::from_millis(5) && p95 < Duration::from_micros(5_400), "{p95:?}");
    assert_eq!(link.stats(micros(100_000)).queueing, DelayHistogram::default());
}

#[test]
fn a_trace_serves_what_waits_at_the_rate_of_its_time() {
    let (fast, slow) = ((Duration::from_millis(2), Rate::mbit(10)), (Duration::from_secs(1), Rate::mbit(1)));
    let mut link = link(LinkConfig {
        trace: Some(RateTrace::new(&[fast, slow])),
        queue: QueueLimit::Bytes(5_000),
        ..LinkConfig::default()
    });
    // 1,250 bytes are a millisecond at 10 Mbit/s and ten at 1 Mbit/s.
    let outcomes = send_many(&mut link, 5, 1_250, Duration::ZERO);
    let at: Vec<_> = outcomes.iter().map(|outcome| outcome.map(|deliveries| deliveries.first.at)).collect();
    let expected = [1_000, 2_000, 12_000, 22_000].map(|at| Ok(micros(at)));
    assert_eq!(at[..4], expected);
    assert_eq!(at[4], Err(DropCause::Queue));
    assert_eq!(link.queue_delay(micros(2_000)), Duration::from_millis(20));
}

#[test]
fn a_policer_drops_what_exceeds_its_rate_and_queues_nothing() {
    let policer = Policer { rate: Rate::mbit(8), burst: 10_000 };
    let mut link = link(LinkConfig { policer: Some(policer), ..LinkConfig::default() });
    // Twice the rate for a second: half of it passes, and the burst.
    let outcomes = send_many(&mut link, 2_000, 1_000, Duration::from_micros(500));
    let passed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!((1_009..=1_010).contains(&passed), "{passed}");
    assert!(outcomes.iter().all(|outcome| outcome.is_ok() || *outcome == Err(DropCause::Policer)));
    assert_eq!(link.stats(micros(1_000_000)).dropped_policer.packets, 2_000 - passed as u64);
}

#[test]
fn bundled_arrivals_come_at_multiples_of_their_time_and_in_order() {
    let bundle = Duration::from_millis(5);
    let config = LinkConfig { delay: Duration::from_millis(1), bundle, ..LinkConfig::default() };
    let outcomes = send_many(&mut link(config), 10, 100, Duration::from_millis(1));
    let at: Vec<_> = outcomes.iter().map(|outcome| outcome.unwrap().first.at).collect();
    let expected = [5, 5, 5, 5, 5, 10, 10, 10, 10, 10].map(|millis| micros(millis * 1_000));
    assert_eq!(at, expected);
}

#[test]
fn random_loss_is_near_its_probability() {
    let config = LinkConfig { loss: Loss::Random(Ppm::percent(5)), ..LinkConfig::default() };
    let outcomes = send_many(&mut link(config), 100_000, 10, Duration::ZERO);
    let lost = lost(&outcomes);
    assert!((4_800..5_200).contains(&lost), "{lost}");
}

#[test]
fn gilbert_elliott_loses_in_bursts() {
    // In the bad state for 1/11 of the time (0.01 against 0.1), losing all; bursts of 10 on average.
    let loss = Loss::GilbertElliott {
        to_bad: Ppm::percent(1),
        to_good: Ppm::percent(10),
        in_good: Ppm::NEVER,
        in_bad: Ppm::ALWAYS,
    };
    let outcomes =
        send_many(&mut link(LinkConfig { loss, ..LinkConfig::default() }), 200_000, 10, Duration::ZERO);
    let lost = lost(&outcomes);
    assert!((16_500..20_000).contains(&lost), "{lost}");
    let bursts = outcomes.windows(2).filter(|pair| pair[0].is_ok() && pair[1].is_err()).count();
    let length = lost / bursts;
    assert!((9..=11).contains(&length), "{length}");
}

#[test]
fn scripts_lose_what_they_name() {
    let config = LinkConfig { loss: Loss::nth(&[0, 3]), ..LinkConfig::default() };
    let outcomes = send_many(&mut link(config), 5, 10, Duration::ZERO);
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, true, false, true]);

    let loss = Loss::script(|index, bytes| index > 0 && bytes.first() == Some(&9));
    let mut link = link(LinkConfig { loss, ..LinkConfig::default() });
    assert!(link.send(micros(0), &[9], None).is_ok());
    assert!(link.send(micros(0), &[8], None).is_ok());
    assert_eq!(link.send(micros(0), &[9], None), Err(DropCause::Loss));
}

#[test]
fn what_is_lost_on_the_wire_has_used_its_share_of_the_rate() {
    let mut link =
        link(LinkConfig { rate: Some(Rate::mbit(1)), loss: Loss::nth(&[0]), ..LinkConfig::default() });
    let outcomes = send_many(&mut link, 2, 125, Duration::ZERO);
    assert_eq!(outcomes[1].unwrap().first.at, micros(2_000));
}

#[test]
fn jitter_spreads_and_keeps_order() {
    let jitter = Duration::from_millis(5);
    let mut link = link(LinkConfig { jitter, ..LinkConfig::default() });
    let gap = Duration::from_micros(100);
    let outcomes = send_many(&mut link, 1_000, 10, gap);
    let arrivals: Vec<Instant> = outcomes.iter().map(|outcome| outcome.unwrap().first.at).collect();
    assert!(arrivals.is_sorted());
    let delays = arrivals.iter().zip(0..).map(|(at, n)| *at - (Instant::ZERO + gap * n));
    let (min, max) = (delays.clone().min().unwrap(), delays.max().unwrap());
    assert!(max <= jitter && max > jitter * 9 / 10 && min < jitter, "{min:?} {max:?}");
}

#[test]
fn reordering_reorders() {
    let mut link = link(LinkConfig {
        delay: Duration::from_millis(10),
        reorder: Ppm::percent(10),
        reorder_by: Duration::from_millis(1),
        ..LinkConfig::default()
    });
    let outcomes = send_many(&mut link, 1_000, 10, Duration::from_micros(10));
    let arrivals: Vec<Instant> = outcomes.iter().map(|outcome| outcome.unwrap().first.at).collect();
    let overtaken = arrivals.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((70..120).contains(&overtaken), "{overtaken}");
    let late = arrivals.iter().zip(0..).map(|(at, n)| *at - micros(10_000 + 10 * n)).max().unwrap();
    assert!(late <= Duration::from_millis(1));
}

#[test]
fn duplicates_arrive_beside_their_originals() {
    let mut link = link(LinkConfig { duplicate: Ppm::percent(20), ..LinkConfig::default() });
    let outcomes = send_many(&mut link, 1_000, 10, Duration::ZERO);
    let copies = outcomes.iter().filter(|outcome| outcome.unwrap().copy.is_some()).count();
    assert!((160..240).contains(&copies), "{copies}");
    let stats = link.stats(micros(0));
    assert_eq!((stats.duplicated, stats.delivered.packets), (copies as u64, 1_000 + copies as u64));
}

#[test]
fn corruption_always_changes_the_bytes_and_only_a_few_bits() {
    let mut link = link(LinkConfig { corrupt: Ppm::ALWAYS, ..LinkConfig::default() });
    for len in (1..200).chain([1]) {
        let outcome = link.send(micros(0), &vec![0; len], None).unwrap();
        let mut bytes = vec![0; len];
        outcome.first.corruption.unwrap().apply(&mut bytes);
        let flipped: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        assert!((1..=8).contains(&flipped), "{flipped}");
    }
    link.send(micros(0), &[], None).unwrap().first.corruption.unwrap().apply(&mut []);
}

#[test]
fn the_mtu_is_the_longest_that_passes() {
    let mut link = link(LinkConfig { mtu: Some(1_200), ..LinkConfig::default() });
    assert!(link.send(micros(0), &[0; 1_200], None).is_ok());
    assert_eq!(link.send(micros(0), &[0; 1_201], None), Err(DropCause::Mtu));
}

#[test]
fn a_filling_queue_marks_what_understands_marks() {
    let mut link = link(LinkConfig {
        rate: Some(Rate::mbit(1)),
        ecn: EcnPolicy::MarkAbove(2_000),
        ..LinkConfig::default()
    });
    let mut ecn = |ecn| link.send(micros(0), &[0; 1_000], ecn).unwrap().first.ecn;
    assert_eq!(ecn(Some(Ecn::Ect0)), Some(Ecn::Ect0));
    assert_eq!(ecn(Some(Ecn::Ect0)), Some(Ecn::Ect0));
    assert_eq!(ecn(Some(Ecn::Ect0)), Some(Ecn::Ce));
    assert_eq!(ecn(Some(Ecn::Ect1)), Some(Ecn::Ce));
    assert_eq!(ecn(None), None);
    assert_eq!(link.stats(micros(0)).marked, 2);

    link.configure(|config| config.ecn = EcnPolicy::Bleach);
    assert_eq!(link.send(micros(0), &[0; 10], Some(Ecn::Ect0)).unwrap().first.ecn, None);
}

#[test]
fn a_link_that_is_down_passes_nothing_until_it_is_up() {
    let mut link = link(LinkConfig { down: true, ..LinkConfig::default() });
    assert_eq!(link.send(micros(0), &[0; 10], None), Err(DropCause::Down));
    link.configure(|config| config.down = false);
    assert!(link.send(micros(0), &[0; 10], None).is_ok());
}

#[test]
fn a_queue_drains_although_its_rate_is_lifted() {
    let mut link = link(LinkConfig { rate: Some(Rate::mbit(1)), ..LinkConfig::default() });
    let waiting = link.send(micros(0), &[0; 1_250], None).unwrap().first.at;
    link.configure(|config| config.rate = None);
    assert_eq!(link.send(micros(1), &[0; 10], None).unwrap().first.at, waiting);
}

fn any_config() -> impl Strategy<Value = LinkConfig> {
    let ppm = || (0..=1_000_000_u32).prop_map(Ppm::new);
    let micros = || (0..50_000_u64).prop_map(Duration::from_micros);
    let queue = prop_oneof![
        Just(QueueLimit::Unlimited),
        (0..20_000_usize).prop_map(QueueLimit::Bytes),
        (0..20_usize).prop_map(QueueLimit::Packets),
    ];
    let rate = proptest::option::of((1_000..1_000_000_000_u64).prop_map(Rate::bits));
    let trace = proptest::option::of(
        (1_000..1_000_000_u64, 1_000_000..1_000_000_000_u64)
            .prop_map(|(slow, fast)| [slow, fast].map(|rate| (Duration::from_millis(3), Rate::bits(rate))))
            .prop_map(|steps| RateTrace::new(&steps)),
    );
    let policer = proptest::option::of(
        (1_000..1_000_000_000_u64, 0..20_000_usize)
            .prop_map(|(rate, burst)| Policer { rate: Rate::bits(rate), burst }),
    );
    let bundle = prop_oneof![Just(Duration::ZERO), micros()];
    let mtu = proptest::option::of(0..1_500_usize);
    let service = (rate, trace, policer, queue, mtu);
    (service, (micros(), micros(), bundle, micros()), (ppm(), ppm(), ppm(), ppm())).prop_map(
        |(
            (rate, trace, policer, queue, mtu),
            (delay, jitter, bundle, reorder_by),
            (loss, reorder, duplicate, corrupt),
        )| LinkConfig {
            rate,
            trace,
            policer,
            queue,
            delay,
            jitter,
            bundle,
            loss: Loss::Random(loss),
            reorder,
            reorder_by,
            duplicate,
            corrupt,
            mtu,
            ecn: EcnPolicy::Pass,
            filter: None,
            down: false,
        },
    )
}

proptest! {
    /// Whatever the settings: nothing arrives too early or twice too often, the sums hold, and a queue keeps its limit.
    #[test]
    fn every_datagram_is_accounted_for(
        config in any_config(),
        seed in any::<u64>(),
        sends in proptest::collection::vec((0..5_000_u64, 0..1_600_usize), 1..200),
    ) {
        let mut link = Link::new(config.clone(), Rng::new(seed));
        let mut again = Link::new(config.clone(), Rng::new(seed));
        let mut now = Instant::ZERO;
        for (gap, len) in sends {
            now += Duration::from_micros(gap);
            let outcome = link.send(now, &vec![0; len], None);
            prop_assert_eq!(&outcome, &again.send(now, &vec![0; len], None));
            for delivery in outcome.iter().flat_map(Deliveries::iter) {
                let rate = config.rate.filter(|_| config.trace.is_none());
                let wire = rate.map_or(0, |rate| len as u64 * 8 * 1_000_000_000 / rate.get());
                prop_assert!(delivery.at >= now + config.delay + Duration::from_nanos(wire));
            }
        }
        let stats = link.take_stats(now);
        let early = [stats.dropped_down, stats.dropped_mtu, stats.dropped_policer];
        let late = [stats.dropped_queue, stats.dropped_loss];
        let dropped: u64 = early.iter().chain(&late).map(|count| count.packets).sum();
        prop_assert_eq!(stats.sent.packets + stats.duplicated, stats.delivered.packets + dropped);
        prop_assert_eq!(stats.queueing.observed(), now - Instant::ZERO);
        if let QueueLimit::Bytes(limit) = config.queue {
            prop_assert!(stats.queue_bytes_max <= limit);
        }
    }
}

#[test]
fn a_filter_keeps_out_by_size_or_kind_and_takes_no_time() {
    let rate = Some(Rate::mbit(8));
    let mut by_size =
        link(LinkConfig { rate, filter: Some(Filter::longer_than(600)), ..LinkConfig::default() });
    let data = |len| {
        let mut datagram = vec![0; len];
        datagram[0] = 4 << 5 | 3;
        datagram
    };
    assert_eq!(by_size.send(micros(0), &data(601), None), Err(DropCause::Filter));
    assert_eq!(by_size.send(micros(0), &data(600), None).unwrap().first.at, micros(600));
    assert_eq!(by_size.stats(micros(0)).dropped_filter, Count { packets: 1, bytes: 601 });
    let filter = Some(Filter::packet_types(&[2, 4]));
    let mut by_kind = link(LinkConfig { filter, ..LinkConfig::default() });
    assert_eq!(by_kind.send(micros(0), &data(1), None), Err(DropCause::Filter));
    assert!(by_kind.send(micros(0), &[3 << 5], None).is_ok());
    assert!(by_kind.send(micros(0), &[], None).is_ok());
}
