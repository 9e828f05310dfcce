//! The same for QOTP's wire.

use std::string::{String, ToString};
use std::vec::Vec;

use super::{Talk, config, flipped, opened};
use crate::crypto::backend::SecretKey;
use crate::crypto::qotp::packet::PacketKey;
use crate::crypto::qotp::vectors::{Conversation, conversations};
use crate::id::{ConnectionId, Role, WireVersion};
use crate::inspect::{Inspected, Inspector, Payload, Sequence};
use crate::key_log::{Entry, KeyLogEntry, QotpPackets};
use crate::wire::qotp::payload::Payload as Sealed;
use crate::{Config, ErrorCode};

#[test]
fn a_whole_qotp_conversation_can_be_read_with_the_log_of_either_end() {
    for (known, end) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let mut talk = Talk::qotp(config(), known);
        talk.write(&[7; 5_000]);
        talk.run(300);
        let all = talk.inspected(end);
        let mut numbers = Vec::new();
        for (inspected, (sender, _)) in all.iter().zip(&talk.sent) {
            assert!(opened(inspected), "{inspected}");
            assert_eq!(inspected.sender, Some(*sender), "{inspected}");
            assert_eq!(inspected.version, Some(WireVersion::Qotp));
            match inspected.sequence {
                Some(Sequence::Qotp { epoch: 0, number }) => numbers.push((*sender, number)),
                other => assert!(other.is_none() && inspected.packet == Some("InitSnd"), "{inspected}"),
            }
        }
        let text: String = all.iter().map(|inspected| inspected.to_string() + "\n").collect();
        let names = if known { ["InitCryptoSnd ", "InitCryptoRcv "] } else { ["InitSnd ", "InitRcv "] };
        let key = talk.ends[0].qotp_public_key().to_string();
        for part in names.into_iter().chain([
            "qotp I>R ",
            "claims key ",
            key.as_str(),
            "STREAM 0 offset 0 length ",
            " CLOSE",
            "ACK stream 0 offset ",
            " window ",
            " epoch 0 #1",
        ]) {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        // No number comes twice in a direction.
        let count = numbers.len();
        numbers.sort_by_key(|(sender, number)| (*sender == Role::Initiator, *number));
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }
}

#[test]
fn both_ends_of_a_qotp_connection_log_the_same() {
    for (known, count) in [(true, 2), (false, 1)] {
        let mut talk = Talk::qotp(config(), known);
        talk.write(b"text");
        talk.run(100);
        talk.ends[0].connection(talk.dial).unwrap().close(ErrorCode::from(7), b"");
        let mut logs = [0, 1].map(|end| talk.key_log(end));
        logs.iter_mut().for_each(|log| log.sort_by_key(ToString::to_string));
        assert_eq!(logs[0].len(), count);
        assert_eq!(logs[0], logs[1]);
    }
}

#[test]
fn qotp_connections_are_not_logged_unless_asked() {
    let mut talk = Talk::qotp(Config { key_log: false, ..config() }, true);
    talk.write(b"text");
    talk.run(100);
    assert!(talk.accepted.is_some());
    assert_eq!((talk.key_log(0).len(), talk.key_log(1).len()), (0, 0));
}

#[test]
fn without_keys_or_with_wrong_ones_the_headers_of_qotp_are_told() {
    for known in [true, false] {
        let mut talk = Talk::qotp(config(), known);
        talk.write(b"secret");
        talk.run(100);
        let wrong = talk.key_log(0).into_iter().map(|KeyLogEntry(mut entry)| {
            if let Entry::Qotp { secret, .. } = &mut entry {
                *secret = flipped(secret);
            }
            KeyLogEntry(entry)
        });
        let (mut none, mut wrong) = (Inspector::default(), Inspector::new(wrong));
        for (_, datagram) in &talk.sent {
            let [none, wrong] = [none.read(datagram), wrong.read(datagram)];
            let head = |inspected: &Inspected| (inspected.packet, inspected.id, inspected.sequence);
            assert_eq!(head(&none), head(&wrong));
            assert_eq!(none.sequence, None);
            if none.packet == Some("InitSnd") {
                assert!(opened(&none) && none == wrong);
            } else {
                assert_eq!(none.payload, Payload::NoKey);
                assert_eq!(wrong.payload, Payload::Unopened("the packet does not open".into()));
            }
        }
    }
}

#[test]
fn any_bytes_make_one_line_in_qotp() {
    let mut talk = Talk::qotp(config(), true);
    talk.write(b"text");
    talk.run(100);
    let mut inspector = Inspector::new(talk.key_log(0));
    for (_, datagram) in &talk.sent {
        for end in 0..datagram.len() {
            assert!(!opened(&inspector.read(&datagram[..end])));
        }
        for at in 0..datagram.len().min(100) {
            let mut other = datagram.clone();
            other[at] ^= 0xff;
            let inspected = inspector.read(&other);
            assert!(!inspected.to_string().contains('\n'));
        }
    }
}

/// The entries that a conversation of the reference implementation would have.
fn entries(conversation: &Conversation) -> Vec<KeyLogEntry> {
    let own = SecretKey::new(&conversation.initiator.ephemeral);
    let id = ConnectionId(own.public().first_chunk().copied().unwrap());
    let [identity, ephemeral] =
        [conversation.responder.identity, conversation.responder.ephemeral].map(|key| SecretKey::new(&key));
    [(QotpPackets::Init, identity), (QotpPackets::Rest, ephemeral)]
        .into_iter()
        .map(|(opens, theirs)| {
            let key = PacketKey::agree(&own, theirs.public()).unwrap();
            KeyLogEntry(Entry::Qotp { id, opens, secret: key.secret().clone() })
        })
        .collect()
}

#[test]
fn recorded_qotp_conversations_can_be_read() {
    let mut sealed = 0;
    for conversation in conversations() {
        let mut inspector = Inspector::new(entries(&conversation));
        for datagram in &conversation.datagrams {
            let inspected = inspector.read(&datagram.packet);
            let Payload::Frames(text) = &inspected.payload else {
                panic!("{}: {inspected}", conversation.name)
            };
            assert_eq!(inspected.sender, Some(datagram.from), "{inspected}");
            let Some(wanted) = &datagram.sealed else {
                assert_eq!((inspected.packet, inspected.sequence), (Some("InitSnd"), None));
                continue;
            };
            sealed += 1;
            let (epoch, number) = (wanted.sequence.epoch, wanted.sequence.number);
            assert_eq!(inspected.sequence, Some(Sequence::Qotp { epoch, number }));
            let payload = Sealed::decode(&wanted.payload).unwrap();
            assert_eq!(text.contains("ACK stream"), payload.ack.is_some(), "{text}");
            assert_eq!(text.contains(" CLOSE"), payload.close, "{text}");
            if let Some(part) = payload.stream {
                let len = part.data.len();
                let text_of_it = alloc::format!(" {} offset {} length {len}", part.stream, part.offset);
                assert!(text.contains(&text_of_it), "{text}");
            }
        }
    }
    assert!(sealed > 50, "{sealed}");
}
