//! The reference's data, and what it cannot show.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use serde_json::Value;

use super::packet::*;
use super::vectors::*;
use crate::crypto::backend::{AeadError, SecretKey};
use crate::crypto::suite::TAG_LEN;
use crate::crypto::testing::unhex_array;
use crate::id::{ConnectionId, Role};
use crate::wire::header::TAG;
use crate::wire::qotp::header::{Header, NUMBER, PacketType};
use crate::wire::qotp::payload::{self, Payload};

/// The wire's layout is written down on both sides of the wall between bytes and keys.
const _: () = assert!(NUMBER == NUMBER_LEN && TAG == TAG_LEN && payload::MIN_PAYLOAD == MIN_PAYLOAD);

/// What a packet is made from, besides its header.
struct Parts<'a> {
    key: &'a PacketKey,
    from: Role,
    sequence: Sequence,
    payload: &'a [u8],
    mtu: usize,
}

/// The datagram with this header; an InitSnd has no `parts`.
fn build(header: &Header, parts: &Parts<'_>) -> Vec<u8> {
    let (ty, mut packet) = (header.ty(), Vec::new());
    header.put(&mut packet);
    assert_eq!(packet.len(), ty.clear_len());
    packet.extend([0; NUMBER_LEN]);
    if ty == PacketType::InitCryptoSnd {
        payload::put_filler(&mut packet, payload::filler_len(parts.mtu, parts.payload.len()).unwrap());
    }
    packet.extend_from_slice(parts.payload);
    packet.extend([0; TAG_LEN]);
    seal(parts.key, parts.from, parts.sequence, ty.clear_len(), &mut packet).unwrap();
    packet
}

/// The InitSnd with this header.
fn build_init(header: &Header, mtu: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    header.put(&mut packet);
    packet.resize(mtu, 0);
    packet
}

/// Opens a packet that is not InitSnd; the payload comes without filler.
fn open_copy(
    key: &PacketKey,
    from: Role,
    epochs: impl IntoIterator<Item = u64>,
    packet: &[u8],
) -> Option<(Sequence, Vec<u8>)> {
    let ty = Header::parse(packet).ok()?.ty();
    let mut packet = packet.to_vec();
    let (sequence, range) = open(key, from, epochs, ty.clear_len(), &mut packet).ok()?;
    let plain = &packet[range];
    let payload = if ty == PacketType::InitCryptoSnd { payload::strip_filler(plain).ok()? } else { plain };
    Some((sequence, payload.to_vec()))
}

fn epochs_at(epoch: u64) -> Epochs {
    let mut epochs = Epochs::default();
    epochs.on_opened(epoch);
    epochs
}

fn from_sender_bit(value: &Value) -> Role {
    if number(&value["sender_bit"]) == 0 { Role::Responder } else { Role::Initiator }
}

fn sequence(value: &Value) -> Sequence {
    Sequence { epoch: number(&value["epoch"]), number: number(&value["sn"]) }
}

#[test]
fn qotp_vectors_of_keys() {
    for name in key_names() {
        let name = Value::from(name.as_str());
        assert_eq!(*SecretKey::new(&private_key(&name)).public(), public_key(&name), "{name}");
    }
}

#[test]
fn qotp_vectors_of_nonces() {
    for case in section("nonces") {
        assert_eq!(sequence(case).nonce(from_sender_bit(case)), *bytes(&case["nonce"]), "{case}");
    }
}

/// The header that a packet of the section `packets` has, made from its keys.
fn vector_header(case: &Value) -> Header {
    let id = ConnectionId::from_bytes(unhex_array(text(&case["conn_id"])));
    let ephemeral = || public_key(&case["own_ep_key"]);
    let identity = || public_key(&case["own_id_key"]);
    match text(&case["type_name"]) {
        "InitSnd" => Header::InitSnd { ephemeral: ephemeral(), identity: identity() },
        "InitRcv" => Header::InitRcv { id, ephemeral: ephemeral(), identity: identity() },
        "InitCryptoSnd" => Header::InitCryptoSnd { ephemeral: ephemeral(), identity: identity() },
        "InitCryptoRcv" => Header::InitCryptoRcv { id, ephemeral: ephemeral() },
        "Data" => Header::Data { id },
        other => panic!("no type: {other}"),
    }
}

