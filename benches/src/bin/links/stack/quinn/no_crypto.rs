//! A handshake and packet protection that protect nothing, with the shape of TLS 1.3: the same flights, and as many
//! bytes where they count. Nothing is encrypted in a simulation for anybody's sake, and without certificates, clocks and
//! the system's randomness a run can be repeated.

use core::any::Any;
use std::sync::Arc;

use bytes::BytesMut;
use dunlin_sim::Fingerprint;
use quinn_proto::crypto::{
    AeadKey, ClientConfig, CryptoError, ExportKeyingMaterialError, HandshakeTokenKey, HeaderKey, HmacKey,
    KeyPair, Keys, PacketKey, ServerConfig, Session, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError};

/// Bytes of the AEAD tag of all of TLS 1.3's suites (RFC 8446 section 9.1).
const TAG: usize = 16;
/// About what a ClientHello, a ServerHello, the rest of the server's flight with a small certificate, and a Finished
/// take. The transport parameters are within; their own length varies by some random bytes, which these hide.
const CLIENT_HELLO: usize = 400;
const SERVER_HELLO: usize = 90;
const SERVER_FLIGHT: usize = 900;
const FINISHED: usize = 36;

/// Makes sessions, on both sides.
pub(super) struct NoCrypto;

impl ClientConfig for NoCrypto {
    fn start_session(
        self: Arc<Self>,
        _version: u32,
        _server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        Ok(Box::new(Open::new(Side::Client, params)))
    }
}

impl ServerConfig for NoCrypto {
    fn initial_keys(&self, _version: u32, _dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        Ok(keys())
    }

    fn retry_tag(&self, _version: u32, _orig_dst_cid: &ConnectionId, _packet: &[u8]) -> [u8; 16] {
        [0; 16]
    }

    fn start_session(self: Arc<Self>, _version: u32, params: &TransportParameters) -> Box<dyn Session> {
        Box::new(Open::new(Side::Server, params))
    }
}

/// What a side does next in the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Say hello.
    Hello,
    /// The client: wait for ServerHello, to read and take the handshake keys. The server: wait for ClientHello.
    AwaitHello,
    /// The client has read ServerHello: take the handshake keys.
    HandshakeKeys,
    /// The server: send the rest of its flight and take the keys for data. The client: wait for it.
    Flight,
    /// The client has read the server's flight: send Finished and take the keys for data.
    Finish,
    /// The server: wait for Finished.
    AwaitFinished,
    Done,
}

/// A session in the clear.
struct Open {
    side: Side,
    step: Step,
    own: Vec<u8>,
    peer: Option<Vec<u8>>,
    /// Handshake bytes that have not made a whole message yet.
    pending: Vec<u8>,
}

impl Open {
    fn new(side: Side, params: &TransportParameters) -> Self {
        let mut own = Vec::new();
        params.write(&mut own);
        let step = if side.is_client() { Step::Hello } else { Step::AwaitHello };
        Self { side, step, own, peer: None, pending: Vec::new() }
    }

    /// A message of `len` bytes that holds the length of the parameters and the parameters.
    fn message(&self, len: usize, out: &mut Vec<u8>) {
        let end = out.len() + len;
        out.extend_from_slice(&u16::try_from(self.own.len()).expect("they are short").to_be_bytes());
        out.extend_from_slice(&self.own);
        assert!(out.len() <= end, "the parameters fit into their message");
        out.resize(end, 0);
    }

    /// Takes a message of `len` bytes out of what was read, if it is whole.
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        (self.pending.len() >= len).then(|| self.pending.drain(..len).collect())
    }

    /// Takes a message with parameters.
    fn take_parameters(&mut self, len: usize) -> bool {
        let Some(message) = self.take(len) else { return false };
        let (length, rest) = message.split_at(2);
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        self.peer = Some(rest[..length].to_vec());
        true
    }
}

