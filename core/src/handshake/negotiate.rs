//! What the two HELLOs agree on: AEAD, application protocol, limits.

use alloc::vec::Vec;

use smallvec::{SmallVec, smallvec};

use crate::cids::reset::ResetToken;
use crate::config::{AeadPolicy, Config};
use crate::crypto::Suite;
use crate::error::{ConnectError, TransportError};
use crate::id::ConnectionId;
use crate::time::Duration;
use crate::wire::header::VERSION;
use crate::wire::params::{EarlyOutcome, Hello, MAX_ALPN, MAX_ALPNS, TransportParams};

/// Bytes of application protocol names that one offer may have, so that HELLO stays below 512 bytes.
const MAX_OFFER: usize = 256;

/// Checks an offer of application protocols.
pub(crate) fn check_alpns(alpns: &[Vec<u8>]) -> Result<(), ConnectError> {
    let total = alpns.iter().fold(0_usize, |sum, name| sum.saturating_add(1).saturating_add(name.len()));
    let good = (1..=MAX_ALPNS).contains(&alpns.len())
        && alpns.iter().all(|name| (1..=MAX_ALPN).contains(&name.len()))
        && total <= MAX_OFFER;
    if good { Ok(()) } else { Err(ConnectError::Alpns) }
}

/// The limits that an endpoint announces.
fn params(config: &Config) -> TransportParams {
    let window = config.limits.granted_window();
    TransportParams {
        max_idle_timeout: config.idle_timeout.unwrap_or(Duration::ZERO),
        max_udp_payload: config.max_receive_size,
        max_data: window,
        max_stream_data_bidi_local: window,
        max_stream_data_bidi_remote: window,
        max_stream_data_uni: window,
        max_streams_bidi: u64::from(config.limits.streams_bidi),
        max_streams_uni: u64::from(config.limits.streams_uni),
        max_ack_delay: config.max_ack_delay,
        max_paths: config.max_paths,
        max_datagram: if config.datagrams.receive_buffer == 0 { 0 } else { u16::MAX },
    }
}

/// The suites that a policy allows to offer or accept, best first.
fn suites(config: &Config) -> SmallVec<[Suite; 2]> {
    match config.aead {
        AeadPolicy::ChaCha20 => smallvec![Suite::ChaCha20Poly1305],
        AeadPolicy::Aes => smallvec![Suite::Aes256Gcm, Suite::ChaCha20Poly1305],
        AeadPolicy::Auto if config.aes_hardware => smallvec![Suite::Aes256Gcm, Suite::ChaCha20Poly1305],
        AeadPolicy::Auto => smallvec![Suite::ChaCha20Poly1305],
    }
}

/// The initiator's HELLO.
pub(crate) fn offer(config: &Config, alpns: &[Vec<u8>]) -> Hello {
    Hello {
        params: params(config),
        connection_id: None,
        reset_token: None,
        versions: smallvec![VERSION],
        suites: suites(config).iter().map(|suite| suite.id()).collect(),
        alpns: alpns.iter().cloned().collect(),
        early: EarlyOutcome::None,
    }
}

/// What a connection runs on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Agreement {
    pub(crate) suite: Suite,
    pub(crate) alpn: Vec<u8>,
    pub(crate) peer: TransportParams,
}

/// The responder's choice from an offer.
pub(crate) fn choose(config: &Config, offer: &Hello) -> Result<Agreement, TransportError> {
    if !offer.speaks_this_version() {
        return Err(TransportError::Parameters);
    }
    let suite = suites(config)
        .into_iter()
        .find(|suite| offer.suites.contains(&suite.id()))
        .ok_or(TransportError::Parameters)?;
    let alpn =
        config.alpns.iter().find(|name| offer.alpns.contains(name)).ok_or(TransportError::NoCommonAlpn)?;
    Ok(Agreement { suite, alpn: alpn.clone(), peer: offer.params })
}

/// The responder's HELLO.
pub(crate) fn answer(
    config: &Config,
    choice: &Agreement,
    (id, token): (ConnectionId, ResetToken),
    early: EarlyOutcome,
) -> Hello {
    Hello {
        params: params(config),
        connection_id: Some(id),
        reset_token: Some(token),
        versions: smallvec![VERSION],
        suites: smallvec![choice.suite.id()],
        alpns: smallvec![choice.alpn.clone()],
        early,
    }
}

