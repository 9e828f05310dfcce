//! Endpoints and connections as the program uses them, and plain words for how they end.

use core::net::SocketAddr;
use core::pin::pin;
use core::time::Duration;
use std::sync::Once;

use dunlin_tokio::dunlin_udp::{self, BindOptions, local_sockets};
use dunlin_tokio::{
    AeadPolicy, BindError, CRYPTO_BACKEND, CloseReason, Config, ConnectError, ConnectOptions, Connecting,
    Connection, ConnectionError, Endpoint, ErrorCode, Identity, LocalAddr, Peer, PublicKey, QotpPublicKey,
    SocketGroup, Suite, TransportError, WireVersion,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::args::Remote;
use crate::failure::{Failure, warn};
use crate::keyfile;
use crate::keylog::KeyLogFile;
use crate::qotp::Target;

/// A peer that was not heard for this long is gone.
const IDLE: Duration = Duration::from_secs(10);

/// Ask for a sign of life after this long without one, so that two are lost before [`IDLE`] is over.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// How long closing may take.
pub(crate) const CLOSING: Duration = Duration::from_secs(3);

/// A dial that was not answered for this long asks who is there at all: by then an answer has had time to come from
/// anywhere on earth, twice.
const WHO_IS_THERE: Duration = Duration::from_millis(1500);

/// How long a dial lasts.
const DIAL: Duration = Duration::from_secs(5);

/// Addresses of a name that are dialled, at most.
const MAX_ADDRESSES: usize = 4;

/// Why one side closes a connection or refuses one.
pub(crate) mod code {
    use dunlin_tokio::ErrorCode;

    /// All is done.
    pub(crate) const DONE: u32 = 0;
    /// Your key is not among those let in.
    pub(crate) const NOT_ALLOWED: u32 = 1;
    /// It failed; the reason says how.
    pub(crate) const FAILED: u32 = 2;
    /// The program was stopped.
    pub(crate) const STOPPED: u32 = 3;
    /// No more transfers now.
    pub(crate) const BUSY: u32 = 4;

    /// `code` as the transport takes it.
    pub(crate) fn of(code: u32) -> ErrorCode {
        ErrorCode::from(code)
    }
}

/// The settings that all commands share.
pub(crate) fn config(alpn: &[u8], packet_size: u16, aead: AeadPolicy) -> Config {
    let mut config = Config::default();
    config.alpns = vec![alpn.to_vec()];
    config.idle_timeout = Some(IDLE);
    config.keep_alive = Some(KEEP_ALIVE);
    config.connect_timeout = DIAL;
    config.packet_size = packet_size;
    config.aead = aead;
    config
}

/// Shards of an endpoint that has nothing to spread.
pub(crate) const ONE_SHARD: u8 = 1;

/// An endpoint that others dial.
pub(crate) fn bind(
    address: SocketAddr,
    shards: u8,
    config: Config,
    identity: Identity,
    keylog: Option<KeyLogFile>,
) -> Result<Endpoint, Failure> {
    let sockets = SocketGroup::bind(address, &BindOptions::default(), shards.into());
    start(sockets, &[], config, identity, keylog)
}

/// An endpoint that dials, from these addresses; without any, from any port, in all families that the system has. It accepts
/// nobody.
pub(crate) fn dialler(
    local: &[SocketAddr],
    shards: u8,
    mut config: Config,
    identity: Identity,
    keylog: Option<KeyLogFile>,
) -> Result<Endpoint, Failure> {
    config.alpns.clear();
    config.qotp.accept = false;
    let (options, shards) = (BindOptions::default(), shards.into());
    match local {
        [] => start(SocketGroup::bind_any(0, &options, shards), &[], config, identity, keylog),
        [first, others @ ..] => {
            start(SocketGroup::bind(*first, &options, shards), others, config, identity, keylog)
        }
    }
}

/// Tells, once, what the system has not given.
fn warn_of_limits(sockets: &SocketGroup) {
    static TOLD: Once = Once::new();
    if let Some(small) = sockets.small_buffers() {
        TOLD.call_once(|| warn(small));
    }
    if let Some(error) = sockets.refused() {
        warn(format_args!("this system cannot spread connections over shards, so there is one: {error}"));
    }
}

fn start(
    sockets: Result<SocketGroup, dunlin_udp::BindError>,
    also_on: &[SocketAddr],
    config: Config,
    identity: Identity,
    keylog: Option<KeyLogFile>,
) -> Result<Endpoint, Failure> {
    let mut builder = Endpoint::builder().config(config);
    for address in also_on {
        builder = builder.also_on(*address);
    }
    if let Some(mut file) = keylog {
        builder = builder.key_log(move |entry| file.write(&entry));
    }
    let sockets = sockets.map_err(|error| cannot_bind(error.into()))?;
    warn_of_limits(&sockets);
    builder.on(sockets, identity).map_err(cannot_bind)
}

fn cannot_bind(error: BindError) -> Failure {
    match core::error::Error::source(&error) {
        Some(source) if matches!(error, BindError::Socket(dunlin_udp::BindError::Other { .. })) => {
            Failure::failed(format!("{error}: {source}"))
        }
        _ => Failure::failed(error.to_string()),
    }
}

/// An identity that nobody has seen before and nobody will see again.
pub(crate) fn throwaway() -> Result<Identity, Failure> {
    Ok(Identity::from_secret(*keyfile::random_secret()?))
}

/// Ends a connection, with words. QOTP has none: there the streams end, and the peer sees that they end too early.
pub(crate) async fn end(connection: &Connection, code: u32, reason: &[u8]) {
    match connection.wire() {
        WireVersion::Qotp => drop(connection.close_graceful(CLOSING, code::of(code), reason).await),
        _ => connection.close(code::of(code), reason),
    }
}

/// Closes an endpoint and gives its peers the time to hear of it.
pub(crate) async fn shut(endpoint: Endpoint, code: u32, reason: &str) {
    endpoint.close(code::of(code), reason.as_bytes());
    // Whoever has not heard by then finds out by itself.
    let _ = timeout(CLOSING, endpoint.wait_idle()).await;
}

/// The addresses of one peer: those of every name in `to`.
async fn resolve(to: &[Remote]) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = Vec::new();
    let mut failed = None;
    for name in to {
        match tokio::net::lookup_host(name.as_str()).await {
            Ok(found) => addresses.extend(found.take(MAX_ADDRESSES)),
            Err(error) => {
                let text = format!("cannot find {}: {error}; check the name", name.as_str());
                if let Some(earlier) = failed.replace(text) {
                    warn(earlier);
                }
            }
        }
    }
    match failed {
        Some(failed) if addresses.is_empty() => Err(Failure::failed(failed)),
        None if addresses.is_empty() => {
            Err(Failure::failed(format!("{} has no address: check the name", Remote::names(to))))
        }
        failed => {
            failed.into_iter().for_each(warn);
            Ok(addresses)
        }
    }
}

