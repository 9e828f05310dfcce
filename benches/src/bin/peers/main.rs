//! dunlin beside other transports, over loopback sockets.
//!
//! `cargo run --release -p dunlin-benches --features peers --bin peers [-- --quick | --only NAME | --help]`; what is run
//! and how it is measured: benches/README.md.

mod args;
mod blocking;
mod grid;
mod load;
mod pattern;
mod process;
mod pure;
mod report;
mod roles;
mod run;
mod sample;
mod setup;
mod stack;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use clap::Parser;
use serde::Serialize;

use args::{Args, Command};
use grid::{Peer, SCENARIOS, Scenario};
use report::machine::Machine;
use report::targets::{Target, Verdict};
use report::{Results, Row, charts, markdown, table, targets};
use run::{Cell, Plan};
use setup::Contact;

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
    match &args.command {
        Some(Command::Serve(job)) => roles::server(*job).map(|()| ExitCode::SUCCESS),
        Some(Command::Load { job, server, proof, pid }) => {
            let proof = roles::from_hex(proof).ok_or_else(|| io::Error::other("no hexadecimal digits"))?;
            let sample = roles::client(*job, Contact { addr: *server, proof }, *pid)?;
            println!("{}", serde_json::to_string(&sample).map_err(io::Error::other)?);
            Ok(ExitCode::SUCCESS)
        }
        None => compare(args),
    }
}

fn compare(args: &Args) -> io::Result<ExitCode> {
    let scenarios: Vec<&'static Scenario> =
        SCENARIOS.iter().filter(|scenario| wanted(scenario, args)).collect();
    if scenarios.is_empty() {
        return Err(io::Error::other("no scenario has such a name; --list names them all"));
    }
    if args.list {
        scenarios.iter().for_each(|scenario| println!("{:<14} {}", scenario.name, scenario.title));
        return Ok(ExitCode::SUCCESS);
    }
    let mut cells = cells(&scenarios, args);
    let pure = pure_program(&mut cells, args);
    let plan = Plan {
        cells,
        runs: args.runs.unwrap_or(if args.quick { 3 } else { 5 }),
        millis: args.millis.unwrap_or(if args.quick { 500 } else { 1000 }),
        pure,
    };
    let machine = Machine::this();
    println!("{}\n{} runs of {} ms each, in turn", machine.describe(), plan.runs, plan.millis);
    let rows = plan.run();
    let results = Results { rows: &rows };
    let targets = targets::targets(&results);
    println!("{}\n{}\n\n{}", table::table(&results), table::LEGEND, targets::report(&targets));
    if let Some(folder) = charts_folder(args) {
        for file in charts::draw(&results, &folder)? {
            println!("drawn: {}", file.display());
        }
    }
    write(args.markdown.as_deref(), || Ok(markdown::tables(&results)))?;
    write(args.json.as_deref(), || {
        let all =
            Everything { machine, runs: plan.runs, millis: plan.millis, rows: &rows, targets: &targets };
        serde_json::to_string_pretty(&all).map_err(io::Error::other)
    })?;
    let failed = targets.iter().any(|target| target.verdict == Verdict::Fails);
    Ok(if args.check && failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Writes a file if one is wanted.
fn write(file: Option<&Path>, text: impl FnOnce() -> io::Result<String>) -> io::Result<()> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, text()?).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
}

/// Where charts go: to the documentation if everything was run, else only where told.
fn charts_folder(args: &Args) -> Option<PathBuf> {
    let everything = !args.quick && args.only.is_empty() && args.peer.is_empty() && args.aead.is_empty();
    let docs = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    args.charts.clone().or_else(|| everything.then(docs))
}

/// What the file of `--json` has.
#[derive(Serialize)]
struct Everything<'a> {
    machine: Machine,
    runs: u16,
    millis: u64,
    rows: &'a [Row],
    targets: &'a [Target],
}

/// The program for the rows of pure Rust; without one, there are no such rows.
fn pure_program(cells: &mut Vec<Cell>, args: &Args) -> Option<PathBuf> {
    if cells.iter().all(|cell| cell.peer != Peer::DunlinPure) {
        return None;
    }
    let program = args.pure.clone().or_else(pure::build);
    if program.is_none() {
        cells.retain(|cell| cell.peer != Peer::DunlinPure);
    }
    program
}

fn wanted(scenario: &Scenario, args: &Args) -> bool {
    let named = |name: &String| match name.strip_suffix('=') {
        Some(name) => scenario.name == name,
        None => scenario.name.contains(name.as_str()),
    };
    (scenario.quick || !args.quick) && (args.only.is_empty() || args.only.iter().any(named))
}

fn cells(scenarios: &[&'static Scenario], args: &Args) -> Vec<Cell> {
    let mut cells = Vec::new();
    for scenario in scenarios {
        let chosen = |peer: &Peer| args.peer.is_empty() || args.peer.contains(peer);
        for peer in Peer::ALL.into_iter().filter(|peer| chosen(peer) && peer.suits(scenario)) {
            let aeads = peer.aeads().iter().filter(|aead| args.aead.is_empty() || args.aead.contains(aead));
            cells.extend(aeads.map(|aead| Cell { scenario, aead: *aead, peer }));
        }
    }
    cells
}
