//! Tokens and tags that are made, forgotten, and known again when they come back.

use core::fmt;
use core::net::SocketAddr;

use subtle::ConstantTimeEq;

use super::digest::{digest, keyed};
use super::{EarlyToken, Secret};
use crate::path::addr::TransportAddr;
use crate::time::{Duration, Instant};

/// How long a Retry token is good for: some copies of an Init, on the worst of lines.
const RETRY_LIFETIME: Duration = Duration::from_secs(15);
/// The kind of token that a Retry carries: its first byte.
const RETRY: u8 = 1;

/// 16 bytes that nobody else can make, compared in constant time.
#[derive(Clone, Copy)]
pub(crate) struct Tag([u8; Self::LEN]);

impl Tag {
    pub(crate) const LEN: usize = 16;

    /// The beginning of a MAC.
    fn cut(mac: &[u8; 32]) -> Self {
        Self(mac.first_chunk().copied().unwrap_or_default())
    }

    pub(crate) const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Tag {}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag")
    }
}

/// What an endpoint makes its tokens with ([`Config::group_secret`](crate::Config::group_secret)). Whoever has it can show an
/// address as validated that is not his.
pub(crate) struct GroupSecret(Secret);

impl GroupSecret {
    pub(crate) const fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// Another secret, made of this one and of `seed`.
    pub(crate) fn reseeded(&self, seed: &[u8; 32]) -> Self {
        Self(Secret::new(keyed(&self.0, &[b"dunlin/1 reseed", seed])))
    }

    /// A token for who can read what is sent to `addr`.
    pub(crate) fn retry_token(&self, now: Instant, addr: &TransportAddr) -> RetryToken {
        self.retry_token_until(now + RETRY_LIFETIME, addr)
    }

    fn retry_token_until(&self, expires: Instant, addr: &TransportAddr) -> RetryToken {
        let expiry = expires.as_nanos().to_be_bytes();
        let mac = |family: u8, host: &[u8], port: &[u8], scope: &[u8]| {
            let parts = [b"dunlin/1 retry", &[RETRY][..], &expiry, &[family], host, port, scope];
            Tag::cut(&keyed(&self.0, &parts))
        };
        let tag = match addr.canonical() {
            TransportAddr::Ip(SocketAddr::V4(v4)) => mac(4, &v4.ip().octets(), &v4.port().to_be_bytes(), &[]),
            TransportAddr::Ip(SocketAddr::V6(v6)) => {
                mac(6, &v6.ip().octets(), &v6.port().to_be_bytes(), &v6.scope_id().to_be_bytes())
            }
            TransportAddr::Relay { relay, peer } => {
                mac(1, &relay.get().to_be_bytes(), &peer.get().to_be_bytes(), &[])
            }
            TransportAddr::Custom { transport, address } => {
                mac(2, &transport.get().to_be_bytes(), address.as_bytes(), &[])
            }
        };
        RetryToken { expires, tag }
    }

    /// Whether the tokens of an Init, one behind the other, hold one that was given out for `addr` and is fresh. What is not
    /// known is as good as nothing.
    pub(crate) fn has_retry_token(&self, now: Instant, addr: &TransportAddr, tokens: &[u8]) -> bool {
        RetryToken::read(tokens).is_some_and(|token| {
            let fresh = now <= token.expires && token.expires <= now + RETRY_LIFETIME;
            fresh && self.retry_token_until(token.expires, addr).tag == token.tag
        })
    }
}

/// What a Retry asks an initiator to show: kind(1) · expiry(8) · tag(16).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryToken {
    expires: Instant,
    tag: Tag,
}

impl RetryToken {
    /// Its bytes on the wire.
    pub(crate) const LEN: usize = 1 + 8 + Tag::LEN;

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [RETRY; Self::LEN];
        let (_, rest) = bytes.split_at_mut(1);
        let (expiry, tag) = rest.split_at_mut(8);
        expiry.copy_from_slice(&self.expires.as_nanos().to_be_bytes());
        tag.copy_from_slice(self.tag.as_bytes());
        bytes
    }

    /// The first of the tokens, if it is of this kind.
    fn read(tokens: &[u8]) -> Option<Self> {
        let (kind, rest) = tokens.split_first()?;
        let (expiry, rest) = rest.split_first_chunk()?;
        let tag = Tag::from_bytes(*rest.first_chunk()?);
        (*kind == RETRY).then(|| Self { expires: Instant::from_nanos(u64::from_be_bytes(*expiry)), tag })
    }
}

