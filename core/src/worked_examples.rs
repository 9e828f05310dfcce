//! Holds the worked examples of docs/PROTOCOL.md against the code: every block of hexadecimal digits in that document
//! has a name, and stands here as what the code makes of fixed keys.
//!
//! The keys are derived here once more, from the document's formulas alone, and the protected packets are opened with
//! what comes out, so that the formulas are checked and not only repeated.

use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use crate::cids::reset::ResetToken;
use crate::config::{AeadPolicy, Config};
use crate::crypto::backend::{AeadKey, MaskKey, SecretKey};
use crate::crypto::digest::{digest, keyed};
use crate::crypto::keys::{Exporter, KeyLimits, data_keys};
use crate::crypto::noise::{Finished, OwnKey, Party};
use crate::crypto::packet;
use crate::crypto::{GroupSecret, Identity, Secret, Suite};
use crate::handshake::initiator::{Dialling, Opened, Target};
use crate::handshake::negotiate::{answer, choose, offer};
use crate::handshake::responder::{Opening, hello_frame};
use crate::handshake::retry;
use crate::id::{ConnectionId, Direction, PacketNumber, PathId, Role, StreamId};
use crate::key_log::KeyLog;
use crate::path::addr::{LocalAddr, TransportAddr, Tuple};
use crate::remote::fanout::{Fanout, Guess};
use crate::shard::Shard;
use crate::shared::{reset_key, reset_token};
use crate::time::{Duration, Instant};
use crate::wire::frame::{EcnCounts, Frame, Frames, Length, put_ack, put_hello, put_stream_header, ty};
use crate::wire::header::Header;
use crate::wire::params::EarlyOutcome;

const PROTOCOL: &str = include_str!("../../docs/PROTOCOL.md");

const INITIATOR: [u8; 32] = [0x11; 32];
const RESPONDER: [u8; 32] = [0x22; 32];
const INITIATOR_EPHEMERAL: [u8; 32] = [0x33; 32];
const RESPONDER_EPHEMERAL: [u8; 32] = [0x44; 32];
const GROUP: [u8; 32] = [0x55; 32];
const INITIATOR_ID: ConnectionId = ConnectionId::from_bytes([0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7]);
const RESPONDER_ID: ConnectionId = ConnectionId::from_bytes([0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7]);
/// Picks the reserved id of a HELLO, 27 + 31, and its empty value.
const RESERVED: u64 = 0;

/// The named blocks of the document, and what differs from them.
struct Blocks {
    named: BTreeMap<String, Vec<u8>>,
    wrong: String,
}

impl Blocks {
    fn read() -> Self {
        let mut named = BTreeMap::new();
        let mut lines = PROTOCOL.lines();
        while let Some(line) = lines.next() {
            let Some(name) = line.trim().strip_prefix("```hex ") else { continue };
            let digits: String = lines
                .by_ref()
                .take_while(|line| line.trim() != "```")
                .flat_map(|line| line.chars().take_while(|c| *c != '#').filter(|c| !c.is_whitespace()))
                .collect();
            let pairs = digits.as_bytes().chunks(2).map(|pair| core::str::from_utf8(pair).unwrap());
            let bytes = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
            assert!(named.insert(name.into(), bytes).is_none(), "two blocks have the name {name}");
        }
        Self { named, wrong: String::new() }
    }

    /// Strikes a block off the list if it holds `actual`, else notes what it should be.
    fn check(&mut self, name: &str, actual: &[u8]) {
        if self.named.remove(name).as_deref() != Some(actual) {
            writeln!(self.wrong, "```hex {name}").unwrap();
            for line in actual.chunks(32) {
                line.iter().for_each(|byte| write!(self.wrong, "{byte:02x}").unwrap());
                writeln!(self.wrong).unwrap();
            }
            writeln!(self.wrong, "```").unwrap();
        }
    }

    fn finish(self) {
        assert!(self.wrong.is_empty(), "the document must have these blocks instead:\n{}", self.wrong);
        assert!(self.named.is_empty(), "nothing checks these blocks: {:?}", self.named.keys());
    }
}

/// HMAC-BLAKE2s, RFC 2104.
fn hmac(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    digest(&[&pad(0x5c), &digest(&[&pad(0x36), text])])
}

