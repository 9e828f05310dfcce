//! The sockets of a shard, each with the runtime's eye on it, and the transports beside them.

use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use dunlin_core::LocalSocket;
use dunlin_udp::{DatagramSocket, Left, Receiver, Sending, Transmitter, Transports, UdpSocket};
use tokio::io::Interest;
use tracing::warn;

use crate::state::Shared;

/// One of them.
#[derive(Debug)]
struct Socket {
    /// Ours: others ask it something at most.
    udp: Arc<UdpSocket>,
    /// Another descriptor of the same socket, for readiness alone.
    readiness: tokio::net::UdpSocket,
}

/// All of them, by their numbers.
#[derive(Debug)]
pub(super) struct Sockets {
    /// `None`: it has failed.
    all: Vec<Option<Socket>>,
    transports: Transports,
    /// Whose turn it is to be heard first: a socket's, by its number, or a transport's, which are counted on from there.
    turn: usize,
}

impl Sockets {
    /// The sockets that a shard has from now on. Must be called within a runtime.
    pub(super) fn new(all: Vec<UdpSocket>, transports: Transports, shared: &Shared) -> io::Result<Self> {
        let all: io::Result<_> = all
            .into_iter()
            .enumerate()
            .map(|(number, udp)| Socket::new(number, udp, shared).map(Some))
            .collect();
        shared.lock().uses_transports(&transports);
        let sockets = Self { all: all?, transports, turn: 0 };
        sockets.tell(shared);
        Ok(sockets)
    }

    /// Tells the engine which of them there are.
    fn tell(&self, shared: &Shared) {
        let bound = |socket: &Socket| socket.udp.local_addr();
        let all = (0..).zip(self.all.iter().map(|socket| socket.as_ref().map(bound)));
        let open: Vec<_> = all.filter_map(|(number, bound)| Some(LocalSocket::new(number, bound?))).collect();
        shared.lock().engine.set_sockets(shared.clock.now(), &open);
    }

    /// Puts another one in the place of the first. Whoever waits to hear of the old one is woken by the new one.
    pub(super) fn replace_first(&mut self, udp: UdpSocket, shared: &Shared) -> io::Result<()> {
        self.all[0] = Some(Socket::new(0, udp, shared)?);
        self.tell(shared);
        Ok(())
    }

    /// The longest train that any of them takes. Others cut what is too long for them.
    pub(super) fn max_gso_segments(&self) -> usize {
        self.all.iter().flatten().map(|socket| socket.udp.max_gso_segments()).max().unwrap_or(1)
    }

    /// Receives one batch, from each socket and each transport in turn. `false` if there is none; the task is then woken when
    /// one comes.
    ///
    /// The runtime finds out that a socket is readable when it has nothing else to do, or now and then. A driver that is
    /// `busy` sending keeps it from that: it looks for itself, for what was acknowledged is worth knowing soon.
    ///
    /// # Errors
    /// No socket is of any use any more.
    pub(super) fn receive(
        &mut self,
        receiver: &mut Receiver,
        cx: &mut Context<'_>,
        shared: &Shared,
        busy: bool,
    ) -> io::Result<bool> {
        let custom = self.transports.to_receive();
        if !custom.is_empty() {
            self.transports.wake(cx.waker());
        }
        let places = self.all.len() + custom.len();
        for tried in 0..places {
            let number = self.turn;
            self.turn = (number + 1) % places;
            if let Some(place) = number.checked_sub(self.all.len()) {
                match receiver.receive_custom(place, &self.transports) {
                    Ok(_) => return Ok(true),
                    Err(_) => continue,
                }
            }
            let Some(socket) = &self.all[number] else { continue };
            match socket.receive(number as u16, receiver, cx, busy && tried == 0) {
                Ok(false) => {}
                Err(error) => self.fail(number, error, shared)?,
                received => return received,
            }
        }
        Ok(false)
    }

    /// One is of no use any more, which is an error if it was the last.
    fn fail(&mut self, number: usize, error: io::Error, shared: &Shared) -> io::Result<()> {
        self.all[number] = None;
        if self.all.iter().all(Option::is_none) {
            return Err(error);
        }
        warn!(%error, number, "a socket failed: the others go on");
        self.tell(shared);
        Ok(())
    }

    /// Sends what is loaded. `false` if neither a socket nor a transport takes anything of it now; the task is then woken when
    /// one does.
    ///
    /// # Errors
    /// The runtime's, when it shuts down.
    pub(super) fn send(
        &self,
        transmitter: &mut Transmitter,
        cx: &mut Context<'_>,
        shared: &Shared,
    ) -> io::Result<bool> {
        let mut sent = false;
        for (number, socket) in self.all.iter().enumerate() {
            if !transmitter.is_loaded(number) {
                continue;
            }
            if let Some(socket) = socket {
                sent |= socket.send(number, transmitter, cx, shared)?;
            } else {
                transmitter.discard(number);
                sent = true;
            }
        }
        sent |= transmitter.send_custom(cx.waker(), |connection, ends, size| {
            shared.lock().engine.datagram_too_large(shared.clock.now(), connection, ends, size);
        });
        Ok(sent || transmitter.may_pass())
    }
}

