//! Two endpoints, and anything that can happen to them in any order.

mod actions;
mod arbitrary;
mod duo;
mod journal;
mod verbs;

use ::arbitrary::Unstructured;
use dunlin_core::{Config, Direction, Duration, EarlyData, Overflow, TrainLimit};
use dunlin_sim::config;

use crate::input::choice;

pub use actions::{Action, Decision, Dial, Fate, Jump};
pub use duo::{Duo, Flight, SOCKETS, Side, TIMERS_PER_CALL};
pub use verbs::Verb;

/// Actions that one input has at most: enough for anything, and no input takes long.
const MAX_ACTIONS: usize = 400;

/// Both wires, and the defaults.
#[must_use]
pub fn roomy() -> Config {
    config().accept_qotp(true)
}

/// Settings that leave nothing roomy, so that every limit is met.
#[must_use]
pub fn tight() -> Config {
    let mut config = roomy();
    config.limits.per_connection = 300 << 10;
    config.limits.per_endpoint = 600 << 10;
    config.limits.connections = 6;
    config.limits.half_open = 2;
    config.limits.streams_bidi = 3;
    config.limits.streams_uni = 2;
    config.limits.send_buffer = 40 << 10;
    config.limits.stream_gaps = 4;
    config.datagrams.send_buffer = 4 << 10;
    config.datagrams.receive_buffer = 4 << 10;
    config.datagrams.overflow = Overflow::Refuse;
    config.rotate_keys_after = Some(20);
    config.keep_alive = Some(Duration::from_secs(3));
    config.packet_size = 1350;
    config.early_data = EarlyData::Apply;
    config
}

/// A dial that gets through, and a stream of each kind.
#[must_use]
pub fn opening(dial: Dial) -> [Action; 4] {
    let [both, one] =
        [Direction::Bidirectional, Direction::Unidirectional].map(|way| Action::On(0, 0, Verb::Open(way)));
    [Action::Connect(0, dial), Action::Run(Duration::from_millis(50), 0), both, one]
}

/// A session on the native wire, as the bytes say.
///
/// # Panics
/// Something does not hold.
pub fn native(data: &[u8]) {
    run(data, [Dial::Known, Dial::Unknown]);
}

/// A session in QOTP, as the bytes say.
///
/// # Panics
/// Something does not hold.
pub fn qotp(data: &[u8]) {
    run(data, [Dial::QotpKey, Dial::Qotp]);
}

fn run(data: &[u8], dials: [Dial; 2]) {
    let mut input = Unstructured::new(data);
    let Ok(kind) = choice(&mut input) else { return };
    let settings = if kind & 1 == 0 { roomy() } else { tight() };
    let dial = if kind & 2 == 0 { dials[0] } else { dials[1] };
    let mut duo = Duo::new(settings.clone(), settings);
    // Some begin with nothing.
    if kind & 0x1c != 0 {
        opening(dial).into_iter().for_each(|action| action.apply(&mut duo));
    }
    for _ in 0..MAX_ACTIONS {
        let Ok(action) = Action::take(&mut input) else { break };
        action.apply(&mut duo);
    }
    for side in 0..2 {
        duo.settle(side, TrainLimit::OFFLOAD);
    }
    duo.end();
}