/// The document's `KDF`.
fn kdf<const N: usize>(key: &[u8; 32], input: &[u8]) -> [[u8; 32]; N] {
    let temporary = hmac(key, input);
    let mut last = Vec::new();
    core::array::from_fn(|i| {
        last.push(i as u8 + 1);
        let output = hmac(&temporary, &last);
        last = output.to_vec();
        output
    })
}

fn config(aes: bool) -> Config {
    Config {
        alpns: std::vec![b"echo".to_vec()],
        aead: AeadPolicy::Auto,
        aes_hardware: aes,
        ..Config::default()
    }
}

/// What a handshake sends, and what both ends have in the end.
struct Handshake {
    hello: Vec<u8>,
    init: Vec<u8>,
    reply: Vec<u8>,
    reply_payload: Vec<u8>,
    finished: Finished,
}

/// What a stateless reset of the responder's connection ends with, by the code.
fn responder_token() -> ResetToken {
    reset_token(&reset_key(&RESPONDER, Shard::default()), RESPONDER_ID)
}

/// Runs a handshake with the fixed keys, `early` behind the HELLO in message 1.
fn handshake(peer: Target, aes: bool, early: &[u8]) -> Handshake {
    let (config, now) = (config(aes), Instant::ZERO);
    let (initiator, responder) = (Identity::from_secret(INITIATOR), Identity::from_secret(RESPONDER));
    let (mut count, mut other_count) = (0, 0);
    let (mut our_log, mut their_log) = (KeyLog::new(false), KeyLog::new(false));
    let own_key = OwnKey::Refuse;
    let mut ours = Party { identity: &initiator, own_key, agreements: &mut count, key_log: &mut our_log };
    let mut theirs =
        Party { identity: &responder, own_key, agreements: &mut other_count, key_log: &mut their_log };

    let mut values = Vec::new();
    offer(&config, &config.alpns).encode(&mut values, RESERVED);
    let mut hello = Vec::new();
    put_hello(&mut hello, &values);
    let mut payload = hello.clone();
    payload.extend_from_slice(early);
    let to = Tuple { local: LocalAddr::default(), remote: TransportAddr::Ip(([192, 0, 2, 1], 1).into()) };
    let fanout = Fanout::new(Guess::vouched(to), []);
    let (alpns, deadline) = (config.alpns.clone(), now + Duration::from_secs(5));
    let mut dial = Dialling::new(now, peer, alpns, None, deadline, fanout);
    let ephemeral = Secret::new(INITIATOR_EPHEMERAL);
    dial.make_init(now, &mut ours, INITIATOR_ID, &ephemeral, &payload).unwrap();
    let init = dial.copy_due(now).unwrap().0.to_vec();

    let mut datagram = init.clone();
    let header = Header::parse(&datagram).unwrap();
    let opening = Opening::read(header.ty, header.routing, &datagram, &mut theirs).unwrap();
    let attempt = opening.finish(&mut datagram, &mut theirs, &mut 0).unwrap();
    assert_eq!(&attempt.early[..], early);
    let agreement = choose(&config, &attempt.hello).unwrap();
    let ephemeral = Secret::new(RESPONDER_EPHEMERAL);
    let outcome = if early.is_empty() { EarlyOutcome::None } else { EarlyOutcome::Held };
    let answer = answer(&config, &agreement, (RESPONDER_ID, responder_token()), outcome);
    let (finished, reply) = attempt.accept(&hello_frame(&answer, RESERVED), &mut theirs, &ephemeral).unwrap();

    let mut message = reply[9..].to_vec();
    let Opened { finished: same, payload: range, .. } =
        dial.read_reply(now, peer.reply(), &mut ours, &mut message).unwrap();
    assert_eq!(same.hash, finished.hash);
    Handshake { hello, init, reply: reply.to_vec(), reply_payload: message[range].to_vec(), finished }
}

