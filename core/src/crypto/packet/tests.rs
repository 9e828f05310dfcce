use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::crypto::Secret;
use crate::crypto::identity::Identity;
use crate::crypto::keys::{KeyLimits, data_keys};
use crate::crypto::noise::Finished;
use crate::crypto::suite::Suite;
use crate::crypto::testing::unhex;
use crate::{Duration, Instant, Role};

const SUITES: [Suite; 2] = [Suite::ChaCha20Poly1305, Suite::Aes256Gcm];
const TIMING: Timing = Timing { now: Instant::ZERO, pto: Duration::from_secs(1) };
const HEADER: &[u8; HEADER_LEN] = b"\x90ABCDEFGH";
const NUMBER: PacketNumber = PacketNumber::new(0x12_3456_789a);

/// The two ends of the direction with the chaining key 00 01 02 … 1f.
fn ends(suite: Suite) -> (Sealer, Opener) {
    let finished = || Finished {
        initiator: Secret::new(core::array::from_fn(|i| i as u8)),
        responder: Secret::new([2; 32]),
        exporter: Secret::new([3; 32]),
        hash: [4; 32],
        remote_static: *Identity::from_secret([5; 32]).public(),
    };
    let limits = KeyLimits::of(suite).rotate_after(1);
    let (sealer, _) = data_keys(&finished(), Role::Initiator, suite, limits, Instant::ZERO);
    let (_, opener) = data_keys(&finished(), Role::Responder, suite, limits, Instant::ZERO);
    (sealer, opener)
}

fn sealed(sealer: &mut Sealer, path: u8, number: PacketNumber, payload: &[u8]) -> Vec<u8> {
    let mut packet = HEADER.to_vec();
    packet.extend([0; SEQUENCE_LEN]);
    packet.extend(payload);
    packet.extend([0; TAG_LEN]);
    seal(sealer, PathId::new(path).unwrap(), number, &mut packet).unwrap();
    packet
}

/// `packet` opened by a receiver that has seen `highest`: what it says and holds.
fn opened(opener: &mut Opener, packet: &[u8], highest: u64) -> Result<(Numbered, Vec<u8>), OpenError> {
    let mut packet = packet.to_vec();
    let field = unmask(opener, &packet).ok_or(OpenError::TooShort)?;
    let numbered = field.recover(Some(PacketNumber::new(highest)));
    let range = open(opener, &numbered, &mut packet, TIMING)?;
    Ok((numbered, packet[range].to_vec()))
}

/// Packets of two key phases, made by another implementation.
#[test]
fn golden_packets() {
    let golden = [
        [
            "904142434445464748ea89d027ac07b3c77d2c9dc3e1b9a162e31d1491336d506d23b06e08a8",
            "904142434445464748fe4453e65162699529878a654f68e425bc5ba29f4f2ed4bb22eb202bea",
        ],
        [
            "904142434445464748775e644f1956da645641de86fad7c215112913ddd4fd62167c0b6067c3",
            "9041424344454647480e4c432de8bfe8b53f3a21f38390740980436f2563bc7c575d16aaf9dc",
        ],
    ];
    for (suite, packets) in SUITES.into_iter().zip(golden) {
        let (mut sealer, mut opener) = ends(suite);
        for packet in packets {
            let packet = unhex(packet);
            assert_eq!(sealed(&mut sealer, 5, NUMBER, b"\x01payload"), packet);
            let (numbered, payload) = opened(&mut opener, &packet, NUMBER.get() - 1).unwrap();
            assert_eq!((numbered.number, numbered.path.get()), (NUMBER, 5));
            assert_eq!(payload, b"\x01payload");
            sealer.on_acked(sealer.phase(), TIMING.now);
            assert!(sealer.rotate_if_due(Timing { pto: Duration::ZERO, ..TIMING }));
        }
    }
}

#[test]
fn every_bit_is_authentic() {
    for suite in SUITES {
        let (mut sealer, mut opener) = ends(suite);
        let packet = sealed(&mut sealer, 5, NUMBER, &[7; 40]);
        for bit in 0..packet.len() * 8 {
            let mut bad = packet.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(opened(&mut opener, &bad, NUMBER.get()).is_err(), "{suite:?} bit {bit}");
        }
        for len in 0..packet.len() {
            assert!(opened(&mut opener, &packet[..len], NUMBER.get()).is_err(), "{suite:?} {len} bytes");
        }
        assert!(opened(&mut opener, &packet, NUMBER.get()).is_ok());
    }
}

/// The number's high half and the path are in the nonce, not on the wire or in the clear.
#[test]
fn the_full_number_and_the_path_are_authentic() {
    for suite in SUITES {
        let (mut sealer, mut opener) = ends(suite);
        let packet = sealed(&mut sealer, 5, NUMBER, &[7; 40]);
        let wrong = opened(&mut opener, &packet, NUMBER.get() + (1 << 32));
        assert_eq!(wrong.unwrap_err(), OpenError::NotAuthentic);
        let mut numbered = unmask(&opener, &packet).unwrap().recover(Some(NUMBER));
        numbered.path = PathId::ZERO;
        let wrong = open(&mut opener, &numbered, &mut packet.clone(), TIMING);
        assert_eq!(wrong, Err(OpenError::NotAuthentic));
    }
}

