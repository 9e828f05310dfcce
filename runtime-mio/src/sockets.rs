//! The sockets of an endpoint, by their numbers, and the transports and the timer beside them.

use std::io;

use dunlin_core::Instant;
use dunlin_udp::{DatagramSocket, Transports, UdpSocket};
use mio::{Registry, Token};

use crate::custom::Custom;
use crate::socket::Socket;
use crate::timer::Timer;

#[derive(Debug)]
pub(crate) struct Sockets {
    /// `None`: it has failed.
    all: Vec<Option<Socket>>,
    pub(crate) custom: Custom,
    timer: Timer,
    registered: Option<(Registry, Token)>,
}

impl Sockets {
    /// At least one socket, and these transports.
    pub(crate) fn new(all: Vec<UdpSocket>, transports: Transports) -> io::Result<Self> {
        let all: io::Result<_> = all.into_iter().map(|udp| Socket::new(udp).map(Some)).collect();
        let custom = Custom::new(transports)?;
        Ok(Self { all: all?, custom, timer: Timer::new(), registered: None })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let registered = registry.try_clone()?;
        for socket in self.all.iter_mut().flatten() {
            socket.register(registry, token)?;
        }
        self.custom.register(registry, token)?;
        self.timer.register(registry, token)?;
        self.registered = Some((registered, token));
        Ok(())
    }

    pub(crate) fn deregister(&mut self) -> io::Result<()> {
        let Some((registry, _)) = self.registered.take() else { return Ok(()) };
        for socket in self.all.iter_mut().flatten() {
            socket.deregister()?;
        }
        self.custom.deregister(&registry)?;
        self.timer.deregister(&registry)
    }

    /// Where they are registered.
    pub(crate) fn registered(&self) -> Option<&Registry> {
        self.registered.as_ref().map(|(registry, _)| registry)
    }

    /// Puts another one in the place of the first, and registers it where that was.
    pub(crate) fn replace_first(&mut self, udp: UdpSocket) -> io::Result<()> {
        let mut socket = Socket::new(udp)?;
        if let Some((registry, token)) = &self.registered {
            socket.register(registry, *token)?;
        }
        self.all[0] = Some(socket);
        Ok(())
    }

    /// Has a wait ended by then.
    pub(crate) fn wake_by(&mut self, now: Instant, deadline: Instant) {
        self.timer.wake_by(now, deadline);
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// `None`: it has failed.
    pub(crate) fn get_mut(&mut self, number: usize) -> Option<&mut Socket> {
        self.all.get_mut(number)?.as_mut()
    }

    /// Whether it has not failed.
    pub(crate) fn has(&self, number: usize) -> bool {
        self.all.get(number).is_some_and(Option::is_some)
    }

    /// Those that have not failed.
    pub(crate) fn open(&self) -> impl Iterator<Item = &UdpSocket> {
        self.all.iter().flatten().map(|socket| &socket.udp)
    }

    /// The longest train that any of them takes. Others cut what is too long for them.
    pub(crate) fn max_gso_segments(&self) -> usize {
        self.open().map(DatagramSocket::max_gso_segments).max().unwrap_or(1)
    }

    /// One is of no use any more, which is an error if it was the last.
    pub(crate) fn fail(&mut self, number: usize, error: io::Error) -> io::Result<()> {
        self.all[number] = None;
        if self.open().next().is_none() { Err(error) } else { Ok(()) }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use core::time::Duration;

    use dunlin_udp::BindOptions;
    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn the_timer_ends_a_wait_whenever_it_is_set() {
        let udp = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &BindOptions::default()).unwrap();
        let (mut sockets, mut poll) =
            (Sockets::new(vec![udp], Transports::default()).unwrap(), Poll::new().unwrap());
        let mut events = Events::with_capacity(4);
        sockets.register(poll.registry(), Token(0)).unwrap();
        for number in 0..3 {
            let now = Instant::from_nanos(number * 1_000_000_000);
            sockets.wake_by(now, now + Duration::from_micros(300));
            poll.poll(&mut events, None).unwrap();
            assert!(!events.is_empty());
        }
        sockets.wake_by(Instant::ZERO, Instant::MAX);
        sockets.deregister().unwrap();
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }
}
