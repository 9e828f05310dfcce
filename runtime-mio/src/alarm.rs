//! Word from other threads that there is something to do.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use std::io;
use std::sync::Arc;
use std::task::Wake;

use mio::{Registry, Token};

use crate::bell::{Bell, Button};

/// Rings when somebody wakes its waker.
#[derive(Debug)]
pub(crate) struct Alarm {
    ring: Arc<Ring>,
    /// Without one it is heard all the same, whenever somebody asks.
    bell: Option<Bell>,
}

#[derive(Debug)]
struct Ring {
    rung: AtomicBool,
    button: Option<Button>,
}

impl Alarm {
    /// One that nothing has rung yet. Where the system has no pipes, it ends no wait.
    pub(crate) fn new() -> Self {
        let (button, bell) = Bell::new().ok().unzip();
        Self { ring: Arc::new(Ring { rung: AtomicBool::new(false), button }), bell }
    }

    /// One that ends waits.
    ///
    /// # Errors
    /// The system's, if it has no descriptors left, or no pipes.
    pub(crate) fn loud() -> io::Result<Self> {
        let (button, bell) = Bell::new()?;
        Ok(Self {
            ring: Arc::new(Ring { rung: AtomicBool::new(false), button: Some(button) }),
            bell: Some(bell),
        })
    }

    /// What rings it.
    pub(crate) fn waker(&self) -> Waker {
        Arc::clone(&self.ring).into()
    }

    /// Whether it has rung since it was last asked.
    pub(crate) fn has_rung(&mut self) -> bool {
        if !self.ring.rung.load(Ordering::Relaxed) {
            return false;
        }
        if let Some(bell) = &mut self.bell {
            bell.hush();
        }
        self.ring.rung.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.bell.as_mut().map_or(Ok(()), |bell| bell.register(registry, token))
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.bell.as_mut().map_or(Ok(()), |bell| bell.deregister(registry))
    }
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever has not heard it yet will look at everything.
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(button) = &self.button
        {
            button.press();
        }
    }
}
