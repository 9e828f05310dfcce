use std::vec;
use std::vec::Vec;

use serde_json::Value;

use super::*;
use crate::crypto::testing::unhex;

/// One end of a test handshake.
struct End {
    identity: Identity,
    ephemeral: [u8; 32],
    prologue: Vec<u8>,
    agreements: u64,
    key_log: KeyLog,
}

impl End {
    fn new(secret: u8, ephemeral: u8) -> Self {
        Self::from_bytes([secret; 32], [ephemeral; 32], b"the prologue".to_vec())
    }

    fn from_bytes(secret: [u8; 32], ephemeral: [u8; 32], prologue: Vec<u8>) -> Self {
        Self {
            identity: Identity::from_secret(secret),
            ephemeral,
            prologue,
            agreements: 0,
            key_log: KeyLog::new(false),
        }
    }

    fn party(&mut self) -> Party<'_> {
        Party {
            identity: &self.identity,
            own_key: OwnKey::Refuse,
            agreements: &mut self.agreements,
            key_log: &mut self.key_log,
        }
    }

    fn ephemeral(&self) -> SecretKey {
        SecretKey::new(&self.ephemeral)
    }

    fn initiator(&mut self, pattern: Pattern, remote: PublicKey) -> Result<Initiator, NoiseError> {
        let (ephemeral, prologue) = (self.ephemeral(), self.prologue.clone());
        match pattern {
            Pattern::Ix => Ok(Initiator::ix(ephemeral, &[&prologue])),
            Pattern::Ik => Initiator::ik(&self.party(), remote, ephemeral, &[&prologue]),
        }
    }

    /// Message 1 in one piece, as Noise has it.
    fn message_1(&mut self, pattern: Pattern, remote: PublicKey, payload: &[u8]) -> (InitiatorSent, Vec<u8>) {
        let initiator = self.initiator(pattern, remote).unwrap();
        let mut message = initiator.ephemeral().to_vec();
        let sent = initiator.write_message_1(&mut self.party(), payload, &mut message).unwrap();
        (sent, message)
    }

    /// Reads message 1; the payload comes back as a copy.
    fn read_1(&mut self, pattern: Pattern, mut message: Vec<u8>) -> Result<(Responder, Vec<u8>), NoiseError> {
        let prologue = self.prologue.clone();
        let (e, rest) = split_key::<DH_LEN>(&mut message)?;
        let (responder, range) = match pattern {
            Pattern::Ix => Responder::read_ix(&self.party(), &[&prologue], e, rest)?,
            Pattern::Ik => {
                let stage = KnownStatic::read(&mut self.party(), &[&prologue], e, rest)?;
                let key = *stage.remote_static();
                let (responder, range) = stage.read_payload(&mut self.party(), rest)?;
                assert_eq!(*responder.remote_static(), key);
                (responder, range)
            }
        };
        assert_eq!(responder.pattern(), pattern);
        Ok((responder, rest[range].to_vec()))
    }

    fn write_2(&mut self, responder: Responder, payload: &[u8]) -> (Finished, Vec<u8>) {
        let (ephemeral, mut message) = (self.ephemeral(), Vec::new());
        let finished =
            responder.write_message_2(&mut self.party(), ephemeral, payload, &mut message).unwrap();
        (finished, message)
    }

    fn read_2(&mut self, sent: &InitiatorSent, message: &[u8]) -> Result<(Finished, Vec<u8>), NoiseError> {
        let mut message = message.to_vec();
        let (finished, range) = sent.read_message_2(&mut self.party(), &mut message)?;
        Ok((finished, message[range].to_vec()))
    }
}

const PATTERNS: [Pattern; 2] = [Pattern::Ix, Pattern::Ik];

fn assert_same(a: &Finished, b: &Finished) {
    assert_eq!((&*a.initiator, &*a.responder, &*a.exporter), (&*b.initiator, &*b.responder, &*b.exporter));
    assert_eq!(a.hash, b.hash);
    assert!(a.initiator != a.responder && a.responder != a.exporter && a.initiator != a.exporter);
}

