//! Receivers that acknowledge what they have not received (RFC 9000 section 21.4): they are found out, and gain nothing.
//! And honest ones, who are not bothered by the numbers left out.

use core::cell::Cell;
use std::rc::Rc;

use dunlin_core::{CloseReason, ConnectionHandle, Event, TransportError, fuzzing};
use dunlin_sim::{AcceptAll, LinkConfig, Loss, Pair, Ppm, Receiver, Sender, config, seeds};

use crate::common::{DATA, drop_while, kind, line, ms, record};
use crate::frames::ack;

/// A download from the answerer. The dialler's own acknowledgements get lost from `from` on: a puppet sends others.
struct Lie {
    pair: Pair,
    client: ConnectionHandle,
    server: ConnectionHandle,
    muted: Rc<Cell<bool>>,
}

impl Lie {
    fn new(seed: u64, link: LinkConfig) -> Self {
        let (receiver, _) = Receiver::new();
        let mut pair = Pair::with(seed, link, config(), config(), receiver, Sender::new(1, 100 << 20));
        let (client, server) = pair.connect();
        let (from, to) = (pair.client_addr, pair.server_addr);
        let muted = drop_while(&mut pair.world, move |passing| {
            (passing.from, passing.to) == (from, to) && kind(passing.bytes) == DATA
        });
        muted.set(false);
        Self { pair, client, server, muted }
    }

    /// The puppet acknowledges `first` + 1 numbers up to `largest`, past the network.
    fn acknowledge(&mut self, largest: u64, first: u64) {
        let mut packet = Vec::new();
        let frames = ack(0, largest, first, &[]);
        if !self.pair.on_client(self.client, |connection| fuzzing::seal(connection, &frames, &mut packet)) {
            return;
        }
        let (to, from) = (self.pair.server_addr, self.pair.client_addr);
        crate::common::hand_in(&mut self.pair.world, self.pair.server, to, from, &packet);
        let now = self.pair.now();
        self.pair.world.run_until(now);
    }

    /// The highest number that the sender has given out.
    fn newest(&mut self) -> Option<u64> {
        if self.pair.server().closed(self.server).is_some() {
            return None;
        }
        self.pair.on_server(self.server, |connection| {
            (0..).take_while(|number| fuzzing::is_known(connection, *number)).last()
        })
    }

    fn verdict(&self) -> Option<CloseReason> {
        self.pair.server().closed(self.server).map(|(_, reason)| reason.clone())
    }
}

#[test]
fn who_acknowledges_everything_is_cut_off_before_it_gains() {
    for seed in seeds(8) {
        let honest = {
            let (receiver, seen) = Receiver::new();
            let mut pair = Pair::with(seed, line(), config(), config(), receiver, Sender::new(1, 100 << 20));
            pair.connect();
            pair.world.run_for(ms(500));
            let total = seen.borrow().total();
            pair.finish();
            total
        };
        let mut lie = Lie::new(seed, line());
        lie.muted.set(true);
        // Everything is acknowledged as soon as it is sent, long before it can have arrived.
        for _ in 0..500 {
            let Some(newest) = lie.newest() else { break };
            lie.acknowledge(newest, newest - 1);
            lie.pair.world.run_for(ms(1));
        }
        assert_eq!(lie.verdict(), Some(CloseReason::Violation(TransportError::Protocol)), "seed {seed:#x}");
        let sent = lie.pair.on_server(lie.server, |connection| connection.stats());
        assert!(sent.packets_sent < 300, "{sent:?}");
        assert!(sent.bytes_sent < honest / 10, "{} bytes sent, {honest} to an honest one", sent.bytes_sent);
        lie.muted.set(false);
        lie.pair.finish();
    }
}

#[test]
fn a_number_left_out_long_ago_is_remembered_as_long_as_its_neighbours() {
    for seed in seeds(4) {
        let mut lie = Lie::new(seed, line());
        lie.pair.world.run_for(ms(300));
        // Honest until now; then it claims a little more than it has.
        lie.muted.set(true);
        lie.pair.world.run_for(ms(30));
        let mut claimed = 0;
        while lie.verdict().is_none() && claimed < 50 {
            claimed += 1;
            let Some(newest) = lie.newest() else { break };
            lie.acknowledge(newest, newest - 1);
            lie.pair.world.run_for(ms(5));
        }
        assert_eq!(lie.verdict(), Some(CloseReason::Violation(TransportError::Protocol)));
        assert_eq!(claimed, 1, "numbers have been left out before");
        lie.muted.set(false);
        lie.pair.finish();
    }
}

#[test]
fn a_number_never_given_out_is_a_violation_as_ever() {
    let mut lie = Lie::new(1, line());
    lie.pair.world.run_for(ms(100));
    let newest = lie.newest().unwrap();
    lie.acknowledge(newest + 1, 0);
    assert_eq!(lie.verdict(), Some(CloseReason::Violation(TransportError::Protocol)));
    lie.pair.finish();
}

#[test]
fn honest_receivers_are_not_bothered() {
    for seed in seeds(4) {
        for link in [line(), LinkConfig { loss: Loss::Random(Ppm::percent(3)), ..line() }] {
            let lossless = matches!(link.loss, Loss::None);
            let (receiver, seen) = Receiver::new();
            let mut pair = Pair::with(seed, link, config(), config(), Sender::new(1, 20 << 20), receiver);
            let client = pair.dial();
            assert!(pair.run_until(ms(20_000), |_| seen.borrow().finished == 1));
            let stats = pair.on_client(client, |connection| connection.stats());
            if lossless {
                assert_eq!((stats.packets_lost, stats.spurious_losses, stats.probe_timeouts), (0, 0, 0));
                let acks = pair.server().endpoint.stats().datagrams_sent;
                assert!(acks * 100 <= stats.packets_sent * 55, "{acks} for {}", stats.packets_sent);
            }
            assert_eq!(pair.client().count(|event| matches!(event, Event::Closed(_))), 0);
            pair.finish();
        }
    }
}

#[test]
fn a_gap_costs_one_acknowledgement_and_not_more() {
    let mut pair = Pair::with(1, line(), config(), config(), AcceptAll, AcceptAll);
    let (client, _) = pair.connect();
    let seen = record(&mut pair.world);
    let (mut alone, mut sent) = (0, 0);
    // Single packets, each of which may wait for the delay of acknowledgements but for those behind a gap.
    for _ in 0..400 {
        let from = seen.borrow().len();
        pair.on_client(client, |connection| connection.send_datagram(b"x")).unwrap();
        pair.world.run_for(ms(30));
        let back = pair.server_addr;
        alone += seen.borrow()[from..].iter().filter(|seen| seen.from == back).count();
        sent += 1;
        pair.world.run_for(ms(100));
    }
    // At most five numbers are left out of the first 500.
    assert!(alone <= 10, "{alone} of {sent} are acknowledged at once");
    pair.finish();
}