/// Dials `target` at all addresses of `to`, and uses them all where it can. It takes at most [`DIAL`].
pub(crate) async fn dial(
    endpoint: &Endpoint,
    to: &[Remote],
    target: Target,
    alpn: &[u8],
) -> Result<Connection, Failure> {
    let (addresses, name) = (resolve(to).await?, Remote::names(to));
    match target {
        Target::Native(peer) => {
            let connection = dial_native(endpoint, &name, &addresses, peer, alpn).await?;
            open_paths(endpoint, &connection, &addresses);
            Ok(connection)
        }
        Target::Qotp(peer) => dial_qotp(endpoint, &name, &addresses, peer).await,
    }
}

/// Opens a path from each of our sockets to each address of the peer that it reaches, as many as both sides allow; first
/// those that have no end in common.
fn open_paths(endpoint: &Endpoint, connection: &Connection, addresses: &[SocketAddr]) {
    let sockets = local_sockets(&endpoint.local_addrs());
    for shift in 0..addresses.len() {
        for socket in &sockets {
            let to = addresses[(usize::from(socket.number) + shift) % addresses.len()];
            let from = LocalAddr { socket: socket.number, ip: None };
            if !socket.reaches(&to.into()) {
                continue;
            }
            if let Err(error) = connection.open_path(to, Some(from)) {
                tracing::debug!(from = %socket.bound, %to, %error, "no path");
            }
        }
    }
}

