//! The figures as SVG charts.

use core::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Results;
use crate::grid::{Aead, Peer, Scenario};

/// A chart: panels with axes of their own, two bars for each stack.
struct Chart {
    file: &'static str,
    title: &'static str,
    panels: Vec<Panel>,
}

struct Panel {
    title: String,
    /// For each AEAD, the figures of the stacks that have one.
    groups: [Vec<(Peer, f64)>; 2],
}

const AEADS: [Aead; 2] = [Aead::Aes, Aead::ChaCha];

/// Who is drawn: the outer marks would make the others too small to compare.
const DRAWN: [Peer; 8] = [
    Peer::Dunlin,
    Peer::DunlinMio,
    Peer::DunlinPure,
    Peer::S2n,
    Peer::Quinn,
    Peer::Noq,
    Peer::Tls,
    Peer::Ideal,
];

/// The colours of Okabe and Ito, which most people can tell apart.
const fn colour(peer: Peer) -> RGBColor {
    match peer {
        Peer::Dunlin => RGBColor(0, 114, 178),
        Peer::DunlinMio => RGBColor(86, 180, 233),
        Peer::DunlinPure => RGBColor(0, 158, 115),
        Peer::S2n => RGBColor(213, 94, 0),
        Peer::Quinn => RGBColor(230, 159, 0),
        Peer::Noq => RGBColor(204, 121, 167),
        Peer::Tls | Peer::Tcp => RGBColor(150, 150, 150),
        Peer::Raw | Peer::Ideal => RGBColor(60, 60, 60),
    }
}

/// Draws what there are figures for into a folder; returns the files.
pub(crate) fn draw(results: &Results<'_>, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for chart in charts(results) {
        if chart.panels.is_empty() {
            continue;
        }
        let file = folder.join(chart.file);
        draw_chart(&file, &chart)
            .map_err(|error| io::Error::other(format!("a chart could not be drawn: {error}")))?;
        files.push(file);
    }
    Ok(files)
}

fn charts(results: &Results<'_>) -> [Chart; 3] {
    let bulk = ["upload", "download", "upload-8", "download-8", "jumbo", "upload-2t"];
    let small = ["pingpong-core", "requests", "handshakes-64", "datagrams", "many", "idle"];
    let panels = |names: [&str; 6]| names.iter().filter_map(|name| panel(results, name)).collect();
    let cost = |end, title: &str| cost(results, end, title);
    [
        Chart { file: "peers-bulk.svg", title: "Bulk data over loopback, Gbit/s", panels: panels(bulk) },
        Chart {
            file: "peers-cpu.svg",
            title: "Bulk data, 1 stream up, 1,400 B: processor seconds for each GiB (less is better)",
            panels: [cost(0, "sender"), cost(1, "receiver")].into_iter().flatten().collect(),
        },
        Chart {
            file: "peers-small.svg",
            title: "Small things over loopback, each second; and memory for each idle connection",
            panels: panels(small),
        },
    ]
}

fn panel(results: &Results<'_>, name: &str) -> Option<Panel> {
    let scenario = Scenario::find(name)?;
    let groups = AEADS.map(|aead| {
        figures(|peer| {
            Some(results.get(name, aead, peer).filter(|row| row.cell.aead == aead)?.figure()?.median)
        })
    });
    let unit = super::Unit::of(scenario.load).name();
    full(Panel { title: format!("{}: {unit}", scenario.title), groups })
}

fn cost(results: &Results<'_>, end: usize, title: &str) -> Option<Panel> {
    let groups = AEADS.map(|aead| figures(|peer| Some(results.get("upload", aead, peer)?.cost(end)?.median)));
    full(Panel { title: title.into(), groups })
}

fn figures(figure: impl Fn(Peer) -> Option<f64>) -> Vec<(Peer, f64)> {
    DRAWN.iter().filter_map(|peer| Some((*peer, figure(*peer)?))).collect()
}

/// The panel, if there is anything in it.
fn full(panel: Panel) -> Option<Panel> {
    panel.groups.iter().any(|group| !group.is_empty()).then_some(panel)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const COLUMNS: usize = 2;
const WIDTH: u32 = 430;
const HEIGHT: u32 = 200;
const HEADER: u32 = 60;
/// The part of a group's place that its bars fill.
const FILL: f64 = 0.85;

fn draw_chart(file: &Path, chart: &Chart) -> Result<(), Box<dyn Error>> {
    let rows = chart.panels.len().div_ceil(COLUMNS);
    let size = (WIDTH * COLUMNS as u32, HEIGHT * rows as u32 + HEADER);
    let root = SVGBackend::new(file, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (header, body) = root.split_vertically(HEADER);
    legend(&header, chart.title)?;
    for (panel, area) in chart.panels.iter().zip(body.split_evenly((rows, COLUMNS))) {
        draw_panel(&area, panel)?;
    }
    root.present()?;
    Ok(())
}

/// The title, and below it who has which colour.
fn legend(area: &Area<'_>, title: &str) -> Result<(), Box<dyn Error>> {
    area.draw(&Text::new(title.to_owned(), (10, 8), ("sans-serif", 16)))?;
    for (peer, index) in DRAWN.iter().zip(0..) {
        let left = 10 + index * 105;
        area.draw(&Rectangle::new([(left, 36), (left + 12, 48)], colour(*peer).filled()))?;
        area.draw(&Text::new(peer.name(), (left + 16, 36), ("sans-serif", 12)))?;
    }
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel) -> Result<(), Box<dyn Error>> {
    let figures = panel.groups.iter().flatten().map(|(_, figure)| *figure);
    let top = figures.fold(0.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 14))
        .margin(6)
        .x_label_area_size(18)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..AEADS.len() as f64, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_labels(5)
        .light_line_style(WHITE)
        .y_label_formatter(&|value| super::table::number(*value))
        .draw()?;
    for ((group, aead), left) in panel.groups.iter().zip(AEADS).zip((0..).map(f64::from)) {
        let width = FILL / group.len().max(1) as f64;
        for ((peer, figure), place) in group.iter().zip((0..).map(f64::from)) {
            let from = left + (1.0 - FILL) / 2.0 + place * width;
            let bar = [(from, 0.0), (from + width * 0.92, *figure)];
            chart.draw_series([Rectangle::new(bar, colour(*peer).filled())])?;
        }
        // Below the axis, in the panel's own pixels.
        let (x, y) = chart.backend_coord(&(left + 0.5, 0.0));
        let (dx, dy) = area.get_base_pixel();
        let style = ("sans-serif", 12).into_text_style(area).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(aead.name(), (x - dx, y - dy + 5), style))?;
    }
    Ok(())
}
