//! The engine under a counting allocator: no allocation per packet, and no byte that is not accounted for.

mod attack;
mod counter;
mod held;
mod hostile;
mod promise;
mod rig;
mod steady;

pub(crate) use dunlin_fuzzing::frames;
