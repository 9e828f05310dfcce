//! Windows, Apple's systems and FreeBSD, by the crate `netwatcher`.
//!
//! It is dropped by the thread that watches and by no other: on Unix its end waits for that of every child process that
//! inherited its pipe.

use core::net::IpAddr;
use core::ops::ControlFlow;
use core::time::Duration;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use dunlin_core::NetworkChange;
use netwatcher::{WatchHandle, list_interfaces, watch_interfaces_with_callback};

use super::hub::Opened;
use super::worker::Source;

enum Word {
    Changed,
    End,
}

struct Netwatcher {
    words: Receiver<Word>,
    _handle: WatchHandle,
}

struct Stop(Sender<Word>);

impl Drop for Stop {
    fn drop(&mut self) {
        // Nobody has to be stopped who has ended.
        let _ = self.0.send(Word::End);
    }
}

pub(super) fn open() -> io::Result<Opened> {
    let (sender, words) = channel();
    let stop = Stop(sender.clone());
    let handle = watch_interfaces_with_callback(move |update| {
        if !update.is_initial {
            // When nobody listens any more, this ends soon.
            let _ = sender.send(Word::Changed);
        }
    });
    let handle = handle.map_err(io::Error::other)?;
    Ok((Box::new(Netwatcher { words, _handle: handle }), Box::new(stop)))
}

impl Source for Netwatcher {
    fn wait(&mut self) -> ControlFlow<()> {
        match self.words.recv() {
            Ok(Word::Changed) => ControlFlow::Continue(()),
            Ok(Word::End) | Err(_) => ControlFlow::Break(()),
        }
    }

    fn pause(&mut self, time: Duration) -> ControlFlow<()> {
        let until = Instant::now() + time;
        loop {
            match self.words.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Word::Changed) => {}
                Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
                Ok(Word::End) | Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            }
        }
    }

    /// Somebody has compared already.
    fn change(&mut self) -> Option<NetworkChange> {
        Some(self.addresses().map_or(NetworkChange::Unspecified, NetworkChange::Addresses))
    }

    fn addresses(&self) -> Option<Vec<IpAddr>> {
        let interfaces = list_interfaces().ok()?;
        let all = interfaces.into_values().flat_map(|interface| interface.ips);
        Some(all.map(|address| address.ip).collect())
    }
}
