//! What a link does not let in: middleboxes that dislike a size or a kind of datagram.

use core::fmt;
use std::sync::Arc;

/// Looks at the bytes of each datagram that is offered to a link, and lets it in or not, always and at once. Unlike a
/// loss, what is kept out takes no part of the link's rate.
#[derive(Clone)]
pub struct Filter(Arc<Predicate>);

type Predicate = dyn Fn(&[u8]) -> bool + Send + Sync;

impl Filter {
    /// Keeps out the datagrams for which `keep_out` is true.
    #[must_use]
    pub fn new(keep_out: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(keep_out))
    }

    /// Keeps out what is longer than `most` bytes, as a tunnel does that tells nobody of its MTU.
    #[must_use]
    pub fn longer_than(most: usize) -> Self {
        Self::new(move |datagram| datagram.len() > most)
    }

    /// Keeps out dunlin's packets of these types, which are bits 5 to 7 of the first byte (docs/PROTOCOL.md,
    /// "Packets").
    #[must_use]
    pub fn packet_types(types: &[u8]) -> Self {
        let types = types.to_vec();
        Self::new(move |datagram| datagram.first().is_some_and(|first| types.contains(&(first >> 5))))
    }

    pub(super) fn keeps_out(&self, datagram: &[u8]) -> bool {
        (self.0)(datagram)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}
