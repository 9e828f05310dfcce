//! Runs: two processes each, one after the other, all stacks in turn.

use core::time::Duration;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::grid::{Aead, Peer, Scenario};
use crate::report::Row;
use crate::sample::Sample;

/// What is run, how often, and by which programs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) cells: Vec<Cell>,
    pub(crate) runs: u16,
    pub(crate) millis: u64,
    /// This program without the feature `fast`.
    pub(crate) pure: Option<PathBuf>,
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    pub(crate) scenario: &'static Scenario,
    pub(crate) aead: Aead,
    pub(crate) peer: Peer,
}

/// How long a client may take beyond its time before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);

impl Plan {
    /// Runs everything: a scenario's first runs of all stacks, then their second ones, and so on.
    pub(crate) fn run(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.cells.iter().map(|cell| Row::new(*cell)).collect();
        let progress = ProgressBar::new(self.cells.len() as u64 * u64::from(self.runs));
        progress.set_style(
            ProgressStyle::with_template("{percent:>3} % {wide_bar} {elapsed} of {duration} {msg:50!}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        for group in rows.chunk_by_mut(|a, b| a.cell.scenario == b.cell.scenario) {
            for _ in 0..self.runs {
                for row in &mut *group {
                    let Cell { scenario, aead, peer } = row.cell;
                    progress.set_message(format!("{}: {} {}", scenario.name, peer.name(), aead.name()));
                    match self.measure(row.cell) {
                        Ok(sample) => row.samples.push(sample),
                        Err(error) => {
                            let what = format!("{} {} {}", scenario.name, peer.name(), aead.name());
                            progress.suspend(|| eprintln!("{what}: {error}"));
                            row.failures += 1;
                        }
                    }
                    progress.inc(1);
                }
            }
        }
        progress.finish_and_clear();
        rows
    }

    /// One run.
    fn measure(&self, cell: Cell) -> io::Result<Sample> {
        let program = self.program(cell.peer)?;
        let mut server = Process::start(&program, "serve", &self.job(cell), &[])?;
        let contact = server.first_line()?;
        let (addr, proof) = contact.trim().split_once(' ').unwrap_or_else(|| (contact.trim(), ""));
        let pid = server.child.id().to_string();
        let details = ["--server", addr, "--proof", proof, "--pid", &pid];
        let client = Process::start(&program, "load", &self.job(cell), &details)?;
        let limit = Instant::now() + Duration::from_millis(self.millis) + PATIENCE;
        let answer = client.wait(limit)?;
        serde_json::from_str(&answer).map_err(|_| io::Error::other("the client failed"))
    }

    fn program(&self, peer: Peer) -> io::Result<PathBuf> {
        if peer == Peer::DunlinPure {
            return self.pure.clone().ok_or_else(|| io::Error::other("there is no such program"));
        }
        std::env::current_exe()
    }

    /// A run, as the command line of its processes has it.
    fn job(&self, cell: Cell) -> [String; 4] {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        let Cell { scenario, aead, peer } = cell;
        let (peer, aead) = (name(peer.to_possible_value()), name(aead.to_possible_value()));
        [peer, aead, scenario.name.into(), self.millis.to_string()]
    }
}

/// A process that ends with its owner's interest in it.
struct Process {
    child: Child,
}

impl Process {
    fn start(program: &Path, role: &str, job: &[String], details: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg(role).args(job).args(details).stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(Self { child: command.spawn()? })
    }

    fn first_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let output = self.child.stdout.as_mut().ok_or_else(|| io::Error::other("no output"))?;
        BufReader::new(output).read_line(&mut line)?;
        if line.is_empty() { Err(io::Error::other("the server failed")) } else { Ok(line) }
    }

    /// All that it prints until it ends.
    fn wait(mut self, limit: Instant) -> io::Result<String> {
        // What it prints is shorter than a pipe, so that it never waits for us.
        while self.child.try_wait()?.is_none() {
            if Instant::now() > limit {
                return Err(io::Error::other("the client hangs"));
            }
            sleep(Duration::from_millis(20));
        }
        let mut text = String::new();
        let output = self.child.stdout.as_mut().ok_or_else(|| io::Error::other("no output"))?;
        output.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
