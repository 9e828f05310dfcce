//! Arbitrary networks, settings and readers: everything arrives.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{Config, Duration, Event};
use dunlin_sim::{
    Both, LinkConfig, Loss, Pair, Ppm, QueueLimit, Rate, Received, Receiver, Rng, Sender, seeds,
};

use super::kit::qotp;
use crate::common::ms;

fn link(rng: &mut Rng) -> LinkConfig {
    let loss = match rng.below(4) {
        0 => Loss::None,
        1 => Loss::GilbertElliott {
            to_bad: Ppm::percent(1),
            to_good: Ppm::percent(15),
            in_good: Ppm::NEVER,
            in_bad: Ppm::percent(60),
        },
        _ => Loss::Random(Ppm::percent(rng.below(10) as u32)),
    };
    LinkConfig {
        rate: Some(Rate::mbit(2 + rng.below(200) as u32)),
        delay: ms(rng.below(80)),
        queue: QueueLimit::Bytes(20_000 + rng.below(500_000) as usize),
        jitter: ms(rng.below(10)),
        loss,
        reorder: Ppm::percent(rng.below(20) as u32),
        reorder_by: ms(1 + rng.below(30)),
        duplicate: Ppm::percent(rng.below(10) as u32),
        corrupt: Ppm::percent(rng.below(3) as u32),
        ..LinkConfig::default()
    }
}

fn settings(rng: &mut Rng) -> Config {
    let mut config = qotp();
    config.connect_timeout = Duration::from_secs(60);
    config.limits.max_window = [1000, 20_000, 100_000, 32 << 20][rng.below(4) as usize];
    config.limits.per_connection = [1_500_000, 3_000_000, 128 << 20][rng.below(3) as usize];
    config.limits.stream_gaps = [1, 10, 4096][rng.below(3) as usize];
    config.qotp.max_in_flight = [2000, 30_000, 100_000, 2_000_000][rng.below(4) as usize];
    config.announce_streams = rng.below(2) == 0;
    config.keep_alive = (rng.below(2) == 0).then_some(ms(700));
    config
}

/// Streams and bytes on each.
type Sent = (usize, u64);

/// An application that sends streams and reads those of the other side at a pace of its own; what it will have read and
/// what it sends.
fn app(rng: &mut Rng) -> (Both<Sender, Receiver>, Rc<RefCell<Received>>, Sent) {
    let sent = (1 + rng.below(20) as usize, rng.below(40_000));
    let (receiver, seen) = match rng.below(3) {
        0 => Receiver::slow(1 + rng.below(20_000) as usize + sent.1 as usize / 20, ms(1 + rng.below(100))),
        _ => Receiver::new(),
    };
    (Both(Sender::new(sent.0, sent.1).bidirectional(), receiver), seen, sent)
}

#[test]
fn arbitrary_qotp_sessions_come_to_their_end() {
    for seed in seeds(60) {
        let rng = &mut Rng::new(seed);
        let (client_app, client_seen, by_client) = app(rng);
        let (server_app, server_seen, by_server) = app(rng);
        let (link, known) = (link(rng), rng.below(2) == 0);
        // Nobody tells the other side how many streams it takes: with other limits there it may take minutes.
        let streams = [3, 10, 100][rng.below(3) as usize];
        let settings = [settings(rng), settings(rng)].map(|mut settings| {
            settings.limits.streams_bidi = streams;
            settings
        });
        let [dialler, answerer] = settings.clone();
        let mut pair = Pair::with(seed, link.clone(), dialler, answerer, client_app, server_app);
        pair.dial_qotp(known);
        let streams = by_client.0 + by_server.0;
        let whole = |seen: &Received| seen.finished == streams;
        let done = pair.run_until(Duration::from_secs(300), |_| {
            whole(&client_seen.borrow()) && whole(&server_seen.borrow())
        });
        let ends: Vec<Event> = [pair.client(), pair.server()]
            .iter()
            .flat_map(|host| host.events.iter().map(|(_, _, event)| event.clone()))
            .filter(|event| matches!(event, Event::Closed(_)))
            .collect();
        let what = format!("{link:?}\n{settings:#?}\n{by_client:?} {by_server:?} {ends:?}");
        let seen = [client_seen, server_seen].map(|seen| (seen.borrow().finished, seen.borrow().total()));
        assert!(done, "{seen:?} of {streams}\n{what}");
        let total = |sent: Sent| sent.0 as u64 * sent.1;
        assert_eq!(seen.map(|seen| seen.1), [total(by_server), total(by_client)], "{what}");
        assert_eq!(ends, []);
        pair.finish();
    }
}
