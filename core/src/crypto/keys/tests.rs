use std::string::{String, ToString};
use std::vec::Vec;

use super::*;
use crate::crypto::identity::Identity;
use crate::crypto::packet::{self, HEADER_LEN, OVERHEAD, PAYLOAD_START};
use crate::hex::Hex;

const SUITES: [Suite; 2] = [Suite::ChaCha20Poly1305, Suite::Aes256Gcm];
/// Bytes as digits.
fn text(bytes: &[u8]) -> String {
    Hex(bytes).to_string()
}

const SMALL: KeyLimits = KeyLimits {
    rotate_after: 10,
    rotate_every: 60_000,
    seal: 20,
    least_phase: pace::LEAST_PHASE,
    failed_opens: 3,
};
const PTO: Duration = Duration::from_millis(100);

fn at(millis: u64) -> Timing {
    Timing { now: Instant::ZERO + Duration::from_millis(millis), pto: PTO }
}

fn path(id: u8) -> PathId {
    PathId::new(id).unwrap()
}

/// Both ends of one direction, and what the receiver's connection knows of its paths.
struct Link {
    sealer: Sealer,
    opener: Opener,
    next: [u64; 2],
    highest: [Option<PacketNumber>; 2],
}

impl Link {
    fn new(suite: Suite, limits: KeyLimits) -> Self {
        let chain = Secret::new([7; 32]);
        let (sealer, opener) =
            (Sealer::new(suite, &chain, limits, at(0).now), Opener::new(suite, &chain, limits));
        Self { sealer, opener, next: [1; 2], highest: [None; 2] }
    }

    /// Seals the next packet of path `id`.
    fn seal(&mut self, id: u8) -> Result<Vec<u8>, SealError> {
        let number = PacketNumber::new(self.next[usize::from(id)]);
        self.next[usize::from(id)] += 1;
        self.seal_as(id, number)
    }

    fn seal_as(&mut self, id: u8, number: PacketNumber) -> Result<Vec<u8>, SealError> {
        let mut packet = std::vec![0x42; OVERHEAD + 20];
        packet::seal(&mut self.sealer, path(id), number, &mut packet).map(|()| packet)
    }

    fn open(&mut self, packet: &[u8], timing: Timing) -> Result<PacketNumber, OpenError> {
        let mut packet = packet.to_vec();
        let field = packet::unmask(&self.opener, &packet).ok_or(OpenError::TooShort)?;
        let highest = self.highest.get_mut(usize::from(field.path.get())).ok_or(OpenError::NotAuthentic)?;
        let numbered = field.recover(*highest);
        let range = packet::open(&mut self.opener, &numbered, &mut packet, timing)?;
        *highest = (*highest).max(Some(numbered.number));
        assert_eq!(packet[range], [0x42; 20]);
        Ok(numbered.number)
    }

    /// Seals enough for a rotation at `millis`, has them acknowledged, and rotates.
    fn rotate(&mut self, millis: u64) {
        for _ in 0..10 {
            self.seal(0).unwrap();
        }
        self.sealer.on_acked(self.sealer.phase(), at(millis).now);
        assert!(self.sealer.rotate_if_due(at(millis)));
    }
}

/// The packet with one bit of its tag changed.
fn forged(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    *packet.last_mut().unwrap() ^= 1;
    packet
}