#[test]
fn the_same_payload_never_looks_the_same() {
    let (mut sealer, _) = ends(Suite::ChaCha20Poly1305);
    let packets = [(0, 1), (0, 2), (1, 1), (0, 1 << 32 | 1)]
        .map(|(path, number)| sealed(&mut sealer, path, PacketNumber::new(number), &[0; 20]));
    for (i, a) in packets.iter().enumerate() {
        assert!(packets[i + 1..].iter().all(|b| a[PAYLOAD_START..] != b[PAYLOAD_START..]));
    }
}

#[test]
fn the_shortest_packet_has_31_bytes() {
    let (mut sealer, mut opener) = ends(Suite::Aes256Gcm);
    let packet = sealed(&mut sealer, 0, PacketNumber::new(1), b"\x01");
    assert_eq!((packet.len(), MIN_DATA_LEN), (31, 31));
    assert!(opened(&mut opener, &packet, 0).is_ok());
    for len in 0..MIN_DATA_LEN {
        let mut short = std::vec![0x90; len];
        assert_eq!(
            seal(&mut sealer, PathId::ZERO, PacketNumber::new(2), &mut short),
            Err(SealError::TooShort)
        );
        assert_eq!(unmask(&opener, &short), None);
        let numbered = SequenceField::from_bytes([0; 5]).recover(None);
        assert_eq!(open(&mut opener, &numbered, &mut short, TIMING), Err(OpenError::TooShort));
    }
}

#[test]
fn a_failed_open_leaves_what_is_needed_to_know_a_stateless_reset() {
    for suite in SUITES {
        let (_, mut opener) = ends(suite);
        let mut packet: Vec<u8> = (0..64).collect();
        let numbered = Numbered { phase: KeyPhase::of(0), ..unmask(&opener, &packet).unwrap().recover(None) };
        assert_eq!(open(&mut opener, &numbered, &mut packet, TIMING), Err(OpenError::NotAuthentic));
        assert!(packet[..PAYLOAD_START].iter().copied().eq(0..14) && packet[48..].iter().copied().eq(48..64));
    }
}

#[test]
fn numbers_are_recovered_around_the_highest() {
    let number = |low, highest: Option<u64>| {
        let field = SequenceField { phase: KeyPhase::of(0), path: PathId::ZERO, low };
        field.recover(highest.map(PacketNumber::new)).number.get()
    };
    // Low bits, highest so far, full number.
    let table = [
        (0, None, 0),
        (5, None, 5),
        (0x7fff_ffff, None, 0x7fff_ffff),
        // Nothing lies below zero.
        (0xffff_ffff, None, 0xffff_ffff),
        (0, Some(0xffff_ffff), 1 << 32),
        (0xffff_ffff, Some(1 << 32), 0xffff_ffff),
        (0, Some(0x7fff_fffe), 0),
        (0, Some(0x7fff_ffff), 1 << 32),
        (0x789a_bcde, Some(0x12_789a_0000), 0x12_789a_bcde),
        // Nothing lies beyond 64 bits.
        (0, Some(u64::MAX), !0xffff_ffff),
        (u32::MAX, Some(u64::MAX - 1), u64::MAX),
    ];
    for (low, highest, full) in table {
        assert_eq!(number(low, highest), full, "{low:#x} after {highest:x?}");
    }
}

proptest! {
    /// Every number from 2^31 below the expected one to 2^31 - 1 above it comes back.
    #[test]
    fn numbers_within_reach_are_recovered(highest in 0..u64::MAX - (1 << 33), offset in -(1_i64 << 31)..1 << 31) {
        let sent = (highest + 1).saturating_add_signed(offset);
        let field = SequenceField { phase: KeyPhase::of(3), path: PathId::MAX, low: sent as u32 };
        prop_assert_eq!(field.recover(Some(PacketNumber::new(highest))).number.get(), sent);
    }

    #[test]
    fn recovery_is_total_and_keeps_the_low_bits(highest: Option<u64>, low: u32) {
        let field = SequenceField { phase: KeyPhase::of(0), path: PathId::ZERO, low };
        prop_assert_eq!(field.recover(highest.map(PacketNumber::new)).number.get() as u32, low);
    }

    #[test]
    fn sequence_fields_go_both_ways(bytes: [u8; SEQUENCE_LEN]) {
        prop_assert_eq!(SequenceField::from_bytes(bytes).to_bytes(), bytes);
    }

    #[test]
    fn what_is_sealed_opens(path in 0..64_u8, number in 0..1_u64 << 62, payload in prop::collection::vec(any::<u8>(), 1..1_400)) {
        for suite in SUITES {
            let (mut sealer, mut opener) = ends(suite);
            let packet = sealed(&mut sealer, path, PacketNumber::new(number), &payload);
            let (numbered, text) = opened(&mut opener, &packet, number.saturating_sub(1)).unwrap();
            prop_assert_eq!((numbered.path.get(), numbered.number.get()), (path, number));
            prop_assert_eq!(&text, &payload);
        }
    }

    /// Whatever arrives, nothing panics and nothing opens.
    #[test]
    fn garbage_is_dropped(packet in prop::collection::vec(any::<u8>(), 0..100), highest: u64) {
        for suite in SUITES {
            prop_assert!(opened(&mut ends(suite).1, &packet, highest).is_err());
        }
    }
}
