//! Moves of connections to other addresses: a line for people when one happens, a list for programs at the end.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dunlin_tokio::{Connection, LocalAddr, PathEvent, PathEvents, Tuple};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::text;

/// A move.
#[derive(Clone, Copy, Debug)]
struct Move {
    after: Duration,
    from: Tuple,
    to: Tuple,
}

impl Move {
    /// What people are told of it.
    fn line(&self) -> String {
        let after = text::time(self.after);
        let Self { from, to, .. } = self;
        if from.remote == to.remote {
            format!("dunlin: after {after} our address is {} and no more {}", own(to.local), own(from.local))
        } else {
            format!("dunlin: after {after} the peer is at {} and no more at {}", to.remote, from.remote)
        }
    }
}

/// The moves of some connections while this is held.
#[derive(Debug)]
pub(crate) struct Moves {
    seen: Arc<Mutex<Vec<Move>>>,
    /// One for each connection; they end with this.
    _watchers: JoinSet<()>,
}

impl Moves {
    /// Watches from now on, and hands each line to `tell`.
    pub(crate) fn watch(connections: &[Connection], tell: impl Fn(&str) + Clone + Send + 'static) -> Self {
        let (seen, mut watchers, begun) = (Arc::default(), JoinSet::new(), Instant::now());
        for connection in connections {
            watchers.spawn(note(connection.path_events(), begun, Arc::clone(&seen), tell.clone()));
        }
        Self { seen, _watchers: watchers }
    }

    /// Those so far, for programs.
    pub(crate) fn json(&self) -> Value {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let each = |Move { after, from, to }: &Move| json!({ "at_s": after.as_secs_f64(), "from": ends_json(from), "to": ends_json(to) });
        seen.iter().map(each).collect()
    }
}

async fn note(mut events: PathEvents, begun: Instant, seen: Arc<Mutex<Vec<Move>>>, tell: impl Fn(&str)) {
    while let Some(event) = events.next().await {
        if let PathEvent::Moved { from, to, .. } = event {
            let step = Move { after: begun.elapsed(), from, to };
            tell(&step.line());
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        }
    }
}

/// The ends of a path for programs. Ours is without a port, which is the endpoint's.
pub(crate) fn ends_json(ends: &Tuple) -> Value {
    json!({ "local": ends.local.ip.map(|ip| ip.to_string()), "remote": ends.remote.to_string() })
}

fn own(local: LocalAddr) -> String {
    local.ip.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string())
}
