//! Datagrams on their way from the shard that received them to the one that they are for.
//!
//! The kernel hands a train to one shard, by its first datagram. A network card may have put it together from datagrams of
//! several connections, where those are between the same two ports; the others are handed on here. So is what may be a stateless
//! reset, which names its shard by chance only ([`Strays`](dunlin_udp::Strays)).

use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use dunlin_core::{Arrival, Shard};
use mio::{Registry, Token};

use crate::bell::{Bell, Button};

/// Bytes of datagrams that wait for a shard at most: what a receive can bring in, however full. What comes beyond is lost, as
/// in a socket's buffer.
const MOST: usize = 2 << 20;

type Letter = (Arrival, Box<[u8]>);

/// A shard's end of the exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    shard: Shard,
    /// Of all shards; none, if there is only one.
    boxes: Arc<[Letterbox]>,
    bell: Option<Bell>,
}

#[derive(Debug)]
struct Letterbox {
    waiting: Mutex<Waiting>,
    /// Whether anything waits, to be asked without the lock.
    full: AtomicBool,
    button: Button,
}

#[derive(Default, Debug)]
struct Waiting {
    letters: VecDeque<Letter>,
    bytes: usize,
}

impl Exchange {
    /// Of a shard that is alone.
    pub(crate) fn none() -> Self {
        Self { shard: Shard::default(), boxes: Arc::new([]), bell: None }
    }

    /// Of all of `count` shards, in their order.
    ///
    /// # Errors
    /// The system's, if it has no descriptors left.
    pub(crate) fn among(count: u8) -> io::Result<Vec<Self>> {
        if count < 2 {
            return Ok(vec![Self::none()]);
        }
        let (mut boxes, mut bells) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (button, bell) = Bell::new()?;
            boxes.push(Letterbox { waiting: Mutex::default(), full: AtomicBool::new(false), button });
            bells.push(bell);
        }
        let boxes: Arc<[Letterbox]> = boxes.into();
        let all = Shard::all(count).zip(bells);
        Ok(all.map(|(shard, bell)| Self { shard, boxes: Arc::clone(&boxes), bell: Some(bell) }).collect())
    }

    /// Which one it is.
    pub(crate) const fn shard(&self) -> Shard {
        self.shard
    }

    /// Takes a datagram that is for another shard. `false`: it is for this one.
    pub(crate) fn pass_on(&self, arrival: Arrival, datagram: &[u8]) -> bool {
        let Some(owner) = self.shard.sibling_of(datagram) else { return false };
        if let Some(letterbox) = self.boxes.get(usize::from(owner)) {
            letterbox.put(arrival, datagram);
        }
        true
    }

    /// Shows all other shards a datagram that may be for any of them.
    pub(crate) fn show(&self, arrival: Arrival, datagram: &[u8]) {
        let own = usize::from(self.shard.index());
        for (_, letterbox) in self.boxes.iter().enumerate().filter(|(index, _)| *index != own) {
            letterbox.put(arrival, datagram);
        }
    }

    /// What others received for this shard.
    pub(crate) fn take(&mut self) -> VecDeque<Letter> {
        let Some(letterbox) = self.boxes.get(usize::from(self.shard.index())) else { return VecDeque::new() };
        if !letterbox.full.load(Ordering::Relaxed) {
            return VecDeque::new();
        }
        if let Some(bell) = &mut self.bell {
            bell.hush();
        }
        letterbox.empty()
    }

    /// Has `registry` tell when there is something to take.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.bell.as_mut().map_or(Ok(()), |bell| bell.register(registry, token))
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.bell.as_mut().map_or(Ok(()), |bell| bell.deregister(registry))
    }
}

impl Letterbox {
    fn put(&self, arrival: Arrival, datagram: &[u8]) {
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.bytes + datagram.len() > MOST {
                return;
            }
            waiting.bytes += datagram.len();
            waiting.letters.push_back((arrival, datagram.into()));
        }
        // The letter is there before it is said that it is, and `empty` unsays it before it looks: none is overlooked.
        if !self.full.swap(true, Ordering::AcqRel) {
            self.button.press();
        }
    }

    fn empty(&self) -> VecDeque<Letter> {
        self.full.swap(false, Ordering::AcqRel);
        mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner)).letters
    }
}

#[cfg(all(test, unix))]
mod tests {
    use core::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    fn arrival() -> Arrival {
        Arrival::from_remote("127.0.0.1:1".parse::<core::net::SocketAddr>().unwrap())
    }

    #[test]
    fn a_datagram_wakes_the_one_that_it_is_for() {
        let mut shards = Exchange::among(3).unwrap();
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(4));
        for (index, shard) in shards.iter_mut().enumerate() {
            shard.register(poll.registry(), Token(index)).unwrap();
        }
        for round in 0..3 {
            assert!(!shards[0].pass_on(arrival(), &[0x90, 3, round]), "it is for this one");
            assert!(shards[0].pass_on(arrival(), &[0x90, 4, round]));
            assert!(shards[2].pass_on(arrival(), &[0x90, 1, round]));
            poll.poll(&mut events, None).unwrap();
            assert!(events.iter().all(|event| event.token() == Token(1)) && !events.is_empty());
            let letters = shards[1].take();
            assert_eq!(letters.iter().map(|(_, bytes)| bytes[1]).collect::<Vec<_>>(), [4, 1]);
            assert!(shards.iter_mut().all(|shard| shard.take().is_empty()));
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty());
        }
    }

    #[test]
    fn hostile_strays_are_shown_to_all_others() {
        let mut shards = Exchange::among(3).unwrap();
        shards[1].show(arrival(), &[0x90, 1]);
        let seen: Vec<_> = shards.iter_mut().map(|shard| shard.take().len()).collect();
        assert_eq!(seen, [1, 0, 1]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut shards = Exchange::among(2).unwrap();
        let mut datagram = vec![0; 60_000];
        datagram[1] = 1;
        for _ in 0..100 {
            assert!(shards[0].pass_on(arrival(), &datagram));
        }
        let letters = shards[1].take();
        assert_eq!(letters.len(), MOST / datagram.len());
        // And there is room again.
        assert!(shards[0].pass_on(arrival(), &datagram));
        assert_eq!(shards[1].take().len(), 1);
    }

    #[test]
    fn who_is_alone_passes_nothing_on() {
        let mut alone = Exchange::among(1).unwrap();
        for first in 0..=u8::MAX {
            assert!(!alone[0].pass_on(arrival(), &[0x90, first]));
        }
        assert!(alone[0].take().is_empty());
    }
}
