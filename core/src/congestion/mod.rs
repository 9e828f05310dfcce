//! Congestion control of a path: BBRv3 ([`Bbr`]) says how much may be in flight and how fast it may leave, the
//! [`Pacer`] spreads it over time. Both are integer arithmetic only, so that a run is reproducible to the byte.

mod bandwidth;
mod bbr;
mod pacer;
mod sampler;
#[cfg(test)]
mod tests;

pub(crate) use bbr::Bbr;
pub use bbr::{CongestionPhase, CongestionStats};
pub(crate) use pacer::Pacer;
pub(crate) use sampler::SentInfo;
