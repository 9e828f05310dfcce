//! Showing how far a transfer is: a bar on a terminal, a plain line each second otherwise, nothing with `--json`.

use core::time::Duration;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Instant;

use dunlin_tokio::Connection;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use crate::failure;
use crate::report::Link;
use crate::text;
use crate::transfer::{Count, Counters};

/// How often a bar moves.
const BAR: Duration = Duration::from_millis(100);

/// How often a line is printed.
const LINES: Duration = Duration::from_secs(1);

/// Where progress goes. Clones show beside each other.
#[derive(Clone, Debug)]
pub(crate) enum Show {
    /// Bars on the terminal.
    Bars(MultiProgress),
    /// Plain lines on the standard error.
    Lines,
    /// Nowhere.
    Nothing,
}

impl Show {
    /// What suits the standard error; nothing if programs are to read the output.
    pub(crate) fn new(json: bool) -> Self {
        match (json, std::io::stderr().is_terminal()) {
            (true, _) => Self::Nothing,
            (false, true) => Self::Bars(MultiProgress::new()),
            (false, false) => Self::Lines,
        }
    }

    /// Prints a line on the standard output, above the bars if there are some.
    pub(crate) fn print(&self, line: &str) {
        match self {
            Self::Bars(bars) => bars.suspend(|| failure::say(line)),
            Self::Lines | Self::Nothing => failure::say(line),
        }
    }

    /// Prints a line on the standard error.
    pub(crate) fn note(&self, line: &str) {
        match self {
            Self::Bars(bars) => bars.suspend(|| failure::note(line)),
            Self::Lines | Self::Nothing => failure::note(line),
        }
    }

    /// Shows the transfer of `counters` over `connection` while `work` goes on.
    pub(crate) async fn during<F: Future>(
        &self,
        counters: &Arc<Counters>,
        connection: &Connection,
        work: F,
    ) -> F::Output {
        let period = match self {
            Self::Bars(_) => BAR,
            Self::Lines => LINES,
            Self::Nothing => return work.await,
        };
        let mut work = core::pin::pin!(work);
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        let mut view = View::new(self);
        let output = loop {
            tokio::select! {
                output = &mut work => break output,
                _ = ticks.tick() => view.update(counters.get(), &Link::of(connection)),
            }
        };
        view.end();
        output
    }
}

/// One transfer on display.
struct View {
    bar: Option<ProgressBar>,
    speed: Speed,
}

impl View {
    fn new(show: &Show) -> Self {
        let bar = match show {
            Show::Bars(bars) => {
                let style = ProgressStyle::with_template("{wide_bar} {percent:>3} % {msg}");
                let bar = ProgressBar::new(0);
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                Some(bars.add(bar))
            }
            Show::Lines | Show::Nothing => None,
        };
        Self { bar, speed: Speed::new() }
    }

    fn update(&mut self, count: Count, link: &Link) {
        if count.files == 0 && count.total == 0 {
            return;
        }
        let rate = self.speed.update(count);
        let files = match count.files {
            1 => String::new(),
            files => format!("  {} of {files} files", count.files_done),
        };
        let (done, total) = (text::bytes(count.done), text::bytes(count.total));
        let rest = format!("{done} of {total}{files}  {rate}  {}", link.via_text());
        match &self.bar {
            Some(bar) => {
                bar.update(|state| {
                    state.set_len(count.total);
                    state.set_pos(count.done);
                });
                bar.set_message(rest);
            }
            None => {
                let percent =
                    if count.total == 0 { 100.0 } else { count.done as f64 * 100.0 / count.total as f64 };
                failure::note(format_args!("{percent:5.1} %  {}", rest.trim_end()));
            }
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The rate of late: a mean in which each second counts half as much as the next.
struct Speed {
    at: Instant,
    moved: u64,
    bytes_per_second: Option<f64>,
}

impl Speed {
    fn new() -> Self {
        Self { at: Instant::now(), moved: 0, bytes_per_second: None }
    }

    fn update(&mut self, count: Count) -> String {
        let (now, moved) = (Instant::now(), count.done.saturating_sub(count.kept));
        let passed = now - self.at;
        let fresh = text::bytes_per_second(moved.saturating_sub(self.moved), passed);
        let mean = match self.bytes_per_second {
            Some(before) => fresh + (before - fresh) * 0.5_f64.powf(passed.as_secs_f64()),
            None => fresh,
        };
        *self = Self { at: now, moved, bytes_per_second: Some(mean) };
        text::rate(mean as u64, Duration::from_secs(1))
    }
}
