//! The command line.

use core::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::grid::{Aead, Peer};

/// Measures dunlin beside other transports on loopback: client and server in processes of their own, one stack after
/// the other, several times
///
/// Processors should have nothing else to do. Ratios of one run travel; absolute figures do not.
#[derive(Parser, Debug)]
#[command(name = "peers")]
pub(crate) struct Args {
    /// What the processes of a run are told
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Run only the scenarios whose names contain this (with a = at its end: that are this); may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Run only this stack; may be given several times [default: all]
    #[arg(long, value_enum)]
    pub(crate) peer: Vec<Peer>,
    /// Run only with this AEAD; may be given several times [default: all]
    #[arg(long, value_enum)]
    pub(crate) aead: Vec<Aead>,
    /// How many times everything is run [default: 5; with --quick: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) runs: Option<u16>,
    /// How long a run goes on, in milliseconds [default: 1000; with --quick: 500]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=600_000))]
    pub(crate) millis: Option<u64>,
    /// Run a selection of the scenarios, less often and for a shorter time
    #[arg(long)]
    pub(crate) quick: bool,
    /// List the scenarios and run none
    #[arg(long)]
    pub(crate) list: bool,
    /// This program, built without the feature `fast`, for the rows of pure Rust [default: it is built if cargo is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) pure: Option<PathBuf>,
    /// Write the figures, the targets and every single run to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the medians to this file, as tables in Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Draw the charts into this folder [default: the folder docs of the checkout, when everything is run]
    #[arg(long, value_name = "DIR")]
    pub(crate) charts: Option<PathBuf>,
    /// End with an error if a target does not hold
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// A server: prints its address and what proves it, and serves until it is killed
    #[command(hide = true)]
    Serve(Job),
    /// A client: prints its figures
    #[command(hide = true)]
    Load {
        #[command(flatten)]
        job: Job,
        /// Where the server is
        #[arg(long)]
        server: SocketAddr,
        /// What proves it, in hexadecimal digits
        #[arg(long)]
        proof: String,
        /// The server's process
        #[arg(long)]
        pid: i32,
    },
}

/// A part of a run.
#[derive(clap::Args, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Job {
    #[arg(value_enum)]
    pub(crate) peer: Peer,
    #[arg(value_enum)]
    pub(crate) aead: Aead,
    /// A scenario, by its name
    #[arg(value_parser = scenario)]
    pub(crate) scenario: &'static crate::grid::Scenario,
    /// How long the client goes on, in milliseconds
    pub(crate) millis: u64,
}

fn scenario(name: &str) -> Result<&'static crate::grid::Scenario, &'static str> {
    crate::grid::Scenario::find(name).ok_or("no scenario has this name")
}