async fn dial_qotp(
    endpoint: &Endpoint,
    name: &str,
    addresses: &[SocketAddr],
    peer: Option<QotpPublicKey>,
) -> Result<Connection, Failure> {
    if peer.is_some_and(|peer| peer == endpoint.qotp_public_key()) {
        return Err(Failure::usage("--peer is our own QOTP key: give the one that the other side prints"));
    }
    let answered = first_answer(addresses, |address| endpoint.connect_qotp(address, peer)).await;
    answered.map_err(|error| match error {
        ConnectionError::Closed(CloseReason::NoAnswer) => Failure::failed(format!(
            "no answer from {name} in QOTP within 5 seconds: check the address, that the other side is running with \
             --wire qotp and has the key given with --peer, and the firewalls between"
        )),
        ConnectionError::Closed(reason) => Failure::failed(ended(&reason, name)),
        error => Failure::failed(format!("cannot connect to {name}: {error}")),
    })
}

/// Dials the holder of `peer`. If nobody answers, finds out whether somebody with another key is there.
async fn dial_native(
    endpoint: &Endpoint,
    name: &str,
    addresses: &[SocketAddr],
    peer: PublicKey,
    alpn: &[u8],
) -> Result<Connection, Failure> {
    let dialled = endpoint.connect_with(Peer::Key(peer), to_all(addresses, alpn));
    let mut answer =
        pin!(dialled.map_err(|error| Failure::failed(format!("cannot connect to {name}: {error}")))?);
    let mut who = pin!(async {
        sleep(WHO_IS_THERE).await;
        who_is_there(endpoint, addresses, alpn).await
    });
    let mut found = None;
    let answered = loop {
        tokio::select! {
            answered = &mut answer => break answered,
            // Whoever sees packets can answer this in another's place, and keep the real answer away for a while: only the
            // dial itself decides.
            somebody = &mut who, if found.is_none() => found = Some(somebody),
        }
    };
    answered.map_err(|error| match (error, found) {
        (ConnectionError::Closed(CloseReason::NoAnswer), Some(Found::Key(key))) if key != peer => Failure::failed(format!(
            "warning: at {name} somebody answers with another key than the one given with --peer; it may be the right \
             machine with a new key, or somebody in between: ask its owner for the key before you trust {key}"
        )),
        (ConnectionError::Closed(CloseReason::NoAnswer), Some(Found::Unwilling)) => Failure::failed(format!(
            "whoever is at {name} answers, but not to the key given with --peer: ask its owner for the right key"
        )),
        (ConnectionError::Closed(CloseReason::NoAnswer), _) => Failure::failed(format!(
            "no answer from {name} within 5 seconds: check the address, that the other side is running, and the firewalls \
             between"
        )),
        (ConnectionError::Closed(reason), _) => Failure::failed(ended(&reason, name)),
        (error, _) => Failure::failed(format!("cannot connect to {name}: {error}")),
    })
}

/// What was found at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// No answer.
    Nobody,
    /// Somebody who does not want to talk to strangers.
    Unwilling,
    /// Somebody with this key.
    Key(PublicKey),
}

/// One dial of all these addresses, at least one.
fn to_all(addresses: &[SocketAddr], alpn: &[u8]) -> ConnectOptions {
    let first = ConnectOptions::new(addresses[0], alpn);
    addresses[1..].iter().fold(first, |options, other| options.also(*other))
}