#[test]
fn qotp_vectors_of_packets_seal_and_open() {
    for case in section("packets") {
        let name = text(&case["id"]);
        let (packet, mtu, header) = (bytes(&case["packet"]), len(&case["mtu"]), vector_header(case));
        assert_eq!(Header::parse(&packet), Ok(header), "{name}");
        assert_eq!(header.connection_id().as_bytes(), &*bytes(&case["conn_id"]), "{name}");
        assert!(header.ty().allows(packet.len(), mtu), "{name}");
        if header.ty() == PacketType::InitSnd {
            assert_eq!(build_init(&header, mtu), packet, "{name}");
            continue;
        }

        let own = SecretKey::new(&private_key(&case["ecdh_prv"]));
        let key = PacketKey::agree(&own, &public_key(&case["ecdh_pub"])).unwrap();
        let (from, sequence, payload) = (from_sender_bit(case), sequence(case), bytes(&case["payload"]));
        assert_eq!(sequence.nonce(from), *bytes(&case["nonce"]), "{name}");
        let made = build(&header, &Parts { key: &key, from, sequence, payload: &payload, mtu });
        assert_eq!(made, packet, "{name}");
        let shared = PacketKey::from_shared(unhex_array(text(&case["shared_secret"])));
        let opened = open_copy(&shared, from, epochs_at(sequence.epoch).candidates(), &packet);
        assert_eq!(opened, Some((sequence, payload.clone())), "{name}");
        if name.ends_with("-max") {
            assert_eq!(payload.len(), header.ty().max_payload(mtu), "{name}");
        }
    }
}

#[test]
fn qotp_vectors_of_epochs() {
    let own = SecretKey::new(&private_key(&"initiator_ep".into()));
    let key = PacketKey::agree(&own, &public_key(&"responder_ep".into())).unwrap();
    for case in section("epoch_acceptance") {
        let (packet, from) = (bytes(&case["packet"]), role(&case["receiver"]).peer());
        let sequence = Sequence { epoch: number(&case["packet_epoch"]), number: number(&case["sn"]) };
        let mut epochs = epochs_at(number(&case["receiver_epoch"]));
        let opened = open_copy(&key, from, epochs.candidates(), &packet);
        assert_eq!(opened.is_some(), case["accepted"] == true, "{case}");
        if let Some((found, payload)) = opened {
            assert_eq!(found.number, sequence.number, "{case}");
            epochs.on_opened(found.epoch);
            assert_eq!(epochs, epochs_at(number(&case["receiver_epoch_after"])), "{case}");
            let header = Header::parse(&packet).unwrap();
            let parts = Parts { key: &key, from, sequence, payload: &payload, mtu: 1400 };
            assert_eq!(build(&header, &parts), packet, "{case}");
        }
    }
}

/// What the receiver of a negative case knows, judged by header, id, keys and tag alone.
fn accepts(state: &Value, packet: &[u8]) -> bool {
    let Ok(header) = Header::parse(packet) else { return false };
    if !header.ty().allows(packet.len(), len(&state["mtu"])) {
        return false;
    }
    let identity = SecretKey::new(&private_key(&state["own_id_key"]));
    let known =
        state["conn_exists"] == true && header.connection_id().as_bytes()[..] == bytes(&state["conn_id"]);
    let own = || SecretKey::new(&private_key(&state["own_ep_key"]));
    let (key, epochs) = match header {
        Header::InitSnd { ephemeral, .. } => return identity.agree(&ephemeral).is_some(),
        Header::InitCryptoSnd { ephemeral, .. } => {
            (PacketKey::agree(&identity, &ephemeral), Epochs::HANDSHAKE.to_vec())
        }
        Header::InitRcv { ephemeral, .. } | Header::InitCryptoRcv { ephemeral, .. } if known => {
            (PacketKey::agree(&own(), &ephemeral), Epochs::HANDSHAKE.to_vec())
        }
        Header::Data { .. } if known && state["secret_known"] == true => (
            PacketKey::agree(&own(), &public_key(&state["peer_ep_key"])),
            epochs_at(number(&state["epoch_rcv"])).candidates().collect(),
        ),
        _ => return false,
    };
    let from = match header {
        Header::InitRcv { .. } | Header::InitCryptoRcv { .. } => Role::Responder,
        Header::InitSnd { .. } | Header::InitCryptoSnd { .. } => Role::Initiator,
        Header::Data { .. } => role(&state["role"]).peer(),
    };
    key.and_then(|key| open_copy(&key, from, epochs, packet)).is_some()
}

