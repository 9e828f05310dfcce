//! Word from the thread that watches the system's addresses.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::sync::Arc;

use dunlin_udp::Watch;
use mio::{Registry, Token};

use crate::bell::Bell;

/// Rings when the addresses have changed.
#[derive(Debug)]
pub(crate) struct Alarm {
    rung: Arc<AtomicBool>,
    /// Without one it is heard all the same, whenever somebody asks.
    bell: Option<Bell>,
    _watch: Watch,
}

impl Alarm {
    /// `None`: it does not concern those who are `bound` to these addresses, or the system does not tell.
    pub(crate) fn new(bound: &[SocketAddr]) -> Option<Self> {
        if !Watch::is_worth_it(bound) {
            return None;
        }
        let (button, bell) = Bell::new().ok().unzip();
        let rung = Arc::new(AtomicBool::new(false));
        let ring = Arc::clone(&rung);
        let watch = Watch::start(move || {
            ring.store(true, Ordering::Release);
            if let Some(button) = &button {
                button.press();
            }
        });
        Some(Self { rung, bell, _watch: watch.ok()? })
    }

    /// Whether it has rung since it was last asked.
    pub(crate) fn has_rung(&mut self) -> bool {
        if !self.rung.load(Ordering::Relaxed) {
            return false;
        }
        if let Some(bell) = &mut self.bell {
            bell.hush();
        }
        self.rung.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.bell.as_mut().map_or(Ok(()), |bell| bell.register(registry, token))
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.bell.as_mut().map_or(Ok(()), |bell| bell.deregister(registry))
    }
}
