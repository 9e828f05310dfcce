//! Many runs at once, on all cores: each is alone in its world.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cell::Cell;
use crate::outcome::{Outcome, outcome};
use crate::run::Peer;
use crate::scenario::Scenario;

/// A scenario and who runs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) peer: Peer,
}

/// The jobs of these scenarios and peers, in the order of the scenarios.
pub(crate) fn jobs<'a>(scenarios: &'a [Scenario], peers: &[Peer]) -> Vec<Job<'a>> {
    let of = |scenario: &'a Scenario| {
        let suit = peers.iter().filter(move |peer| scenario.suits(**peer));
        suit.map(move |peer| Job { scenario, peer: *peer })
    };
    scenarios.iter().flat_map(of).collect()
}

/// Runs all jobs on so many threads; the outcomes are in the order of the jobs.
pub(crate) fn run_all(jobs: &[Job<'_>], seed: u64, threads: usize) -> Vec<Outcome> {
    // The longest first, so that no thread is alone with one at the end.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by(|a, b| jobs[*b].scenario.bits().total_cmp(&jobs[*a].scenario.bits()));
    let progress = bar(jobs);
    let outcomes = Mutex::new(vec![None; jobs.len()]);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let job = &jobs[*index];
            progress.set_message(format!("{}: {}", job.peer.name(), job.scenario.name));
            let outcome = outcome(job.scenario, job.peer, seed);
            outcomes.lock().expect("no thread has panicked")[*index] = Some(outcome);
            progress.inc(weight(job));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    progress.finish_and_clear();
    let outcomes = outcomes.into_inner().expect("no thread has panicked");
    outcomes.into_iter().map(|outcome| outcome.expect("every job was taken")).collect()
}

/// A job's part of the whole: what it carries, and something for its start.
fn weight(job: &Job<'_>) -> u64 {
    (job.scenario.bits() / 8e6) as u64 + 1
}

fn bar(jobs: &[Job<'_>]) -> ProgressBar {
    let style = ProgressStyle::with_template("{percent:>3} % {wide_bar} {elapsed} of {duration} {msg:40!}");
    ProgressBar::new(jobs.iter().map(weight).sum())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What came out, to be looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Results<'a> {
    pub(crate) scenarios: &'a [Scenario],
    pub(crate) outcomes: &'a [Outcome],
}

impl<'a> Results<'a> {
    /// The outcome of a scenario for a peer, if it was run.
    pub(crate) fn get(&self, link: &str, peer: Peer) -> Option<&'a Outcome> {
        self.outcomes.iter().find(|outcome| outcome.link == link && outcome.peer == peer)
    }

    /// The cells of the matrix that were run, with a peer's outcome.
    pub(crate) fn cells(&self, peer: Peer) -> impl Iterator<Item = (&'a Cell, &'a Outcome)> + use<'a> {
        let this = *self;
        this.scenarios
            .iter()
            .filter_map(move |scenario| Some((scenario.cell.as_ref()?, this.get(&scenario.name, peer)?)))
    }

    /// The peers that were run.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        Peer::ALL.into_iter().filter(|peer| self.outcomes.iter().any(|o| o.peer == *peer)).collect()
    }
}