/// A Data packet of path 0 as the code makes it.
fn sealed(
    finished: &Finished,
    role: Role,
    suite: Suite,
    to: ConnectionId,
    number: u64,
    payload: &[u8],
) -> Vec<u8> {
    let (mut sealer, _) = data_keys(finished, role, suite, KeyLimits::of(suite), Instant::ZERO);
    let mut packet = std::vec![0x90];
    packet.extend(to.as_bytes());
    packet.extend([0; 5]);
    packet.extend(payload);
    packet.extend([0; 16]);
    packet::seal(&mut sealer, PathId::ZERO, PacketNumber::new(number), &mut packet).unwrap();
    packet
}

/// Checks one direction's keys, and opens `packet` with them as the document says.
fn check_direction(
    blocks: &mut Blocks,
    name: &str,
    chain: &[u8; 32],
    suite: Suite,
    packet: &[u8],
    payload: &[u8],
) {
    let mut label = b"dunlin/1 data".to_vec();
    label.push(suite.id());
    let [secret, sequence_key] = kdf(chain, &label);
    let [key, iv] = kdf(&secret, b"dunlin/1 key");
    let [next] = kdf(&secret, b"dunlin/1 next");
    let [next_key, next_iv] = kdf(&next, b"dunlin/1 key");
    let mut check = |part: &str, bytes: &[u8]| blocks.check(&std::format!("{name} {part}"), bytes);
    check("secret_0", &secret);
    check("sequence_key", &sequence_key);
    check("key_0", &key);
    check("iv_0", &iv[..12]);
    check("key_1", &next_key);
    check("iv_1", &next_iv[..12]);

    let sample: [u8; 16] = packet[14..30].try_into().unwrap();
    let mask = MaskKey::new(suite, &sequence_key).mask(&sample);
    check("mask", &mask);
    let field: Vec<u8> = packet[9..14].iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let mut position = [0; 12];
    position[8..].copy_from_slice(&field[1..]);
    let nonce: Vec<u8> = position.iter().zip(iv).map(|(byte, iv)| byte ^ iv).collect();
    check("nonce", &nonce);
    let mut body = packet[14..].to_vec();
    let opened = AeadKey::new(suite, &key).open(&nonce.try_into().unwrap(), &packet[..9], &mut body);
    assert_eq!(&body[..opened.ok().unwrap()], payload);
    check("payload", payload);
    check("packet", packet);
}

fn stream(data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let id = StreamId::new(Role::Initiator, Direction::Bidirectional, 0);
    put_stream_header(&mut frame, id, 0, Length::Explicit(data.len() as u16), true);
    frame.extend_from_slice(data);
    frame
}

fn check_ik(blocks: &mut Blocks) {
    let known = Target::Key(*Identity::from_secret(RESPONDER).public());
    let early = stream(b"hello");
    let ik = handshake(known, false, &early);
    blocks.check("hello", &ik.hello);
    blocks.check("early", &early);
    blocks.check("ik init", &ik.init);
    blocks.check("ik reply", &ik.reply);
    blocks.check("ik reply payload", &ik.reply_payload);
    let group = GroupSecret::new(Secret::new(GROUP));
    let token = group.retry_token(Instant::ZERO, &"192.0.2.1:1".parse().unwrap());
    blocks.check("retry", &retry::answer(&digest(&[&ik.init]), INITIATOR_ID, &token));
    check_secrets(blocks, "ik", &ik.finished);
    let mut payload = Vec::new();
    put_ack(&mut payload, PathId::ZERO, Duration::ZERO, core::iter::once(0..=0), None, 100);
    payload.push(ty::PING as u8);
    let suite = Suite::ChaCha20Poly1305;
    let packet = sealed(&ik.finished, Role::Initiator, suite, RESPONDER_ID, 1, &payload);
    check_direction(blocks, "ik", &ik.finished.initiator, suite, &packet, &payload);
}

fn check_ix(blocks: &mut Blocks) {
    let ix = handshake(Target::Unknown, true, &[]);
    blocks.check("ix init", &ix.init);
    blocks.check("ix reply", &ix.reply);
    blocks.check("ix reply payload", &ix.reply_payload);
    check_secrets(blocks, "ix", &ix.finished);
    let payload = stream(b"dunlin");
    let suite = Suite::Aes256Gcm;
    let packet = sealed(&ix.finished, Role::Responder, suite, INITIATOR_ID, 1, &payload);
    check_direction(blocks, "ix", &ix.finished.responder, suite, &packet, &payload);
}