#[test]
fn qotp_vectors_of_refused_packets() {
    for case in section("negative").iter().filter(|case| case["layer"] == "packet") {
        let accepted = accepts(&case["state"], &bytes(&case["input"]));
        assert_eq!(accepted, case["expect"] == "accept", "{}: {}", case["id"], case["why"]);
    }
}

/// The keys of a conversation: of the first packet in the flow with a known key, and of everything else.
fn conversation_keys(conversation: &Conversation) -> (PacketKey, PacketKey) {
    let own = SecretKey::new(&conversation.initiator.ephemeral);
    let responder = SecretKey::new(&conversation.responder.ephemeral);
    let responder_identity = SecretKey::new(&conversation.responder.identity);
    let first = PacketKey::agree(&own, responder_identity.public()).unwrap();
    (first, PacketKey::agree(&responder, own.public()).unwrap())
}

/// The header of a datagram of a conversation, made from its keys.
fn conversation_header(conversation: &Conversation, datagram: &Datagram) -> Header {
    let keys = match datagram.from {
        Role::Initiator => &conversation.initiator,
        Role::Responder => &conversation.responder,
    };
    let ephemeral = *SecretKey::new(&keys.ephemeral).public();
    let identity = *SecretKey::new(&keys.identity).public();
    let id = *SecretKey::new(&conversation.initiator.ephemeral).public().first_chunk().unwrap();
    let id = ConnectionId::from_bytes(id);
    match (Header::parse(&datagram.packet).unwrap().ty(), conversation.known) {
        (PacketType::InitSnd, false) => Header::InitSnd { ephemeral, identity },
        (PacketType::InitRcv, false) => Header::InitRcv { id, ephemeral, identity },
        (PacketType::InitCryptoSnd, true) => Header::InitCryptoSnd { ephemeral, identity },
        (PacketType::InitCryptoRcv, true) => Header::InitCryptoRcv { id, ephemeral },
        (PacketType::Data, _) => Header::Data { id },
        (other, known) => panic!("{other:?} where known = {known}"),
    }
}

#[test]
fn qotp_conversations_open_and_seal_again() {
    for conversation in conversations() {
        let (first, session) = conversation_keys(&conversation);
        let mut next = BTreeMap::from([(true, 0), (false, 0)]);
        for (n, datagram) in conversation.datagrams.iter().enumerate() {
            let what = format!("{} #{n}", conversation.name);
            let header = conversation_header(&conversation, datagram);
            assert_eq!(Header::parse(&datagram.packet), Ok(header), "{what}");
            // An InitSnd uses up a number as well.
            let next = next.get_mut(&(datagram.from == Role::Initiator)).unwrap();
            let sequence = Sequence::of(*next).unwrap();
            *next += 1;
            let Some(sealed) = &datagram.sealed else {
                assert_eq!(build_init(&header, conversation.mtu), datagram.packet, "{what}");
                continue;
            };
            assert_eq!(sealed.sequence, sequence, "{what}");

            let (key, epochs) = match header.ty() {
                PacketType::InitCryptoSnd => (&first, Epochs::HANDSHAKE.to_vec()),
                PacketType::Data => (&session, Epochs::default().candidates().collect()),
                _ => (&session, Epochs::HANDSHAKE.to_vec()),
            };
            let opened = open_copy(key, datagram.from, epochs, &datagram.packet);
            assert_eq!(opened, Some((sequence, sealed.payload.clone())), "{what}");
            let (from, mtu) = (datagram.from, conversation.mtu);
            let parts = Parts { key, from, sequence, payload: &sealed.payload, mtu };
            assert_eq!(build(&header, &parts), datagram.packet, "{what}");
        }
    }
}

/// Stream number to bytes, and the streams that came to their end.
#[derive(Default, PartialEq, Eq, Debug)]
struct Streams {
    bytes: BTreeMap<u32, Vec<u8>>,
    ended: BTreeSet<u32>,
}

