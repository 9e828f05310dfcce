//! ECN: which packets carry a codepoint, what a path may do to them, and what marks of congestion are good for.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;

use dunlin_core::{
    ConnectOptions, ConnectionHandle, Ecn, EcnCounts, EcnFailure, EcnState, PathStats, Peer, fuzzing,
};
use dunlin_sim::{
    ALPN, EcnPolicy, Host, LinkConfig, LinkStats, Loss, Pair, Passing, Ppm, QueueLimit, Rate, Received,
    Receiver, Sender, Verdict, config, endpoint, seeds,
};

use crate::common::{DATA, drop_if, drop_while, hand_in, kind, line, ms};
use crate::frames::ack_ecn;

/// More than any of these scenarios can move.
const ENDLESS: u64 = 4 << 30;

/// An upload of `bytes` that has begun.
struct Upload {
    pair: Pair,
    seen: Rc<RefCell<Received>>,
    client: ConnectionHandle,
}

impl Upload {
    fn new(seed: u64, link: LinkConfig, bytes: u64) -> Self {
        Self::tapped(seed, link, bytes, |_| Verdict::Pass)
    }

    /// With a tap on everything.
    fn tapped(
        seed: u64,
        link: LinkConfig,
        bytes: u64,
        tap: impl FnMut(&mut Passing<'_>) -> Verdict + 'static,
    ) -> Self {
        let (receiver, seen) = Receiver::new();
        let mut pair = Pair::with(seed, link, config(), config(), Sender::new(1, bytes), receiver);
        pair.world.add_tap(tap);
        let client = pair.dial();
        Self { pair, seen, client }
    }

    fn run(&mut self, span: Duration) {
        self.pair.world.run_for(span);
    }

    /// Runs to the end, for at most `limit`, and says how long that took.
    fn complete(&mut self, limit: Duration) -> Duration {
        let (start, seen) = (self.pair.now(), Rc::clone(&self.seen));
        let done = self.pair.run_until(limit, |_| seen.borrow().finished == 1);
        let path = self.path();
        assert!(done, "{} bytes, {path:?}", self.seen.borrow().total());
        self.pair.now() - start
    }

    /// The sender's view of its path.
    fn path(&mut self) -> PathStats {
        self.pair.on_client(self.client, |connection| connection.path())
    }

    fn state(&mut self) -> EcnState {
        self.path().ecn.state
    }

    /// What arrived at the receiver, as it counted.
    fn received(&mut self) -> EcnCounts {
        let server = self.pair.server().events[0].1;
        self.pair.on_server(server, |connection| connection.path().ecn.received)
    }

    /// Bytes delivered in `span`.
    fn moved(&mut self, span: Duration) -> u64 {
        let before = self.seen.borrow().total();
        self.run(span);
        self.seen.borrow().total() - before
    }

    /// The link that the data takes, as it did since the last call.
    fn link(&mut self) -> LinkStats {
        let (now, from, to) = (self.pair.now(), self.pair.client_addr, self.pair.server_addr);
        let id = self.pair.world.link_between(from, to);
        self.pair.world.link_mut(id).take_stats(now)
    }

    /// Sets what the links do to codepoints from now on.
    fn set_policy(&mut self, policy: EcnPolicy) {
        let (a, b) = (self.pair.client_addr, self.pair.server_addr);
        for (from, to) in [(a, b), (b, a)] {
            let id = self.pair.world.link_between(from, to);
            self.pair.world.link_mut(id).configure(|link| link.ecn = policy);
        }
    }
}

const fn failed(failure: EcnFailure) -> EcnState {
    EcnState::Failed(failure)
}

#[test]
fn a_clean_path_is_validated_and_stays_so() {
    let unmarked = Rc::new(Cell::new((0, 0)));
    let count = Rc::clone(&unmarked);
    let mut upload = Upload::tapped(1, line(), 20 << 20, move |passing| {
        let (data, acks) = count.get();
        let large = passing.bytes.len() > 600;
        match passing.ecn {
            None if kind(passing.bytes) == DATA && large => count.set((data + 1, acks)),
            None => count.set((data, acks + 1)),
            Some(codepoint) => {
                assert_eq!(codepoint, Ecn::Ect0);
                assert_eq!(kind(passing.bytes), DATA, "handshake packets go without");
            }
        }
        Verdict::Pass
    });
    upload.complete(Duration::from_secs(5));
    let path = upload.path();
    assert_eq!(path.ecn.state, EcnState::Capable);
    assert_eq!(upload.received(), EcnCounts { ect0: path.ecn.sent, ect1: 0, ce: 0 });
    let (data, acks) = unmarked.get();
    assert_eq!(data, 5, "the second half of the first window, after the test and before its answer");
    assert!(acks > 1000, "{acks} packets without, most of them acknowledgements");
    upload.pair.finish();
}

#[test]
fn loss_reordering_and_duplication_are_no_fault_of_ecn() {
    for seed in seeds(6) {
        let link = LinkConfig {
            loss: Loss::Random(Ppm::percent(5)),
            reorder: Ppm::percent(3),
            reorder_by: ms(5),
            duplicate: Ppm::percent(3),
            corrupt: Ppm::percent(1),
            ..line()
        };
        let mut upload = Upload::new(seed, link, 4 << 20);
        upload.complete(Duration::from_secs(30));
        assert_eq!(upload.state(), EcnState::Capable, "seed {seed}: {:?}", upload.path());
        upload.pair.finish();
    }
}

#[test]
fn a_path_that_bleaches_is_used_without_ecn_at_full_speed() {
    let mut upload = Upload::new(1, LinkConfig { ecn: EcnPolicy::Bleach, ..line() }, 10 << 20);
    let span = upload.complete(Duration::from_secs(5));
    assert!(span < ms(1400), "{span:?}");
    let ecn = upload.path().ecn;
    assert_eq!(ecn.state, failed(EcnFailure::Bleached));
    assert!(ecn.sent <= 16, "{ecn:?}");
    assert_eq!(upload.received(), EcnCounts::default());
    upload.pair.finish();
}

#[test]
fn bleaching_that_begins_later_is_noticed() {
    let mut upload = Upload::new(1, line(), ENDLESS);
    upload.run(ms(1000));
    assert_eq!(upload.state(), EcnState::Capable);
    upload.set_policy(EcnPolicy::Bleach);
    upload.run(ms(100));
    assert_eq!(upload.state(), failed(EcnFailure::Bleached));
    assert!(upload.moved(ms(1000)) > 10_000_000);
    upload.pair.finish();
}

#[test]
fn a_path_that_remarks_is_used_without_ecn() {
    let mut upload = Upload::tapped(1, line(), 10 << 20, |passing| {
        passing.ecn = passing.ecn.map(|_| Ecn::Ect1);
        Verdict::Pass
    });
    upload.complete(Duration::from_secs(5));
    assert_eq!(upload.state(), failed(EcnFailure::Remarked));
    upload.pair.finish();
}

#[test]
fn a_path_that_colours_everything_is_used_without_ecn() {
    // ECT(0) on packets that were sent with nothing.
    let mut upload = Upload::tapped(1, line(), 10 << 20, |passing| {
        passing.ecn = passing.ecn.or(Some(Ecn::Ect0));
        Verdict::Pass
    });
    upload.run(ms(300));
    upload.complete(Duration::from_secs(5));
    let server = upload.pair.server().events[0].1;
    let answers = upload.pair.on_server(server, |connection| connection.path().ecn);
    assert_eq!(answers.state, failed(EcnFailure::Remarked), "{answers:?}");
    upload.pair.finish();
}

#[test]
fn a_path_that_drops_ecn_costs_little() {
    for seed in seeds(4) {
        let mut upload = Upload::tapped(seed, line(), 200_000, |passing| match passing.ecn {
            Some(_) => Verdict::Drop,
            None => Verdict::Pass,
        });
        let span = upload.complete(Duration::from_secs(5));
        assert_eq!(upload.state(), failed(EcnFailure::BlackHole));
        // 120 ms where nothing is dropped; that half of the first window is lost costs some more, and no probe timeout.
        assert!(span < ms(350), "{span:?}");
        let stats = upload.pair.on_client(upload.client, |connection| connection.stats());
        assert_eq!(stats.probe_timeouts, 0, "{stats:?}");
        upload.pair.finish();
    }
}

#[test]
fn a_path_that_begins_to_drop_ecn_is_found_out() {
    let mut upload = Upload::new(1, line(), ENDLESS);
    upload.run(ms(1000));
    drop_if(&mut upload.pair.world, |passing| passing.ecn.is_some());
    let stalled = upload.moved(ms(3000));
    assert!(upload.moved(ms(2000)) > 1_000_000, "{stalled} before, {:?}", upload.path());
    assert_eq!(upload.state(), failed(EcnFailure::BlackHole));
    assert!(upload.moved(ms(2000)) > 20_000_000, "{:?}", upload.path());
    upload.pair.finish();
}

#[test]
fn an_outage_is_not_taken_for_a_black_hole() {
    for seed in seeds(4) {
        let mut upload = Upload::new(seed, line(), ENDLESS);
        upload.run(ms(1000));
        let dark = drop_while(&mut upload.pair.world, |_| true);
        upload.run(ms(8000 + seed % 500));
        dark.set(false);
        upload.run(ms(4000));
        assert_eq!(upload.state(), EcnState::Capable);
        upload.pair.finish();
    }
}

/// A bottleneck with a queue of four BDP that sets CE from one BDP on, and its BDP in bytes.
fn marking(megabits: u32, rtt: Duration) -> (LinkConfig, usize) {
    let bdp = (u64::from(megabits) * 125 * rtt.as_micros() as u64 / 1000) as usize;
    let link = LinkConfig {
        rate: Some(Rate::mbit(megabits)),
        delay: rtt / 2,
        queue: QueueLimit::Bytes(4 * bdp),
        ecn: EcnPolicy::MarkAbove(bdp),
        ..LinkConfig::default()
    };
    (link, bdp)
}

#[test]
fn a_queue_that_marks_stays_short_loses_nothing_and_the_link_is_used() {
    for (megabits, rtt) in [(10, 40), (10, 200), (50, 20), (50, 100)] {
        let (link, bdp) = marking(megabits, ms(rtt));
        let mut upload = Upload::new(rtt, link, ENDLESS);
        // The first seconds are the flow control's.
        upload.run(Duration::from_secs(4));
        let span = Duration::from_secs(10).max(ms(100 * rtt));
        let moved = upload.moved(span);
        let rate = u64::from(megabits) * 125_000;
        let used = moved * 1000 / (rate * span.as_millis() as u64 / 1000);
        let stats = upload.link();
        let p95 = stats.queueing.percentile(95);
        let name = format!("{megabits} Mbit/s, {rtt} ms: {used} per mille, {p95:?}, {stats:?}");
        assert!(used >= 900, "{name}");
        assert_eq!(stats.dropped_queue.packets, 0, "{name}");
        assert!(p95 <= ms(rtt), "{name}");
        assert!(stats.queue_bytes_max <= 2 * bdp, "{name}");
        assert_eq!(upload.state(), EcnState::Capable, "{name}");
        assert_eq!(upload.received().ce, stats.marked, "{name}");
        upload.pair.finish();
    }
}

#[test]
fn marks_far_below_a_bdp_cost_little() {
    let (link, bdp) = marking(50, ms(40));
    let mut upload = Upload::new(1, LinkConfig { ecn: EcnPolicy::MarkAbove(bdp / 8), ..link }, ENDLESS);
    let moved = upload.moved(Duration::from_secs(20));
    let stats = upload.link();
    assert!(moved >= 20 * 6_250_000 * 3 / 4, "{moved}");
    assert!(stats.queueing.percentile(95) <= ms(10), "{:?}", stats.queueing.percentile(95));
    assert!(stats.marked > 0 && stats.dropped_queue.packets == 0, "{stats:?}");
    upload.pair.finish();
}

#[test]
fn two_flows_share_a_queue_that_marks() {
    let (link, _) = marking(50, ms(40));
    let mut upload = Upload::new(3, link.clone(), ENDLESS);
    let world = &mut upload.pair.world;
    let (near, far) = (SocketAddr::from(([10, 0, 0, 3], 1000)), upload.pair.server_addr);
    let host = Host::new(endpoint(config(), 3, 3), Sender::new(1, ENDLESS));
    let other = world.add_node("other", &[near], host);
    let shared = world.link_between(upload.pair.client_addr, far);
    world.route(near, far, shared);
    world.run_for(Duration::from_secs(5));
    let (now, key) = (world.now(), *world.node(upload.pair.server).endpoint.public_key());
    let options = ConnectOptions::new(far, ALPN);
    let second = world.node_mut(other).endpoint.connect(now, Peer::Key(key), options).unwrap();
    world.run_for(Duration::from_secs(20));
    let delivered = |upload: &mut Upload| {
        let host = upload.pair.world.node_mut(other);
        let second = host.endpoint.connection(second).unwrap().path().congestion.delivered;
        (upload.path().congestion.delivered, second)
    };
    let before = delivered(&mut upload);
    upload.run(Duration::from_secs(20));
    let after = delivered(&mut upload);
    let (a, b) = (after.0 - before.0, after.1 - before.1);
    assert!((a + b) * 100 >= 20 * 6_250_000 * 90, "{a} and {b}");
    assert!((35..=65).contains(&(a * 100 / (a + b))), "{a} and {b}");
    assert_eq!(upload.link().dropped_queue.packets, 0);
    upload.pair.finish();
}

#[test]
fn a_path_that_marks_everything_is_used_without_ecn() {
    let mut upload = Upload::new(1, LinkConfig { ecn: EcnPolicy::MarkAbove(0), ..line() }, 20 << 20);
    let span = upload.complete(Duration::from_secs(10));
    assert_eq!(upload.state(), failed(EcnFailure::AlwaysMarked));
    assert!(span < ms(5000), "{span:?}");
    upload.pair.finish();
}

#[test]
fn a_storm_of_marks_slows_the_sender_down_until_it_is_over() {
    let mut upload = Upload::new(1, line(), ENDLESS);
    upload.run(ms(3000));
    upload.set_policy(EcnPolicy::MarkAbove(0));
    upload.run(ms(1500));
    let during = upload.moved(ms(500));
    assert!((1_000..2_000_000).contains(&during), "{during} of 6,250,000");
    upload.set_policy(EcnPolicy::Pass);
    upload.run(ms(5000));
    let after = upload.moved(ms(2000));
    assert!(after > 22_000_000, "{after} of 25,000,000");
    assert_eq!(upload.state(), EcnState::Capable);
    upload.pair.finish();
}

#[test]
fn a_receiver_that_hides_marks_has_its_packets_dropped_like_everybody_without_ecn() {
    // A queue that marks from half a BDP on and holds one.
    let (link, bdp) = marking(50, ms(40));
    let link = LinkConfig { queue: QueueLimit::Bytes(bdp), ecn: EcnPolicy::MarkAbove(bdp / 2), ..link };
    let mut moved = Vec::new();
    for lies in [false, true] {
        let mut upload = Upload::new(1, link.clone(), ENDLESS);
        if lies {
            let server = upload.pair.server;
            upload.pair.world.node_mut(server).ecn = |ecn| ecn.map(|_| Ecn::Ect0);
        }
        moved.push(upload.moved(Duration::from_secs(20)));
        let (ecn, stats) = (upload.path().ecn, upload.link());
        assert_eq!(ecn.state, EcnState::Capable);
        assert_eq!((ecn.reported.ce == 0, stats.marked > 0), (lies, true), "{ecn:?} {stats:?}");
        assert!(stats.dropped_queue.packets * 50 < stats.sent.packets, "{stats:?}");
        upload.pair.finish();
    }
    assert!(moved[1] <= moved[0] * 110 / 100, "{moved:?}: it gains next to nothing");
}

#[test]
fn a_receiver_that_invents_marks_slows_its_own_data_down_only() {
    let mut upload = Upload::new(1, line(), ENDLESS);
    upload.run(ms(2000));
    let server = upload.pair.server;
    upload.pair.world.node_mut(server).ecn = |ecn| ecn.map(|_| Ecn::Ce);
    upload.run(ms(1500));
    let moved = upload.moved(ms(500));
    assert!((1_000..2_000_000).contains(&moved), "{moved}");
    assert_eq!(upload.state(), EcnState::Capable);
    upload.pair.finish();
}

#[test]
fn a_receiver_that_tells_nothing_gets_packets_without() {
    let mut upload = Upload::new(1, line(), 10 << 20);
    let server = upload.pair.server;
    upload.pair.world.node_mut(server).ecn = |_| None;
    upload.complete(Duration::from_secs(5));
    assert_eq!(upload.state(), failed(EcnFailure::Bleached));
    upload.pair.finish();
}

#[test]
fn counts_that_cannot_be_end_the_use_of_ecn_and_nothing_else() {
    for counts in [[1 << 40, 0, 0], [0, 0, 1 << 61], [0, 1, 0], [(1 << 62) - 1, (1 << 62) - 1, (1 << 62) - 1]]
    {
        let mut upload = Upload::new(1, line(), ENDLESS);
        upload.run(ms(1000));
        assert_eq!(upload.state(), EcnState::Capable);
        // The answerer acknowledges what it has not even received yet.
        let largest = upload.path().ecn.sent - 1;
        let server = upload.pair.server().events[0].1;
        let mut packet = Vec::new();
        let frames = ack_ecn(0, largest, 0, counts);
        assert!(upload.pair.on_server(server, |connection| fuzzing::seal(connection, &frames, &mut packet)));
        let (node, to, from) = (upload.pair.client, upload.pair.client_addr, upload.pair.server_addr);
        hand_in(&mut upload.pair.world, node, to, from, &packet);
        assert_eq!(upload.state(), failed(EcnFailure::Remarked), "{counts:?}");
        assert!(upload.pair.client().closed(upload.client).is_none());
        upload.pair.finish();
    }
}

#[test]
fn switched_off_nothing_carries_a_codepoint_and_everything_is_still_told() {
    let mut off = config();
    off.ecn = false;
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(1, line(), config(), off, Sender::new(1, 1 << 20), receiver);
    let answerer = pair.server_addr;
    pair.world.add_tap(move |passing| {
        assert!(passing.from != answerer || passing.ecn.is_none());
        Verdict::Pass
    });
    let (client, server) = pair.connect();
    assert!(pair.run_until(Duration::from_secs(3), |_| seen.borrow().finished == 1));
    assert_eq!(pair.on_server(server, |connection| connection.path().ecn.state), EcnState::Off);
    assert_eq!(pair.on_client(client, |connection| connection.path().ecn.state), EcnState::Capable);
    pair.finish();
}

#[test]
fn qotp_has_no_ecn() {
    let (receiver, seen) = Receiver::new();
    let sender = Sender::new(1, 1 << 20).bidirectional();
    let mut pair = Pair::with(1, line(), config(), config().accept_qotp(true), sender, receiver);
    pair.world.add_tap(move |passing| {
        assert_eq!(passing.ecn, None);
        // And takes no notice of what comes.
        passing.ecn = Some(Ecn::Ce);
        Verdict::Pass
    });
    let client = pair.dial_qotp(true);
    assert!(pair.run_until(Duration::from_secs(10), |_| seen.borrow().finished == 1));
    let ecn = pair.on_client(client, |connection| connection.path().ecn);
    assert_eq!((ecn.state, ecn.received), (EcnState::Off, EcnCounts::default()));
    pair.finish();
}
