mod qotp;

use std::string::{String, ToString};
use std::vec::Vec;

use super::*;
use crate::crypto::Suite;
use crate::{
    AeadPolicy, Arrival, Config, ConnectOptions, ConnectionHandle, Endpoint, ErrorCode, Event, Identity,
    Instant, NetworkChange, Peer, Secret, StreamId, TrainLimit, TransportAddr,
};

/// Two endpoints in memory, what they sent, and their key logs.
struct Talk {
    ends: [Endpoint; 2],
    now: Instant,
    dial: ConnectionHandle,
    sent: Vec<(Role, Vec<u8>)>,
    accepted: Option<ConnectionHandle>,
}

const ROLES: [Role; 2] = [Role::Initiator, Role::Responder];

fn address(end: usize) -> TransportAddr {
    TransportAddr::Ip([[192, 0, 2, 1], [192, 0, 2, 2]].map(|ip| (ip, 4433).into())[end])
}

fn config() -> Config {
    Config { key_log: true, alpns: std::vec![b"a\x1b".to_vec()], ..Config::default() }
}

impl Talk {
    /// A dial by the pattern IK if `known`, else IX.
    fn new(config: Config, known: bool) -> Self {
        Self::seeded(config, known, 1)
    }

    /// The same in QOTP.
    fn qotp(config: Config, known: bool) -> Self {
        let peer = |to: &Endpoint| {
            if known { Peer::QotpKey(*to.qotp_public_key()) } else { Peer::AnyKey }
        };
        Self::dial(config.accept_qotp(true), 1, peer, ConnectOptions::qotp(address(1)))
    }

    fn seeded(config: Config, known: bool, seed: u8) -> Self {
        let peer = |to: &Endpoint| if known { Peer::Key(*to.public_key()) } else { Peer::AnyKey };
        Self::dial(config, seed, peer, ConnectOptions::new(address(1), b"a\x1b"))
    }

    fn dial(config: Config, seed: u8, peer: impl Fn(&Endpoint) -> Peer, options: ConnectOptions) -> Self {
        let end = |byte| Endpoint::new(config.clone(), Identity::from_secret([byte; 32]), [seed; 32]);
        let mut ends = [end(1), end(2)];
        let dial = ends[0].connect(Instant::ZERO, peer(&ends[1]), options).unwrap();
        Self { ends, now: Instant::ZERO, dial, sent: Vec::new(), accepted: None }
    }

    /// Lets everything happen that happens within `millis` milliseconds.
    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now += crate::Duration::from_millis(1);
            while self.carry(0) | self.carry(1) {}
        }
    }

    fn carry(&mut self, from: usize) -> bool {
        let [initiator, responder] = &mut self.ends;
        let (from_end, to_end) = if from == 0 { (initiator, responder) } else { (responder, initiator) };
        from_end.handle_timeout(self.now);
        let mut train = Vec::new();
        let Some(transmit) = from_end.poll_transmit(self.now, TrainLimit::OFFLOAD, &mut train) else {
            return false;
        };
        for datagram in train.chunks_mut(transmit.segment_size) {
            self.sent.push((ROLES[from], datagram.to_vec()));
            to_end.handle_datagram(self.now, Arrival::from_remote(address(from)), datagram);
        }
        while let Some((handle, event)) = to_end.poll_event() {
            if event == Event::Incoming {
                self.accepted = Some(to_end.incoming(handle).unwrap().accept(self.now).unwrap());
            }
        }
        true
    }

    /// The dialler writes `text` to a new stream and finishes it.
    fn write(&mut self, text: &[u8]) -> StreamId {
        let mut connection = self.ends[0].connection(self.dial).unwrap();
        let stream = connection.open_bi().unwrap();
        assert_eq!(connection.write(stream, text), Ok(text.len()));
        connection.finish(stream).unwrap();
        stream
    }

    fn key_log(&mut self, end: usize) -> Vec<KeyLogEntry> {
        core::iter::from_fn(|| self.ends[end].poll_key_log()).collect()
    }

    /// What an inspector with the key log of `end` makes of everything that was sent.
    fn inspected(&mut self, end: usize) -> Vec<Inspected> {
        let mut inspector = Inspector::new(self.key_log(end));
        self.sent.iter().map(|(_, datagram)| inspector.read(datagram)).collect()
    }
}

fn opened(inspected: &Inspected) -> bool {
    matches!(inspected.payload, Payload::Frames(_))
}

