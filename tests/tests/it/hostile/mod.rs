//! Whoever is not to be trusted: on the network, in the middle, or at the other end with the right keys.

mod frames;
mod holes;
mod keys;
mod late;
mod load;
mod retry;
mod secrets;
mod versions;
mod work;
