//! What came out.

pub(crate) mod charts;
pub(crate) mod machine;
pub(crate) mod markdown;
pub(crate) mod table;
pub(crate) mod targets;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::grid::{Load, Peer};
use crate::run::Cell;
use crate::sample::Sample;

/// All runs of a stack in a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) cell: Cell,
    pub(crate) samples: Vec<Sample>,
    /// Runs that gave nothing.
    pub(crate) failures: u32,
}

/// The middle of some figures, and the ends.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None`: there are no figures.
    fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}

/// In what a scenario is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// 10^9 bits a second.
    Gigabits,
    /// Operations a second.
    Rate,
    /// 1,024 bytes for each connection: the less the better.
    Kibibytes,
}

impl Unit {
    pub(crate) const fn of(load: Load) -> Self {
        match load {
            Load::Bulk { .. } => Self::Gigabits,
            Load::Idle => Self::Kibibytes,
            _ => Self::Rate,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gigabits => "Gbit/s",
            Self::Rate => "/s",
            Self::Kibibytes => "KiB at the server",
        }
    }

    /// In what processor time is measured: for so much data, or for one operation.
    pub(crate) const fn cost_name(self) -> &'static str {
        match self {
            Self::Gigabits => "s/GiB",
            Self::Rate | Self::Kibibytes => "us",
        }
    }
}

impl Row {
    pub(crate) const fn new(cell: Cell) -> Self {
        Self { cell, samples: Vec::new(), failures: 0 }
    }

    pub(crate) const fn unit(&self) -> Unit {
        Unit::of(self.cell.scenario.load)
    }

    fn spread(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.samples.iter().filter_map(figure).collect())
    }

    /// The figure of the scenario.
    pub(crate) fn figure(&self) -> Option<Spread> {
        let unit = self.unit();
        self.spread(|sample| match unit {
            Unit::Gigabits => Some(sample.amount * 8e-9 / sample.seconds),
            Unit::Rate => Some(sample.amount / sample.seconds),
            Unit::Kibibytes => Some(sample.growth?[1] / sample.amount / 1024.0),
        })
    }

    /// Processor time of one end (0: client, 1: server): seconds for each GiB, or microseconds for each operation.
    pub(crate) fn cost(&self, end: usize) -> Option<Spread> {
        let scale = if self.unit() == Unit::Gigabits { (1u64 << 30) as f64 } else { 1e6 };
        self.spread(|sample| Some(sample.cpu[end] / sample.amount * scale))
    }

    /// Microseconds for one operation: half of them, and 99 % of them, took less.
    pub(crate) fn times(&self) -> Option<[f64; 2]> {
        let p50 = self.spread(|sample| sample.p50_us)?;
        Some([p50.median, self.spread(|sample| sample.p99_us)?.median])
    }

    /// What the client grew by for each connection, in KiB.
    pub(crate) fn client_growth(&self) -> Option<f64> {
        Some(self.spread(|sample| Some(sample.growth?[0] / sample.amount / 1024.0))?.median)
    }

    /// The part of its time that an end's processor was at work, where one thread is all that it has.
    pub(crate) fn busy(&self, end: usize) -> Option<f64> {
        Some(self.spread(|sample| Some(sample.cpu[end] / sample.seconds))?.median)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("Row", 9)?;
        row.serialize_field("scenario", self.cell.scenario.name)?;
        row.serialize_field("peer", &self.cell.peer)?;
        row.serialize_field("aead", &self.cell.aead)?;
        row.serialize_field("unit", self.unit().name())?;
        row.serialize_field("figure", &self.figure())?;
        row.serialize_field("cost_client", &self.cost(0))?;
        row.serialize_field("cost_server", &self.cost(1))?;
        row.serialize_field("failures", &self.failures)?;
        row.serialize_field("samples", &self.samples)?;
        row.end()
    }
}

/// All rows, to be looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Results<'a> {
    pub(crate) rows: &'a [Row],
}

impl<'a> Results<'a> {
    /// What was measured for a stack, if it was run.
    pub(crate) fn get(&self, scenario: &str, aead: crate::grid::Aead, peer: Peer) -> Option<&'a Row> {
        // Whoever encrypts nothing is the same in all tables.
        let aead = if peer.aeads().contains(&aead) { aead } else { crate::grid::Aead::None };
        self.rows
            .iter()
            .find(|row| row.cell.scenario.name == scenario && row.cell.aead == aead && row.cell.peer == peer)
    }

    /// The best figure of dunlin's rivals.
    pub(crate) fn best(&self, scenario: &str, aead: crate::grid::Aead) -> Option<(Peer, f64)> {
        let rivals = Peer::ALL.into_iter().filter(|peer| peer.is_rival());
        let rated = rivals.filter_map(|peer| {
            let row = self.get(scenario, aead, peer)?;
            let figure = row.figure()?.median;
            Some((peer, figure, if row.unit() == Unit::Kibibytes { -figure } else { figure }))
        });
        let best = rated.max_by(|a, b| a.2.total_cmp(&b.2))?;
        Some((best.0, best.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{Aead, Scenario};

    fn row(scenario: &str, samples: &[Sample]) -> Row {
        let scenario = Scenario::find(scenario).expect("a scenario");
        Row { samples: samples.to_vec(), ..Row::new(Cell { scenario, aead: Aead::Aes, peer: Peer::Quinn }) }
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_ones() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 100.0]);
        assert_eq!(spread, Some(Spread { median: 3.5, min: 1.0, max: 100.0 }));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn figures_have_the_unit_of_their_scenario() {
        let gibibyte = (1u64 << 30) as f64;
        let sample = Sample { amount: gibibyte, seconds: 2.0, cpu: [1.0, 0.5], ..Sample::default() };
        let bulk = row("upload", &[sample]);
        assert_eq!(bulk.figure().map(|spread| spread.median), Some(gibibyte * 4e-9));
        assert_eq!(bulk.cost(1).map(|spread| spread.median), Some(0.5));
        let rate = row("requests", &[Sample { amount: 1000.0, ..sample }]);
        assert_eq!(rate.figure().map(|spread| spread.median), Some(500.0));
        assert_eq!(rate.cost(0).map(|spread| spread.median), Some(1000.0));
    }

    #[test]
    fn of_memory_the_least_is_the_best() {
        let sample = |bytes| Sample { amount: 1024.0, growth: Some([0.0, bytes]), ..Sample::default() };
        let more = row("idle", &[sample(9e6)]);
        let mut less = row("idle", &[sample(2f64.powi(20) * 3.0)]);
        less.cell.peer = Peer::S2n;
        assert_eq!(Results { rows: &[more, less] }.best("idle", Aead::Aes), Some((Peer::S2n, 3.0)));
    }
}
