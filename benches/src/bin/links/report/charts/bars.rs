//! Panels of grouped bars, a colour for each peer.

use core::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, colour};
use crate::run::Peer;

/// A chart.
pub(super) struct Bars {
    pub(super) title: String,
    pub(super) panels: Vec<Panel>,
    /// Panels side by side.
    pub(super) columns: usize,
    /// The upper end of all panels.
    pub(super) top: f64,
    /// Lines across.
    pub(super) guides: Vec<f64>,
}

/// A part of a chart with axes of its own.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) groups: Vec<Group>,
}

/// Bars side by side: one for each peer that has a value.
pub(super) struct Group {
    pub(super) label: String,
    pub(super) values: [Option<f64>; Peer::ALL.len()],
}

const WIDTH: u32 = 260;
const HEIGHT: u32 = 170;
const HEADER: u32 = 60;
/// The part of a group's place that its bars fill.
const FILL: f64 = 0.8;

pub(super) fn draw(file: &Path, bars: &Bars) -> Result<(), Box<dyn Error>> {
    let rows = bars.panels.len().div_ceil(bars.columns);
    let size = (WIDTH * bars.columns as u32, HEIGHT * rows as u32 + HEADER);
    let root = SVGBackend::new(file, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (header, body) = root.split_vertically(HEADER);
    legend(&header, &bars.title)?;
    for (panel, area) in bars.panels.iter().zip(body.split_evenly((rows, bars.columns))) {
        draw_panel(&area, panel, bars)?;
    }
    root.present()?;
    Ok(())
}

/// The title, and below it who has which colour.
pub(super) fn legend(area: &Area<'_>, title: &str) -> Result<(), Box<dyn Error>> {
    area.draw(&Text::new(title.to_owned(), (10, 8), ("sans-serif", 16)))?;
    for (peer, index) in Peer::ALL.iter().zip(0..) {
        let left = 10 + index * 120;
        area.draw(&Rectangle::new([(left, 36), (left + 12, 48)], colour(*peer).filled()))?;
        area.draw(&Text::new(peer.name(), (left + 18, 35), ("sans-serif", 14)))?;
    }
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel, bars: &Bars) -> Result<(), Box<dyn Error>> {
    let count = panel.groups.len().max(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 14))
        .margin(6)
        .x_label_area_size(18)
        .y_label_area_size(32)
        .build_cartesian_2d(0.0..count, 0.0..bars.top)?;
    chart.configure_mesh().disable_x_mesh().x_labels(0).y_labels(5).light_line_style(WHITE).draw()?;
    for guide in &bars.guides {
        let line = PathElement::new([(0.0, *guide), (count, *guide)], BLACK.mix(0.5));
        chart.draw_series([line])?;
    }
    let width = FILL / Peer::ALL.len() as f64;
    for (group, left) in panel.groups.iter().zip((0..).map(f64::from)) {
        for ((value, peer), place) in group.values.iter().zip(Peer::ALL).zip((0..).map(f64::from)) {
            let Some(value) = value else { continue };
            let from = left + (1.0 - FILL) / 2.0 + place * width;
            let bar = [(from, 0.0), (from + width, value.min(bars.top))];
            chart.draw_series([Rectangle::new(bar, colour(peer).filled())])?;
        }
        // Below the axis, in the panel's own pixels.
        let (x, y) = chart.backend_coord(&(left + 0.5, 0.0));
        let (dx, dy) = area.get_base_pixel();
        let style = ("sans-serif", 12).into_text_style(area).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(group.label.clone(), (x - dx, y - dy + 5), style))?;
    }
    Ok(())
}
