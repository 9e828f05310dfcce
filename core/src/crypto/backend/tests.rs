use std::vec::Vec;

use super::*;
use crate::crypto::suite::{Suite, TAG_LEN};
use crate::crypto::testing::{unhex, unhex_array};

const SUITES: [Suite; 2] = [Suite::ChaCha20Poly1305, Suite::Aes256Gcm];

/// Seals `text`, which must give `expected`, and opens it again.
fn check_aead(suite: Suite, key: &str, nonce: &str, aad: &str, text: &[u8], expected: &str) {
    let (key, nonce, aad) = (AeadKey::new(suite, &unhex_array(key)), unhex_array(nonce), unhex(aad));
    let mut buffer = Vec::from(text);
    buffer.extend([0; TAG_LEN]);
    key.seal(&nonce, &aad, &mut buffer).unwrap();
    assert_eq!(buffer, unhex(expected));
    assert_eq!(key.open(&nonce, &aad, &mut buffer), Ok(text.len()));
    assert_eq!(&buffer[..text.len()], text);
}

#[test]
fn chacha20_poly1305_of_rfc_8439_section_2_8_2() {
    check_aead(
        Suite::ChaCha20Poly1305,
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        "070000004041424344454647",
        "50515253c0c1c2c3c4c5c6c7",
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
          sunscreen would be it.",
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de\
         0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7\
         a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691",
    );
}

/// McGrew and Viega, "The Galois/Counter Mode of Operation", test case 14.
#[test]
fn aes_256_gcm_of_its_specification() {
    check_aead(
        Suite::Aes256Gcm,
        &"0".repeat(64),
        &"0".repeat(24),
        "",
        &[0; 16],
        "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
    );
}

#[test]
fn chacha20_mask_of_rfc_9001_appendix_a_5() {
    let key = unhex_array("25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4");
    let mask = MaskKey::new(Suite::ChaCha20Poly1305, &key);
    let sample = unhex_array("5e5cd55c41f69080575d7999c25a5bfb");
    assert_eq!(mask.mask(&sample), *unhex("aefefe7d03"));
}

/// The block of FIPS 197 appendix C.3: an AES mask is the start of the encrypted sample.
#[test]
fn aes_256_mask_is_an_encrypted_block() {
    let key = unhex_array("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let mask = MaskKey::new(Suite::Aes256Gcm, &key);
    assert_eq!(mask.mask(&unhex_array("00112233445566778899aabbccddeeff")), *unhex("8ea2b7ca51"));
}

/// The sample's first 4 bytes are a block counter; the last one overflows in stream interfaces that count ahead.
#[test]
fn every_sample_has_a_mask() {
    for suite in SUITES {
        let mask = MaskKey::new(suite, &[7; 32]);
        let masks =
            [[0xff; SAMPLE_LEN], [0xfe; SAMPLE_LEN], [0; SAMPLE_LEN]].map(|sample| mask.mask(&sample));
        assert!(masks[0] != masks[1] && masks[1] != masks[2] && masks[0] != masks[2]);
        for low in 0..=u8::MAX {
            let mut sample = [0xff; SAMPLE_LEN];
            sample[0] = low;
            mask.mask(&sample);
        }
    }
}

#[test]
fn x25519_of_rfc_7748_section_6_1() {
    let alice =
        SecretKey::new(&unhex_array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
    let bob =
        SecretKey::new(&unhex_array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
    let shared = unhex_array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(
        *alice.public(),
        unhex_array("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    );
    assert_eq!(alice.agree(bob.public()).as_deref(), Some(&shared));
    assert_eq!(bob.agree(alice.public()).as_deref(), Some(&shared));
}

/// Stateless resets are recognised by the last 16 bytes of a packet that has failed to open.
#[test]
fn the_tag_survives_a_failed_open() {
    for suite in SUITES {
        let key = AeadKey::new(suite, &[1; 32]);
        for len in [TAG_LEN, TAG_LEN + 1, 100, 1_400] {
            let mut buffer: Vec<u8> = (0..len).map(|i| i as u8 | 1).collect();
            let tag = buffer[len - TAG_LEN..].to_vec();
            assert_eq!(key.open(&[0; 12], b"aad", &mut buffer), Err(AeadError));
            assert_eq!(buffer[len - TAG_LEN..], tag);
        }
    }
}

#[test]
fn buffers_without_room_for_a_tag_are_refused() {
    for suite in SUITES {
        let key = AeadKey::new(suite, &[1; 32]);
        for len in 0..TAG_LEN {
            assert_eq!(key.seal(&[0; 12], b"", &mut [0; TAG_LEN][..len]), Err(AeadError));
            assert_eq!(key.open(&[0; 12], b"", &mut [0; TAG_LEN][..len]), Err(AeadError));
        }
    }
}

#[test]
fn keys_are_small() {
    assert!(size_of::<AeadKey>() <= 40 && size_of::<SecretKey>() <= 64);
}

/// What one implementation seals, masks and agrees on, the other does too.
#[cfg(feature = "fast")]
mod agreement {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn aeads(key: [u8; 32], nonce: [u8; 12], aad in prop::collection::vec(any::<u8>(), 0..20),
                 text in prop::collection::vec(any::<u8>(), 0..1_500)) {
            for suite in SUITES {
                let mut buffer = text.clone();
                buffer.extend([0; TAG_LEN]);
                let mut reference = buffer.clone();
                AeadKey::new(suite, &key).seal(&nonce, &aad, &mut buffer).unwrap();
                pure::AeadKey::new(suite, &key).seal(&nonce, &aad, &mut reference).unwrap();
                prop_assert_eq!(&buffer, &reference);
                prop_assert_eq!(AeadKey::new(suite, &key).open(&nonce, &aad, &mut reference), Ok(text.len()));
                prop_assert_eq!(pure::AeadKey::new(suite, &key).open(&nonce, &aad, &mut buffer), Ok(text.len()));
                prop_assert_eq!(&buffer[..text.len()], &text[..]);
            }
        }

        #[test]
        fn masks(key: [u8; 32], mut sample: [u8; 16], last_block: bool) {
            if last_block {
                sample[..4].fill(0xff);
            }
            for suite in SUITES {
                let reference = pure::MaskKey::new(suite, &key).mask(&sample);
                prop_assert_eq!(MaskKey::new(suite, &key).mask(&sample), reference);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn x25519(secret: [u8; 32], mut public: [u8; 32], small in 0..3_u8) {
            if small == 0 {
                public = [0; 32];
            }
            let (key, reference) = (SecretKey::new(&secret), pure::SecretKey::new(&secret));
            prop_assert_eq!(key.public(), reference.public());
            prop_assert_eq!(key.agree(&public), reference.agree(&public));
        }
    }
}
