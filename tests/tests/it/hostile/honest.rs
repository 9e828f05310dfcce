//! The other side of every limit: honest peers over the worst of networks, which none of them may trip. One packet in twenty is
//! lost, one in twenty comes up to two seconds late, data goes both ways, and whoever reads is slower than the line.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{Config, DropReason, Duration};
use dunlin_sim::{Both, LinkConfig, Loss, Pair, Ppm, QueueLimit, Rate, Received, Receiver, Sender, config};

use crate::common::ms;

/// A wire, a network and a reader.
#[derive(Clone, Copy, Debug)]
struct Case {
    qotp: bool,
    /// Of the line, in Mbit/s.
    rate: u32,
    /// What is read every 50 ms, in KiB.
    read: usize,
    /// What is sent, each way.
    bytes: u64,
    /// The most packets of a million that may come later than numbers are remembered, or while more of them begin to be: what is
    /// not known then counts as seen.
    too_old: u64,
}

/// Slower than a line of 20 Mbit/s.
const SLOW: Case = Case { qotp: false, rate: 20, read: 96, bytes: 12 << 20, too_old: 0 };
/// Slower than a line of 200 Mbit/s, on which two seconds are 34,000 packets.
const FAST: Case = Case { rate: 200, read: 1_000, bytes: 48 << 20, too_old: 3_000, ..SLOW };

impl Case {
    fn link(self) -> LinkConfig {
        LinkConfig {
            rate: Some(Rate::mbit(self.rate)),
            delay: ms(20),
            queue: QueueLimit::Bytes(1_000_000),
            loss: Loss::Random(Ppm::percent(5)),
            reorder: Ppm::percent(5),
            reorder_by: Duration::from_secs(2),
            ..LinkConfig::default()
        }
    }

    fn app(self) -> (Both<Sender, Receiver>, Rc<RefCell<Received>>) {
        let sender = Sender::new(1, self.bytes);
        let (receiver, seen) = Receiver::slow(self.read << 10, ms(50));
        (Both(if self.qotp { sender.bidirectional() } else { sender }, receiver), seen)
    }

    fn config(self) -> Config {
        if self.qotp { config().accept_qotp(true) } else { config() }
    }

    /// Transfers all, and says what no limit has to do with it: that everything arrives, and how fast.
    fn run(self, seed: u64) {
        let ((client, down), (server, up)) = (self.app(), self.app());
        let mut pair = Pair::with(seed, self.link(), self.config(), self.config(), client, server);
        if self.qotp {
            pair.dial_qotp(true);
        } else {
            pair.dial();
        }
        let start = pair.now();
        // Ten times as long as the line would take.
        let patience = Duration::from_secs(self.bytes * 8 / u64::from(self.rate) / 100_000 + 20);
        let done =
            pair.run_until(patience, |_| [&up, &down].iter().all(|seen| seen.borrow().total() == self.bytes));
        let took = pair.now() - start;
        let got = [&up, &down].map(|seen| seen.borrow().total());
        println!("{self:?}: {} Mbit/s each way", got[0] * 8 / (took.as_micros() as u64).max(1));
        assert!(done, "{self:?}: {got:?} bytes after {took:?}");
        for host in [pair.client(), pair.server()] {
            let stats = host.endpoint.stats();
            println!(
                "{} packets, too old {}, duplicates {}, withheld {}",
                stats.datagrams_received,
                stats.dropped(DropReason::TooOld),
                stats.dropped(DropReason::Duplicate),
                stats.dropped(DropReason::OverBudget),
            );
            assert_eq!(stats.dropped(DropReason::OverBudget), 0, "{self:?}");
            let refused = stats.dropped(DropReason::TooOld) + stats.dropped(DropReason::Duplicate);
            assert!(
                refused <= stats.datagrams_received * self.too_old / 1_000_000,
                "{self:?}: {refused} packets"
            );
        }
        pair.finish();
    }
}

#[test]
fn hostile_limits_are_none_for_honest_peers_over_a_slow_line() {
    SLOW.run(1);
}

#[test]
fn hostile_limits_are_none_for_honest_peers_over_a_fast_line() {
    FAST.run(1);
}

#[test]
fn hostile_limits_are_none_for_honest_peers_of_qotp() {
    Case { qotp: true, bytes: 4 << 20, ..SLOW }.run(1);
    Case { qotp: true, bytes: 4 << 20, ..FAST }.run(1);
}

#[test]
#[ignore = "ten gigabytes take some minutes: run it with --release"]
fn hostile_limits_are_none_for_ten_gigabytes_of_honest_peers() {
    Case { bytes: 1 << 30, ..SLOW }.run(1);
    Case { bytes: 4 << 30, ..FAST }.run(1);
}