/// Golden values made by another implementation of HKDF and HMAC.
#[test]
fn the_schedule_is_the_documented_one() {
    let chain = Secret::new(core::array::from_fn(|i| i as u8));
    let expected = [
        (
            "cd9d6d059e5a92c3f89c08fbffe1644e3c9f37b7bd2093bc772ab2dec29a074e",
            "8aa34a91379303d1d4db42f6",
            "7e20359e358a4041cb9193d0e7cc46e068ab589d0b4841ed4c62b61a5d55774c",
            "144e7d1dabe07151539c5e6e",
        ),
        (
            "7d87ae37825d2f6e66b9fcd1ab399d5d2ddd68157046c3803032f6ed9c51e69b",
            "1b4c9cd23ee8b8823e50ba77",
            "6814865cccff9eddfab28e3c39c9a0534a1ffd64d4dacd14bb3ac2c178ecfed1",
            "0212b46eb76e0d81d887db22",
        ),
    ];
    for (suite, (key_0, iv_0, key_1, iv_1)) in SUITES.into_iter().zip(expected) {
        let first = Generation::derive(direction(suite, &chain).0);
        assert_eq!((text(&*first.key), text(&*first.iv)), (key_0.into(), iv_0.into()));
        let second = Generation::derive(first.successor);
        assert_eq!((text(&*second.key), text(&*second.iv)), (key_1.into(), iv_1.into()));
    }
}

fn finished() -> Finished {
    Finished {
        initiator: Secret::new([1; 32]),
        responder: Secret::new([2; 32]),
        exporter: Secret::new([9; 32]),
        hash: [8; 32],
        remote_static: *Identity::from_secret([3; 32]).public(),
    }
}

#[test]
fn exported_secrets_depend_on_label_and_context() {
    let exporter = Exporter::new(&finished());
    let expected = "68ae96ed7843970cc93d0f4cffb84dab444de051c110e1c77f6d7f7fa87c7b13";
    assert_eq!(text(&*exporter.export(b"label", b"context").unwrap()), expected);
    assert_ne!(exporter.export(b"labelc", b"ontext"), exporter.export(b"label", b"context"));
    assert!(exporter.export(&[b'x'; MAX_LABEL_LEN], b"").is_ok());
    assert_eq!(exporter.export(&[b'x'; MAX_LABEL_LEN + 1], b""), Err(LabelTooLong));
    assert_eq!(*exporter.handshake_hash(), [8; 32]);
}

#[test]
fn each_end_opens_what_the_other_seals_and_not_its_own() {
    for suite in SUITES {
        let limits = KeyLimits::of(suite);
        let (mut a, mut a_in) = data_keys(&finished(), Role::Initiator, suite, limits, Instant::ZERO);
        let (mut b, mut b_in) = data_keys(&finished(), Role::Responder, suite, limits, Instant::ZERO);
        let send = |sealer: &mut Sealer, opener: &mut Opener| {
            let mut packet = std::vec![1; OVERHEAD + 5];
            packet::seal(sealer, path(0), PacketNumber::new(1), &mut packet).unwrap();
            let numbered = packet::unmask(opener, &packet).unwrap().recover(None);
            packet::open(opener, &numbered, &mut packet, at(0)).is_ok()
        };
        assert!(send(&mut a, &mut b_in) && send(&mut b, &mut a_in));
        assert!(!send(&mut a, &mut a_in) && !send(&mut b, &mut b_in));
    }
}

#[test]
fn a_sender_rotates_when_it_must_and_may() {
    // Packets sealed, acknowledged, milliseconds since the phase began: rotate?
    let table = [
        (10, true, 300, true),
        (9, true, 300, false),
        (10, false, 300, false),
        (10, true, 299, false),
        // Half way to the limit the wait is given up, but not the acknowledgement.
        (14, true, 0, false),
        (15, true, 0, true),
        (20, false, 1_000_000, false),
        (20, true, 0, true),
    ];
    for (packets, acked, millis, expected) in table {
        let mut link = Link::new(Suite::ChaCha20Poly1305, SMALL);
        for _ in 0..packets {
            link.seal(0).unwrap();
        }
        if acked {
            link.sealer.on_acked(KeyPhase::of(0), at(0).now);
        }
        assert_eq!(link.sealer.rotate_if_due(at(millis)), expected, "{packets} {acked} {millis}");
        assert_eq!(link.sealer.rotations(), u64::from(expected));
        assert!(!link.sealer.rotate_if_due(at(millis)), "once is enough");
    }
}

