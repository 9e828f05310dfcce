//! The transports beside the sockets, and what ends a wait for them.

use core::ops::Range;
use core::task::Waker;
use std::io;

use dunlin_core::{ConnectionHandle, Tuple};
use dunlin_udp::{Left, Receiver, Transmitter, Transports};
use mio::{Registry, Token};

use crate::alarm::Alarm;

#[derive(Debug)]
pub(crate) struct Custom {
    transports: Transports,
    /// `None`: there are no transports to wait for.
    alarm: Option<Alarm>,
    waker: Waker,
}

impl Custom {
    /// # Errors
    /// The system's, if nothing would end a wait for them.
    pub(crate) fn new(transports: Transports) -> io::Result<Self> {
        let alarm = if transports.is_empty() { None } else { Some(Alarm::loud()?) };
        let waker = alarm.as_ref().map_or_else(|| Waker::noop().clone(), Alarm::waker);
        Ok(Self { transports, alarm, waker })
    }

    pub(crate) const fn transports(&self) -> &Transports {
        &self.transports
    }

    /// Sends the trains that are loaded for them, and tells of what is too large. `false`: none took anything.
    pub(crate) fn send(
        &self,
        transmitter: &mut Transmitter,
        too_large: impl FnMut(ConnectionHandle, Tuple, usize),
    ) -> bool {
        transmitter.send_custom(&self.waker, too_large)
    }

    /// The places of those to receive from now. What comes to them from now on ends the next wait.
    pub(crate) fn listen(&mut self) -> Range<usize> {
        let places = self.transports.to_receive();
        if let Some(alarm) = &mut self.alarm {
            alarm.has_rung();
        }
        if !places.is_empty() {
            self.transports.wake(&self.waker);
        }
        places
    }

    /// Receives one batch from the one at this place.
    pub(crate) fn receive(&self, place: usize, receiver: &mut Receiver) -> Left {
        receiver.receive_custom(place, &self.transports).unwrap_or(Left::Nothing)
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.alarm.as_mut().map_or(Ok(()), |alarm| alarm.register(registry, token))
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.alarm.as_mut().map_or(Ok(()), |alarm| alarm.deregister(registry))
    }
}
