//! A transfer across a bad network, in virtual time: `cargo run -p dunlin-sim --example lossy [seed]`.

use std::time::Instant as Clock;

use dunlin_sim::{Duration, LinkConfig, Loss, Pair, Ppm, QueueLimit, Rate, Receiver, Sender, config};

fn main() {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let link = LinkConfig {
        rate: Some(Rate::mbit(50)),
        delay: Duration::from_millis(40),
        queue: QueueLimit::Bytes(500_000),
        loss: Loss::Random(Ppm::percent(2)),
        ..LinkConfig::default()
    };
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(seed, link, config(), config(), Sender::new(1, 16 << 20), receiver);
    let clock = Clock::now();
    let client = pair.dial();
    let done = pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1);
    let stats = pair.on_client(client, |connection| connection.stats());
    let seconds = pair.now().as_nanos() as f64 / 1e9;
    println!("{} bytes arrived {} and intact", seen.borrow().total(), if done { "whole" } else { "in part" });
    println!(
        "{seconds:.2} virtual seconds ({:.1} Mbit/s over 50 Mbit/s, 80 ms, 2 % loss) took {:.2} real ones",
        seen.borrow().total() as f64 * 8e-6 / seconds,
        clock.elapsed().as_secs_f64()
    );
    println!("{} of {} packets were lost", stats.packets_lost, stats.packets_sent);
}
