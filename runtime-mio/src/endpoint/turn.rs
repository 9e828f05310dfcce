//! A turn of the loop, on either side of its wait.

use core::time::Duration;
use std::io;

use dunlin_core::{ConnectionHandle, ErrorCode, Event, Instant};
use dunlin_udp::{Left, Sending};

use crate::error::RunError;
#[cfg(feature = "watch")]
use crate::watch::NetworkWatch;

use super::Endpoint;

/// Loads, of one full train or several smaller ones, that are sent before arrivals are looked at again.
const LOADS_PER_TURN: usize = 4;

impl Endpoint {
    /// Does what is due and sends what there is to send, in trains, as far as the socket takes it. What it does not take
    /// is kept until it does. Bounded work: while there is more, [`poll_timeout`](Self::poll_timeout) is zero.
    ///
    /// # Errors
    /// [`RunError::Closed`]; [`RunError::Poll`].
    pub fn transmit(&mut self) -> Result<(), RunError> {
        #[cfg(feature = "watch")]
        if let Some(change) = self.watch.as_mut().and_then(NetworkWatch::take) {
            self.engine.network_changed(self.clock.now(), change);
        }
        for _ in 0..LOADS_PER_TURN {
            let segments = self.sockets.as_ref().ok_or(RunError::Closed)?.max_gso_segments();
            let now = self.clock.now();
            let loaded = self.transmitter.load(now, &mut self.engine, segments);
            if !loaded || !self.send(now)? || !self.transmitter.has_more() {
                break;
            }
        }
        self.part()?;
        if let Some(deadline) = self.deadline()
            && let Some(sockets) = &mut self.sockets
        {
            sockets.wake_by(self.clock.now(), deadline);
        }
        Ok(())
    }

    /// Sends what is loaded. `false`: neither a socket nor a transport takes more.
    fn send(&mut self, now: Instant) -> Result<bool, RunError> {
        let mut sent = false;
        for number in 0..self.local.len() {
            if self.transmitter.is_loaded(number) {
                sent |= self.send_through(number, now)?;
            }
        }
        let sockets = self.sockets.as_ref().ok_or(RunError::Closed)?;
        sent |= sockets.custom.send(&mut self.transmitter, |connection, ends, size| {
            self.engine.datagram_too_large(now, connection, ends, size);
        });
        Ok(sent || self.transmitter.may_pass())
    }

    /// Sends what is loaded for one of them. `false`: it takes no more.
    fn send_through(&mut self, number: usize, now: Instant) -> Result<bool, RunError> {
        let Some(socket) = self.sockets.as_mut().ok_or(RunError::Closed)?.get_mut(number) else {
            self.transmitter.discard(number);
            return Ok(true);
        };
        loop {
            match socket.send(number, &mut self.transmitter).map_err(RunError::Poll)? {
                Sending::Done => return Ok(true),
                Sending::Blocked => return Ok(false),
                Sending::TooLarge { connection, ends, size } => {
                    self.engine.datagram_too_large(now, connection, ends, size);
                }
            }
        }
    }

    /// How long the loop may wait now for something to arrive; `None`: until then. Zero while there are events. What the
    /// application does later may shorten it: ask last.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        // Whoever has closed need not look at events any more.
        let told = self.engine.has_events() && !self.is_closed();
        if told || self.left == Left::Perhaps {
            return Some(Duration::ZERO);
        }
        self.deadline().map(|deadline| deadline - self.clock.now())
    }

    /// When there is something to do though nothing arrives.
    fn deadline(&self) -> Option<Instant> {
        // What no socket takes now has to wait for one of them, not for the clock.
        let blocked = self.transmitter.is_full();
        let engine = if blocked { None } else { self.engine.poll_timeout() };
        let farewell = self.farewell.as_ref().map(|farewell| farewell.deadline);
        [engine, farewell].into_iter().flatten().min()
    }

    /// Receives one batch from each socket and each transport and hands it to the engine, if there is one. Bounded work: while there may be more,
    /// [`poll_timeout`](Self::poll_timeout) is zero.
    ///
    /// # Errors
    /// [`RunError::Closed`], or [`RunError::Socket`], which closes the endpoint.
    pub fn receive(&mut self) -> Result<(), RunError> {
        self.left = Left::Nothing;
        for number in 0..self.sockets.as_ref().ok_or(RunError::Closed)?.count() {
            if self.receive_from(number)? == Left::Perhaps {
                self.left = Left::Perhaps;
            }
            self.hand_over();
        }
        self.receive_custom();
        for (arrival, mut datagram) in self.exchange.take() {
            self.engine.handle_datagram(self.clock.now(), arrival, &mut datagram);
        }
        Ok(())
    }

    /// Receives one batch from each transport.
    fn receive_custom(&mut self) {
        let places = self.sockets.as_mut().map(|sockets| sockets.custom.listen());
        for place in places.unwrap_or_default() {
            let Some(sockets) = &self.sockets else { return };
            if sockets.custom.receive(place, &mut self.receiver) == Left::Perhaps {
                self.left = Left::Perhaps;
            }
            self.hand_over();
        }
    }

    /// What was received goes to the engine, or to the shard that it is for.
    fn hand_over(&mut self) {
        let now = self.clock.now();
        self.receiver.hand_over(|arrival, datagram| {
            if self.exchange.pass_on(arrival, datagram) {
                return;
            }
            let said = self.engine.handle_datagram(now, arrival, datagram);
            if self.strays.show(now, said, datagram) {
                self.exchange.show(arrival, datagram);
            }
        });
    }

    /// Receives one batch from one socket.
    fn receive_from(&mut self, number: usize) -> Result<Left, RunError> {
        let sockets = self.sockets.as_mut().ok_or(RunError::Closed)?;
        let Some(socket) = sockets.get_mut(number) else { return Ok(Left::Nothing) };
        match socket.receive(number, &mut self.receiver) {
            Ok(left) => Ok(left),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Left::Nothing),
            Err(error) => match sockets.fail(number, error) {
                Ok(()) => {
                    self.tell_sockets();
                    Ok(Left::Nothing)
                }
                Err(error) => {
                    self.end_all(ErrorCode::default(), b"");
                    self.let_go();
                    Err(RunError::Socket(error))
                }
            },
        }
    }

    /// What happened. Events are hints, and the state is asked through [`connection`](Self::connection); but a loop does
    /// not wait before they are fetched.
    pub fn poll_event(&mut self) -> Option<(ConnectionHandle, Event)> {
        loop {
            let (handle, event) = self.engine.poll_event()?;
            if event == Event::Incoming && self.is_closed() {
                // Only QOTP's, which no list of application protocols keeps out.
                if let Some(attempt) = self.engine.incoming(handle) {
                    attempt.ignore();
                }
                continue;
            }
            return Some((handle, event));
        }
    }
}