/// The initiator's check of the answer: one suite and one protocol of the offer, and an id to write to.
pub(crate) fn check(
    config: &Config,
    offered: &[Vec<u8>],
    answer: &Hello,
) -> Result<(Agreement, ConnectionId), TransportError> {
    let bad = TransportError::Parameters;
    let ([suite], [alpn]) = (&answer.suites[..], &answer.alpns[..]) else { return Err(bad) };
    let suite =
        Suite::from_id(u64::from(*suite)).filter(|suite| suites(config).contains(suite)).ok_or(bad)?;
    if !offered.contains(alpn) || !answer.speaks_this_version() {
        return Err(bad);
    }
    let id = answer.connection_id.ok_or(bad)?;
    Ok((Agreement { suite, alpn: alpn.clone(), peer: answer.params }, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(aead: AeadPolicy, aes_hardware: bool, alpns: &[&str]) -> Config {
        Config { aead, aes_hardware, alpns: names(alpns), ..Config::default() }
    }

    fn names(alpns: &[&str]) -> Vec<Vec<u8>> {
        alpns.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn aes_needs_hardware_on_both_sides_or_a_will() {
        use AeadPolicy::{Aes, Auto, ChaCha20};
        for (dialler, answerer, expected) in [
            ((Auto, true), (Auto, true), Suite::Aes256Gcm),
            ((Auto, false), (Auto, true), Suite::ChaCha20Poly1305),
            ((Auto, true), (Auto, false), Suite::ChaCha20Poly1305),
            ((Aes, false), (Aes, false), Suite::Aes256Gcm),
            ((Auto, true), (ChaCha20, true), Suite::ChaCha20Poly1305),
            ((ChaCha20, true), (Aes, true), Suite::ChaCha20Poly1305),
        ] {
            let offered = offer(&config(dialler.0, dialler.1, &["a"]), &names(&["a"]));
            let chosen = choose(&config(answerer.0, answerer.1, &["a"]), &offered).unwrap();
            assert_eq!(chosen.suite, expected, "{dialler:?} {answerer:?}");
        }
    }

    #[test]
    fn the_responders_order_decides_the_protocol() {
        let offered = offer(&Config::default(), &names(&["old", "new"]));
        let chosen = choose(&config(AeadPolicy::Auto, false, &["newest", "new", "old"]), &offered);
        assert_eq!(chosen.unwrap().alpn, b"new");
        let none = choose(&config(AeadPolicy::Auto, false, &["other"]), &offered);
        assert_eq!(none, Err(TransportError::NoCommonAlpn));
    }

    #[test]
    fn an_answer_must_stay_within_the_offer() {
        let config = config(AeadPolicy::Auto, false, &["a"]);
        let choice =
            Agreement { suite: Suite::ChaCha20Poly1305, alpn: b"a".to_vec(), peer: TransportParams::DEFAULT };
        let id = ConnectionId([1; 8]);
        let good = answer(&config, &choice, (id, ResetToken::new([9; 16])), EarlyOutcome::None);
        assert!(check(&config, &names(&["a"]), &good).is_ok());
        for spoil in [
            (|hello: &mut Hello| hello.suites = smallvec![Suite::Aes256Gcm.id()]) as fn(&mut Hello),
            |hello| hello.suites.clear(),
            |hello| hello.suites.push(1),
            |hello| hello.alpns = smallvec![b"b".to_vec()],
            |hello| hello.alpns.clear(),
            |hello| hello.connection_id = None,
            |hello| hello.versions.clear(),
        ] {
            let mut bad = good.clone();
            spoil(&mut bad);
            assert_eq!(check(&config, &names(&["a"]), &bad), Err(TransportError::Parameters));
        }
    }

    #[test]
    fn offers_have_bounds() {
        assert_eq!(check_alpns(&names(&["a"])), Ok(()));
        for bad in [names(&[]), names(&[""]), alloc::vec![alloc::vec![b'x'; 256]], names(&["x"; 17])] {
            assert_eq!(check_alpns(&bad), Err(ConnectError::Alpns));
        }
    }
}
