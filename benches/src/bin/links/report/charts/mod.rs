//! The outcomes as SVG charts.

mod bars;
mod times;

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

use dunlin_sim::{Ppm, Rate};
use plotters::prelude::*;

use crate::cell::Cell;
use crate::outcome::{Outcome, millis};
use crate::run::Peer;
use crate::suite::Results;
use crate::units::{QueueSize, show_rate};
use bars::{Bars, Group, Panel};

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// The colours of Okabe and Ito, which most people can tell apart.
const fn colour(peer: Peer) -> RGBColor {
    match peer {
        Peer::Dunlin => RGBColor(0, 114, 178),
        Peer::QuinnCubic => RGBColor(230, 159, 0),
        Peer::QuinnBbr => RGBColor(130, 130, 130),
    }
}

/// Draws all charts for which there are outcomes into a folder; returns their files.
pub(crate) fn draw(results: &Results<'_>, folder: &Path, seed: u64) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (name, bars) in [("links-utilisation.svg", utilisation(results)), ("links-queue.svg", queue(results))]
    {
        if bars.panels.iter().any(|panel| !panel.groups.is_empty()) {
            let file = folder.join(name);
            bars::draw(&file, &bars).map_err(failed)?;
            files.push(file);
        }
    }
    let file = folder.join("links-steps.svg");
    times::draw(&file, &results.peers(), seed).map_err(failed)?;
    files.push(file);
    Ok(files)
}

fn failed(error: impl fmt::Display) -> io::Error {
    io::Error::other(format!("a chart could not be drawn: {error}"))
}

/// Of the cells for which `wanted` holds, the mean of a figure for each peer; nothing if there are none.
fn group(
    results: &Results<'_>,
    label: String,
    wanted: impl Fn(&Cell) -> bool,
    figure: impl Fn(&Cell, &Outcome) -> f64,
) -> Option<Group> {
    let mean = |peer| {
        let cells = results.cells(peer).filter(|(cell, _)| wanted(cell));
        let figures: Vec<f64> = cells.map(|(cell, outcome)| figure(cell, outcome)).collect();
        (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
    };
    let values = Peer::ALL.map(mean);
    values.iter().any(Option::is_some).then_some(Group { label, values })
}

/// The different values of a property of the cells that were run.
fn values<T: Ord>(results: &Results<'_>, property: impl Fn(&Cell) -> T) -> Vec<T> {
    let mut values: Vec<T> =
        results.scenarios.iter().filter_map(|scenario| scenario.cell.as_ref()).map(property).collect();
    values.sort();
    values.dedup();
    values
}

fn percent(loss: Ppm) -> String {
    format!("{} %", f64::from(loss.get()) / 1e4)
}

/// A panel for each rate and round-trip time, a group for each loss: the mean over the queues.
fn utilisation(results: &Results<'_>) -> Bars {
    let mut panels = Vec::new();
    let rtts = values(results, |cell| cell.rtt);
    for rate in values(results, |cell| cell.rate) {
        for rtt in &rtts {
            let of = |loss| {
                let wanted = |cell: &Cell| (cell.rate, cell.rtt, cell.loss) == (rate, *rtt, loss);
                group(results, percent(loss), wanted, |_, outcome| outcome.utilisation * 100.0)
            };
            let groups = values(results, |cell| cell.loss).into_iter().filter_map(of).collect();
            panels.push(Panel { title: title(rate, millis(*rtt)), groups });
        }
    }
    Bars {
        title: "Use of the bottleneck in % (up) by random loss (across), mean over the queues".into(),
        panels,
        columns: rtts.len().max(1),
        top: 100.0,
        guides: vec![90.0],
    }
}

/// Without loss, with the longest queue: how much of it is filled.
fn queue(results: &Results<'_>) -> Bars {
    let quiet = |cell: &Cell| cell.loss == Ppm::NEVER && cell.queue == QueueSize::bdp(4);
    let rtts = values(results, |cell| cell.rtt);
    let panel = |rate: Rate| {
        let of = |rtt: &dunlin_sim::Duration| {
            let wanted = |cell: &Cell| quiet(cell) && (cell.rate, cell.rtt) == (rate, *rtt);
            let bdps = |cell: &Cell, outcome: &Outcome| {
                let unit = cell.queue_bytes() as f64 / 4.0 * 8e3 / cell.rate.get() as f64;
                outcome.queue_p95_ms / unit
            };
            group(results, format!("{} ms", millis(*rtt)), wanted, bdps)
        };
        Panel { title: name(rate), groups: rtts.iter().filter_map(of).collect() }
    };
    let panels: Vec<_> = values(results, |cell| cell.rate).into_iter().map(panel).collect();
    Bars {
        title: "Queue for 95 % of the time in BDP (up) by round-trip time, no loss, room for 4 BDP".into(),
        columns: panels.len().max(1),
        panels,
        top: 4.5,
        guides: vec![1.25],
    }
}

/// `1 Gbit/s`.
fn name(rate: Rate) -> String {
    let short = show_rate(rate);
    let (number, unit) = short.split_at(short.len() - 1);
    format!("{number} {unit}bit/s")
}

fn title(rate: Rate, millis: f64) -> String {
    format!("{}, {millis} ms", name(rate))
}
