//! From the engine's key log to the application.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dunlin_core::KeyLogEntry;

use crate::state::Shared;

/// Where the application wants the entries, of all shards.
#[derive(Clone)]
pub(crate) struct KeyLogSink(Arc<Mutex<dyn FnMut(KeyLogEntry) + Send>>);

impl fmt::Debug for KeyLogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLogSink").finish_non_exhaustive()
    }
}

impl KeyLogSink {
    pub(crate) fn new(sink: impl FnMut(KeyLogEntry) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(sink)))
    }

    /// Hands over what waits. Whatever makes an entry also gives the driver something to do, so that it comes by.
    pub(super) fn drain(&self, shared: &Shared) {
        loop {
            // The lock is released before the application's code runs.
            let entry = shared.lock().engine.poll_key_log();
            match entry {
                Some(entry) => self.0.lock().unwrap_or_else(PoisonError::into_inner)(entry),
                None => return,
            }
        }
    }
}