#[test]
fn a_sender_rotates_after_an_hour_with_traffic() {
    let limits = KeyLimits::of(Suite::ChaCha20Poly1305);
    let hour = 3_600_000;
    let mut link = Link::new(Suite::ChaCha20Poly1305, limits);
    assert!(!link.sealer.rotate_if_due(at(2 * hour)), "nothing was sent");
    link.seal(0).unwrap();
    assert!(!link.sealer.rotate_if_due(at(2 * hour)), "the peer may not be there any more");
    link.sealer.on_acked(KeyPhase::of(0), at(1).now);
    assert!(!link.sealer.rotate_if_due(at(hour - 1)));
    assert!(link.sealer.rotate_if_due(at(hour)));
    assert!(!link.sealer.rotate_if_due(at(3 * hour)));
    // A second is the least that can be set, and three probe timeouts in any case.
    let mut link = Link::new(Suite::ChaCha20Poly1305, limits.rotate_every(Duration::ZERO));
    link.seal(0).unwrap();
    link.sealer.on_acked(KeyPhase::of(0), at(1).now);
    assert!(!link.sealer.rotate_if_due(Timing { pto: Duration::from_secs(1), ..at(2_999) }));
    assert!(!link.sealer.rotate_if_due(at(999)));
    assert!(link.sealer.rotate_if_due(at(1_000)));
    assert_eq!(limits.rotate_every(Duration::MAX), limits);
}

/// Eight phases at once, and one more for each 3 ms.
#[test]
fn a_receiver_does_not_follow_a_sender_that_hurries() {
    let mut link = Link::new(Suite::ChaCha20Poly1305, SMALL);
    let mut followed = |millis: u64, phases: u64| {
        let before = link.opener.rotations();
        for round in 0..phases {
            // Its own clock is not ours.
            link.rotate((before + round + 1) * 1_000);
            let packet = link.seal(0).unwrap();
            if link.open(&packet, at(millis)).is_err() {
                // The next attempt begins where this one ended.
                link.sealer = Sealer::new(Suite::ChaCha20Poly1305, &Secret::new([7; 32]), SMALL, at(0).now);
                (1..=before + round).for_each(|phase| link.rotate(phase * 1_000));
                break;
            }
        }
        link.opener.rotations() - before
    };
    assert_eq!(followed(0, 20), 8);
    assert_eq!(followed(2, 20), 0);
    assert_eq!(followed(3, 20), 1);
    assert_eq!(followed(1_000, 20), 8);
    assert_eq!(link.opener.failed(), 0, "nothing was tried in vain");
}

#[test]
fn acks_of_other_phases_do_not_count() {
    let mut link = Link::new(Suite::Aes256Gcm, SMALL);
    link.rotate(1_000);
    for _ in 0..10 {
        link.seal(0).unwrap();
    }
    link.sealer.on_acked(KeyPhase::of(0), at(1_000).now);
    link.sealer.on_acked(KeyPhase::of(2), at(1_000).now);
    assert!(!link.sealer.rotate_if_due(at(5_000)));
    link.sealer.on_acked(KeyPhase::of(1), at(1_000).now);
    assert!(link.sealer.rotate_if_due(at(5_000)));
}

/// A path that answers late: its packet has the same phase as those of now, and none of them has arrived.
#[test]
fn acks_of_four_generations_ago_do_not_count() {
    let mut link = Link::new(Suite::Aes256Gcm, SMALL);
    (1..=4).for_each(|generation| link.rotate(generation * 1_000));
    for _ in 0..10 {
        link.seal(0).unwrap();
    }
    link.sealer.on_acked(KeyPhase::of(0), at(500).now);
    assert!(!link.sealer.rotate_if_due(at(9_000)));
    link.sealer.on_acked(KeyPhase::of(0), at(4_000).now);
    assert!(link.sealer.rotate_if_due(at(9_000)));
}

