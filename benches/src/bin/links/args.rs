//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::cell::Cell;
use crate::run::Peer;

/// The seed of the figures in the documentation.
pub(crate) const SEED: u64 = 1;

/// Runs bulk data over simulated links, dunlin beside quinn-proto, and says how well the links were used
///
/// Time is virtual: the same seed gives the same figures (but for quinn's BBR, which draws its cycle from the system).
#[derive(Parser, Debug)]
#[command(name = "links")]
pub(crate) struct Args {
    /// Run one link and print its figures as JSON, such as rate=37M,rtt=67ms,loss=2.5%,queue=1bdp,bytes=200M
    #[arg(long, conflicts_with_all = ["only", "quick", "csv", "charts", "check"])]
    pub(crate) cell: Option<Cell>,
    /// Who sends; may be given several times [default: all; for --cell: dunlin]
    #[arg(long, value_enum)]
    pub(crate) peer: Vec<Peer>,
    /// The seed of all runs
    #[arg(long, default_value_t = SEED)]
    pub(crate) seed: u64,
    /// Run only the scenarios whose names contain this; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Run a selection that takes a minute or two
    #[arg(long)]
    pub(crate) quick: bool,
    /// List the scenarios and run none
    #[arg(long)]
    pub(crate) list: bool,
    /// Write the figures to this file, a line for each run
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write the figures and the targets to this file; with --cell its figures, beside printing them
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the charts into this folder [default: the folder docs of the checkout, when everything is run]
    #[arg(long, value_name = "DIR")]
    pub(crate) charts: Option<PathBuf>,
    /// End with an error if a target does not hold
    #[arg(long)]
    pub(crate) check: bool,
    /// Runs at once [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}
