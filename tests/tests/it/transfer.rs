//! Streams of data across all kinds of links.

use dunlin_core::{Duration, Instant};
use dunlin_sim::{LinkConfig, Loss, Pair, Ppm, Receiver, Sender, config, seeds};

use crate::common::line;

fn transfer(seed: u64, link: LinkConfig, streams: usize, bytes: u64, span: Duration) -> Duration {
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(seed, link, config(), config(), Sender::new(streams, bytes), receiver);
    let client = pair.dial();
    let done = pair.run_until(span, |_| seen.borrow().finished == streams);
    let (total, bytes) = (seen.borrow().total(), bytes * streams as u64);
    assert!(done, "{total} of {bytes} bytes, {:?}", pair.on_client(client, |c| (c.stats(), c.path())));
    assert_eq!(total, bytes);
    let span = pair.now() - Instant::ZERO;
    pair.finish();
    span
}

#[test]
fn one_stream_arrives_whole() {
    let time = transfer(1, line(), 1, 10 << 20, Duration::from_secs(10));
    assert!(time < Duration::from_millis(1400), "{time:?}");
}

#[test]
fn many_streams_share_a_line() {
    transfer(1, line(), 1000, 5_000, Duration::from_secs(10));
}

#[test]
fn loss_reordering_and_duplication_are_repaired() {
    for seed in seeds(4) {
        for loss in [1, 10] {
            let link = LinkConfig {
                loss: Loss::Random(Ppm::percent(loss)),
                reorder: Ppm::percent(1),
                reorder_by: Duration::from_millis(3),
                duplicate: Ppm::percent(1),
                corrupt: Ppm::percent(1),
                jitter: Duration::from_millis(1),
                ..line()
            };
            transfer(seed, link, 3, 4 << 20, Duration::from_secs(60));
        }
    }
}

#[test]
fn a_slow_reader_slows_the_sender_and_nothing_else() {
    let (receiver, seen) = Receiver::slow(10_000, Duration::from_millis(10));
    let mut pair = Pair::with(1, line(), config(), config(), Sender::new(1, 4 << 20), receiver);
    pair.dial();
    assert!(pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1), "{:?}", seen.borrow());
    let span = pair.now() - Instant::ZERO;
    assert!((Duration::from_secs(4)..Duration::from_secs(6)).contains(&span), "{span:?} at 1 MB/s");
    pair.finish();
}
