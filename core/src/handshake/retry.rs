//! Retry: a responder under load has an initiator show that it receives at its address (docs/PROTOCOL.md, "Retry").

use smallvec::SmallVec;

use crate::crypto::digest::digest;
use crate::crypto::token::{RetryToken, Tag, retry_tag};
use crate::id::ConnectionId;
use crate::wire::header::{CLEAR_HEADER, PacketType};

/// The longest token that a Retry may ask for, in bytes: an Init leaves so much room for it.
pub(crate) const MAX_TOKEN: usize = 32;

/// The Retry for an Init with this digest.
pub(crate) fn answer(init: &[u8; 32], routing: ConnectionId, token: &RetryToken) -> SmallVec<[u8; 64]> {
    let mut packet = SmallVec::new();
    packet.push(PacketType::Retry.first_byte());
    packet.extend_from_slice(routing.as_bytes());
    packet.extend_from_slice(&token.to_bytes());
    let (header, token) = packet.split_at(CLEAR_HEADER);
    let tag = retry_tag(init, header, token);
    packet.extend_from_slice(tag.as_bytes());
    packet
}

/// The token of a Retry, if who sent it has seen this Init.
pub(crate) fn token<'a>(packet: &'a [u8], init: &[u8]) -> Option<&'a [u8]> {
    let (rest, tag) = packet.split_last_chunk::<{ Tag::LEN }>()?;
    let (header, token) = rest.split_at_checked(CLEAR_HEADER)?;
    let good = (1..=MAX_TOKEN).contains(&token.len())
        && retry_tag(&digest(&[init]), header, token) == Tag::from_bytes(*tag);
    good.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{GroupSecret, Secret};
    use crate::time::Instant;

    #[test]
    fn hostile_retries_are_told_from_those_of_who_has_seen_the_init() {
        let made = GroupSecret::new(Secret::new([1; 32]))
            .retry_token(Instant::ZERO, &"192.0.2.1:9".parse().unwrap());
        let packet = answer(&digest(&[b"init"]), ConnectionId([5; 8]), &made);
        assert_eq!(packet.len(), 50);
        assert!(packet.len() * 3 < crate::wire::header::MIN_INIT);
        assert_eq!(token(&packet, b"init"), Some(&made.to_bytes()[..]));
        assert_eq!(token(&packet, b"another"), None);
        for bit in 0..packet.len() * 8 {
            let mut changed = packet.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(token(&changed, b"init"), None, "bit {bit}");
        }
        assert!((0..packet.len()).all(|len| token(&packet[..len], b"init").is_none()));
    }
}
