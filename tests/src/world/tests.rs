//! Worlds with small nodes of their own: the clock, the order of things, addresses, taps, traces, guards.

use core::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::link::{EcnPolicy, Loss, Policer, QueueLimit, Rate, RateTrace};
use crate::node::{Ecn, Transmit};
use crate::rng::Ppm;
use crate::seeds::seeds;
use crate::{Duration, LinkStats};

/// One datagram that a node has seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    pub(super) at: Instant,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    ecn: Option<Ecn>,
    bytes: Vec<u8>,
}

/// Sends what it is told to, answers if it is told to, remembers what it hears and when its timer rang.
#[derive(Default, Debug)]
pub(super) struct Peer {
    outbox: Vec<(Transmit, Vec<u8>)>,
    echo: bool,
    pub(super) heard: Vec<Heard>,
    timer: Option<Instant>,
    rang: Vec<Instant>,
    spin: bool,
}

impl Peer {
    pub(super) fn send(&mut self, remote: SocketAddr, bytes: &[u8]) {
        self.outbox.push((Transmit::new(remote, bytes.len()), bytes.to_vec()));
    }

    pub(super) fn echo() -> Self {
        Self { echo: true, ..Self::default() }
    }
}

impl Node for Peer {
    fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    ) {
        let bytes = datagram.to_vec();
        if self.echo {
            self.outbox
                .push((Transmit { local: Some(local), ..Transmit::new(remote, bytes.len()) }, bytes.clone()));
        }
        self.heard.push(Heard { at: now, local, remote, ecn, bytes });
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.rang.push(now);
        if !self.spin {
            self.timer = None;
        }
    }

    fn poll_transmit(&mut self, _now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        if self.outbox.is_empty() {
            return None;
        }
        let (transmit, bytes) = self.outbox.remove(0);
        out.extend_from_slice(&bytes);
        Some(transmit)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 4_433))
}

pub(super) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) fn at(millis: u64) -> Instant {
    Instant::ZERO + ms(millis)
}

/// Two peers, the second of which echoes.
fn pair(config: LinkConfig) -> (World<Peer>, NodeId, NodeId) {
    let mut world = World::new(1, config);
    let a = world.add_node("a", &[address(1)], Peer::default());
    let b = world.add_node("b", &[address(2)], Peer::echo());
    (world, a, b)
}

#[test]
fn a_round_trip_takes_twice_the_delay() {
    let (mut world, a, b) = pair(LinkConfig { delay: ms(15), ..LinkConfig::default() });
    world.run_until(at(5));
    world.node_mut(a).send(address(2), b"ping");
    assert!(world.run_until_true(at(1_000), |world| !world.node(a).heard.is_empty()));
    assert_eq!(world.now(), at(35));
    let heard =
        Heard { at: at(20), local: address(2), remote: address(1), ecn: None, bytes: b"ping".to_vec() };
    assert_eq!(world.node(b).heard, [heard]);
}

#[test]
fn a_condition_that_never_holds_ends_at_the_deadline_even_if_it_touches_nodes() {
    let (mut world, a, _) = pair(LinkConfig::default());
    assert!(!world.run_until_true(at(50), |world| world.node_mut(a).heard.len() > 1));
    assert_eq!(world.now(), at(50));
    assert_eq!(world.step(), None);
}

#[test]
fn timers_ring_exactly_when_they_are_due_however_they_were_moved() {
    let (mut world, a, _) = pair(LinkConfig::default());
    world.node_mut(a).timer = Some(at(10));
    world.run_until(at(2));
    world.node_mut(a).timer = Some(at(30));
    world.run_until(at(3));
    world.node_mut(a).timer = Some(at(20));
    world.run_until(at(19));
    assert_eq!(world.node(a).rang, []);
    world.run_until(at(20));
    assert_eq!(world.node(a).rang, [at(20)]);
    world.node_mut(a).timer = Some(at(25));
    world.run_until(at(21));
    world.node_mut(a).timer = None;
    world.run_until(at(90));
    world.node_mut(a).timer = Some(at(40));
    world.run_until(at(100));
    assert_eq!(world.node(a).rang, [at(20), at(90)]);
}

