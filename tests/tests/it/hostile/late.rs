//! Packets that come very late are no attack: the honest worst case, which no limit on what is remembered may trip.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{DropReason, Duration};
use dunlin_sim::{LinkConfig, Loss, Pair, Ppm, QueueLimit, Rate, Received, Receiver, Sender, config};

use crate::common::ms;

/// One packet in twenty comes up to two seconds late, and one in a hundred never.
fn late(mbit: u32) -> LinkConfig {
    LinkConfig {
        rate: Some(Rate::mbit(mbit)),
        delay: ms(20),
        queue: QueueLimit::Bytes(1_000_000),
        loss: Loss::Random(Ppm::percent(1)),
        reorder: Ppm::percent(5),
        reorder_by: Duration::from_secs(2),
        ..LinkConfig::default()
    }
}

fn upload(mbit: u32, bytes: u64) -> (Pair, Rc<RefCell<Received>>) {
    let (receiver, received) = Receiver::new();
    let mut pair = Pair::with(1, late(mbit), config(), config(), Sender::new(1, bytes), receiver);
    pair.connect();
    (pair, received)
}

#[test]
fn packets_two_seconds_late_trip_no_limit() {
    // At 20 Mbit/s two seconds are 3,440 packets, at 100 Mbit/s 17,200: the window of remembered numbers follows.
    for (mbit, too_old) in [(20, 0), (100, 10)] {
        let (mut pair, received) = upload(mbit, u64::from(mbit) * 1_000_000);
        let done = pair.run_until(Duration::from_secs(12), |_| received.borrow().finished == 1);
        assert!(done, "{mbit} Mbit/s: {} bytes", received.borrow().total());
        assert_eq!(received.borrow().total(), u64::from(mbit) * 1_000_000);
        let late = pair.server().dropped(DropReason::TooOld);
        assert!(late <= too_old, "{mbit} Mbit/s: {late} packets were too old");
        for host in [pair.client(), pair.server()] {
            assert_eq!(host.dropped(DropReason::OverBudget), 0, "{mbit} Mbit/s");
        }
        pair.finish();
    }
}