/// The early token of an Init, if it shows one: alone, or behind that of a Retry.
pub(crate) fn early_token(tokens: &[u8]) -> Option<EarlyToken> {
    let of_retry = if RetryToken::read(tokens).is_some() { RetryToken::LEN } else { 0 };
    EarlyToken::first_of(tokens.get(of_retry..)?)
}

/// What a Retry ends with: who made it has seen the Init with this digest. The key is known to all, so it says nothing else.
pub(crate) fn retry_tag(init: &[u8; 32], header: &[u8], token: &[u8]) -> Tag {
    Tag::cut(&keyed(&digest(&[b"dunlin/1 retry tag"]), &[init, header, token]))
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec::Vec;

    use super::*;
    use crate::path::addr::{PeerRef, RelayId};

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn secret(bytes: [u8; 32]) -> GroupSecret {
        GroupSecret::new(Secret::new(bytes))
    }

    fn addr(text: &str) -> TransportAddr {
        text.parse().unwrap()
    }

    const ADDRESSES: [&str; 9] = [
        "192.0.2.1:9",
        "192.0.2.1:10",
        "192.0.2.2:9",
        "[2001:db8::1]:9",
        "[2001:db8::1]:10",
        "[fe80::1%3]:9",
        "[fe80::1%4]:9",
        "custom:1/09",
        "custom:2/09",
    ];

    fn addresses() -> Vec<TransportAddr> {
        let relayed = |peer| TransportAddr::Relay { relay: RelayId::new(1), peer: PeerRef::new(peer) };
        ADDRESSES.iter().map(|text| addr(text)).chain([relayed(1), relayed(2)]).collect()
    }

    #[test]
    fn hostile_tokens_are_good_for_one_address_and_for_15_s() {
        let group = secret([7; 32]);
        for own in addresses() {
            let token = group.retry_token(at(100), &own).to_bytes();
            for other in addresses() {
                assert_eq!(group.has_retry_token(at(100), &other, &token), own == other, "{own} {other}");
            }
            for (now, good) in [(99, false), (100, true), (115, true), (116, false), (0, false)] {
                assert_eq!(group.has_retry_token(at(now), &own, &token), good, "{now}");
            }
        }
        let mapped = group.retry_token(at(100), &addr("[::ffff:192.0.2.1]:9")).to_bytes();
        assert!(group.has_retry_token(at(100), &addr("192.0.2.1:9"), &mapped));
    }

    #[test]
    fn hostile_tokens_with_any_bit_changed_are_none() {
        let (group, own) = (secret([7; 32]), addr("192.0.2.1:9"));
        let token = group.retry_token(at(100), &own).to_bytes();
        for bit in 0..token.len() * 8 {
            let mut changed = token;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!group.has_retry_token(at(100), &own, &changed), "bit {bit}");
        }
        for len in 0..token.len() {
            assert!(!group.has_retry_token(at(100), &own, &token[..len]));
        }
        assert!(
            group.has_retry_token(at(100), &own, &[&token[..], &[9; 30]].concat()),
            "with others behind it"
        );
        for other in [secret([8; 32]), group.reseeded(&[0; 32])] {
            assert!(!other.has_retry_token(at(100), &own, &token));
        }
    }

    #[test]
    fn hostile_readers_of_logs_learn_nothing_of_secrets() {
        let token = secret([0xa5; 32]).retry_token(at(0), &addr("192.0.2.1:9"));
        assert!(format!("{token:?}").ends_with("tag: Tag }"));
    }

    #[test]
    fn a_tag_depends_on_everything() {
        let tag = retry_tag(&[1; 32], b"header", b"token");
        assert!(tag == retry_tag(&[1; 32], b"header", b"token"));
        assert!(tag != retry_tag(&[2; 32], b"header", b"token"));
        assert!(tag != retry_tag(&[1; 32], b"headed", b"token"));
        assert!(tag != retry_tag(&[1; 32], b"header", b"tokem"));
    }
}
