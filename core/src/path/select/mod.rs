//! Which path data takes: the interface of policies, and the policies that come with the crate.
//!
//! | policy | data takes |
//! |---|---|
//! | [`BiasedRtt`], the default | the path with the shortest round trip, relays last, IPv6 a little ahead |
//! | [`LowestLatency`] | the path with the shortest round trip, whatever it is made of |
//! | [`DirectOnly`] | as the default, but never a relay |
//! | [`Spread`] | all good paths at once, for more throughput than one of them has |
//!
//! A policy of one's own is a type with one function.
//!
//! ```
//! use dunlin_core::select::{BiasedRtt, Choice, PathSelector, PathView};
//! use dunlin_core::{LocalAddr, PathId, TransportAddr, Tuple};
//!
//! /// Prefers the cable, which is socket 0 here, as long as it works at all.
//! #[derive(Debug)]
//! struct CableFirst;
//!
//! impl PathSelector for CableFirst {
//!     fn select(&self, current: Option<&PathView>, paths: &[PathView]) -> Choice {
//!         let works = |path: &&PathView| path.tuple.local.socket == 0 && !path.suspect;
//!         match paths.iter().find(works) {
//!             Some(cable) => Choice::Use(cable.id),
//!             None => BiasedRtt.select(current, paths),
//!         }
//!     }
//! }
//!
//! let remote = TransportAddr::Ip("192.0.2.1:443".parse().unwrap());
//! let [mut cable, wireless] = [(0, 0), (1, 2)].map(|(socket, id)| {
//!     let local = LocalAddr { socket, ip: None };
//!     PathView::new(PathId::new(id).unwrap(), Tuple { local, remote })
//! });
//! let choose = |cable| CableFirst.select(Some(&wireless), &[cable, wireless]);
//! assert_eq!(choose(cable), Choice::Use(cable.id));
//! cable.suspect = true;
//! assert_eq!(choose(cable), Choice::Keep);
//! ```

mod policies;
mod rtt;
pub(crate) mod steady;
#[cfg(test)]
mod tests;

use core::fmt;

use crate::config::TransportProfile;
use crate::id::PathId;
use crate::recovery::rtt::Rtt;
use crate::time::Duration;

use super::addr::{PathKind, Tuple};

pub use policies::{DirectOnly, LowestLatency, Spread};
pub use rtt::BiasedRtt;

/// The head start of IPv6 over IPv4 in [`BiasedRtt`]: 3 ms, as in iroh's socket layer.
pub const IPV6_BONUS: Bias = Bias::bonus(Duration::from_millis(3));

/// A policy: which path data takes.
///
/// It is asked when a path comes, goes, moves or becomes suspect, and now and then between. It answers by what it is
/// given and by nothing else, so that the same connection on the same network always does the same.
pub trait PathSelector: fmt::Debug + Send + Sync {
    /// Which of `paths` data should take from now on.
    ///
    /// `paths` are those that may carry data, in the order of their ids, at most 16. `current` is the one in use; `None`
    /// where that has gone.
    ///
    /// Where `current` is `None` and the answer names no path, none carries data; if that lasts for three seconds the
    /// connection ends ([`CloseReason::NoPath`](crate::CloseReason::NoPath)).
    ///
    /// The answer is a wish. One that only promises a gain has to last for a moment before it is followed, so policies
    /// need not remember anything to keep from going to and fro.
    fn select(&self, current: Option<&PathView>, paths: &[PathView]) -> Choice;

    /// How many paths to keep open beside those that data takes, where the peer can be reached in so many ways
    /// ([`Config::automatic_paths`](crate::Config::automatic_paths)). Default: one, to change over to at once. Beyond the
    /// first only such are opened as leave through a socket of their own.
    fn spares(&self) -> usize {
        1
    }
}

/// What a policy wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Choice {
    /// The path in use.
    Keep,
    /// This path. An id that was not offered means [`Choice::Keep`].
    Use(PathId),
    /// All paths of the best [`Rank`]: each packet takes the one on which it arrives first, and if that cannot take it now,
    /// another one unless what is left would be there sooner by waiting.
    Spread,
}

