//! The scenarios beside the matrix: what links do other than lose at random. Most are made of one base: 100 Mbit/s,
//! 40 ms, a queue of one BDP.

use dunlin_sim::{Duration, LinkConfig, Loss, Policer, Ppm, Rate, RateTrace};

use super::{First, Kind, Scenario, radio};
use crate::cell::Cell;
use crate::link::{Capacity, Link};
use crate::run::{Change, End};
use crate::stack::{Load, Windows};
use crate::units::QueueSize;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// When the capacity falls in the scenarios with steps; it rises after as long again.
pub(crate) const STEP: Duration = Duration::from_secs(10);
/// When it rises.
pub(crate) const UP_STEP: Duration = Duration::from_secs(20);
/// When an outage begins.
pub(crate) const DOWN: Duration = Duration::from_secs(5);
/// How long a run goes on after one.
pub(crate) const AFTER: Duration = Duration::from_secs(15);
/// How long the link is down, in milliseconds.
pub(crate) const OUTAGES: [u64; 5] = [500, 2_000, 8_000, 25_000, 60_000];
/// How many seeds the shares of two flows are judged by.
pub(crate) const REPEATS: u64 = 5;

fn base(queue: QueueSize) -> Link {
    Link::new(&Cell::new(Rate::mbit(100), MILLI * 40, Ppm::NEVER, queue))
}

fn one_bdp() -> Link {
    base(QueueSize::bdp(1))
}

/// All of them.
pub(crate) fn special() -> Vec<Scenario> {
    [disturbed(), changing(), shared(), steady(), outages()].concat()
}

/// Links that do something to packets.
fn disturbed() -> Vec<Scenario> {
    let plain = |name, link| Scenario::endless(name, Kind::Plain, link, SECOND * 30);
    let bursts = |to_bad| Loss::GilbertElliott {
        to_bad: Ppm::new(to_bad),
        to_good: Ppm::percent(10),
        in_good: Ppm::NEVER,
        in_bad: Ppm::percent(50),
    };
    let policed = |link: &mut LinkConfig| {
        link.policer = Some(Policer { rate: Rate::mbit(20), burst: 100_000 });
    };
    let reordered = |link: &mut LinkConfig| {
        link.reorder = Ppm::percent(1);
        link.reorder_by = MILLI * 10;
    };
    // In the bad state for 1 and 5 % of the packets, half of which are lost, in bursts of ten.
    vec![
        plain("bursts 0.5%", one_bdp().forward(|link| link.loss = bursts(1_000))).quick(),
        plain("bursts 2.5%", one_bdp().forward(|link| link.loss = bursts(5_300))),
        plain("policer 20M", Link { capacity: Capacity::Rate(Rate::mbit(20)), ..one_bdp().forward(policed) })
            .quick(),
        plain("jitter 10ms", one_bdp().forward(|link| link.jitter = MILLI * 10)),
        plain("reordering 1%", one_bdp().forward(reordered)).quick(),
        plain("ack loss 20%", one_bdp().back(|link| link.loss = Loss::Random(Ppm::percent(20)))),
        plain("ack aggregation 10ms", one_bdp().back(|link| link.bundle = MILLI * 10)).quick(),
    ]
}

/// Links whose capacity changes.
fn changing() -> Vec<Scenario> {
    let (fast, slow) = (Rate::mbit(100), Rate::mbit(10));
    let steps = RateTrace::new(&[(STEP, fast), (STEP, slow), (SECOND * 3600, fast)]);
    let step = |name, queue| {
        Scenario::endless(name, Kind::Steps, base(queue).with_trace(steps.clone()), SECOND * 30)
    };
    let radio = |name, rtt, queue, trace, bundle| {
        let cell = Cell::new(Rate::mbit(20), MILLI * rtt, Ppm::new(1_000), QueueSize::Bytes(queue));
        let link = Link::new(&cell).with_trace(trace).forward(|link| link.bundle = MILLI * bundle);
        Scenario::endless(name, Kind::Plain, link, SECOND * 60)
    };
    vec![
        step("steps 100-10-100M 0.5bdp", QueueSize::MilliBdp(500)).quick(),
        step("steps 100-10-100M 1bdp", QueueSize::bdp(1)),
        radio("wifi", 30, 200_000, radio::wifi(), 4).quick(),
        radio("lte", 60, 500_000, radio::lte(), 8).quick(),
    ]
}

