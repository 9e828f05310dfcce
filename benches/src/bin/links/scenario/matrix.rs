//! The matrix: rate, round-trip time, random loss, queue.

use dunlin_sim::{Duration, Ppm, Rate};

use super::Scenario;
use crate::cell::Cell;
use crate::units::QueueSize;

/// In Mbit/s.
const RATES: [u32; 4] = [1, 10, 100, 1000];
/// In milliseconds.
const RTTS: [u64; 4] = [5, 40, 100, 300];
/// In parts per million.
const LOSSES: [u32; 4] = [0, 1_000, 10_000, 50_000];
/// In thousandths of the product of bandwidth and delay.
const QUEUES: [u32; 3] = [500, 1_000, 4_000];

/// All cells, the smallest first.
pub(crate) fn matrix() -> Vec<Scenario> {
    let mut cells = Vec::new();
    for rate in RATES {
        for rtt in RTTS {
            for loss in LOSSES {
                for queue in QUEUES {
                    let (rate, rtt) = (Rate::mbit(rate), Duration::from_millis(rtt));
                    let cell = Cell::new(rate, rtt, Ppm::new(loss), QueueSize::MilliBdp(queue));
                    cells.push(Scenario { quick: is_quick(&cell), ..Scenario::cell(cell) });
                }
            }
        }
    }
    cells
}

/// Some links of each rate, with all losses and two queues; of the fastest, which takes longest to simulate, one.
fn is_quick(cell: &Cell) -> bool {
    let links = [(1, 100), (10, 40), (100, 40), (100, 300)]
        .map(|(rate, rtt)| (Rate::mbit(rate), Duration::from_millis(rtt)));
    let fast = cell.rate == Rate::mbit(1000) && cell.rtt == Duration::from_millis(40);
    let few = cell.queue == QueueSize::bdp(1) && [Ppm::NEVER, Ppm::percent(1)].contains(&cell.loss);
    (links.contains(&(cell.rate, cell.rtt)) && cell.queue != QueueSize::MilliBdp(500)) || (fast && few)
}