/// A path as a policy sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PathView {
    /// Which one.
    pub id: PathId,
    /// Its two ends.
    pub tuple: Tuple,
    /// Whether it is a path of first or of second choice.
    pub tier: Tier,
    /// What is added to its round-trip time before paths are compared.
    pub bias: Bias,
    /// The smoothed round-trip time; 333 ms before the first sample (RFC 9002 section 6.2.2).
    pub rtt: Duration,
    /// Whether there was a sample.
    pub is_measured: bool,
    /// What was sent on it has not been acknowledged in time, and nothing has been since.
    pub suspect: bool,
    /// Either side's application wants it used only where no other path will do.
    pub backup: bool,
    /// The share of packets that it loses whatever the rate, in thousandths.
    pub loss_permille: u16,
    /// The estimated bandwidth, in bytes per second; 0 while unknown.
    pub bandwidth: u64,
    /// Bytes that may be in flight.
    pub window: u64,
    /// Bytes in flight.
    pub in_flight: u64,
    /// The largest UDP payload that it was shown to carry, in bytes.
    pub mtu: u16,
}

impl PathView {
    /// A path between these ends of which nothing else is known. Tier and bias are those of its kind of address: a relay is
    /// [`Tier::Backup`], anything else [`Tier::Primary`]; IPv6 has [`IPV6_BONUS`], anything else no bias.
    #[must_use]
    pub fn new(id: PathId, tuple: Tuple) -> Self {
        let (tier, bias) = match tuple.remote.kind() {
            PathKind::Ipv4 | PathKind::Custom(_) => (Tier::Primary, Bias::NONE),
            PathKind::Ipv6 => (Tier::Primary, IPV6_BONUS),
            PathKind::Relay => (Tier::Backup, Bias::NONE),
        };
        Self {
            id,
            tuple,
            tier,
            bias,
            rtt: Rtt::new().smoothed(),
            is_measured: false,
            suspect: false,
            backup: false,
            loss_permille: 0,
            bandwidth: 0,
            window: 0,
            in_flight: 0,
            mtu: 1200,
        }
    }

    /// The same with tier and bias as its transport's profile says ([`Config::transports`](crate::Config::transports)).
    #[must_use]
    pub const fn with_profile(self, profile: &TransportProfile) -> Self {
        Self { tier: profile.tier, bias: profile.bias, ..self }
    }

    /// What comes before any figures.
    #[must_use]
    pub const fn rank(&self) -> Rank {
        Rank { suspect: self.suspect, backup: self.backup, tier: self.tier }
    }

    /// The round-trip time with the bias, in nanoseconds; it may be below zero.
    pub(crate) const fn biased_rtt(&self) -> i128 {
        // No `Duration` has more than 2^94 ns.
        (self.rtt.as_nanos() as i128).saturating_add(self.bias.0 as i128)
    }
}

/// What is told of a path without measuring it. The smaller rank wins, whatever the figures: a path that works before one
/// that perhaps does not, then one that the applications like, then one that costs nobody else's relay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rank {
    suspect: bool,
    backup: bool,
    tier: Tier,
}

/// What a path is made of, as far as it matters for choosing one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub enum Tier {
    /// The peer is reached without help: IP, and custom transports unless they say otherwise.
    #[default]
    Primary,
    /// Used as long as there is no primary path: relays.
    Backup,
}

/// A preference expressed in time: what is added to a round-trip time before paths are compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Bias(i64);

impl Bias {
    /// None.
    pub const NONE: Self = Self(0);

    /// The path counts as faster by so much. Saturates at 292 years.
    #[must_use]
    pub const fn bonus(by: Duration) -> Self {
        Self(Self::penalty(by).0.saturating_neg())
    }

    /// The path counts as slower by so much. Saturates at 292 years.
    #[must_use]
    pub const fn penalty(by: Duration) -> Self {
        let nanos = by.as_nanos();
        Self(if nanos > i64::MAX as u128 { i64::MAX } else { nanos as i64 })
    }

    /// In nanoseconds; below zero for a bonus.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }
}
