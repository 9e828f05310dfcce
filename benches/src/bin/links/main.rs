//! The link suite: bulk data over simulated links in virtual time, dunlin beside quinn-proto.
//!
//! `cargo run --release -p dunlin-benches --bin links [-- --quick | --only NAME | --cell LINK | --help]`; what is run and
//! how it is measured: benches/README.md.

mod args;
mod cell;
mod figures;
mod link;
mod measure;
mod outcome;
mod readers;
mod report;
mod run;
mod scenario;
#[cfg(test)]
mod snapshot;
mod stack;
mod suite;
mod units;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io, thread};

use clap::Parser;
use serde::Serialize;

use args::Args;
use outcome::Outcome;
use report::targets::{Target, Verdict};
use report::{charts, export, table, targets};
use run::Peer;
use scenario::Scenario;
use suite::Results;

fn main() -> ExitCode {
    match run_as_told(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_as_told(args: &Args) -> io::Result<ExitCode> {
    if let Some(cell) = args.cell {
        let peer = args.peer.first().copied().unwrap_or(Peer::Dunlin);
        let json = export::json(&outcome::outcome(&Scenario::cell(cell), peer, args.seed));
        println!("{json}");
        return write(args.json.as_deref(), &json).map(|()| ExitCode::SUCCESS);
    }
    let scenarios = chosen(args);
    if scenarios.is_empty() {
        return Err(io::Error::other("no scenario has such a name; --list names them all"));
    }
    if args.list {
        scenarios.iter().for_each(|scenario| println!("{}", scenario.name));
        return Ok(ExitCode::SUCCESS);
    }
    let peers = if args.peer.is_empty() { Peer::ALL.to_vec() } else { args.peer.clone() };
    let threads = args.threads.map_or_else(cores, usize::from);
    let outcomes = suite::run_all(&suite::jobs(&scenarios, &peers), args.seed, threads);
    tell(args, &Results { scenarios: &scenarios, outcomes: &outcomes })
}

fn chosen(args: &Args) -> Vec<Scenario> {
    let named = |scenario: &Scenario| {
        args.only.is_empty() || args.only.iter().any(|part| scenario.name.contains(part.as_str()))
    };
    scenario::all().into_iter().filter(|s| (s.quick || !args.quick) && named(s)).collect()
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Prints and writes what came out.
fn tell(args: &Args, results: &Results<'_>) -> io::Result<ExitCode> {
    let targets = targets::targets(results);
    println!("{}{}\n\n{}", table::table(results), table::LEGEND, targets::report(&targets));
    if let Some(folder) = charts_folder(args) {
        for file in charts::draw(results, &folder, args.seed)? {
            println!("drawn: {}", file.display());
        }
    }
    write(args.csv.as_deref(), &export::csv(results.outcomes))?;
    let all = Everything { seed: args.seed, outcomes: results.outcomes, targets: &targets };
    write(args.json.as_deref(), &export::json(&all))?;
    let failed = targets.iter().any(|target| target.verdict == Verdict::Fails);
    Ok(if args.check && failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Where charts go: to the documentation if everything was run, else only where told.
fn charts_folder(args: &Args) -> Option<PathBuf> {
    let everything = !args.quick && args.only.is_empty() && args.peer.is_empty() && args.seed == args::SEED;
    let docs = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    args.charts.clone().or_else(|| everything.then(docs))
}

/// What the file of `--json` has.
#[derive(Serialize)]
struct Everything<'a> {
    seed: u64,
    outcomes: &'a [Outcome],
    targets: &'a [Target],
}

fn write(file: Option<&Path>, text: &str) -> io::Result<()> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, text).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
}
