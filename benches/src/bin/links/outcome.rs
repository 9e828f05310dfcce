//! The figures of one flow in one scenario, as they are printed.

use dunlin_sim::{Duration, Instant, Ppm};
use serde::Serialize;

use crate::cell::Cell;
use crate::measure::{self, Capacity};
use crate::run::{Flow, Peer, Run, Setup, run};
use crate::stack::Load;

/// How much longer than the link alone a run may take: what is slower is counted as what it had carried by then.
const PATIENCE: u32 = 10;
/// The dials and the last round trips of small cells are in it too.
const GRACE: Duration = Duration::from_secs(10);

/// See the module's documentation. Shares are of 1.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// The scenario.
    pub(crate) link: String,
    pub(crate) peer: &'static str,
    pub(crate) seed: u64,
    /// Data that the application read, of what the bottleneck could carry.
    pub(crate) utilisation: f64,
    /// The same from half of the time on.
    pub(crate) utilisation_second_half: f64,
    /// How long the queue was, in the time that it added: for half of the time it was shorter.
    pub(crate) queue_p50_ms: f64,
    /// The same for 95 % of the time.
    pub(crate) queue_p95_ms: f64,
    /// The bandwidth-delay product in the same unit: the round-trip time.
    pub(crate) rtt_ms: f64,
    /// Datagrams that the link lost, of those that were sent.
    pub(crate) lost: f64,
    /// Of these, those that its queue had no room for.
    pub(crate) lost_queue: f64,
    pub(crate) packets_sent: u64,
    pub(crate) packets_lost: u64,
    /// Until 90 % of what the link delivers was used, over two round trips and at least 100 ms.
    pub(crate) time_to_90_ms: Option<f64>,
    pub(crate) bytes: u64,
    /// Virtual time from the dial to the last byte.
    pub(crate) seconds: f64,
    /// Whether everything arrived before patience ended.
    pub(crate) complete: bool,
}

/// Runs one flow over a cell.
pub(crate) fn run_cell(cell: &Cell, peer: Peer, seed: u64) -> Outcome {
    let limit = cell.link_time() * PATIENCE + GRACE;
    let setup = Setup {
        seed,
        forward: cell.forward(),
        back: cell.back(),
        pipe: cell.bdp() + cell.queue_bytes(),
        flows: vec![Flow { peer, start: Duration::ZERO, load: Load::Bulk(cell.bytes) }],
        limit,
        every: Duration::from_millis(10),
        gauges: false,
    };
    let run = run(&setup);
    let delivers = 1.0 - f64::from(cell.loss.get()) / f64::from(Ppm::ALWAYS.get());
    describe(&run, cell.to_string(), peer, seed, (cell.rtt, &cell.rate, delivers))
}

/// The figures of a run of one flow, over a link with this round-trip time and capacity that delivers such a share.
fn describe(
    run: &Run,
    link: String,
    peer: Peer,
    seed: u64,
    (rtt, capacity, delivers): (Duration, &impl Capacity, f64),
) -> Outcome {
    let arrived = run.arrived[0];
    // A run that did not end is measured to its limit: it stalled, or was too slow.
    let end = if arrived.ended { arrived.last } else { run.end };
    let half = Instant::from_nanos(end.as_nanos() / 2);
    let (lost_queue, lost_wire) = measure::lost(&run.forward);
    let window = (rtt * 2).max(Duration::from_millis(100));
    let queue = |percent| round(run.forward.queueing.percentile(percent).as_secs_f64() * 1e3, 3);
    let stats = &run.forward;
    Outcome {
        link,
        peer: peer.name(),
        seed,
        utilisation: round(measure::utilisation(run, capacity, Instant::ZERO, end), 4),
        utilisation_second_half: round(measure::utilisation(run, capacity, half, end), 4),
        queue_p50_ms: queue(50),
        queue_p95_ms: queue(95),
        rtt_ms: rtt.as_secs_f64() * 1e3,
        lost: round(lost_queue + lost_wire, 5),
        lost_queue: round(lost_queue, 5),
        packets_sent: stats.sent.packets,
        packets_lost: stats.dropped_queue.packets + stats.dropped_loss.packets,
        time_to_90_ms: measure::time_to(run, capacity, Instant::ZERO, window, 0.9 * delivers)
            .map(|time| round(time.as_secs_f64() * 1e3, 0)),
        bytes: arrived.bytes,
        seconds: round(measure::seconds(end), 3),
        complete: arrived.ended,
    }
}

/// Rounded to so many decimal places, for print.
fn round(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round() / scale
}
