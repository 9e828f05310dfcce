//! A cell of the matrix: one flow of bulk data over one link that never changes.

use core::fmt;
use core::str::FromStr;

use dunlin_sim::{Duration, Ppm, Rate};

use crate::link::MTU;
use crate::units::{self, QueueSize, UnitError};

/// No queue is smaller than so many full datagrams.
const MIN_QUEUE: u64 = 16 * MTU as u64;

/// A link in one direction; the way back only has the delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    /// Of the bottleneck.
    pub(crate) rate: Rate,
    /// There and back, with an empty queue.
    pub(crate) rtt: Duration,
    /// On the way there.
    pub(crate) loss: Ppm,
    /// In front of the bottleneck.
    pub(crate) queue: QueueSize,
    /// What is to be carried.
    pub(crate) bytes: u64,
}

impl Cell {
    /// A cell that carries as much as the matrix's do: 200 times what fits on the link, at least 10 s of it.
    pub(crate) fn new(rate: Rate, rtt: Duration, loss: Ppm, queue: QueueSize) -> Self {
        let bytes = (200 * bdp(rate, rtt)).max(10 * rate.get() / 8);
        Self { rate, rtt, loss, queue, bytes }
    }

    /// The product of bandwidth and delay, in bytes.
    pub(crate) fn bdp(&self) -> u64 {
        bdp(self.rate, self.rtt)
    }

    /// The limit of the queue, in bytes.
    pub(crate) fn queue_bytes(&self) -> u64 {
        match self.queue {
            QueueSize::MilliBdp(times) => (self.bdp() * u64::from(times) / 1000).max(MIN_QUEUE),
            QueueSize::Bytes(bytes) => bytes,
        }
    }

    /// How long the link alone takes.
    pub(crate) fn link_time(&self) -> Duration {
        Duration::from_secs_f64(self.bytes as f64 * 8.0 / self.rate.get() as f64)
    }
}

/// The product of bandwidth and delay, in bytes.
pub(crate) fn bdp(rate: Rate, rtt: Duration) -> u64 {
    (u128::from(rate.get()) * rtt.as_nanos() / 8_000_000_000) as u64
}

/// `rate=37M,rtt=67ms,loss=2.5%,queue=1bdp,bytes=200M`, in any order; loss, queue and bytes may be left out.
impl FromStr for Cell {
    type Err = CellError;

    fn from_str(text: &str) -> Result<Self, CellError> {
        let (mut rate, mut rtt, mut bytes) = (None, None, None);
        let (mut loss, mut queue) = (Ppm::NEVER, QueueSize::bdp(1));
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or_else(|| CellError::Part(part.into()))?;
            match name {
                "rate" => rate = Some(units::rate(value)?),
                "rtt" => rtt = Some(units::time(value)?),
                "loss" => loss = units::loss(value)?,
                "queue" => queue = value.parse()?,
                "bytes" => bytes = Some(units::bytes(value)?),
                _ => return Err(CellError::Part(part.into())),
            }
        }
        let cell = Self::new(rate.ok_or(CellError::Rate)?, rtt.ok_or(CellError::Rtt)?, loss, queue);
        Ok(Self { bytes: bytes.unwrap_or(cell.bytes), ..cell })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = units::show_rate(self.rate);
        let (rtt, loss) = (self.rtt.as_secs_f64() * 1e3, f64::from(self.loss.get()) / 1e4);
        write!(f, "{rate} {rtt}ms {loss}% {}", self.queue)
    }
}

/// Why a cell was not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum CellError {
    #[error("{0:?} is none of rate=, rtt=, loss=, queue=, bytes=")]
    Part(String),
    #[error("a cell needs a rate, such as rate=37M")]
    Rate,
    #[error("a cell needs a round-trip time, such as rtt=67ms")]
    Rtt,
    #[error(transparent)]
    Unit(#[from] UnitError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_read_from_its_parts() {
        let cell: Cell = "rate=37M,rtt=67ms,loss=2.5%,queue=1bdp,bytes=200M".parse().unwrap();
        let same = Cell::new(Rate::mbit(37), Duration::from_millis(67), Ppm::new(25_000), QueueSize::bdp(1));
        assert_eq!(cell, Cell { bytes: 200_000_000, ..same });
        assert_eq!(cell.bdp(), 309_875);
        assert_eq!(cell.queue_bytes(), 309_875);
        assert_eq!(cell.to_string(), "37M 67ms 2.5% 1bdp");
    }

    #[test]
    fn a_cell_carries_ten_seconds_or_two_hundred_bdp_and_keeps_sixteen_packets() {
        let short: Cell = "rate=1M,rtt=5ms,queue=0.5bdp".parse().unwrap();
        assert_eq!((short.bytes, short.queue_bytes()), (1_250_000, 16 * 1472));
        let long: Cell = "rate=1G,rtt=300ms,queue=4bdp".parse().unwrap();
        assert_eq!((long.bytes, long.queue_bytes()), (200 * 37_500_000, 4 * 37_500_000));
        assert_eq!(long.link_time(), Duration::from_secs(60));
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        assert_eq!("rtt=5ms".parse::<Cell>(), Err(CellError::Rate));
        assert_eq!("rate=1M".parse::<Cell>(), Err(CellError::Rtt));
        assert_eq!("rate=1M,size=3".parse::<Cell>(), Err(CellError::Part("size=3".into())));
        assert!(matches!("rate=1M,rtt=5".parse::<Cell>(), Err(CellError::Unit(_))));
    }
}
