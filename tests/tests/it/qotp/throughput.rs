//! How fast QOTP is, in virtual time.

use dunlin_core::{Config, Duration, Instant};
use dunlin_sim::{LinkConfig, Loss, Ppm};

use super::kit::{Upload, qotp};
use crate::common::{line, ms};

fn in_flight(bytes: u64) -> Config {
    let mut config = qotp();
    config.qotp.max_in_flight = bytes;
    config
}

/// Bytes per second of a transfer of `bytes` over 100 Mbit/s with 20 ms of round-trip time.
fn goodput(link: LinkConfig, max_in_flight: u64, bytes: u64) -> u64 {
    let mut upload = Upload::new(1, link, [in_flight(max_in_flight), qotp()], true, 1, bytes);
    upload.complete(Duration::from_secs(60));
    let nanos = (upload.pair.now() - Instant::ZERO).as_nanos() as u64;
    upload.pair.finish();
    (bytes * 1000 * 1_000_000).checked_div(nanos / 1000).unwrap_or(0) / 1000
}

#[test]
fn a_hundred_kilobytes_in_flight_are_what_qotp_moves_in_a_round_trip() {
    // 100 kB every 20 ms and a little.
    let got = goodput(line(), 100_000, 8 << 20);
    assert!((4_200_000..5_000_000).contains(&got), "{got} bytes a second");
}

#[test]
fn more_in_flight_lets_qotp_fill_the_link() {
    // 12.5 MB/s, of which 1361 in 1400 bytes are data.
    let best = 12_500_000 * 1361 / 1400;
    let got = goodput(line(), 4_000_000, 32 << 20);
    assert!(got > best * 85 / 100, "{got} bytes a second of {best}");
    let lossy = LinkConfig { loss: Loss::Random(Ppm::percent(1)), ..line() };
    let got = goodput(lossy, 4_000_000, 32 << 20);
    assert!(got > best * 70 / 100, "{got} bytes a second of {best}, with loss");
}

#[test]
fn qotp_leaves_the_queue_of_the_link_short() {
    let mut upload = Upload::new(1, line(), [in_flight(4_000_000), qotp()], true, 1, 16 << 20);
    upload.complete(Duration::from_secs(20));
    let (from, to) = (upload.pair.client_addr, upload.pair.server_addr);
    let (link, now) = (upload.pair.world.link_between(from, to), upload.pair.now());
    let queueing = upload.pair.world.link_mut(link).stats(now).queueing.percentile(75);
    assert!(queueing < ms(20), "{queueing:?}");
    upload.pair.finish();
}

#[test]
fn the_smallest_limit_on_what_is_in_flight_is_two_packets_of_qotp() {
    for limit in [0, 1, 1400, 2800] {
        let got = goodput(line(), limit, 100_000);
        // Two packets in a round trip of 20 ms.
        assert!((100_000..145_000).contains(&got), "{got} bytes a second for {limit}");
    }
}
