//! Whoever is not to be trusted: on the network, in the middle, or at the other end with the right keys.
//!
//! `docs/HOSTILE.md` lists the cases by number, with what is asserted of each.

use dunlin_core::Duration;
use dunlin_sim::{Evil, config};

use crate::common::quick;

mod acks;
mod addresses;
mod cases;
mod cpu;
mod early;
mod frames;
mod holes;
mod honest;
mod keys;
mod late;
mod load;
mod middle;
mod networks;
mod owe;
mod params;
mod paths;
mod policies;
mod records;
mod replies;
mod resets;
mod retry;
mod secrets;
mod states;
mod strangers;
mod twice;
mod unproved;
mod versions;
mod windows;
mod work;

/// A liar whose victim has written so many bytes on a stream of its own, and had so much time to send them. Nothing of that is
/// acknowledged.
fn speaking(bytes: usize, span: Duration) -> Evil {
    let mut evil = Evil::new(1, quick(), config());
    evil.as_victim(|connection| {
        let id = connection.open_uni().expect("a stream");
        connection.write(id, &vec![7; bytes]).expect("room");
    });
    evil.run(span);
    evil
}
