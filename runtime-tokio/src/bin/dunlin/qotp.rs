//! QOTP, where a command is told to speak it: with which key, whom to dial, and what a stream is for.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use dunlin_tokio::{
    AeadPolicy, Config, Connection, Endpoint, PublicKey, QotpIdentity, QotpPublicKey, RecvStream, SendStream,
    WireVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::args::{Aead, Wire, WireArgs};
use crate::failure::{Failure, warn};
use crate::folder;
use crate::net;

/// Longest key file read, in bytes: 64 digits and the end of their line.
const MAX_LEN: u64 = 66;

/// What a command speaks.
#[derive(Debug)]
pub(crate) enum Speaks {
    Native,
    /// With this key pair; without one, with that of the identity.
    Qotp(Option<QotpIdentity>),
}

/// Whom a command dials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Native(PublicKey),
    /// The holder of this key as far as QOTP goes, or whoever answers.
    Qotp(Option<QotpPublicKey>),
}

impl Speaks {
    /// What the command line asks for. Warns where that is QOTP.
    pub(crate) fn of(args: &WireArgs) -> Result<Self, Failure> {
        let identity = match (&args.qotp_key, &args.qotp_seed) {
            (Some(key), _) => Some(read_key(key)?),
            (None, Some(seed)) => Some(QotpIdentity::from_seed_text(seed)),
            (None, None) => None,
        };
        match args.wire {
            Wire::Native if identity.is_some() => Err(Failure::usage(
                "a QOTP key is of no use on the native wire: add --wire qotp, or leave it out",
            )),
            Wire::Native => Ok(Self::Native),
            Wire::Qotp => {
                warn(
                    "QOTP proves nobody's identity: whoever can intercept packets can read and change everything; \
                     where both sides are dunlins, leave --wire qotp out",
                );
                if args.qotp_key.as_deref().is_some_and(|key| QotpIdentity::from_hex(key).is_ok()) {
                    warn("every user of this machine sees the QOTP key with `ps`: put it into a file");
                }
                if args.qotp_seed.is_some() {
                    warn(
                        "whoever knows or guesses the seed has the key, and every user of this machine sees it with `ps`",
                    );
                }
                Ok(Self::Qotp(identity))
            }
        }
    }

    /// Whom `--peer` names.
    pub(crate) fn target(&self, peer: Option<&str>) -> Result<Target, Failure> {
        let wrong = |error: &dyn core::error::Error, hint| {
            Failure::usage(format!("{} is no key for --peer: {error}; {hint}", text_of(peer)))
        };
        match (self, peer) {
            (Self::Native, None) => {
                Err(Failure::usage("--peer is missing: give the public key that the other side prints"))
            }
            (Self::Native, Some(key)) => key
                .parse()
                .map(Target::Native)
                .map_err(|error: dunlin_core::KeyError| wrong(&error, "`dunlin key FILE` prints one")),
            (Self::Qotp(_), None) => {
                warn("without --peer, whoever answers gets all that is sent");
                Ok(Target::Qotp(None))
            }
            (Self::Qotp(_), Some(key)) => {
                key.parse().map(|key| Target::Qotp(Some(key))).map_err(|error: dunlin_core::QotpKeyError| {
                    wrong(&error, "give the key that the other side prints with --wire qotp")
                })
            }
        }
    }

    /// The settings for it. An endpoint that speaks one wire does not speak the other.
    pub(crate) fn config(
        &self,
        alpn: &[u8],
        packet_size: Option<u16>,
        aead: Aead,
    ) -> Result<Config, Failure> {
        match (self, packet_size, aead) {
            (Self::Native, size, aead) => Ok(net::config(alpn, size.unwrap_or(1200), aead.into())),
            (Self::Qotp(_), Some(_), _) => {
                Err(Failure::usage("QOTP's packets have the same size everywhere: leave --packet-size out"))
            }
            (Self::Qotp(_), None, Aead::Aes) => {
                Err(Failure::usage("QOTP knows ChaCha20-Poly1305 only: leave --aead out"))
            }
            (Self::Qotp(_), None, Aead::Auto | Aead::Chacha) => {
                let mut config = net::config(alpn, 1200, AeadPolicy::Auto).accept_qotp(true);
                config.alpns.clear();
                // The other side is a dunlin as well: these are its protocols.
                config.qotp.max_in_flight = config.limits.max_window;
                Ok(config)
            }
        }
    }

    /// Gives the endpoint its key, and returns the public one by which it is dialled.
    pub(crate) fn equip(self, endpoint: &Endpoint) -> String {
        match self {
            Self::Native => endpoint.public_key().to_string(),
            Self::Qotp(identity) => {
                if let Some(identity) = identity {
                    endpoint.set_qotp_identity(identity);
                }
                endpoint.qotp_public_key().to_string()
            }
        }
    }
}

fn text_of(peer: Option<&str>) -> String {
    crate::text::printable(peer.unwrap_or_default().as_bytes())
}

/// A private key: 64 hexadecimal digits, here or in a file, or 32 bytes in a file.
fn read_key(key: &str) -> Result<QotpIdentity, Failure> {
    if let Ok(identity) = QotpIdentity::from_hex(key) {
        return Ok(identity);
    }
    let path = Path::new(key);
    let name = path.display();
    let cannot = |error: io::Error| Failure::usage(format!("cannot read the QOTP key file {name}: {error}"));
    let file = File::open(path).map_err(cannot)?;
    if folder::is_of_another(&file).map_err(cannot)? {
        return Err(Failure::usage(format!(
            "the QOTP key file {name} belongs to another user, who can change it: take a copy of your own"
        )));
    }
    if let Some(mode) = folder::mode_for_others(&file).map_err(cannot)? {
        return Err(Failure::usage(format!(
            "the QOTP key file {name} can be read by others (mode {mode:03o}): run `chmod 600 {name}`"
        )));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if let Ok(seed) = <[u8; 32]>::try_from(&bytes[..]) {
        return Ok(QotpIdentity::from_seed(seed));
    }
    let digits = core::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
    QotpIdentity::from_hex(digits).map_err(|_| {
        Failure::usage(format!(
            "{name} is no QOTP key file: it has neither 32 bytes nor 64 hexadecimal digits"
        ))
    })
}

/// Says what a stream is for, where the handshake has not: QOTP has no application protocols, so the name of ours comes
/// first on every stream.
pub(crate) async fn introduce(
    connection: &Connection,
    stream: &mut SendStream,
    protocol: &[u8],
) -> io::Result<()> {
    match connection.wire() {
        WireVersion::Qotp => AsyncWriteExt::write_all(stream, protocol).await,
        _ => Ok(()),
    }
}

/// Whether a stream is for this protocol.
pub(crate) async fn is_introduced(
    connection: &Connection,
    stream: &mut RecvStream,
    protocol: &[u8],
) -> io::Result<bool> {
    if connection.wire() != WireVersion::Qotp {
        return Ok(true);
    }
    let mut name = vec![0; protocol.len()];
    stream.read_exact(&mut name).await?;
    Ok(name == protocol)
}
