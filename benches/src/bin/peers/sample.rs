//! What one run gives.

use serde::{Deserialize, Serialize};

use crate::process::Meter;

/// The figures of a run.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// What was done: bytes, or operations.
    pub(crate) amount: f64,
    pub(crate) seconds: f64,
    /// Processor seconds of client and server.
    pub(crate) cpu: [f64; 2],
    /// How long one operation took, in microseconds: half of them took less.
    pub(crate) p50_us: Option<f64>,
    /// The same for 99 %.
    pub(crate) p99_us: Option<f64>,
    /// What the processes grew by, client and server, in bytes.
    pub(crate) growth: Option<[f64; 2]>,
}

impl Sample {
    /// What a meter says at the end of so much work.
    pub(crate) fn new(meter: Meter, amount: u64) -> Self {
        let (seconds, cpu) = meter.stop();
        Self { amount: amount as f64, seconds, cpu, ..Self::default() }
    }

    /// With the times that single operations took, in nanoseconds.
    pub(crate) fn with_times(mut self, mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        let at = |percent: usize| nanos.get(nanos.len() * percent / 100).map(|nanos| *nanos as f64 / 1e3);
        (self.p50_us, self.p99_us) = (at(50), at(99));
        self
    }
}