impl Session for Open {
    fn initial_keys(&self, _dst_cid: &ConnectionId, _side: Side) -> Keys {
        keys()
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.step != Step::Done
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.pending.extend_from_slice(buf);
        let client = self.side.is_client();
        loop {
            let step = self.step;
            self.step = match step {
                Step::AwaitHello if client && self.take(SERVER_HELLO).is_some() => Step::HandshakeKeys,
                Step::AwaitHello if !client && self.take_parameters(CLIENT_HELLO) => Step::Hello,
                Step::Flight if client && self.take_parameters(SERVER_FLIGHT) => Step::Finish,
                Step::AwaitFinished if self.take(FINISHED).is_some() => Step::Done,
                _ => return Ok(false),
            };
        }
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(mut peer) = self.peer.as_deref() else { return Ok(None) };
        Ok(Some(TransportParameters::read(self.side, &mut peer)?))
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let client = self.side.is_client();
        let (step, keys) = match self.step {
            Step::Hello if client => {
                self.message(CLIENT_HELLO, buf);
                (Step::AwaitHello, None)
            }
            Step::Hello => {
                buf.resize(SERVER_HELLO, 0);
                (Step::Flight, Some(keys()))
            }
            Step::HandshakeKeys => (Step::Flight, Some(keys())),
            Step::Flight if !client => {
                self.message(SERVER_FLIGHT, buf);
                (Step::AwaitFinished, Some(keys()))
            }
            Step::Finish => {
                buf.resize(FINISHED, 0);
                (Step::Done, Some(keys()))
            }
            step => (step, None),
        };
        self.step = step;
        keys
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        Some(KeyPair { local: Box::new(NoKey), remote: Box::new(NoKey) })
    }

    fn is_valid_retry(&self, _orig_dst_cid: &ConnectionId, _header: &[u8], _payload: &[u8]) -> bool {
        false
    }

    fn export_keying_material(
        &self,
        _output: &mut [u8],
        _label: &[u8],
        _context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

fn keys() -> Keys {
    Keys {
        header: KeyPair { local: Box::new(NoKey), remote: Box::new(NoKey) },
        packet: KeyPair { local: Box::new(NoKey), remote: Box::new(NoKey) },
    }
}

/// A key that changes nothing.
pub(super) struct NoKey;

impl PacketKey for NoKey {
    fn encrypt(&self, _packet: u64, _buf: &mut [u8], _header_len: usize) {}

    fn decrypt(&self, _packet: u64, _header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        let len = payload.len().checked_sub(TAG).ok_or(CryptoError)?;
        payload.truncate(len);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        TAG
    }

    fn confidentiality_limit(&self) -> u64 {
        u64::MAX
    }

    fn integrity_limit(&self) -> u64 {
        u64::MAX
    }
}

impl HeaderKey for NoKey {
    fn decrypt(&self, _pn_offset: usize, _packet: &mut [u8]) {}

    fn encrypt(&self, _pn_offset: usize, _packet: &mut [u8]) {}

    fn sample_size(&self) -> usize {
        TAG
    }
}

impl HmacKey for NoKey {
    /// Reset tokens are made of this: a datagram that ends like one ends the connection, so no constant will do.
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let mut fingerprint = Fingerprint::default();
        fingerprint.bytes(data);
        for byte in signature_out {
            fingerprint.number(0);
            *byte = fingerprint.value() as u8;
        }
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, _data: &[u8], _signature: &[u8]) -> Result<(), CryptoError> {
        Ok(())
    }
}

impl HandshakeTokenKey for NoKey {
    fn aead_from_hkdf(&self, _random_bytes: &[u8]) -> Box<dyn AeadKey> {
        Box::new(Self)
    }
}

impl AeadKey for NoKey {
    fn seal(&self, _data: &mut Vec<u8>, _additional_data: &[u8]) -> Result<(), CryptoError> {
        Ok(())
    }

    fn open<'a>(&self, data: &'a mut [u8], _additional_data: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        Ok(data)
    }
}
