//! What a process takes: processor time, memory; and where it runs.

use core::time::Duration;
use std::time::Instant;
use std::{fs, io};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::grid::Cores;

/// Which end of a connection a process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Server,
    Client,
}

/// Keeps this process where the scenario wants it.
pub(crate) fn pin(cores: Cores, role: Role) -> io::Result<()> {
    let core = match (cores, role) {
        (Cores::Any, _) => return Ok(()),
        (Cores::One, _) | (Cores::Apart, Role::Server) => 0,
        (Cores::Apart, Role::Client) => 1,
    };
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Processor time of a process so far, user and system, all threads.
fn processor_time(pid: Pid) -> Duration {
    let time = clock_getcpuclockid(pid).and_then(clock_gettime).expect("the process lives");
    time.into()
}

/// Memory of a process that is in RAM, in bytes.
fn resident(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0) * 1024
}

/// The two processes of a run, seen from the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) client: Pid,
    pub(crate) server: Pid,
}

impl Ends {
    /// This process and the server's.
    pub(crate) fn new(server: i32) -> Self {
        Self { client: Pid::this(), server: Pid::from_raw(server) }
    }

    /// Memory of client and server, in bytes.
    pub(crate) fn resident(self) -> [u64; 2] {
        [resident(self.client), resident(self.server)]
    }

    fn processor_time(self) -> [Duration; 2] {
        [processor_time(self.client), processor_time(self.server)]
    }
}

/// Measures from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    ends: Ends,
    start: Instant,
    cpu: [Duration; 2],
}

impl Meter {
    pub(crate) fn start(ends: Ends) -> Self {
        Self { ends, start: Instant::now(), cpu: ends.processor_time() }
    }

    /// Seconds since the start; of them, processor seconds of client and server.
    pub(crate) fn stop(self) -> (f64, [f64; 2]) {
        let seconds = self.start.elapsed().as_secs_f64();
        let now = self.ends.processor_time();
        (seconds, [0, 1].map(|end| (now[end] - self.cpu[end]).as_secs_f64()))
    }
}
