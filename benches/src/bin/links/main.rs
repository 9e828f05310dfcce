//! The link suite: bulk data over simulated links, in virtual time.

mod cell;
mod measure;
mod outcome;
mod run;
mod stack;
mod units;

use clap::Parser;

use cell::Cell;
use run::Peer;

/// Runs bulk data over simulated links and prints how well they were used.
#[derive(Parser, Debug)]
struct Args {
    /// Run one link, such as rate=37M,rtt=67ms,loss=2.5%,queue=1bdp,bytes=200M, and print its figures as JSON
    #[arg(long)]
    cell: Cell,
    /// Who sends
    #[arg(long, value_enum, default_value_t = Peer::Dunlin)]
    peer: Peer,
    /// The seed of the run
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() {
    let args = Args::parse();
    let outcome = outcome::run_cell(&args.cell, args.peer, args.seed);
    println!("{}", serde_json::to_string_pretty(&outcome).expect("numbers"));
}
