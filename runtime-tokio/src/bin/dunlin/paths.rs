//! The paths of connections while a command runs: a line for people when data takes another one, all of it for programs at
//! the end.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dunlin_tokio::{
    Connection, LocalAddr, PathClosed, PathEvent, PathEvents, PathId, PathStats, PathStatus, Tuple,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::gap::Gap;
use crate::net::CLOSING;
use crate::text;

/// How often the paths are looked at: so exact is the longest gap.
const LOOK: Duration = Duration::from_millis(10);

/// Paths, and switches, that are reported at most: a peer may open and close as many as it likes.
const MAX_REPORTED: usize = 1000;

/// Why data took another path, or its path another way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// The path before did not deliver.
    Silent,
    /// The path before is gone.
    Closed(PathClosed),
    /// Somebody called the path before a backup.
    Backup,
    /// The other one is better.
    Better,
    /// It is the same path, with other ends.
    Moved,
}

impl Why {
    /// What the paths themselves show, of which `before` is the one that was left, unless it is gone for this reason.
    fn of(before: Option<&PathStats>, gone: Option<PathClosed>, after: &PathStats) -> Self {
        let is_backup = |path: &PathStats| [path.status, path.peer_status].contains(&PathStatus::Backup);
        match (before, gone) {
            (_, Some(reason)) => Self::Closed(reason),
            (Some(before), None) if before.suspect => Self::Silent,
            (Some(before), None) if is_backup(before) && !is_backup(after) => Self::Backup,
            _ => Self::Better,
        }
    }

    /// For programs.
    const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Closed(_) => "closed",
            Self::Backup => "backup",
            Self::Better => "better",
            Self::Moved => "moved",
        }
    }
}

/// Data took another path, or its path another way.
#[derive(Clone, Copy, Debug)]
struct Switch {
    after: Duration,
    from: Tuple,
    to: Tuple,
    why: Why,
}

impl Switch {
    /// What people are told of it.
    fn line(&self) -> String {
        let (after, Self { from, to, .. }) = (text::time(self.after), self);
        let why = match self.why {
            Why::Moved if from.remote == to.remote => {
                let (now, before) = (own(to.local), own(from.local));
                return format!("dunlin: after {after} our address is {now} and no more {before}");
            }
            Why::Moved => {
                let (now, before) = (to.remote, from.remote);
                return format!("dunlin: after {after} the peer is at {now} and no more at {before}");
            }
            Why::Silent => "which fell silent",
            Why::Closed(PathClosed::Peer(_)) => "which the other side has closed",
            Why::Closed(_) => "which is closed",
            Why::Backup => "which is a backup",
            Why::Better => "which is slower",
        };
        format!("dunlin: after {after} data goes {} and no more {}, {why}", way(to), way(from))
    }

    fn json(&self) -> Value {
        let Self { after, from, to, why } = self;
        json!({ "at_s": after.as_secs_f64(), "from": ends_json(from), "to": ends_json(to), "why": why.name() })
    }
}

/// What is known of the paths of some connections.
#[derive(Debug)]
struct History {
    begun: Instant,
    /// The last that is known of each path, those that are gone included: by the number of the connection, the path's id,
    /// and how often that was used before.
    paths: BTreeMap<(usize, PathId, u32), PathStats>,
    switches: Vec<Switch>,
    gap: Gap,
}

impl History {
    fn note(&mut self, connection: usize, path: &PathStats) {
        let key = (connection, path.id, path.generation);
        if self.paths.len() < MAX_REPORTED || self.paths.contains_key(&key) {
            self.paths.insert(key, *path);
        }
    }

    fn note_switch(&mut self, switch: Switch) {
        if self.switches.len() < MAX_REPORTED {
            self.switches.push(switch);
        }
    }

    /// Looks at all connections.
    fn look<'a>(&mut self, connections: impl Iterator<Item = &'a Connection>, arrived: Option<u64>) {
        let (mut on_their_way, mut delivered) = (false, 0);
        for (number, connection) in connections.enumerate() {
            for path in connection.paths() {
                on_their_way |= path.in_flight > 0;
                let key = (number, path.id, path.generation);
                let before = self.paths.get(&key).map_or(0, |before| before.congestion.delivered);
                delivered += path.congestion.delivered.saturating_sub(before);
                self.note(number, &path);
            }
        }
        match arrived {
            Some(total) => self.gap.on_total(Instant::now(), total),
            None => self.gap.on_delivered(Instant::now(), delivered, on_their_way),
        }
    }
}

/// The path that data of one connection takes, as the events tell it.
struct Current {
    number: usize,
    id: PathId,
    ends: Tuple,
    gone: Option<PathClosed>,
}

impl Current {
    /// Takes note of an event, and says what it means for data.
    fn on_event(
        &mut self,
        event: PathEvent,
        connection: &Connection,
        history: &mut History,
    ) -> Option<Switch> {
        let after = history.begun.elapsed();
        match event {
            PathEvent::Moved { id, from, to } if id == self.id => {
                self.ends = to;
                Some(Switch { after, from, to, why: Why::Moved })
            }
            PathEvent::Closed { id, reason, stats } => {
                history.note(self.number, &stats);
                if id == self.id {
                    self.gone = Some(reason);
                }
                None
            }
            PathEvent::Selected { id, .. } => self.on_selected(id, after, connection),
            // Whatever was missed: this is how it is.
            PathEvent::Lagged(_) => self.on_selected(connection.path()?.id, after, connection),
            _ => None,
        }
    }

