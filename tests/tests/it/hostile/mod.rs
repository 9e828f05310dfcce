//! Whoever is not to be trusted: on the network, in the middle, or at the other end with the right keys.

mod cpu;
mod frames;
mod keys;
mod owe;
mod secrets;
mod states;
mod twice;
mod versions;
mod work;
