//! The socket and what mio sees of it.

use std::io;

use dunlin_udp::{Left, Receiver, Sending, Transmitter, UdpSocket};
use mio::event::Source;
use mio::{Interest, Registry, Token};

use crate::timer::Timer;

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) udp: UdpSocket,
    /// Another descriptor of the same socket, for readiness alone. On some systems mio has to hear of every call that
    /// would have blocked, which is why calls go through its `try_io`.
    readiness: mio::net::UdpSocket,
    pub(crate) timer: Timer,
}

impl Socket {
    pub(crate) fn new(udp: UdpSocket) -> io::Result<Self> {
        let readiness = mio::net::UdpSocket::from_std(udp.as_std().try_clone()?);
        Ok(Self { udp, readiness, timer: Timer::new() })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.readiness.register(registry, token, Interest::READABLE | Interest::WRITABLE)?;
        self.timer.register(registry, token)
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.readiness.deregister(registry)?;
        self.timer.deregister(registry)
    }

    /// Receives one batch.
    pub(crate) fn receive(&self, receiver: &mut Receiver) -> io::Result<Left> {
        self.readiness.try_io(|| receiver.receive(&self.udp))
    }

    /// Sends the train that is loaded.
    pub(crate) fn send(&self, transmitter: &mut Transmitter) -> Sending {
        let tried = self.readiness.try_io(|| match transmitter.send(&self.udp) {
            Sending::Blocked => Err(io::ErrorKind::WouldBlock.into()),
            sending => Ok(sending),
        });
        tried.unwrap_or(Sending::Blocked)
    }
}