#[test]
fn trains_are_cut_into_their_datagrams() {
    let (mut world, a, b) = pair(LinkConfig { rate: Some(Rate::mbit(8)), ..LinkConfig::default() });
    let train: Vec<u8> = (0..250).collect();
    let transmit =
        Transmit { segment_size: Some(100), ecn: Some(Ecn::Ect0), ..Transmit::new(address(2), train.len()) };
    world.node_mut(a).outbox.push((transmit, train.clone()));
    world.run_until(at(1));
    let heard = &world.node(b).heard;
    let bytes: Vec<&[u8]> = heard.iter().map(|heard| heard.bytes.as_slice()).collect();
    assert_eq!(bytes, [&train[..100], &train[100..200], &train[200..]]);
    let times: Vec<u64> = heard.iter().map(|heard| heard.at.as_nanos()).collect();
    assert_eq!(times, [100_000, 200_000, 250_000]);
    assert!(heard.iter().all(|heard| heard.ecn == Some(Ecn::Ect0)));
}

#[test]
fn what_arrives_at_one_instant_is_handed_in_before_anything_is_sent() {
    let (mut world, a, b) = pair(LinkConfig::default());
    for n in 0..3 {
        world.node_mut(a).send(address(2), &[n]);
    }
    // After the first round all have arrived and none was answered, although everything happens at time zero.
    world.poll_touched();
    world.hand_in();
    assert_eq!((world.node(b).heard.len(), world.node(b).outbox.len()), (3, 3));
    world.run_until(at(0));
    assert_eq!(world.node(a).heard.iter().map(|heard| heard.bytes[0]).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn addresses_come_and_go() {
    let (mut world, a, b) = pair(LinkConfig { delay: ms(10), ..LinkConfig::default() });
    world.add_address(b, address(3));
    world.node_mut(a).send(address(3), b"new");
    world.run_until(at(5));
    world.remove_address(address(3));
    world.run_until(at(10));
    assert_eq!((world.node(b).heard.len(), world.stats().no_destination), (0, 1));

    let lost = Transmit { local: Some(address(3)), ..Transmit::new(address(1), 1) };
    world.node_mut(b).outbox.push((lost, vec![0]));
    world.run_until(at(30));
    assert_eq!((world.node(a).heard.len(), world.stats().no_source), (0, 1));
}

#[test]
fn an_address_is_changed_in_its_place() {
    let (mut world, a, b) = pair(LinkConfig { delay: ms(10), ..LinkConfig::default() });
    world.add_address(a, address(9));
    world.change_address(address(1), address(3));
    world.node_mut(a).send(address(2), b"from the first");
    world.node_mut(b).send(address(1), b"too late");
    world.run_until(at(30));
    assert_eq!((world.node(b).heard[0].remote, world.node(a).heard[0].local), (address(3), address(3)));
    assert_eq!(world.stats().no_destination, 1);
}

#[test]
fn a_node_sends_from_the_ip_that_it_names_and_to_no_other_family() {
    let (mut world, a, b) = pair(LinkConfig::default());
    world.add_address(a, address(3));
    for (from, to) in [
        ("10.0.0.3:0", address(2)),
        ("10.0.0.9:0", address(2)),
        ("10.0.0.3:0", "[fd00::2]:1".parse().unwrap()),
    ] {
        let transmit = Transmit { local: Some(from.parse().unwrap()), ..Transmit::new(to, 1) };
        world.node_mut(a).outbox.push((transmit, vec![0]));
    }
    world.run_until(at(1));
    assert_eq!((world.node(b).heard[0].remote, world.node(b).heard.len()), (address(3), 1));
    assert_eq!(world.stats().no_source, 2);
}

#[test]
fn a_node_sends_from_its_first_address_of_the_right_family() {
    let (six_a, six_b) = ("[fd00::1]:1".parse().unwrap(), "[fd00::2]:1".parse().unwrap());
    let (mut world, a, b) = pair(LinkConfig::default());
    world.add_address(a, six_a);
    world.add_address(b, six_b);
    world.node_mut(a).send(six_b, b"six");
    world.run_for(ms(1));
    assert_eq!((world.node(b).heard[0].local, world.node(b).heard[0].remote), (six_b, six_a));
}

#[test]
fn pairs_have_links_of_their_own_unless_they_share_one() {
    let mut world = World::new(1, LinkConfig { delay: ms(1), ..LinkConfig::default() });
    let a = world.add_node("a", &[address(1)], Peer::default());
    let b = world.add_node("b", &[address(2)], Peer::default());
    let c = world.add_node("c", &[address(3)], Peer::default());
    let narrow = world.add_link(LinkConfig { rate: Some(Rate::kbit(8)), ..LinkConfig::default() });
    world.route(address(1), address(3), narrow);
    world.route(address(2), address(3), narrow);
    world.node_mut(a).send(address(3), &[0; 10]);
    world.node_mut(a).send(address(2), &[0; 10]);
    world.node_mut(b).send(address(3), &[0; 10]);
    world.run_until(at(100));
    assert_eq!(world.node(c).heard.iter().map(|heard| heard.at).collect::<Vec<_>>(), [at(10), at(20)]);
    assert_eq!(world.node(b).heard[0].at, at(1));
    assert_eq!(world.link_between(address(2), address(3)), narrow);
}

#[test]
fn a_one_way_black_hole_swallows_one_way() {
    let (mut world, a, b) = pair(LinkConfig::default());
    let back = world.link_between(address(2), address(1));
    world.link_mut(back).configure(|config| config.down = true);
    world.node_mut(a).send(address(2), b"ping");
    world.run_until(at(10));
    assert_eq!((world.node(b).heard.len(), world.node(a).heard.len(), world.stats().dropped), (1, 0, 1));
}

#[test]
fn taps_see_drop_change_and_replay() {
    let (mut world, a, b) = pair(LinkConfig { delay: ms(1), ..LinkConfig::default() });
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    world.add_tap(move |passing| {
        log.borrow_mut().push((passing.index, passing.from, passing.bytes.clone()));
        match passing.bytes.first() {
            Some(b'x') => return Verdict::Drop,
            Some(b'y') => passing.bytes.push(b'!'),
            Some(b'z') => {
                let (from, to, bytes) = (passing.from, passing.to, passing.bytes.clone());
                passing.inject(Injection { after: ms(50), from, to, ecn: Some(Ecn::Ce), bytes });
            }
            _ => {}
        }
        Verdict::Pass
    });
    world.node_mut(b).echo = false;
    for text in [b"x", b"y", b"z"] {
        world.node_mut(a).send(address(2), text);
    }
    world.run_until(at(100));
    let heard: Vec<(Instant, &[u8])> =
        world.node(b).heard.iter().map(|heard| (heard.at, heard.bytes.as_slice())).collect();
    assert_eq!(heard, [(at(1), b"y!".as_slice()), (at(1), b"z".as_slice()), (at(50), b"z".as_slice())]);
    assert_eq!(world.node(b).heard[2].ecn, Some(Ecn::Ce));
    assert_eq!((world.stats().tapped, world.stats().injected), (1, 1));
    let first = (0, address(1), b"x".to_vec());
    assert_eq!((seen.borrow().len(), &seen.borrow()[0]), (3, &first));
}

#[test]
fn strangers_can_be_invented() {
    let (mut world, a, b) = pair(LinkConfig::default());
    let (from, to) = (address(99), address(2));
    world.inject(Injection { after: ms(3), from, to, ecn: None, bytes: b"boo".to_vec() });
    world.run_until(at(10));
    assert_eq!((world.node(b).heard[0].at, world.node(b).heard[0].remote), (at(3), from));
    // The echo goes to nobody.
    assert_eq!((world.stats().no_destination, world.node(a).heard.len()), (1, 0));
}

/// A link that does everything at once.
fn rough() -> LinkConfig {
    LinkConfig {
        rate: None,
        trace: Some(RateTrace::new(&[(ms(40), Rate::mbit(30)), (ms(20), Rate::mbit(5))])),
        policer: Some(Policer { rate: Rate::mbit(12), burst: 25_000 }),
        queue: QueueLimit::Bytes(30_000),
        delay: ms(10),
        jitter: ms(3),
        bundle: Duration::from_micros(100),
        loss: Loss::Random(Ppm::percent(3)),
        reorder: Ppm::percent(5),
        reorder_by: ms(4),
        duplicate: Ppm::percent(2),
        corrupt: Ppm::percent(1),
        mtu: Some(1_400),
        filter: None,
        ecn: EcnPolicy::MarkAbove(10_000),
        down: false,
    }
}

/// Runs bursts over a rough link; returns the trace and the counters of the way there.
fn rough_run(seed: u64) -> (u64, LinkStats) {
    let mut world = World::new(seed, rough());
    world.record_trace();
    let a = world.add_node("a", &[address(1)], Peer::default());
    world.add_node("b", &[address(2)], Peer::echo());
    let mut rng = world.rng(0);
    for _ in 0..100 {
        let burst = rng.below(40);
        for _ in 0..burst {
            let bytes = vec![7; 1 + rng.below(1_500) as usize];
            let transmit = Transmit { ecn: Some(Ecn::Ect0), ..Transmit::new(address(2), bytes.len()) };
            world.node_mut(a).outbox.push((transmit, bytes));
        }
        world.run_for(Duration::from_micros(rng.below(20_000)));
    }
    world.run_for(Duration::from_secs(1));
    let now = world.now();
    let there = world.link_between(address(1), address(2));
    (world.trace().unwrap(), world.link_mut(there).take_stats(now))
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_another() {
    let mut traces = Vec::new();
    for seed in seeds(5) {
        let (trace, stats) = rough_run(seed);
        assert_eq!((trace, &stats), (rough_run(seed).0, &rough_run(seed).1));
        for count in [stats.duplicated, stats.reordered, stats.corrupted, stats.marked] {
            assert!(count > 0, "{stats:?}");
        }
        for count in [stats.dropped_mtu, stats.dropped_policer, stats.dropped_queue, stats.dropped_loss] {
            assert!(count.packets > 0, "{stats:?}");
        }
        assert!(!traces.contains(&trace));
        traces.push(trace);
    }
}

#[test]
fn who_talks_first_does_not_change_the_chances_of_others() {
    let run = |extra: bool| {
        let (mut world, a, b) =
            pair(LinkConfig { loss: Loss::Random(Ppm::percent(50)), ..LinkConfig::default() });
        if extra {
            world.node_mut(a).send(address(7), b"elsewhere");
            world.run_until(at(0));
        }
        let there = world.link_between(address(1), address(2));
        for n in 0..100 {
            world.node_mut(a).send(address(2), &[n]);
        }
        world.run_until(at(1));
        let now = world.now();
        (world.node(b).heard.len(), world.link_mut(there).stats(now).clone())
    };
    assert_eq!(run(false), run(true));
}

#[test]
#[should_panic(expected = "node \"dizzy\" at 0.007000000s: its timer stays due")]
fn a_spinning_timer_is_reported_with_its_nodes_name() {
    let mut world = World::new(1, LinkConfig::default());
    world.add_node("dizzy", &[], Peer { timer: Some(at(7)), spin: true, ..Peer::default() });
    world.run_until(at(10));
}

#[test]
#[should_panic(expected = "back and forth")]
fn an_endless_exchange_without_delay_is_reported() {
    let mut world = World::new(1, LinkConfig::default());
    let a = world.add_node("a", &[address(1)], Peer::echo());
    world.add_node("b", &[address(2)], Peer::echo());
    world.node_mut(a).send(address(2), b"ball");
    world.run_until(at(10));
}

#[test]
#[should_panic(expected = "appended 3 bytes")]
fn a_transmit_that_is_not_what_it_says_is_reported() {
    let (mut world, a, _) = pair(LinkConfig::default());
    world.node_mut(a).outbox.push((Transmit::new(address(2), 2), vec![0; 3]));
    world.run_until(at(1));
}

#[test]
#[should_panic(expected = "belongs to another node")]
fn an_address_has_one_owner() {
    let (mut world, a, _) = pair(LinkConfig::default());
    world.add_address(a, address(2));
}
