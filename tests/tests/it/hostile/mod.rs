//! Whoever is not to be trusted: on the network, in the middle, or at the other end with the right keys.
//!
//! `docs/HOSTILE.md` lists the cases by number, with what is asserted of each.

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
mod twice;
mod unproved;
mod versions;
mod windows;
mod work;
