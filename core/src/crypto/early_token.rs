//! Early tokens: what a responder gives out, so that an initiator's next first packet may be acted on at once
//! (docs/PROTOCOL.md, "Early data at once").

use core::fmt;

use subtle::ConstantTimeEq;

use super::digest::keyed;
use super::{PublicKey, Secret};
use crate::time::{Duration, Instant};

/// How long a token is good for at most: so long it has to be remembered once it is used. RFC 9001 section 9.2 and RFC 8446 section 8
/// ask for a bound and name none.
pub(crate) const LIFETIME: Duration = Duration::from_secs(600);

/// Tokens expire at whole minutes, in nanoseconds: nobody is to see by one in clear which packet of which connection brought it.
const STEP: u64 = 60_000_000_000;

/// The kind of these tokens: their first byte.
const KIND: u8 = 2;

const SERIAL_LEN: usize = 8;
const TAG_LEN: usize = 16;

/// A token with which the first packet of *one* later dial to the same peer may be acted on before the handshake is done.
///
/// It comes from [`Connection::early_token`](crate::Connection::early_token) of an earlier connection and goes into
/// [`ConnectOptions::early`](crate::ConnectOptions::early). It is worth nothing without the identity key of who got it; it is
/// good for 9 to 10 minutes, and for nothing any more when the peer has been restarted. What it means is the peer's business: here it
/// is just bytes, which may be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct EarlyToken([u8; Self::LEN]);

impl EarlyToken {
    /// Length in bytes.
    pub const LEN: usize = 1 + SERIAL_LEN + 8 + TAG_LEN;

    /// The token with these bytes. No bytes are wrong; those that no peer gave out are as good as none.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The token in a NEW_TOKEN frame, if it is of a kind and length that is known.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let token = Self(bytes.try_into().ok()?);
        token.is_of_its_kind().then_some(token)
    }

    /// The first of the tokens, if it is of this kind.
    pub(crate) fn first_of(tokens: &[u8]) -> Option<Self> {
        let token = Self(*tokens.first_chunk()?);
        token.is_of_its_kind().then_some(token)
    }

    const fn is_of_its_kind(&self) -> bool {
        let [kind, ..] = self.0;
        kind == KIND
    }
}

impl fmt::Debug for EarlyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EarlyToken")
    }
}

/// What names a token that was given out. They are in the order in which they expire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Serial {
    pub(crate) expires: Instant,
    serial: [u8; SERIAL_LEN],
}

/// What early tokens are made with ([`Config::early_secret`](crate::Config::early_secret)).
pub(crate) struct EarlySecret(Secret);

impl EarlySecret {
    pub(crate) const fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// One that is as random as `drawn`, and says nothing of it.
    pub(crate) fn derived(drawn: &Secret) -> Self {
        Self(Secret::new(keyed(drawn, &[b"dunlin/1 early secret"])))
    }

    /// Another secret, made of this one and of `seed`.
    pub(crate) fn reseeded(&self, seed: &[u8; 32]) -> Self {
        Self(Secret::new(keyed(&self.0, &[b"dunlin/1 reseed", seed])))
    }

    /// A token for the holder of a key. No two may have the same `serial`.
    pub(crate) fn token(&self, now: Instant, serial: [u8; SERIAL_LEN], initiator: &PublicKey) -> EarlyToken {
        let latest = (now + LIFETIME).as_nanos();
        let expires = Instant::from_nanos(latest.saturating_sub(latest % STEP));
        self.token_of(&Serial { expires, serial }, initiator)
    }

    fn token_of(&self, named: &Serial, initiator: &PublicKey) -> EarlyToken {
        let expiry = named.expires.as_nanos().to_be_bytes();
        let parts = [b"dunlin/1 early", &[KIND][..], &named.serial, &expiry, initiator.as_bytes()];
        let mac = keyed(&self.0, &parts);
        let mut bytes = [0; EarlyToken::LEN];
        let fields = [&[KIND][..], &named.serial, &expiry, &mac];
        for (byte, value) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *byte = *value;
        }
        EarlyToken(bytes)
    }

    /// The name of a token, if it was given out to the holder of this key, and not too long ago.
    pub(crate) fn recognize(
        &self,
        now: Instant,
        token: &EarlyToken,
        initiator: &PublicKey,
    ) -> Option<Serial> {
        let (serial, rest) = token.0.get(1..)?.split_first_chunk()?;
        let expires = Instant::from_nanos(u64::from_be_bytes(*rest.first_chunk()?));
        let named = Serial { expires, serial: *serial };
        let fresh = now <= expires && expires <= now + LIFETIME;
        let made: bool = self.token_of(&named, initiator).0.ct_eq(&token.0).into();
        (fresh && made).then_some(named)
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;
    use crate::crypto::Identity;

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn key(n: u8) -> PublicKey {
        *Identity::from_secret([n; 32]).public()
    }

    fn secret(n: u8) -> EarlySecret {
        EarlySecret::new(Secret::new([n; 32]))
    }

    #[test]
    fn hostile_early_tokens_are_good_for_one_key_and_for_10_minutes() {
        let token = secret(7).token(at(1030), [1; 8], &key(1));
        assert!(secret(7).recognize(at(1030), &token, &key(2)).is_none());
        for (now, good) in [(0, false), (1019, false), (1030, true), (1620, true), (1621, false)] {
            assert_eq!(secret(7).recognize(at(now), &token, &key(1)).is_some(), good, "{now}");
        }
        let other = secret(7).token(at(1030), [2; 8], &key(1));
        let names = [&token, &other].map(|token| secret(7).recognize(at(1030), token, &key(1)));
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn hostile_readers_see_by_the_minute_when_a_token_was_made() {
        let expiry = |now: Instant| {
            let token = secret(7).token(now, [1; 8], &key(1));
            assert!(secret(7).recognize(now, &token, &key(1)).is_some());
            token.as_bytes()[1 + SERIAL_LEN..][..8].to_vec()
        };
        let end = at(1080) - Duration::from_nanos(1);
        assert_eq!(expiry(at(1020)), expiry(end));
        assert_ne!(expiry(end), expiry(at(1080)));
    }

    #[test]
    fn hostile_early_tokens_with_any_bit_changed_are_none() {
        let token = secret(7).token(at(1000), [1; 8], &key(1));
        for bit in 0..EarlyToken::LEN * 8 {
            let mut bytes = *token.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = EarlyToken::from_bytes(bytes);
            assert!(secret(7).recognize(at(1000), &changed, &key(1)).is_none(), "bit {bit}");
        }
        for other in [secret(8), secret(7).reseeded(&[0; 32]), EarlySecret::derived(&Secret::new([7; 32]))] {
            assert!(other.recognize(at(1000), &token, &key(1)).is_none());
        }
    }

    #[test]
    fn hostile_readers_find_a_token_only_where_one_begins() {
        let token = secret(7).token(at(1000), [1; 8], &key(1));
        let bytes = token.as_bytes();
        assert_eq!(EarlyToken::first_of(&[&bytes[..], &[9; 30]].concat()), Some(token.clone()));
        assert_eq!(EarlyToken::read(bytes), Some(token.clone()));
        assert_eq!(EarlyToken::read(&[&bytes[..], &[9]].concat()), None);
        assert_eq!(EarlyToken::first_of(&[&[9][..], bytes].concat()), None);
        for len in 0..EarlyToken::LEN {
            assert_eq!((EarlyToken::first_of(&bytes[..len]), EarlyToken::read(&bytes[..len])), (None, None));
        }
        assert_eq!(format!("{token:?}"), "EarlyToken");
    }
}
