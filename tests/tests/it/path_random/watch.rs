//! Who sees all that the two sides send: no number comes twice, and nobody is sent more than he may be.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::collections::BTreeSet;
use std::rc::Rc;

use dunlin_core::{Inspector, KeyLogEntry, Role, Sequence};
use dunlin_sim::{Host, Injection, Verdict, World};

use crate::common::ms;
use crate::duo::Side;

/// The environment variable that names a file for what was done and sent in the last case that failed, in words.
const WORDS: &str = "DUNLIN_WORDS";

/// What is known of all that was sent.
#[derive(Default)]
pub(super) struct Watch {
    inspector: Option<Inspector>,
    /// What was sent before there were keys to read it with.
    early: Vec<Vec<u8>>,
    /// Whose packet, on which path, under which number.
    numbers: BTreeSet<(Option<u8>, u8, u64)>,
    /// Packets of a side that are still to be hijacked, and the address from which they arrive.
    hijacks: [(u8, Option<SocketAddr>); 2],
    /// Addresses that nobody has, and from which packets have arrived.
    pub(super) strangers: Vec<SocketAddr>,
    /// The last packets in words, where somebody wants to read them.
    pub(super) words: Option<Vec<String>>,
}

impl Watch {
    /// Watches a world from now on.
    pub(super) fn over(world: &mut World<Host>) -> Rc<RefCell<Self>> {
        let watch = Rc::new(RefCell::new(Self::default()));
        if std::env::var_os(WORDS).is_some() {
            watch.borrow_mut().words = Some(Vec::new());
        }
        let watched = Rc::clone(&watch);
        world.add_tap(move |passing| {
            let mut watch = watched.borrow_mut();
            let what = format!("{:?} {} > {}", passing.now, passing.from, passing.to);
            let sender = watch.read(passing.bytes, &what);
            let hijack = sender.map(|role| &mut watch.hijacks[role as usize]);
            if let Some((left, Some(from))) = hijack.filter(|(left, _)| *left > 0) {
                let from = *from;
                *left -= 1;
                let injection =
                    Injection { after: ms(1), from, to: passing.to, ecn: None, bytes: passing.bytes.clone() };
                passing.inject(injection);
            }
            Verdict::Pass
        });
        watch
    }

    /// The keys are known.
    pub(super) fn unlock(&mut self, entries: impl IntoIterator<Item = KeyLogEntry>) {
        self.inspector = Some(Inspector::new(entries));
        for datagram in core::mem::take(&mut self.early) {
            self.read(&datagram, "early");
        }
    }

    /// Takes a datagram down. Whose it is, if it is a Data packet.
    fn read(&mut self, datagram: &[u8], what: &str) -> Option<Role> {
        let Some(inspector) = &mut self.inspector else {
            self.early.push(datagram.to_vec());
            return None;
        };
        let inspected = inspector.read(datagram);
        if let Some(words) = &mut self.words {
            words.push(format!("{what} {} B: {inspected}", datagram.len()));
        }
        let Some(Sequence::Native { path, number, .. }) = inspected.sequence else {
            assert_ne!(inspected.packet, Some("Data"), "it cannot be read: {inspected}");
            return None;
        };
        let number = (inspected.sender.map(|role| role as u8), path.get(), number.get());
        assert!(self.numbers.insert(number), "twice: {inspected}");
        inspected.sender
    }

    /// The next `count` packets of a side arrive first from an address that is nobody's.
    pub(super) fn hijack(&mut self, side: Side, count: u8) {
        let stranger = SocketAddr::from(([203, 0, 113, 1 + self.strangers.len() as u8], 7));
        self.strangers.push(stranger);
        self.hijacks[side as usize] = (count, Some(stranger));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let (Some(file), Some(words)) = (std::env::var_os(WORDS), &self.words)
            && std::thread::panicking()
        {
            let _ = std::fs::write(file, words.join("\n"));
        }
    }
}