/// Both ends as a vector says, message by message, transport messages included.
fn run_vector(vector: &Value) {
    let bytes = |name: &str| unhex(vector[name].as_str().unwrap());
    let key = |name: &str| <[u8; 32]>::try_from(bytes(name)).unwrap();
    let pattern =
        if vector["protocol_name"].as_str().unwrap().contains("_IX_") { Pattern::Ix } else { Pattern::Ik };
    let mut initiator = End::from_bytes(key("init_static"), key("init_ephemeral"), bytes("init_prologue"));
    let mut responder = End::from_bytes(key("resp_static"), key("resp_ephemeral"), bytes("resp_prologue"));
    let messages: Vec<_> = vector["messages"].as_array().unwrap().iter().collect();
    let part = |i: usize, name: &str| unhex(messages[i][name].as_str().unwrap());

    let remote = *responder.identity.public();
    if pattern == Pattern::Ik {
        assert_eq!(*remote.as_bytes(), key("init_remote_static"));
    }
    let (sent, message) = initiator.message_1(pattern, remote, &part(0, "payload"));
    assert_eq!(message, part(0, "ciphertext"));
    let (half_open, payload) = responder.read_1(pattern, message).unwrap();
    assert_eq!(payload, part(0, "payload"));
    assert_eq!(half_open.remote_static(), initiator.identity.public());
    let (theirs, message) = responder.write_2(half_open, &part(1, "payload"));
    assert_eq!(message, part(1, "ciphertext"));
    let (ours, payload) = initiator.read_2(&sent, &message).unwrap();
    assert_eq!(payload, part(1, "payload"));
    assert_same(&ours, &theirs);
    if vector.get("handshake_hash").is_some() {
        assert_eq!(ours.hash, *bytes("handshake_hash"));
    }
    for i in 2..messages.len() {
        // The two ends take turns, each with its own key and counter (Noise section 11.1: little-endian).
        let chain = if i % 2 == 0 { &ours.initiator } else { &ours.responder };
        let mut nonce = [0; NONCE_LEN];
        nonce[4..].copy_from_slice(&((i as u64 - 2) / 2).to_le_bytes());
        let mut text = part(i, "payload");
        text.extend([0; TAG_LEN]);
        AeadKey::new(Suite::ChaCha20Poly1305, chain).seal(&nonce, &[], &mut text).unwrap();
        assert_eq!(text, part(i, "ciphertext"));
    }
}

/// Public vectors: those of cacophony and those of snow (`source` says which).
#[test]
fn public_vectors() {
    let all: Value = serde_json::from_str(include_str!("../testdata/noise.json")).unwrap();
    let vectors = all["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 4);
    vectors.iter().for_each(run_vector);
}

fn snow_builder(pattern: Pattern) -> snow::Builder<'static> {
    let name = core::str::from_utf8(pattern.protocol_name()).unwrap();
    snow::Builder::new(name.parse().unwrap()).prologue(b"the prologue").unwrap()
}

#[test]
fn our_initiator_and_snow() {
    for (pattern, len) in PATTERNS.into_iter().flat_map(|p| [0, 1, 64, 1_000].map(|len| (p, len))) {
        let (mut us, secret) = (End::new(1, 2), [3; 32]);
        let remote = *Identity::from_secret(secret).public();
        let mut them = snow_builder(pattern).local_private_key(&secret).unwrap().build_responder().unwrap();
        let payload = vec![len as u8; len];
        let (sent, message) = us.message_1(pattern, remote, &payload);
        let mut text = [0; 2_000];
        let read = them.read_message(&message, &mut text).unwrap();
        assert_eq!(text[..read], payload);
        let mut reply = [0; 2_000];
        let written = them.write_message(&payload, &mut reply).unwrap();
        let (finished, read) = us.read_2(&sent, &reply[..written]).unwrap();
        assert_eq!(read, payload);
        assert_eq!(finished.hash, them.get_handshake_hash());
        assert_eq!(them.dangerously_get_raw_split(), (*finished.initiator, *finished.responder));
        assert_eq!(finished.remote_static, remote);
    }
}

#[test]
fn our_responder_and_snow() {
    for (pattern, len) in PATTERNS.into_iter().flat_map(|p| [0, 1, 64, 1_000].map(|len| (p, len))) {
        let (mut us, secret) = (End::new(1, 2), [3; 32]);
        let own = *us.identity.public().as_bytes();
        let mut builder = snow_builder(pattern).local_private_key(&secret).unwrap();
        if pattern == Pattern::Ik {
            builder = builder.remote_public_key(&own).unwrap();
        }
        let mut them = builder.build_initiator().unwrap();
        let payload = vec![len as u8; len];
        let mut message = [0; 2_000];
        let written = them.write_message(&payload, &mut message).unwrap();
        let (half_open, read) = us.read_1(pattern, message[..written].to_vec()).unwrap();
        assert_eq!(read, payload);
        let (finished, reply) = us.write_2(half_open, &payload);
        let mut text = [0; 2_000];
        let read = them.read_message(&reply, &mut text).unwrap();
        assert_eq!(text[..read], payload);
        assert_eq!(finished.hash, them.get_handshake_hash());
        assert_eq!(them.dangerously_get_raw_split(), (*finished.initiator, *finished.responder));
        assert_eq!(finished.remote_static, *Identity::from_secret(secret).public());
    }
}