/// The connection over the first address that answers in QOTP, which takes a dial for each.
async fn first_answer(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> Result<Connecting, ConnectError>,
) -> Result<Connection, ConnectionError> {
    let mut dials = JoinSet::new();
    let mut last = ConnectionError::Closed(CloseReason::NoAnswer);
    for address in addresses {
        match connect(*address) {
            Ok(connecting) => {
                dials.spawn(connecting);
            }
            Err(error) => tracing::debug!(%address, %error, "not dialled"),
        }
    }
    while let Some(dialled) = dials.join_next().await {
        match dialled {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = error,
            // Only by a panic in the adapter, which has printed itself.
            Err(_) => {}
        }
    }
    Err(last)
}

/// Dials without a key, under a name that means nothing, from where `endpoint` is, only to see who answers. Nothing is sent
/// and nobody trusted.
async fn who_is_there(endpoint: &Endpoint, addresses: &[SocketAddr], alpn: &[u8]) -> Found {
    let mut local = endpoint.local_addrs();
    local.iter_mut().for_each(|local| local.set_port(0));
    let config = config(alpn, 1200, AeadPolicy::Auto);
    let endpoint = throwaway().and_then(|identity| dialler(&local, ONE_SHARD, config, identity, None));
    let Ok(endpoint) = endpoint else { return Found::Nobody };
    let Ok(dial) = endpoint.connect_with(Peer::Unknown, to_all(addresses, alpn)) else {
        return Found::Nobody;
    };
    let found = match dial.peer_key().await {
        Ok(candidate) => Found::Key(*candidate.key()),
        Err(ConnectionError::Closed(
            CloseReason::Refused { .. } | CloseReason::PeerTransport(_) | CloseReason::Peer { .. },
        )) => Found::Unwilling,
        Err(_) => Found::Nobody,
    };
    shut(endpoint, code::DONE, "").await;
    found
}

/// The cipher of a connection by its usual name.
pub(crate) fn suite(connection: &Connection) -> &'static str {
    match connection.suite() {
        Suite::ChaCha20Poly1305 => "ChaCha20-Poly1305",
        Suite::Aes256Gcm => "AES-256-GCM",
    }
}

/// The cipher of a connection and who computes it.
pub(crate) fn crypto(connection: &Connection) -> String {
    format!("{} by {CRYPTO_BACKEND}", suite(connection))
}

/// Why a connection with `name` ended, in one line.
pub(crate) fn ended(reason: &CloseReason, name: &str) -> String {
    const AGAIN: &str = "what arrived is kept; run both again to go on";
    let said = |reason: &[u8]| crate::text::printable(reason);
    let is = |given: &ErrorCode, wanted: u32| *given == code::of(wanted);
    match reason {
        CloseReason::Refused { code } | CloseReason::Peer { code, .. } if is(code, code::NOT_ALLOWED) => {
            format!(
                "{name} does not let this key in: use --key with a key that it knows, or have its owner allow yours"
            )
        }
        CloseReason::Refused { code } | CloseReason::Peer { code, .. } if is(code, code::BUSY) => {
            format!("{name} takes no more transfers now: try again later")
        }
        CloseReason::Refused { .. } | CloseReason::PeerTransport(TransportError::NoCommonAlpn) => {
            format!("{name} refused the connection: it runs another command, or another version of it")
        }
        CloseReason::Peer { code, .. } if is(code, code::STOPPED) => {
            format!("the other side was stopped by its user; {AGAIN}")
        }
        CloseReason::Peer { reason, .. } if !reason.is_empty() => {
            format!("{name} ended it: {}", said(reason))
        }
        CloseReason::Peer { .. } => format!("{name} ended the connection before all was done; {AGAIN}"),
        CloseReason::IdleTimeout => {
            format!("{name} is gone: nothing was heard from it for {} seconds; {AGAIN}", IDLE.as_secs())
        }
        CloseReason::PeerRestarted => {
            format!("{name} is gone: it was restarted and knows nothing of the transfer; {AGAIN}")
        }
        CloseReason::RetriesExhausted => format!("{name} is gone: it answers no more; {AGAIN}"),
        other => format!("the connection with {name} broke: {other}; {AGAIN}"),
    }
}
