//! The attacker's and the tester's place: everything that is sent passes here before its link gets it.

use core::fmt;
use core::net::SocketAddr;

use dunlin_core::{Duration, Instant};

use crate::node::Ecn;

/// A datagram that a node has just sent, as a tap sees it.
#[derive(Debug)]
pub struct Passing<'a> {
    /// The virtual time.
    pub now: Instant,
    /// How many datagrams the nodes of this world have sent before.
    pub index: u64,
    /// Who sent it: the address of its own that it sent from, whatever a NAT makes of that afterwards.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// Its codepoint; may be changed.
    pub ecn: Option<Ecn>,
    /// Its bytes; may be changed, cut or lengthened.
    pub bytes: &'a mut Vec<u8>,
    injections: &'a mut Vec<Injection>,
}

impl Passing<'_> {
    /// Lets another datagram arrive beside this one.
    pub fn inject(&mut self, injection: Injection) {
        self.injections.push(injection);
    }
}

/// What a tap says about a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// It goes on to the next tap or to its link, with what the tap has changed.
    Pass,
    /// It is gone.
    Drop,
}

/// A datagram out of nowhere. It passes no tap and no link, and arrives when it is said to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Injection {
    /// How long from now.
    pub after: Duration,
    /// The address that it claims to come from; nobody needs to have it.
    pub from: SocketAddr,
    /// Where it arrives.
    pub to: SocketAddr,
    /// Its codepoint.
    pub ecn: Option<Ecn>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

type Tap = Box<dyn FnMut(&mut Passing<'_>) -> Verdict>;

/// The taps of a world.
#[derive(Default)]
pub(super) struct Taps {
    taps: Vec<Tap>,
    injections: Vec<Injection>,
}

impl Taps {
    pub(super) fn add(&mut self, tap: Tap) {
        self.taps.push(tap);
    }

    pub(super) fn show(&mut self, seen: Seen, ecn: &mut Option<Ecn>, bytes: &mut Vec<u8>) -> Verdict {
        let Seen { now, index, from, to } = seen;
        for tap in &mut self.taps {
            let mut passing =
                Passing { now, index, from, to, ecn: *ecn, bytes, injections: &mut self.injections };
            let verdict = tap(&mut passing);
            *ecn = passing.ecn;
            if verdict == Verdict::Drop {
                return Verdict::Drop;
            }
        }
        Verdict::Pass
    }

    /// One of the datagrams that taps have injected.
    pub(super) fn pop_injection(&mut self) -> Option<Injection> {
        // Order does not matter but has to be the same in every run; the queue is nearly always empty.
        if self.injections.is_empty() { None } else { Some(self.injections.remove(0)) }
    }
}

/// The unchangeable part of [`Passing`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) now: Instant,
    pub(super) index: u64,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taps").field("taps", &self.taps.len()).finish_non_exhaustive()
    }
}
