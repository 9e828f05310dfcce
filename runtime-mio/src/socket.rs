//! A socket and what mio sees of it.

use std::io;

use dunlin_udp::{Left, Receiver, Sending, Transmitter, UdpSocket};
use mio::{Interest, Registry, Token};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) udp: UdpSocket,
    /// Another descriptor of the same socket, for readiness alone. On some systems mio has to hear of every call that
    /// would have blocked, which is why calls go through its `try_io`.
    readiness: mio::net::UdpSocket,
    registered: Option<(Registry, Token)>,
    /// What it is watched for, where it is registered: for writing only while it takes no more, since every datagram
    /// that leaves makes it writable once more.
    interest: Interest,
}

impl Socket {
    pub(crate) fn new(udp: UdpSocket) -> io::Result<Self> {
        let readiness = mio::net::UdpSocket::from_std(udp.as_std().try_clone()?);
        Ok(Self { udp, readiness, registered: None, interest: Interest::READABLE })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let registered = registry.try_clone()?;
        registry.register(&mut self.readiness, token, self.interest)?;
        self.registered = Some((registered, token));
        Ok(())
    }

    pub(crate) fn deregister(&mut self) -> io::Result<()> {
        let Some((registry, _)) = self.registered.take() else { return Ok(()) };
        registry.deregister(&mut self.readiness)
    }

    /// Receives one batch.
    pub(crate) fn receive(&self, number: usize, receiver: &mut Receiver) -> io::Result<Left> {
        self.readiness.try_io(|| receiver.receive(number as u16, &self.udp))
    }

    /// Sends the trains that are loaded for it.
    ///
    /// # Errors
    /// mio's, if nobody would tell when the socket takes more.
    pub(crate) fn send(&mut self, number: usize, transmitter: &mut Transmitter) -> io::Result<Sending> {
        let tried = self.readiness.try_io(|| match transmitter.send(number, &self.udp) {
            Sending::Blocked => Err(io::ErrorKind::WouldBlock.into()),
            sending => Ok(sending),
        });
        let sending = tried.unwrap_or(Sending::Blocked);
        self.watch(if sending == Sending::Blocked { BOTH } else { Interest::READABLE })?;
        Ok(sending)
    }

    fn watch(&mut self, interest: Interest) -> io::Result<()> {
        if self.interest != interest {
            if let Some((registry, token)) = &self.registered {
                registry.reregister(&mut self.readiness, *token, interest)?;
            }
            self.interest = interest;
        }
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A registry watches a socket until its last descriptor is closed, and a shard's may outlive this.
        let _ = self.deregister();
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use dunlin_udp::{BindOptions, DatagramSocket};
    use mio::{Events, Poll};

    use super::*;

    /// A socket that hears nobody but itself, in a poll.
    fn watched() -> (Socket, Poll, Events) {
        let udp = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &BindOptions::default()).unwrap();
        udp.as_std().connect(udp.local_addr()).unwrap();
        let (mut socket, poll) = (Socket::new(udp).unwrap(), Poll::new().unwrap());
        socket.register(poll.registry(), Token(0)).unwrap();
        (socket, poll, Events::with_capacity(4))
    }

    #[test]
    fn that_it_is_writable_is_told_only_where_it_was_asked_for() {
        let (mut socket, mut poll, mut events) = watched();
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
        // Also if it was writable all the while.
        socket.watch(BOTH).unwrap();
        poll.poll(&mut events, None).unwrap();
        assert!(events.iter().any(|event| event.is_writable()));
        socket.watch(Interest::READABLE).unwrap();
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }
}
