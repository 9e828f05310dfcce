//! A run over time: what arrives and how long the queue is while the capacity falls and rises.

use core::error::Error;
use std::path::Path;

use dunlin_sim::{Duration, Instant};
use plotters::prelude::*;

use super::bars::legend;
use super::{Area, colour};
use crate::measure;
use crate::run::{Peer, run};
use crate::scenario::{self, Scenario};

const SCENARIO: &str = "steps 100-10-100M 0.5bdp";
const STEP: Duration = Duration::from_millis(100);
const WIDTH: u32 = 900;
const HEIGHT: u32 = 220;
const HEADER: u32 = 60;

/// Points of a curve: seconds and value.
type Curve = Vec<(f64, f64)>;

/// Runs the scenario with these peers once more and draws it.
pub(super) fn draw(file: &Path, peers: &[Peer], seed: u64) -> Result<(), Box<dyn Error>> {
    let scenarios = scenario::all();
    let found = scenarios.iter().find(|scenario| scenario.name == SCENARIO);
    let scenario = found.ok_or("there is no scenario with steps")?;
    let curves: Vec<_> = peers.iter().map(|peer| (*peer, curves(scenario, *peer, seed))).collect();
    let root = SVGBackend::new(file, (WIDTH, 2 * HEIGHT + HEADER)).into_drawing_area();
    root.fill(&WHITE)?;
    let (header, body) = root.split_vertically(HEADER);
    legend(&header, "A capacity of 100, then 10, then 100 Mbit/s; 40 ms round trip, a queue of 250 kB")?;
    let (upper, lower) = body.split_vertically(HEIGHT);
    let of = |pick: fn(&(Curve, Curve)) -> &Curve| curves.iter().map(move |(peer, both)| (*peer, pick(both)));
    panel(&upper, "data that arrives in Mbit/s, over seconds", 110.0, of(|both| &both.0))?;
    panel(&lower, "queue in ms, over seconds", 250.0, of(|both| &both.1))?;
    root.present()?;
    Ok(())
}

/// What arrived in each step, in Mbit/s, and the longest queue in it, in ms.
fn curves(scenario: &Scenario, peer: Peer, seed: u64) -> (Curve, Curve) {
    let run = run(&scenario.setup(peer, seed));
    let total = |arrived: &[u64]| arrived.iter().sum::<u64>();
    let (mut arrived, mut queue) = (Vec::new(), Vec::new());
    let mut from = Instant::ZERO;
    while from + STEP <= run.end {
        let to = from + STEP;
        let at = measure::seconds(to);
        let bytes = measure::arrived(&run.samples, to, total) - measure::arrived(&run.samples, from, total);
        arrived.push((at, bytes * 8.0 / 1e6 / STEP.as_secs_f64()));
        let within = run.samples.iter().filter(|sample| (from..to).contains(&sample.at));
        let longest = within.map(|sample| sample.queueing).max().unwrap_or_default();
        queue.push((at, longest.as_secs_f64() * 1e3));
        from = to;
    }
    (arrived, queue)
}

fn panel<'a>(
    area: &Area<'_>,
    title: &str,
    top: f64,
    curves: impl Iterator<Item = (Peer, &'a Curve)>,
) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 14))
        .margin(6)
        .x_label_area_size(22)
        .y_label_area_size(40)
        .build_cartesian_2d(0.0..30.0, 0.0..top)?;
    chart.configure_mesh().light_line_style(WHITE).draw()?;
    // dunlin last, so that it lies above the others.
    let mut curves: Vec<_> = curves.collect();
    curves.reverse();
    for (peer, curve) in curves {
        chart.draw_series(LineSeries::new(curve.iter().copied(), colour(peer).stroke_width(2)))?;
    }
    Ok(())
}
