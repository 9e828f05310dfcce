//! Address validation: what may be sent to an address that has not proved itself (docs/PROTOCOL.md, "Address
//! validation").

use core::net::SocketAddr;

use dunlin_core::{Duration, Event, Peer};
use dunlin_sim::{LinkConfig, Loss, Pair, Ppm, Receiver, Sender, Verdict, config, seeds};

use crate::common::{DATA, INIT, INIT_KNOWN, copy_from, drop_if, drop_while, ms, patient, quick};

fn elsewhere() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 7], 7))
}

/// A pair whose answerer sends `bytes` as soon as it is connected, and what the dialler will have received.
fn download(
    seed: u64,
    link: LinkConfig,
    bytes: u64,
) -> (Pair, std::rc::Rc<core::cell::RefCell<dunlin_sim::Received>>) {
    let (receiver, seen) = Receiver::new();
    (Pair::with(seed, link, patient(), config(), receiver, Sender::new(1, bytes)), seen)
}

/// Runs for `span`, and asserts all the while that the answerer sends `addr` at most three times what came from there.
fn run_threefold(pair: &mut Pair, span: Duration, addr: SocketAddr) {
    let server = pair.server;
    pair.run_until(span, |world| {
        let (came, went) = world.node(server).traffic.get(&addr).copied().unwrap_or_default();
        assert!(went <= 3 * came, "{went} bytes to {addr}, from which {came} came, at {:?}", world.now());
        false
    });
}

#[test]
fn an_address_from_which_all_copies_and_the_first_data_came_is_validated() {
    let (mut pair, seen) = download(1, quick(), 200_000);
    pair.dial();
    pair.world.run_for(ms(90));
    let (came, went) = pair.server().traffic[&pair.client_addr];
    assert!(went > 3 * came, "a full window at once: {went} bytes for {came}");
    assert!(pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1));
    pair.finish();
}

#[test]
fn copies_from_two_addresses_validate_neither_until_one_answers_a_challenge() {
    for peer in [None, Some(Peer::AnyKey)] {
        let (mut pair, seen) = download(1, quick(), 200_000);
        copy_from(&mut pair, elsewhere(), &[INIT, INIT_KNOWN], Verdict::Pass);
        pair.dial_as(peer.unwrap_or_else(|| Peer::Key(pair.server_key())));
        let client = pair.client_addr;
        // Challenged at 60 ms, answered at 100.
        run_threefold(&mut pair, ms(99), client);
        assert_eq!(pair.server().count(|event| *event == Event::Connected), 1);
        pair.world.run_for(ms(10));
        let (came, went) = pair.server().traffic[&client];
        assert!(went > 3 * came, "validated: {went} bytes for {came}");
        run_threefold(&mut pair, Duration::from_secs(5), elsewhere());
        assert_eq!(seen.borrow().finished, 1);
        let (came, went) = pair.server().traffic[&elsewhere()];
        assert!(0 < went && went <= came, "a reply for each copy, and nothing else");
        pair.finish();
    }
}

#[test]
fn a_confirmation_from_another_address_starts_there_with_nothing() {
    for seed in seeds(30) {
        for percent in [0, 20, 30] {
            let link = LinkConfig { loss: Loss::Random(Ppm::percent(percent)), ..quick() };
            let (mut pair, seen) = download(seed, link, 100_000);
            let client = pair.client;
            pair.world.add_address(client, elsewhere());
            copy_from(&mut pair, elsewhere(), &[DATA], Verdict::Drop);
            pair.dial();
            let connected = |pair: &Pair| pair.server().count(|event| *event == Event::Connected) > 0;
            while !connected(&pair) && pair.now() < crate::common::at(30_000) {
                run_threefold(&mut pair, ms(1), elsewhere());
            }
            assert!(connected(&pair));
            // What goes there before the answer to the challenge can be back.
            run_threefold(&mut pair, ms(38), elsewhere());
            assert!(pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1), "{percent} %");
            assert_eq!(seen.borrow().total(), 100_000);
            pair.finish();
        }
    }
}

#[test]
fn an_address_that_never_answers_is_sent_no_more_than_threefold() {
    // Somebody passes on the dialler's packets from an address of its own, or of a victim.
    for original in [Verdict::Pass, Verdict::Drop] {
        let (mut pair, seen) = download(1, quick(), 200_000);
        copy_from(&mut pair, elsewhere(), &[DATA], original);
        pair.dial();
        run_threefold(&mut pair, Duration::from_secs(300), elsewhere());
        assert!(pair.server().traffic[&elsewhere()].1 > 0, "it is challenged");
        assert_eq!(seen.borrow().finished, 0);
        pair.finish();
    }
}

#[test]
fn challenges_are_repeated_while_there_is_something_to_send_for() {
    let (mut pair, seen) = download(1, quick(), 50_000);
    let client = pair.client;
    pair.world.add_address(client, elsewhere());
    copy_from(&mut pair, elsewhere(), &[DATA], Verdict::Drop);
    let lost = drop_while(&mut pair.world, |passing| passing.to == elsewhere());
    pair.dial();
    run_threefold(&mut pair, ms(400), elsewhere());
    lost.set(false);
    assert!(pair.run_until(Duration::from_secs(10), |_| seen.borrow().finished == 1));
    pair.finish();
}

#[test]
fn no_three_losses_leave_an_address_unproved_for_ever() {
    // Both sides have nothing to repeat when an acknowledgement is the last thing that arrives: whatever is lost, the
    // challenge must be answered some time.
    for lost in (2..14).flat_map(|a| (a..14).flat_map(move |b| (b..14).map(move |c| [a, b, c]))) {
        let (mut pair, seen) = download(1, quick(), 20_000);
        let client = pair.client;
        pair.world.add_address(client, elsewhere());
        let mut count = 0;
        drop_if(&mut pair.world, move |_| {
            count += 1;
            lost.contains(&(count - 1))
        });
        copy_from(&mut pair, elsewhere(), &[DATA], Verdict::Drop);
        pair.dial();
        assert!(pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1), "without {lost:?}");
        pair.finish();
    }
}