#[test]
fn no_key_seals_beyond_its_limit() {
    let mut link = Link::new(Suite::Aes256Gcm, SMALL);
    // Over all paths together.
    assert!((0..20).all(|i| link.seal(i % 2).is_ok()));
    assert_eq!(link.seal(0), Err(SealError::LimitReached));
    assert_eq!(link.seal(1), Err(SealError::LimitReached));
    link.sealer.on_acked(KeyPhase::of(0), at(0).now);
    assert!(link.sealer.rotate_if_due(at(1)));
    assert!(link.seal(0).is_ok());
}

#[test]
fn limits_are_those_of_the_suites_and_can_only_be_lowered() {
    let aes = KeyLimits::of(Suite::Aes256Gcm);
    assert_eq!((aes.rotate_after, aes.seal, aes.failed_opens), (1 << 22, 1 << 23, 1 << 36));
    assert_eq!(KeyLimits::of(Suite::ChaCha20Poly1305).rotate_after, 1 << 32);
    assert_eq!(aes.rotate_after(100).rotate_after, 100);
    assert_eq!(aes.rotate_after(0), aes);
    assert_eq!(aes.rotate_after(u64::MAX), aes);
}

#[test]
fn a_receiver_follows_through_all_phases() {
    for suite in SUITES {
        let mut link = Link::new(suite, SMALL);
        for round in 0..9_u64 {
            for id in [0, 1, 1, 0] {
                let packet = link.seal(id).unwrap();
                assert!(link.open(&packet, at(round * 1_000)).is_ok(), "{suite:?} {round} {id}");
            }
            assert_eq!(link.opener.rotations(), round);
            link.rotate(round * 1_000 + 500);
        }
    }
}

#[test]
fn reordered_packets_open_until_the_previous_keys_go() {
    for suite in SUITES {
        let mut link = Link::new(suite, SMALL);
        let late: Vec<_> = (0..4).map(|_| link.seal(0).unwrap()).collect();
        link.rotate(1_000);
        let first = link.seal(0).unwrap();
        assert_eq!(link.open(&late[0], at(1_000)), Ok(PacketNumber::new(1)));
        assert_eq!(link.opener.previous_expires(), None);
        assert!(link.open(&first, at(1_000)).is_ok());
        assert_eq!(link.opener.previous_expires(), Some(at(1_300).now));
        assert_eq!(link.open(&late[1], at(1_299)), Ok(PacketNumber::new(2)));
        assert_eq!(link.open(&late[2], at(1_300)), Err(OpenError::UnknownPhase));
        assert_eq!(link.opener.previous_expires(), None);
        assert_eq!(link.opener.failed(), 0, "no attempt was made");
    }
}

#[test]
fn only_an_authentic_packet_moves_the_receiver() {
    let mut link = Link::new(Suite::Aes256Gcm, SMALL);
    let old = link.seal(0).unwrap();
    link.rotate(1_000);
    let next = link.seal(0).unwrap();
    assert_eq!(link.open(&forged(&next), at(1_000)), Err(OpenError::NotAuthentic));
    assert_eq!((link.opener.rotations(), link.opener.failed()), (0, 1));
    assert!(link.open(&old, at(1_000)).is_ok() && link.open(&next, at(1_000)).is_ok());
    assert_eq!(link.opener.rotations(), 1);
}

#[test]
fn phases_beyond_next_and_before_the_first_are_unknown() {
    let mut link = Link::new(Suite::ChaCha20Poly1305, SMALL);
    link.rotate(1_000);
    link.rotate(2_000);
    let two_ahead = link.seal(0).unwrap();
    assert_eq!(link.open(&two_ahead, at(2_000)), Err(OpenError::UnknownPhase));
    link.rotate(3_000);
    let one_behind = link.seal(0).unwrap();
    assert_eq!(link.open(&one_behind, at(3_000)), Err(OpenError::UnknownPhase));
}

