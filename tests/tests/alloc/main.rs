//! The engine under a counting allocator: no allocation per packet, and no byte that is not accounted for.

mod attack;
mod counter;
#[allow(dead_code, reason = "the scenario tests use the rest of it")]
#[path = "../it/frames.rs"]
mod frames;
mod held;
mod hostile;
mod rig;
mod steady;