impl Socket {
    fn new(number: usize, udp: UdpSocket, shared: &Shared) -> io::Result<Self> {
        let readiness = tokio::net::UdpSocket::from_std(udp.as_std().try_clone()?)?;
        let udp = Arc::new(udp);
        shared.lock().uses(number, &udp);
        Ok(Self { udp, readiness })
    }

    fn receive(
        &self,
        number: u16,
        receiver: &mut Receiver,
        cx: &mut Context<'_>,
        busy: bool,
    ) -> io::Result<bool> {
        if busy && receiver.is_empty() {
            match receiver.receive(number, &*self.udp) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        while receiver.is_empty() {
            let received =
                self.readiness.try_io(Interest::READABLE, || match receiver.receive(number, &*self.udp)? {
                    // The runtime may be told without asking the system once more.
                    Left::Nothing => Err(io::ErrorKind::WouldBlock.into()),
                    Left::Perhaps => Ok(()),
                });
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if receiver.is_empty() {
                        match self.readiness.poll_recv_ready(cx) {
                            Poll::Ready(ready) => ready?,
                            Poll::Pending => return Ok(false),
                        }
                    }
                }
                received => {
                    received?;
                    // Perhaps it was errors only, of which anybody can cause more: what else there is to do comes first.
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// Sends what is loaded for it. `false` if it does not take all of it now.
    fn send(
        &self,
        number: usize,
        transmitter: &mut Transmitter,
        cx: &mut Context<'_>,
        shared: &Shared,
    ) -> io::Result<bool> {
        loop {
            let tried =
                self.readiness.try_io(Interest::WRITABLE, || match transmitter.send(number, &*self.udp) {
                    Sending::Blocked => Err(io::ErrorKind::WouldBlock.into()),
                    sending => Ok(sending),
                });
            match tried {
                Ok(Sending::TooLarge { connection, ends, size }) => {
                    let now = shared.clock.now();
                    shared.lock().engine.datagram_too_large(now, connection, ends, size);
                }
                Ok(Sending::Done | Sending::Blocked) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.readiness.poll_send_ready(cx) {
                        Poll::Ready(ready) => ready?,
                        Poll::Pending => return Ok(false),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::poll_fn;

    use dunlin_core::{Config, Endpoint, Identity};
    use dunlin_udp::{BindOptions, Clock, Outcome, Transmit};
    use tokio::sync::Notify;

    use super::*;

    fn bind() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &BindOptions::default()).unwrap()
    }

    /// Sends a datagram to one of them, waits for it, and says through which it came.
    async fn heard(sockets: &mut Sockets, shared: &Shared, number: usize) -> u16 {
        let (peer, mut receiver) = (bind(), Receiver::new());
        let destination = sockets.all[number].as_ref().unwrap().udp.local_addr();
        let transmit = Transmit { destination, ecn: None, contents: b"x", segment_size: None, src_ip: None };
        assert_eq!(peer.try_send(&transmit), Outcome::Sent);
        let received = poll_fn(|cx| match sockets.receive(&mut receiver, cx, shared, false) {
            Ok(false) => Poll::Pending,
            received => Poll::Ready(received),
        });
        assert!(received.await.unwrap());
        let mut through = None;
        receiver.hand_over(|arrival, _| through = Some(arrival.local.socket));
        through.unwrap()
    }

    #[tokio::test]
    async fn path_one_that_fails_leaves_the_others_and_the_last_one_is_the_end() {
        let engine = Endpoint::new(Config::default(), Identity::from_secret([1; 32]), [1; 32]);
        let shared = Shared::new(engine, Clock::start(), &Arc::new(Notify::new()));
        let mut sockets = Sockets::new(vec![bind(), bind(), bind()], Transports::default(), &shared).unwrap();
        assert_eq!((heard(&mut sockets, &shared, 2).await, heard(&mut sockets, &shared, 0).await), (2, 0));
        sockets.all[0].as_ref().unwrap().udp.close();
        assert_eq!(heard(&mut sockets, &shared, 1).await, 1);
        while sockets.all[0].is_some() {
            heard(&mut sockets, &shared, 1).await;
        }
        assert_eq!(shared.lock().socket_stats().count(), 2);
        sockets.replace_first(bind(), &shared).unwrap();
        assert_eq!((heard(&mut sockets, &shared, 0).await, heard(&mut sockets, &shared, 2).await), (0, 2));
        for socket in sockets.all.iter().flatten() {
            socket.udp.close();
        }
        let mut receiver = Receiver::new();
        let end = poll_fn(|cx| match sockets.receive(&mut receiver, cx, &shared, false) {
            Ok(_) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        });
        assert_eq!(end.await.kind(), io::ErrorKind::NotConnected);
    }
}
