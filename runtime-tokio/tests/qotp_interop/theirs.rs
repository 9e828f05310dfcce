//! The peer program as a process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;
use tokio::sync::mpsc;

/// A peer that runs, and is ended with the test.
pub(crate) struct Peer {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    /// Events other than those that were asked for, by name.
    pub(crate) aside: Vec<Value>,
}

impl Peer {
    pub(crate) fn start(program: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let out = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = mpsc::unbounded_channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Self { child, lines, aside: Vec::new() }
    }

    /// The next JSON object that it prints.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let line = self.lines.recv().await.expect("the peer program has ended");
            // It may print something for people too.
            if let Ok(value @ Value::Object(_)) = serde_json::from_str(&line) {
                return value;
            }
        }
    }

    /// The next event of this name.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        loop {
            let next = self.next().await;
            if next["event"] == name {
                return next;
            }
            self.aside.push(next);
        }
    }

    /// What it has said beside what it was asked for, and why that is bad, if it is.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let bad = |value: &&Value| matches!(value["event"].as_str(), Some("listen_error" | "panic"));
        self.aside.iter().filter(bad).map(Value::to_string).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