#[test]
fn overheads_and_agreements_are_as_documented() {
    for pattern in PATTERNS {
        let (mut a, mut b) = (End::new(1, 2), End::new(3, 4));
        let remote = *b.identity.public();
        let (sent, first) = a.message_1(pattern, remote, b"12345");
        let (half_open, _) = b.read_1(pattern, first.clone()).unwrap();
        let (_, second) = b.write_2(half_open, b"1234567");
        a.read_2(&sent, &second).unwrap();
        let overheads = match pattern {
            Pattern::Ix => (IX_MESSAGE_1_OVERHEAD, IX_MESSAGE_2_OVERHEAD),
            Pattern::Ik => (IK_MESSAGE_1_OVERHEAD, IK_MESSAGE_2_OVERHEAD),
        };
        assert_eq!((first.len() - 5, second.len() - 7), overheads);
        let agreements = match pattern {
            Pattern::Ix => (3, 3),
            Pattern::Ik => (4, 4),
        };
        assert_eq!((a.agreements, b.agreements), agreements);
    }
}

#[test]
fn a_bad_reply_leaves_the_state_as_it_was() {
    for pattern in PATTERNS {
        let (mut a, mut b) = (End::new(1, 2), End::new(3, 4));
        let (sent, first) = a.message_1(pattern, *b.identity.public(), b"hello");
        let (half_open, _) = b.read_1(pattern, first).unwrap();
        let (theirs, reply) = b.write_2(half_open, b"reply");
        for i in 0..reply.len() {
            let mut bad = reply.clone();
            bad[i] ^= 0x04;
            assert!(a.read_2(&sent, &bad).is_err(), "byte {i}");
            assert!(a.read_2(&sent, &reply[..i]).is_err(), "{i} bytes");
        }
        let (ours, payload) = a.read_2(&sent, &reply).unwrap();
        assert_eq!(payload, b"reply");
        assert_same(&ours, &theirs);
    }
}

#[test]
fn every_byte_of_an_ik_init_is_authentic() {
    let (mut a, mut b) = (End::new(1, 2), End::new(3, 4));
    let (_, first) = a.message_1(Pattern::Ik, *b.identity.public(), b"hello");
    for i in 0..first.len() {
        let mut bad = first.clone();
        bad[i] ^= 0x04;
        assert!(b.read_1(Pattern::Ik, bad).is_err(), "byte {i}");
        assert!(b.read_1(Pattern::Ik, first[..i].to_vec()).is_err(), "{i} bytes");
    }
    assert!(b.read_1(Pattern::Ik, first).is_ok());
}

/// IX message 1 is in clear: whatever is changed in it shows when the reply does not open.
#[test]
fn every_byte_of_an_ix_init_is_in_the_transcript() {
    let (mut a, mut b) = (End::new(1, 2), End::new(3, 4));
    let (sent, first) = a.message_1(Pattern::Ix, *b.identity.public(), b"hello");
    for i in 0..first.len() {
        let mut changed = first.clone();
        changed[i] ^= 0x04;
        let Ok((half_open, _)) = b.read_1(Pattern::Ix, changed) else { continue };
        let (_, reply) = b.write_2(half_open, b"");
        assert!(a.read_2(&sent, &reply).is_err(), "byte {i}");
    }
}

#[test]
fn another_prologue_is_another_handshake() {
    for pattern in PATTERNS {
        let (mut a, mut b) = (End::new(1, 2), End::new(3, 4));
        b.prologue.push(0);
        let (sent, first) = a.message_1(pattern, *b.identity.public(), b"hello");
        match b.read_1(pattern, first) {
            Ok((half_open, _)) => {
                let (_, reply) = b.write_2(half_open, b"");
                assert!(matches!(a.read_2(&sent, &reply), Err(NoiseError::NotAuthentic)));
            }
            Err(error) => assert_eq!((pattern, error), (Pattern::Ik, NoiseError::NotAuthentic)),
        }
    }
}

#[test]
fn the_prologue_of_the_native_wire() {
    let joined = prologue(b"\x50routing!", b"\x03tok").concat();
    assert_eq!(joined, b"dunlin/1\x50routing!\x03tok");
}

