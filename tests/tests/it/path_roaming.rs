//! From one network to another and back, with and without word of it, and with times in which there is none.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{Config, Duration, NetworkChange};
use dunlin_sim::{End, LinkConfig, Rate, Received, Receiver, Sender, Topology, Web, config, seeds};

use crate::common::{line, ms};
use crate::duo::{BOTH, Duo, Side};

/// More than is sent in the time of a test.
const ENDLESS: u64 = 1 << 32;

/// A wireless network at home, 20 ms there and back.
const WIFI: usize = 0;
/// A cellular one, 60 ms there and back.
const CELLULAR: usize = 1;
const BOTH_NETWORKS: [usize; 2] = [WIFI, CELLULAR];

/// Two round trips of the slower network, and a quarter of a second.
const AT_ONCE: Duration = Duration::from_millis(2 * 60 + 250);
/// The same, and the longest time between two probes.
const AT_THE_NEXT_PROBE: Duration = Duration::from_millis(2 * 60 + 2_250);

fn mobile() -> Topology {
    let network = |mbit, millis| LinkConfig { rate: Some(Rate::mbit(mbit)), delay: ms(millis), ..line() };
    Topology::fan(&[network(10, 10), network(5, 30)])
}

/// However long the network is away, it is no reason to end.
fn patient() -> Config {
    let mut settings = config();
    settings.idle_timeout = None;
    settings
}

/// Data flows from one side; the dialler has both networks, and by itself a path over each.
fn roaming(seed: u64, sender: Side) -> (Duo, Rc<RefCell<Received>>) {
    let ((receiver, received), sending) = (Receiver::new(), Sender::new(1, ENDLESS));
    let (topology, [client, server]) = (mobile(), [patient(), patient()]);
    let web = match sender {
        Side::Client => Web::with(seed, &topology, client, server, sending, receiver),
        Side::Server => Web::with(seed, &topology, client, server, receiver, sending),
    };
    let mut duo = Duo::over(web);
    duo.run(ms(6000));
    assert_eq!(BOTH.map(|side| duo.paths(side).len()), [2; 2]);
    (duo, received)
}

fn report(duo: &mut Duo) {
    let (client, now) = (duo.web.pair.client, duo.web.pair.now());
    let endpoint = &mut duo.web.pair.world.node_mut(client).endpoint;
    endpoint.network_changed(now, NetworkChange::Unspecified);
}

/// How long from now until something arrives that was not under way.
fn resumes_after(duo: &mut Duo, received: &RefCell<Received>) -> Duration {
    let from = duo.web.pair.now();
    duo.web.pair.run_until(ms(30_000), |_| received.borrow().arrivals.first_after(from).is_some());
    received.borrow().arrivals.first_after(from).unwrap_or(Duration::MAX)
}

#[test]
fn path_from_one_network_to_another_and_back_carries_on() {
    for (seed, reported) in seeds(2).zip([true, false]) {
        for sender in BOTH {
            for gap in [0, 100, 2_000, 20_000] {
                let (mut duo, received) = roaming(seed, sender);
                duo.web.down(End::Client(CELLULAR));
                for [from, to] in [[WIFI, CELLULAR], [CELLULAR, WIFI], [WIFI, CELLULAR]] {
                    duo.web.down(End::Client(from));
                    // What is under way still comes.
                    duo.run(ms(gap).max(ms(100)));
                    duo.web.up(End::Client(to));
                    if reported {
                        report(&mut duo);
                    }
                    let pause = resumes_after(&mut duo, &received);
                    let most = if reported { AT_ONCE } else { AT_THE_NEXT_PROBE };
                    assert!(
                        pause <= most,
                        "{sender:?} sends, gap {gap} ms, reported {reported}, to {to}: {pause:?}"
                    );
                    duo.run(ms(3000));
                }
            }
        }
    }
}

/// The network that is left goes before the other one comes: data is where it can be at any time.
#[test]
fn path_that_is_there_before_the_other_one_goes_takes_over_within_a_second() {
    for sender in BOTH {
        let (mut duo, received) = roaming(1, sender);
        for gone in [WIFI, CELLULAR, WIFI] {
            let from = duo.web.pair.now();
            duo.web.down(End::Client(gone));
            duo.run(ms(4000));
            let gap = received.borrow().arrivals.longest_gap(from, duo.web.pair.now());
            assert!(gap < ms(1000), "{sender:?}: {gap:?}");
            duo.web.up(End::Client(gone));
            duo.run(ms(8000));
        }
    }
}

#[test]
fn path_of_a_machine_that_slept_for_a_minute_goes_on_at_once() {
    for sender in BOTH {
        for sleeper in BOTH {
            let (mut duo, received) = roaming(1, sender);
            let node = if sleeper == Side::Client { duo.web.pair.client } else { duo.web.pair.server };
            duo.web.pair.world.node_mut(node).asleep = true;
            duo.run(ms(60_000));
            duo.web.pair.world.node_mut(node).asleep = false;
            let pause = resumes_after(&mut duo, &received);
            let what = format!("{sender:?} sends, {sleeper:?} slept: {pause:?}");
            assert!(pause <= if sleeper == sender { AT_ONCE } else { AT_THE_NEXT_PROBE }, "{what}");
            duo.run(ms(20_000));
            assert_eq!(BOTH.map(|side| duo.paths(side).len()), [2; 2], "{what}");
        }
    }
}

#[test]
fn path_outage_of_any_length_ends_with_the_next_probe_or_report() {
    for (seed, millis) in seeds(6).zip([500, 2_000, 8_000, 20_000, 60_000, 120_000]) {
        for sender in BOTH {
            for reported in [true, false] {
                let (mut duo, received) = roaming(seed, sender);
                BOTH_NETWORKS.into_iter().for_each(|network| duo.web.down(End::Client(network)));
                duo.run(ms(millis));
                BOTH_NETWORKS.into_iter().for_each(|network| duo.web.up(End::Client(network)));
                if reported {
                    report(&mut duo);
                }
                let pause = resumes_after(&mut duo, &received);
                let most = if reported { AT_ONCE } else { AT_THE_NEXT_PROBE };
                assert!(pause <= most, "{sender:?} sends, {millis} ms, reported {reported}: {pause:?}");
            }
        }
    }
}