/// What the applications wrote for `reader` and what was read there.
fn written_and_read(conversation: &Conversation, reader: Role) -> (Streams, Streams) {
    let (mut written, mut read) = (Streams::default(), Streams::default());
    for event in &conversation.events {
        let streams = if event.side == reader { &mut read } else { &mut written };
        match &event.action {
            AppAction::Write(data) if event.side != reader => {
                streams.bytes.entry(event.stream).or_default().extend(data);
            }
            AppAction::Read(data) if event.side == reader => {
                assert!(event.at >= conversation.one_way_latency);
                streams.bytes.entry(event.stream).or_default().extend(data);
            }
            AppAction::EndOfStream if event.side == reader => {
                streams.ended.insert(event.stream);
            }
            AppAction::RefusedWrite(data) => assert!(!data.is_empty()),
            _ => {}
        }
    }
    (written, read)
}

/// What the packets carried that `reader` got.
fn carried(conversation: &Conversation, reader: Role) -> Streams {
    let mut carried = Streams::default();
    let arrived = |datagram: &&Datagram| datagram.delivered && datagram.from != reader;
    for sealed in
        conversation.datagrams.iter().filter(arrived).filter_map(|datagram| datagram.sealed.as_ref())
    {
        let payload = Payload::decode(&sealed.payload).unwrap();
        let Some(part) = payload.stream else { continue };
        if payload.close {
            carried.ended.insert(part.stream);
        }
        if !part.data.is_empty() {
            let stream = carried.bytes.entry(part.stream).or_default();
            let start = usize::try_from(part.offset).unwrap();
            let end = start + part.data.len();
            stream.resize(stream.len().max(end), 0);
            stream[start..end].copy_from_slice(part.data);
        }
    }
    carried
}

#[test]
fn qotp_conversations_carry_what_was_written_and_read() {
    for conversation in conversations() {
        assert!(conversation.datagrams.is_sorted_by_key(|datagram| datagram.at));
        assert!(conversation.events.is_sorted_by_key(|event| event.at));
        for reader in [Role::Initiator, Role::Responder] {
            let (written, read) = written_and_read(&conversation, reader);
            let carried = carried(&conversation, reader);
            assert_eq!(written.bytes, carried.bytes, "{} {reader:?}", conversation.name);
            assert_eq!(carried.bytes, read.bytes, "{} {reader:?}", conversation.name);
            assert!(read.ended.is_subset(&carried.ended), "{} {reader:?}", conversation.name);
        }
    }
}

const LAST: Sequence = Sequence { epoch: Sequence::LAST_SENT_EPOCH, number: Sequence::MAX_NUMBER };

#[test]
fn a_qotp_sender_stops_before_a_nonce_comes_again() {
    let at = |epoch, number| Sequence { epoch, number };
    assert_eq!((Sequence::of(0), Sequence::of(1)), (Some(Sequence::FIRST), Some(at(0, 1))));
    assert_eq!(Sequence::of(Sequence::MAX_NUMBER), Some(at(0, Sequence::MAX_NUMBER)));
    assert_eq!(Sequence::of(1 << 48), Some(at(1, 0)));
    assert_eq!(Sequence::of((1 << 55) - 1), Some(LAST));
    assert_eq!((Sequence::of(1 << 55), Sequence::of(u64::MAX)), (None, None));
    // Why: 128 epochs on, the direction covers the only bit that differs.
    for from in [Role::Initiator, Role::Responder] {
        assert_eq!(at(0, 7).nonce(from), at(128, 7).nonce(from));
        assert_ne!(at(0, 7).nonce(from), at(127, 7).nonce(from));
    }
}

#[test]
fn qotp_numbers_beyond_the_wire_are_not_sealed() {
    let key = PacketKey::from_shared([1; 32]);
    for (epoch, number) in [(0, Sequence::MAX_NUMBER + 1), (Sequence::MAX_EPOCH + 1, 0), (u64::MAX, u64::MAX)]
    {
        let sealed = seal(&key, Role::Initiator, Sequence { epoch, number }, 9, &mut [0; 39]);
        assert_eq!(sealed, Err(AeadError));
    }
}

#[test]
fn qotp_epochs_move_up_only_and_stay_on_the_wire() {
    let candidates = |epochs: Epochs| epochs.candidates().collect::<Vec<_>>();
    let mut epochs = Epochs::default();
    assert_eq!(candidates(epochs), [0, 1]);
    epochs.on_opened(1);
    assert_eq!(candidates(epochs), [1, 0, 2]);
    epochs.on_opened(0);
    assert_eq!(candidates(epochs), [1, 0, 2]);
    epochs.on_opened(Sequence::MAX_EPOCH);
    assert_eq!(candidates(epochs), [Sequence::MAX_EPOCH, Sequence::MAX_EPOCH - 1]);
}

