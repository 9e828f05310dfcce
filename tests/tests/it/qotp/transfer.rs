//! QOTP between two endpoints of ours.

use dunlin_core::{Config, Duration, Instant};
use dunlin_sim::{LinkConfig, Loss, Pair, Ppm, Receiver, Sender, config, seeds};

use crate::common::line;

fn qotp() -> Config {
    config().accept_qotp(true)
}

fn transfer(
    seed: u64,
    link: LinkConfig,
    known: bool,
    streams: usize,
    bytes: u64,
    span: Duration,
) -> Duration {
    let (receiver, seen) = Receiver::new();
    let mut pair =
        Pair::with(seed, link, qotp(), qotp(), Sender::new(streams, bytes).bidirectional(), receiver);
    let client = pair.dial_qotp(known);
    let done = pair.run_until(span, |_| seen.borrow().finished == streams);
    let (total, bytes) = (seen.borrow().total(), bytes * streams as u64);
    assert!(done, "{total} of {bytes} bytes, {:?}", pair.on_client(client, |c| (c.stats(), c.path())));
    assert_eq!(total, bytes);
    let span = pair.now() - Instant::ZERO;
    pair.finish();
    span
}

#[test]
fn qotp_moves_streams_in_both_flows() {
    for known in [false, true] {
        for streams in [1, 4] {
            let time = transfer(1, line(), known, streams, 1 << 20, Duration::from_secs(30));
            std::println!("{known} {streams} {time:?}");
        }
    }
}

#[test]
fn qotp_survives_loss_and_reordering() {
    for seed in seeds(2) {
        let link = LinkConfig {
            loss: Loss::Random(Ppm::percent(5)),
            reorder: Ppm::percent(2),
            reorder_by: Duration::from_millis(3),
            duplicate: Ppm::percent(1),
            jitter: Duration::from_millis(1),
            ..line()
        };
        let time = transfer(seed, link, seed % 2 == 0, 4, 4 << 20, Duration::from_secs(120));
        std::println!("{seed} {time:?}");
    }
}