#[test]
fn packets_to_later_path_ids_can_be_read_too() {
    let mut talk = Talk::new(config(), true);
    talk.write(b"before");
    talk.run(1500);
    let ids = |talk: &Talk| {
        let ids = talk.sent.iter().filter_map(|(_, datagram)| datagram.get(1..9).map(<[u8]>::to_vec));
        ids.collect::<std::collections::BTreeSet<_>>().len()
    };
    let before = ids(&talk);
    talk.ends[0].network_changed(talk.now, NetworkChange::Unspecified);
    talk.write(b"after");
    talk.run(50);
    assert_eq!(ids(&talk), before + 2);
    for inspected in talk.inspected(0) {
        assert!(opened(&inspected), "{inspected}");
    }
}

#[test]
fn a_whole_conversation_can_be_read_with_the_log_of_either_end() {
    for (known, aead, end) in [
        (true, AeadPolicy::ChaCha20, 0),
        (true, AeadPolicy::Aes, 1),
        (false, AeadPolicy::Aes, 0),
        (false, AeadPolicy::ChaCha20, 1),
    ] {
        let mut talk = Talk::new(Config { aead, ..config() }, known);
        talk.write(b"early or not");
        talk.run(50);
        talk.ends[0].connection(talk.dial).unwrap().close(ErrorCode::from(7), b"\x1b[2J done");
        talk.run(5);
        let all = talk.inspected(end);
        let mut next = [0; 2];
        for (inspected, (sender, _)) in all.iter().zip(&talk.sent) {
            assert!(opened(inspected), "{inspected}");
            assert_eq!(inspected.sender, Some(*sender), "{inspected}");
            assert_eq!(inspected.version, Some(WireVersion::Native));
            assert!(!inspected.to_string().chars().any(char::is_control), "{inspected:?}");
            if let Some(sequence) = inspected.sequence {
                let Sequence::Native { path, number, phase } = sequence else { panic!("{inspected}") };
                assert_eq!((path, phase), (PathId::ZERO, 0));
                let before = &mut next[usize::from(*sender == Role::Responder)];
                assert!(number.get() > *before, "{inspected}");
                *before = number.get();
            }
        }
        let text: String = all.iter().map(|inspected| inspected.to_string() + "\n").collect();
        let names = if known { ["InitKnown ", "InitKnownReply "] } else { ["Init ", "InitReply "] };
        for part in names.into_iter().chain([
            "HELLO(versions 16; suites ",
            "protocols \"a\\x1b\"",
            "; connection id ",
            "STREAM 0 offset 0 length 12 FIN",
            "ACK path 0 ",
            "PADDING",
            "CLOSE by application code 7 \"\\x1b[2J done\"",
        ]) {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        let claimed = alloc::format!("claims key {}, HELLO", talk.ends[0].public_key());
        assert_eq!(text.contains(&claimed), !known, "{text}");
    }
}

#[test]
fn both_ends_log_the_same() {
    for known in [true, false] {
        let mut talk = Talk::new(config(), known);
        talk.run(5);
        let mut logs = [0, 1].map(|end| talk.key_log(end));
        logs.iter_mut().for_each(|log| log.sort_by_key(ToString::to_string));
        assert_eq!(logs[0].len(), if known { 3 } else { 2 });
        assert_eq!(logs[0], logs[1]);
    }
}

#[test]
fn without_being_asked_an_endpoint_logs_nothing() {
    let mut talk = Talk::new(Config { key_log: false, ..config() }, true);
    talk.run(5);
    assert!(talk.accepted.is_some());
    assert_eq!((talk.key_log(0).len(), talk.key_log(1).len()), (0, 0));
}

#[test]
fn without_keys_the_headers_are_told() {
    let mut talk = Talk::new(config(), true);
    talk.write(b"secret");
    talk.run(50);
    let mut inspector = Inspector::default();
    for (sender, datagram) in &talk.sent {
        let inspected = inspector.read(datagram);
        assert_eq!(inspected.payload, Payload::NoKey);
        assert_eq!(inspected.id, peek_connection_id(datagram));
        match inspected.packet {
            Some("Data") => assert_eq!(inspected.sender, None),
            _ => assert_eq!(inspected.sender, Some(*sender)),
        }
        assert!(inspected.to_string().ends_with(": no key"));
    }
}

/// Another secret.
fn flipped(secret: &Secret) -> Secret {
    Secret::new(secret.map(|byte| byte ^ 1))
}

#[test]
fn the_wrong_secrets_are_noticed() {
    let mut talk = Talk::new(config(), true);
    talk.write(b"secret");
    talk.run(50);
    let wrong = talk.key_log(0).into_iter().map(|KeyLogEntry(mut entry)| {
        match &mut entry {
            Entry::Message { key, .. } => *key = flipped(key),
            Entry::Traffic { initiator_secret, responder_secret, .. } => {
                *initiator_secret = flipped(initiator_secret);
                *responder_secret = flipped(responder_secret);
            }
            Entry::Qotp { .. } => unreachable!(),
        }
        KeyLogEntry(entry)
    });
    let mut inspector = Inspector::new(wrong);
    for (_, datagram) in &talk.sent {
        let inspected = inspector.read(datagram);
        let Payload::Unopened(why) = &inspected.payload else { panic!("{inspected}") };
        assert!(why.contains("does not open"), "{why}");
        assert_eq!(inspected.sequence, None);
    }
}

/// A connection that changes its keys all the time, and what was sent on it.
fn many_phases() -> Talk {
    let mut talk = Talk::new(Config { rotate_keys_after: Some(1), ..config() }, true);
    for _ in 0..40 {
        talk.write(b"a stream");
        talk.run(100);
    }
    assert!(talk.ends[0].connection(talk.dial).unwrap().stats().key_updates > 10);
    talk
}

#[test]
fn key_phases_are_followed() {
    let mut talk = many_phases();
    let all = talk.inspected(0);
    assert!(all.iter().all(opened));
    for phase in 0..4 {
        let in_it = |inspected: &Inspected| matches!(inspected.sequence, Some(Sequence::Native { phase: found, .. }) if found == phase);
        assert!(all.iter().any(in_it));
    }
}

#[test]
fn a_capture_may_begin_late_and_have_gaps() {
    let mut talk = many_phases();
    let entries = talk.key_log(0);
    for (skip, step) in [(talk.sent.len() / 2, 1), (talk.sent.len() - 4, 1), (1, 37)] {
        let mut inspector = Inspector::new(entries.clone());
        for (_, datagram) in talk.sent.iter().skip(skip).step_by(step) {
            let inspected = inspector.read(datagram);
            assert!(opened(&inspected), "{inspected}");
        }
    }
    // Even backwards.
    let mut inspector = Inspector::new(entries);
    assert!(talk.sent.iter().rev().all(|(_, datagram)| opened(&inspector.read(datagram))));
}

#[test]
fn forged_packets_do_not_blind_it() {
    let mut talk = many_phases();
    let mut inspector = Inspector::new(talk.key_log(1));
    for (_, datagram) in &talk.sent {
        for _ in 0..3 {
            let mut forged = datagram.clone();
            *forged.last_mut().unwrap() ^= 1;
            assert!(!opened(&inspector.read(&forged)));
        }
        assert!(opened(&inspector.read(datagram)));
    }
}

#[test]
fn hostile_forged_packets_between_real_ones_do_not_buy_searches() {
    let mut talk = many_phases();
    let mut inspector = Inspector::new(talk.key_log(1));
    let (from, last) = talk.sent.last().unwrap();
    // After the handshake's messages, of an early phase.
    let (_, first) = talk.sent.iter().filter(|(sender, _)| sender == from).nth(3).unwrap();
    let mut forged = last.clone();
    *forged.last_mut().unwrap() ^= 1;
    for _ in 0..40 {
        assert!(opened(&inspector.read(first)));
        assert!((0..3).all(|_| !opened(&inspector.read(&forged))));
    }
    assert!(!opened(&inspector.read(last)), "it is phases away, and is looked for no more");
    assert!(opened(&inspector.read(first)), "what needs no search opens");
}

#[test]
fn any_bytes_make_one_line() {
    let mut talk = Talk::new(config(), true);
    talk.write(b"text");
    talk.run(20);
    let mut inspector = Inspector::new(talk.key_log(0));
    for (_, datagram) in &talk.sent {
        for end in 0..datagram.len() {
            let inspected = inspector.read(&datagram[..end]);
            assert!(!opened(&inspected), "{end} bytes: {inspected}");
        }
        for first in 0..=255 {
            let mut other = datagram.clone();
            other[0] = first;
            let line = inspector.read(&other).to_string();
            assert!(!line.contains('\n'));
        }
        for at in 0..datagram.len().min(100) {
            let mut other = datagram.clone();
            other[at] ^= 0xff;
            inspector.read(&other);
        }
    }
    assert_eq!(inspector.read(&[]).to_string(), "unknown ?>?: empty");
}

#[test]
fn entries_of_several_connections_are_kept_apart() {
    let mut one = Talk::new(config(), true);
    let mut two = Talk::seeded(Config { aead: AeadPolicy::Aes, ..config() }, false, 2);
    one.run(5);
    two.run(5);
    let entries = one.key_log(0).into_iter().chain(two.key_log(1));
    let mut inspector = Inspector::new(entries);
    let suite = |talk: &mut Talk| talk.ends[0].connection(talk.dial).unwrap().suite();
    assert_eq!((suite(&mut one), suite(&mut two)), (Some(Suite::ChaCha20Poly1305), Some(Suite::Aes256Gcm)));
    for (_, datagram) in one.sent.iter().zip(&two.sent).flat_map(|(a, b)| [a, b]) {
        assert!(opened(&inspector.read(datagram)));
    }
}
