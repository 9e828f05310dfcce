//! Whoever is not to be trusted: on the network, in the middle, or at the other end with the right keys.

mod frames;
mod holes;
mod keys;
mod late;
mod resets;
mod secrets;
mod versions;
mod work;