#[test]
fn a_qotp_key_shows_nothing_and_is_never_zero() {
    let key = PacketKey::from_shared([0xab; 32]);
    let shown = format!("{key:?}");
    assert!(!shown.contains("ab") && !shown.contains("171"), "{shown}");
    assert!(PacketKey::agree(&SecretKey::new(&[1; 32]), &[0; 32]).is_none());
}

/// A packet of the initiator's with `clear` bytes of header.
fn sealed(sequence: Sequence, clear: usize, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x5a; clear];
    packet.extend([0; NUMBER_LEN]);
    packet.extend(payload);
    packet.extend([0; TAG_LEN]);
    seal(&PacketKey::from_shared([7; 32]), Role::Initiator, sequence, clear, &mut packet).unwrap();
    packet
}

proptest! {
    #[test]
    fn qotp_packets_round_trip(
        secret: [u8; 32], epoch in 0..=Sequence::MAX_EPOCH, number in 0..=Sequence::MAX_NUMBER, clear in 0..80_usize,
        payload in prop::collection::vec(any::<u8>(), 8..1_500), from_initiator: bool,
    ) {
        let from = if from_initiator { Role::Initiator } else { Role::Responder };
        let (key, sequence) = (PacketKey::from_shared(secret), Sequence { epoch, number });
        let mut packet = vec![0x5a; clear];
        packet.extend([0; NUMBER_LEN]);
        packet.extend(&payload);
        packet.extend([0; TAG_LEN]);
        seal(&key, from, sequence, clear, &mut packet).unwrap();
        let epochs = epochs_at(epoch);
        prop_assert_eq!(open(&key, from.peer(), epochs.candidates(), clear, &mut packet.clone()), Err(AeadError));
        let (opened, range) = open(&key, from, epochs.candidates(), clear, &mut packet).unwrap();
        prop_assert_eq!(opened, sequence);
        prop_assert_eq!(&packet[range], &payload[..]);
        prop_assert!(packet[..clear].iter().all(|byte| *byte == 0x5a));
    }

    /// Two epochs that do not fit leave the ciphertext to the third. That it is the third of the expected ones says
    /// that the attempts are made in order.
    #[test]
    fn what_a_qotp_epoch_does_not_open_stays_as_it_was(
        number in 0..=Sequence::MAX_NUMBER, payload in prop::collection::vec(any::<u8>(), 8..1_500),
        flip in any::<prop::sample::Index>(),
    ) {
        let key = PacketKey::from_shared([7; 32]);
        let sequence = Sequence { epoch: 6, number };
        let packet = sealed(sequence, 9, &payload);
        let mut tried = packet.clone();
        prop_assert_eq!(open(&key, Role::Initiator, [5, 4], 9, &mut tried), Err(AeadError));
        prop_assert_eq!(&tried, &packet);
        let opened = open(&key, Role::Initiator, epochs_at(5).candidates(), 9, &mut tried);
        prop_assert_eq!(opened, Ok((sequence, 15..15 + payload.len())));
        prop_assert_eq!(&tried[15..15 + payload.len()], &payload[..]);

        let mut changed = packet;
        let at = flip.index(changed.len());
        changed[at] ^= 1;
        let mut tried = changed.clone();
        prop_assert_eq!(open(&key, Role::Initiator, [6, 5, 7], 9, &mut tried), Err(AeadError));
        prop_assert_eq!(tried, changed);
    }

    #[test]
    fn no_bytes_make_qotp_opening_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..120), clear in 0..150_usize, huge: bool,
    ) {
        let key = PacketKey::from_shared([7; 32]);
        let clear = if huge { usize::MAX - clear } else { clear };
        let before = bytes.clone();
        prop_assert_eq!(open(&key, Role::Responder, [0, u64::MAX], clear, &mut bytes), Err(AeadError));
        prop_assert_eq!(&bytes, &before);
        let short = before.len() < clear.saturating_add(NUMBER_LEN + MIN_PAYLOAD + TAG_LEN);
        let sealed = seal(&key, Role::Responder, LAST, clear, &mut bytes);
        prop_assert_eq!(sealed.is_err(), short);
    }
}