/// Packets of phase 0 and 1 on path 0 with chosen numbers, opened in the given order: the last one must be refused.
fn phase_order(sent: [(u64, u64); 3], last: Result<(), OpenError>) {
    let mut link = Link::new(Suite::ChaCha20Poly1305, SMALL);
    let mut old: Vec<_> = sent.into_iter().filter(|(phase, _)| *phase == 0).collect();
    let mut packets = std::collections::BTreeMap::new();
    for (phase, number) in old.drain(..) {
        packets.insert((phase, number), link.seal_as(0, PacketNumber::new(number)).unwrap());
    }
    link.rotate(1_000);
    for (phase, number) in sent.into_iter().filter(|(phase, _)| *phase == 1) {
        packets.insert((phase, number), link.seal_as(0, PacketNumber::new(number)).unwrap());
    }
    for key in &sent[..2] {
        assert!(link.open(&packets[key], at(1_000)).is_ok(), "{sent:?} {key:?}");
    }
    assert_eq!(link.open(&packets[&sent[2]], at(1_000)).map(|_| ()), last, "{sent:?}");
}

#[test]
fn an_old_phase_packet_above_a_newer_one_is_fatal() {
    let fatal = Err(OpenError::PhaseOrder);
    phase_order([(0, 10), (1, 20), (0, 15)], Ok(()));
    phase_order([(0, 10), (1, 20), (0, 21)], fatal);
    phase_order([(1, 20), (1, 18), (0, 19)], fatal);
    phase_order([(1, 20), (1, 18), (0, 17)], Ok(()));
    // The newer one comes later: the same fault.
    phase_order([(0, 10), (0, 30), (1, 20)], fatal);
    phase_order([(1, 20), (0, 15), (1, 14)], fatal);
    phase_order([(1, 20), (0, 15), (1, 16)], Ok(()));
}

#[test]
fn phase_order_is_a_matter_of_each_path() {
    let mut link = Link::new(Suite::ChaCha20Poly1305, SMALL);
    let high = link.seal_as(1, PacketNumber::new(1_000)).unwrap();
    let later = link.seal_as(1, PacketNumber::new(1_001)).unwrap();
    link.rotate(1_000);
    let low = link.seal_as(0, PacketNumber::new(500)).unwrap();
    let wrong = link.seal_as(1, PacketNumber::new(1_000)).unwrap();
    for packet in [&high, &low, &later] {
        assert!(link.open(packet, at(1_000)).is_ok());
    }
    assert_eq!(link.open(&wrong, at(1_000)), Err(OpenError::PhaseOrder));
}

#[test]
fn too_many_failed_opens_end_it() {
    let mut link = Link::new(Suite::ChaCha20Poly1305, SMALL);
    let good = link.seal(0).unwrap();
    assert_eq!(link.open(&forged(&good), at(0)), Err(OpenError::NotAuthentic));
    assert_eq!(link.open(&forged(&good), at(0)), Err(OpenError::NotAuthentic));
    assert!(link.open(&good, at(0)).is_ok());
    assert_eq!(link.open(&forged(&good), at(0)), Err(OpenError::IntegrityLimit));
    assert_eq!(link.open(&good, at(0)), Err(OpenError::IntegrityLimit));
}

#[test]
fn the_header_stays_and_is_authentic() {
    let mut link = Link::new(Suite::Aes256Gcm, SMALL);
    let packet = link.seal(0).unwrap();
    assert_eq!(packet[..HEADER_LEN], [0x42; HEADER_LEN]);
    assert_ne!(packet[HEADER_LEN..PAYLOAD_START], [0x42; 5]);
}

/// An idle connection has no previous generation. What the two boxes of each AES direction hold is counted too.
#[cfg(not(feature = "fast"))]
#[test]
fn the_keys_of_an_idle_connection_take_less_than_2_kib() {
    let boxed = 2 * (400 + 256);
    let total = size_of::<Sealer>() + size_of::<Opener>() + size_of::<Exporter>() + boxed;
    assert!(total < 2_048, "{total}");
}