#[test]
fn a_reply_of_the_other_pattern_does_not_open() {
    for (ours, theirs) in [(Pattern::Ix, Pattern::Ik), (Pattern::Ik, Pattern::Ix)] {
        let (mut a, mut b) = (End::new(1, 2), End::new(3, 4));
        let remote = *b.identity.public();
        let (sent, _) = a.message_1(ours, remote, b"hello");
        let (_, first) = a.message_1(theirs, remote, b"hello");
        let (half_open, _) = b.read_1(theirs, first).unwrap();
        let (_, reply) = b.write_2(half_open, &[0; 100]);
        assert!(matches!(a.read_2(&sent, &reply), Err(NoiseError::NotAuthentic)));
    }
}

#[test]
fn our_own_key_is_refused_unless_allowed() {
    for pattern in PATTERNS {
        let (mut a, mut b) = (End::new(1, 2), End::new(1, 4));
        let own = *a.identity.public();
        if pattern == Pattern::Ik {
            assert!(matches!(a.initiator(pattern, own), Err(NoiseError::OwnKey)));
        }
        let allowed = |end: &mut End, first: &[u8]| {
            let (e, rest) = first.split_first_chunk::<DH_LEN>().unwrap();
            let (identity, prologue) = (end.identity.clone(), end.prologue.clone());
            let mut key_log = KeyLog::new(false);
            let mut party = Party {
                identity: &identity,
                own_key: OwnKey::Allow,
                agreements: &mut 0,
                key_log: &mut key_log,
            };
            let mut rest = rest.to_vec();
            match pattern {
                Pattern::Ix => Responder::read_ix(&party, &[&prologue], e, &rest).unwrap().0,
                Pattern::Ik => {
                    KnownStatic::read(&mut party, &[&prologue], e, &rest)
                        .unwrap()
                        .read_payload(&mut party, &mut rest)
                        .unwrap()
                        .0
                }
            }
        };
        let (ephemeral, prologue) = (a.ephemeral(), a.prologue.clone());
        let mut key_log = KeyLog::new(false);
        let mut party = Party {
            identity: &a.identity,
            own_key: OwnKey::Allow,
            agreements: &mut 0,
            key_log: &mut key_log,
        };
        let initiator = match pattern {
            Pattern::Ix => Initiator::ix(ephemeral, &[&prologue]),
            Pattern::Ik => Initiator::ik(&party, own, ephemeral, &[&prologue]).unwrap(),
        };
        let mut first = initiator.ephemeral().to_vec();
        let sent = initiator.write_message_1(&mut party, b"", &mut first).unwrap();
        assert!(matches!(b.read_1(pattern, first.clone()), Err(NoiseError::OwnKey)));
        let half_open = allowed(&mut b, &first);
        let (_, reply) = b.write_2(half_open, b"");
        match pattern {
            Pattern::Ix => assert!(matches!(a.read_2(&sent, &reply), Err(NoiseError::OwnKey))),
            // Whoever dials its own key on purpose was allowed to.
            Pattern::Ik => assert!(a.read_2(&sent, &reply).is_ok()),
        }
    }
}

#[test]
fn bad_public_keys_are_refused_before_any_agreement() {
    let mut not_canonical = [0xff; 32];
    not_canonical[31] = 0x7f;
    for (bad, error) in [([0; 32], KeyError::LowOrder), (not_canonical, KeyError::NonCanonical)] {
        let (mut a, mut b) = (End::new(1, 2), End::new(3, 4));
        let remote = *b.identity.public();
        for pattern in PATTERNS {
            let (sent, mut first) = a.message_1(pattern, remote, b"hello");
            first[..32].copy_from_slice(&bad);
            assert_eq!(b.read_1(pattern, first).err(), Some(NoiseError::Key(error)));
            let before = a.agreements;
            let mut reply = bad.to_vec();
            reply.extend([0; 100]);
            assert_eq!(a.read_2(&sent, &reply).err(), Some(NoiseError::Key(error)));
            assert_eq!(a.agreements, before);
        }
        let (_, mut first) = a.message_1(Pattern::Ix, remote, b"hello");
        first[32..64].copy_from_slice(&bad);
        assert_eq!(b.read_1(Pattern::Ix, first).err(), Some(NoiseError::Key(error)));
        assert_eq!(b.agreements, 0);
    }
}

#[test]
fn a_half_open_handshake_is_small() {
    assert!(size_of::<Responder>() <= 136, "{}", size_of::<Responder>());
}