/// Two flows over one bottleneck, each with some seeds more.
fn shared() -> Vec<Scenario> {
    let again = |scenario: Scenario| {
        let repeats = (1..REPEATS).map(|repeat| Scenario {
            name: repeat_name(&scenario.name, repeat),
            repeat,
            quick: false,
            ..scenario.clone()
        });
        let repeats: Vec<_> = repeats.collect();
        [scenario].into_iter().chain(repeats)
    };
    shared_once().into_iter().flat_map(again).collect()
}

/// The name of a scenario that is run again with another seed.
pub(crate) fn repeat_name(name: &str, repeat: u64) -> String {
    if repeat == 0 { name.into() } else { format!("{name} +{repeat}") }
}

fn shared_once() -> Vec<Scenario> {
    let two = |name, kind, link| Scenario::endless(name, kind, link, SECOND * 65);
    let small = Link::new(&Cell::new(Rate::mbit(10), MILLI * 100, Ppm::NEVER, QueueSize::bdp(1)));
    let cubic = Kind::AgainstCubic;
    vec![
        two("two flows", Kind::Shared, one_bdp()).quick(),
        two("two flows 10M 100ms", Kind::Shared, small),
        two("two flows 4bdp", Kind::Shared, base(QueueSize::bdp(4))),
        two("then cubic 1bdp", cubic(First::Peer), one_bdp()).quick(),
        two("after cubic 1bdp", cubic(First::Cubic), one_bdp()),
        two("then cubic 4bdp", cubic(First::Peer), base(QueueSize::bdp(4))),
    ]
}

/// What has to last.
fn steady() -> Vec<Scenario> {
    let loss = Cell::new(Rate::mbit(10), MILLI * 40, Ppm::percent(15), QueueSize::bdp(1));
    let fat = Cell::new(Rate::mbit(1000), MILLI * 200, Ppm::NEVER, QueueSize::bdp(1));
    let limited = Scenario::endless("app-limited 4M of 100M", Kind::Sender, one_bdp(), SECOND * 60);
    // Fast enough that it is the readers who are slow.
    let wide = Cell::new(Rate::mbit(1000), MILLI * 20, Ppm::NEVER, QueueSize::bdp(4));
    let readers = Scenario::endless("1000 slow readers", Kind::SlowReaders, Link::new(&wide), SECOND * 20);
    vec![
        Scenario::endless("15% for 10 minutes", Kind::Sender, Link::new(&loss), SECOND * 600).quick(),
        Scenario { load: Load::Pieces(10_000, MILLI * 20), ..limited }.quick(),
        Scenario {
            name: "1G 200ms default windows".into(),
            windows: Windows::Default,
            cell: None,
            ..Scenario::cell(fat)
        },
        Scenario { load: Load::Bulk(0), ..readers },
    ]
}

/// Links that are gone for a while; nobody is told when they are back, or one end is.
fn outages() -> Vec<Scenario> {
    let outage = |millis: u64, told: Option<End>| {
        let span = MILLI * millis as u32;
        let link = Link::new(&Cell::new(Rate::mbit(20), MILLI * 40, Ppm::NEVER, QueueSize::bdp(1)));
        let run =
            Scenario::endless(&outage_name(millis, told), Kind::Outage(told), link, DOWN + span + AFTER);
        let back = told.map(|end| (DOWN + span, Change::Told(end)));
        let changes = [(DOWN, Change::Down), (DOWN + span, Change::Up)].into_iter().chain(back).collect();
        Scenario { changes, quick: millis <= 2_000, ..run }
    };
    let told = [None, Some(End::Source), Some(End::Sink)];
    told.iter().flat_map(|told| OUTAGES.map(|millis| outage(millis, *told))).collect()
}

/// The name of an outage.
pub(crate) fn outage_name(millis: u64, told: Option<End>) -> String {
    let seconds = millis as f64 / 1e3;
    match told {
        None => format!("outage {seconds}s"),
        Some(end) => format!("outage {seconds}s {} told", end.name()),
    }
}
