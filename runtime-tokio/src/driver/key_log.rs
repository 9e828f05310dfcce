//! From the engine's key log to the application.

use core::fmt;

use dunlin_core::KeyLogEntry;

use crate::state::Shared;

/// Where the application wants the entries.
pub(crate) struct KeyLogSink(Box<dyn FnMut(KeyLogEntry) + Send>);

impl fmt::Debug for KeyLogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLogSink").finish_non_exhaustive()
    }
}

impl KeyLogSink {
    pub(crate) fn new(sink: impl FnMut(KeyLogEntry) + Send + 'static) -> Self {
        Self(Box::new(sink))
    }

    /// Hands over what waits. Whatever makes an entry also gives the driver something to do, so that it comes by.
    pub(super) fn drain(&mut self, shared: &Shared) {
        loop {
            // The lock is released before the application's code runs.
            let entry = shared.lock().engine.poll_key_log();
            match entry {
                Some(entry) => (self.0)(entry),
                None => return,
            }
        }
    }
}