    fn on_selected(&mut self, id: PathId, after: Duration, connection: &Connection) -> Option<Switch> {
        if id == self.id {
            return None;
        }
        let paths = connection.paths();
        let find = |id| paths.iter().find(move |path: &&PathStats| path.id == id);
        let to = find(id)?;
        let why = Why::of(find(self.id), self.gone.take(), to);
        let from = core::mem::replace(&mut self.ends, ends(to));
        self.id = id;
        Some(Switch { after, from, to: self.ends, why })
    }
}

/// Watches the paths of some connections.
#[derive(Debug)]
pub(crate) struct Paths {
    history: Arc<Mutex<History>>,
    /// One for each connection, which ends with that.
    listeners: JoinSet<()>,
    /// The one that looks at them in between.
    lookout: JoinSet<()>,
}

impl Paths {
    /// Watches from now on, and hands each line to `tell`. The longest gap is that of what arrives at the peer, or of what
    /// `arrived` counts if that is given.
    pub(crate) fn watch(
        connections: &[Connection],
        arrived: Option<impl Fn() -> u64 + Send + 'static>,
        tell: impl Fn(&str) + Clone + Send + 'static,
    ) -> Self {
        let history = History {
            begun: Instant::now(),
            paths: BTreeMap::new(),
            switches: Vec::new(),
            gap: Gap::default(),
        };
        let history = Arc::new(Mutex::new(history));
        let mut listeners = JoinSet::new();
        for (number, connection) in connections.iter().enumerate() {
            let events = connection.path_events();
            let Some(path) = connection.path() else { continue };
            let current = Current { number, id: path.id, ends: ends(&path), gone: None };
            listeners.spawn(listen(current, connection.clone(), events, Arc::clone(&history), tell.clone()));
        }
        let mut lookout = JoinSet::new();
        lookout.spawn(look_out(connections.to_vec(), arrived, Arc::clone(&history)));
        Self { history, listeners, lookout }
    }

    /// What there is to say when the connections have ended.
    pub(crate) async fn end(mut self) -> PathReport {
        self.lookout.shutdown().await;
        // The last events of each connection are the last words on its paths. They are there already.
        let _ = timeout(CLOSING, async { while self.listeners.join_next().await.is_some() {} }).await;
        let history = lock(&self.history);
        PathReport {
            paths: history.paths.values().copied().collect(),
            switches: history.switches.clone(),
            longest_gap: history.gap.longest(),
        }
    }
}

/// What became of the paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathReport {
    paths: Vec<PathStats>,
    switches: Vec<Switch>,
    longest_gap: Option<Duration>,
}

impl PathReport {
    /// A line for people, where more than one path was open.
    pub(crate) fn line(&self) -> Option<String> {
        let used = self.paths.iter().filter(|path| path.packets_received > 0).count();
        let gap = self
            .longest_gap
            .map_or_else(String::new, |gap| format!(", for {} at most nothing arrived", text::time(gap)));
        let switches = match self.switches.len() {
            1 => "1 switch".to_owned(),
            count => format!("{count} switches"),
        };
        (used > 1).then(|| format!("{used} paths, {switches}{gap}"))
    }

    /// Puts it into the object that a program gets.
    pub(crate) fn put_into(&self, report: &mut Value) {
        report["paths"] = self.paths.iter().map(path_json).collect();
        report["switches"] = self.switches.iter().map(Switch::json).collect();
        report["longest_gap_ms"] = json!(self.longest_gap.map(|gap| gap.as_secs_f64() * 1e3));
    }
}

fn lock(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes down what is told of the paths of one connection.
async fn listen(
    mut current: Current,
    connection: Connection,
    mut events: PathEvents,
    history: Arc<Mutex<History>>,
    tell: impl Fn(&str),
) {
    while let Some(event) = events.next().await {
        let switch = current.on_event(event, &connection, &mut lock(&history));
        if let Some(switch) = switch {
            tell(&switch.line());
            lock(&history).note_switch(switch);
        }
    }
}

/// Looks at the paths now and then.
async fn look_out(
    connections: Vec<Connection>,
    arrived: Option<impl Fn() -> u64>,
    history: Arc<Mutex<History>>,
) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        lock(&history).look(connections.iter(), arrived.as_ref().map(|arrived| arrived()));
    }
}

/// The ends of a path.
pub(crate) const fn ends(path: &PathStats) -> Tuple {
    Tuple { local: path.local, remote: path.remote }
}

/// The ends of a path for programs. Ours is without a port, which is the endpoint's.
pub(crate) fn ends_json(ends: &Tuple) -> Value {
    json!({ "local": ends.local.ip.map(|ip| ip.to_string()), "remote": ends.remote.to_string() })
}

/// How a path did, for programs.
fn path_json(path: &PathStats) -> Value {
    let mut object = ends_json(&ends(path));
    object["packets_sent"] = path.packets_sent.into();
    object["bytes_sent"] = path.bytes_sent.into();
    object["packets_received"] = path.packets_received.into();
    object["bytes_received"] = path.bytes_received.into();
    object["packets_lost"] = path.packets_lost.saturating_sub(path.spurious_losses).into();
    object["rtt_us"] = json!(path.rtt.is_measured().then(|| path.rtt.smoothed().as_micros() as u64));
    object
}

fn own(local: LocalAddr) -> String {
    local.ip.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string())
}

/// `from 192.0.2.7 to 198.51.100.1:4433`, as far as our end is known.
fn way(ends: &Tuple) -> String {
    match ends.local.ip {
        Some(ip) => format!("from {ip} to {}", ends.remote),
        None => format!("to {}", ends.remote),
    }
}