fn check_secrets(blocks: &mut Blocks, name: &str, finished: &Finished) {
    let mut check = |part: &str, bytes: &[u8]| blocks.check(&std::format!("{name} {part}"), bytes);
    check("c_i", &*finished.initiator);
    check("c_r", &*finished.responder);
    check("exporter", &*finished.exporter);
    check("h", &finished.hash);
    let mut input = finished.hash.to_vec();
    input.extend(b"\x05labelcontext");
    let [exported] = kdf(&finished.exporter, &input);
    assert_eq!(exported, *Exporter::new(finished).export(b"label", b"context").unwrap());
    check("export", &exported);
}

#[test]
fn the_worked_examples_are_what_the_code_does() {
    let mut blocks = Blocks::read();
    for (name, secret) in [
        ("initiator public", INITIATOR),
        ("responder public", RESPONDER),
        ("initiator e", INITIATOR_EPHEMERAL),
        ("responder e", RESPONDER_EPHEMERAL),
    ] {
        blocks.check(name, SecretKey::new(&secret).public());
    }
    check_ik(&mut blocks);
    check_ix(&mut blocks);
    let reset_key = digest(&[b"dunlin reset tokens", &RESPONDER, &[1, 0]]);
    blocks.check("reset key", &reset_key);
    let [token @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
        keyed(&reset_key, &[RESPONDER_ID.as_bytes()]);
    assert_eq!(ResetToken::new(token), responder_token());
    blocks.check("reset token", &token);
    let mut ack = Vec::new();
    let ranges = [8..=10, 6..=6, 0..=3].into_iter();
    put_ack(&mut ack, PathId::ZERO, Duration::from_micros(1500), ranges.clone(), None, 100);
    blocks.check("ack", &ack);
    let Some(Ok(Frame::Ack(decoded))) = Frames::new(&ack).next() else { panic!("that was no ACK") };
    assert!(decoded.ranges().eq(ranges.clone()));
    let counts = EcnCounts { ect0: 70, ect1: 0, ce: 2 };
    ack.clear();
    put_ack(&mut ack, PathId::ZERO, Duration::from_micros(1500), ranges, Some(counts), 100);
    blocks.check("ack ecn", &ack);
    blocks.finish();
}

/// The rows `| 0x.. | NAME |` of the document's table of frames are the numbers of the code.
#[test]
fn the_table_of_frames_is_the_codes() {
    for (number, name) in [
        (ty::PADDING, "PADDING"),
        (ty::PING, "PING"),
        (ty::RESET_STREAM, "RESET_STREAM"),
        (ty::STOP_SENDING, "STOP_SENDING"),
        (ty::NEW_TOKEN, "NEW_TOKEN"),
        (ty::MAX_DATA, "MAX_DATA"),
        (ty::MAX_STREAM_DATA, "MAX_STREAM_DATA"),
        (ty::MAX_STREAMS_BIDI, "MAX_STREAMS (bidirectional)"),
        (ty::MAX_STREAMS_UNI, "MAX_STREAMS (unidirectional)"),
        (ty::PATH_CHALLENGE, "PATH_CHALLENGE"),
        (ty::PATH_RESPONSE, "PATH_RESPONSE"),
        (ty::CLOSE_TRANSPORT, "CLOSE (transport)"),
        (ty::CLOSE_APPLICATION, "CLOSE (application)"),
        (ty::HELLO, "HELLO"),
        (ty::DATAGRAM, "DATAGRAM (to the end)"),
        (ty::DATAGRAM_LEN, "DATAGRAM (with length)"),
        (ty::ACK, "ACK"),
        (ty::ACK_ECN, "ACK (with ECN counts)"),
    ] {
        let row = std::format!("| 0x{number:02x} | {name} |");
        assert!(PROTOCOL.contains(&row), "the document has no row {row}");
    }
    let streams = std::format!("| 0x{:02x} to 0x{:02x} | STREAM |", ty::STREAM, ty::STREAM | 7);
    assert!(PROTOCOL.contains(&streams), "the document has no row {streams}");
}
