//! The contract of the engine's verbs, as properties of arbitrary sequences of them.

mod actions;
mod bounds;

use dunlin_core::{Config, Duration, RetryPolicy, TrainLimit};
use dunlin_fuzzing::session::{Action, Dial, Duo, opening, roomy, tight};
use dunlin_sim::config;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use actions::action;

/// Settings that nobody should choose.
fn odd() -> impl Strategy<Value = Config> {
    let size = |usual| prop_oneof![12 => Just(usual), 1 => Just(0), 1 => 0..200_000u64, 1 => Just(u64::MAX)];
    let (memory, window) = (|| size(2 << 20), || size(50_000));
    let count = || prop_oneof![8 => Just(10), 1 => Just(0), 1 => 0..5u32, 1 => Just(u32::MAX)];
    let span = || {
        let odd = prop_oneof![Just(Duration::ZERO), Just(Duration::from_nanos(1)), Just(Duration::MAX)];
        prop_oneof![4 => (1..5_000u64).prop_map(Duration::from_millis), 1 => odd]
    };
    let limits =
        (memory(), memory(), window(), window(), window(), memory(), count(), count(), count(), 0..3usize);
    let sizes = (any::<u16>(), any::<u16>(), window(), window(), any::<bool>());
    let qotp = (any::<bool>(), any::<u16>(), window());
    let spans = (proptest::option::of(span()), proptest::option::of(span()), span(), span(), span());
    let retry = prop_oneof![
        4 => Just(RetryPolicy::UnderLoad),
        1 => Just(RetryPolicy::Always),
        1 => Just(RetryPolicy::Never),
    ];
    let load = (retry, count(), count(), proptest::option::of(span()));
    (limits, sizes, spans, qotp, load, any::<bool>()).prop_map(
        |(limits, sizes, spans, qotp, load, announce)| {
            let mut config = config().accept_qotp(qotp.0);
            (config.qotp.mtu, config.qotp.max_in_flight) = (qotp.1, qotp.2);
            config.announce_streams = announce;
            let all = &mut config.limits;
            (all.per_connection, all.per_endpoint, all.initial_window) = (limits.0, limits.1, limits.2);
            (all.max_window, all.max_stream_window, all.send_buffer) = (limits.3, limits.4, limits.5);
            (all.streams_bidi, all.streams_uni, all.connections) = (limits.6, limits.7, limits.8);
            // No longer than the test waits for the end.
            (all.stream_gaps, all.half_open_lifetime) = (limits.9, spans.2.min(Duration::from_secs(100)));
            (config.packet_size, config.max_receive_size) = (sizes.0, sizes.1);
            (config.datagrams.send_buffer, config.datagrams.receive_buffer) =
                (sizes.2 as u32, sizes.3 as u32);
            (config.retry, config.rotate_keys_every) = (load.0, load.3);
            // Ten operations are two handshakes a second.
            (config.limits.dh_per_second, config.limits.stateless_per_second) = (load.1, load.2);
            config.rotate_keys_after = sizes.4.then_some(0);
            (config.idle_timeout, config.keep_alive) = (spans.0, spans.1);
            (config.connect_timeout, config.max_ack_delay) = (spans.3, spans.4);
            config
        },
    )
}

fn run(settings: &[Config; 2], actions: &[Action], monotonic: bool) -> Duo {
    let [dialler, answerer] = settings.clone();
    let mut duo = Duo::new(dialler, answerer);
    duo.monotonic = monotonic;
    for action in actions {
        action.clone().apply(&mut duo);
    }
    for side in 0..2 {
        duo.settle(side, TrainLimit::OFFLOAD);
    }
    duo
}

/// A dial that gets through, then anything.
fn actions(count: usize) -> impl Strategy<Value = Vec<Action>> {
    let dial = prop_oneof![3 => Just(Dial::Known), 2 => Just(Dial::QotpKey), 1 => Just(Dial::Qotp)];
    (dial, proptest::collection::vec(action(), 0..count))
        .prop_map(|(dial, actions)| opening(dial).into_iter().chain(actions).collect())
}

/// So many cases, the same in every run; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for others.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let set = |variable| std::env::var_os(variable).is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if set("PROPTEST_CASES") { default.cases } else { cases },
        rng_seed: if set("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(0) },
        max_shrink_iters: 5_000,
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(cases(400))]

    /// Whatever is called in whatever order: no panic, trains within their limits, deadlines that are exact, and in
    /// the end nothing is left.
    #[test]
    fn any_order_of_calls_is_harmless(actions in actions(120), wide: bool) {
        let settings = if wide { roomy() } else { tight() };
        run(&[settings.clone(), settings], &actions, false).end();
    }

    /// The same with settings that make no sense: a connection may be impossible then, but nothing worse.
    #[test]
    fn no_settings_are_dangerous(dialler in odd(), answerer in odd(), actions in actions(60)) {
        run(&[dialler, answerer], &actions, false).end();
    }

    /// The same inputs give the same outputs, to the byte; an older time counts as the latest one told.
    #[test]
    fn a_run_can_be_repeated(actions in actions(100), wide: bool) {
        let settings = if wide { roomy() } else { tight() };
        let settings = [settings.clone(), settings];
        let first = run(&settings, &actions, false).trace.value();
        prop_assert_eq!(run(&settings, &actions, false).trace.value(), first, "a second run");
        prop_assert_eq!(run(&settings, &actions, true).trace.value(), first, "time that never goes back");
    }
}
