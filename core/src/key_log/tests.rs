use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::*;

fn secret(byte: u8) -> Secret {
    Secret::new([byte; 32])
}

/// One entry of each kind.
fn all() -> [KeyLogEntry; 4] {
    let id = ConnectionId([0x21; 8]);
    [
        Entry::Message { e: [1; 32], key: secret(0xab), hash: [2; 32] },
        Entry::Traffic {
            initiator: ConnectionId([3; 8]),
            responder: ConnectionId([4; 8]),
            suite: Suite::Aes256Gcm,
            initiator_secret: secret(0xab),
            responder_secret: secret(0xab),
        },
        Entry::Qotp { id, opens: QotpPackets::Init, secret: secret(0xab) },
        Entry::Qotp { id, opens: QotpPackets::Rest, secret: secret(0xab) },
    ]
    .map(KeyLogEntry)
}

#[test]
fn every_kind_goes_to_text_and_back() {
    for entry in all() {
        let line = entry.to_string();
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains(&"ab".repeat(32)), "{line}");
        assert_eq!(line.parse(), Ok(entry.clone()));
        assert_eq!(format!("  {}\r", line.replace(' ', " \t ")).parse(), Ok(entry));
    }
}

/// The lines that docs/PROTOCOL.md shows.
#[test]
fn the_text_form_is_as_documented() {
    let [message, traffic, init, shared] = all().map(|entry| entry.to_string());
    let (one, two, ab) = ("01".repeat(32), "02".repeat(32), "ab".repeat(32));
    assert_eq!(message, format!("NATIVE_MESSAGE {one} {ab} {two}"));
    assert_eq!(traffic, format!("NATIVE_TRAFFIC 0303030303030303 0404040404040404 2 {ab} {ab}"));
    assert_eq!(init, format!("QOTP_INIT 2121212121212121 {ab}"));
    assert_eq!(shared, format!("QOTP_SHARED 2121212121212121 {ab}"));
}

#[test]
fn debug_output_holds_no_secret() {
    for entry in all() {
        let text = format!("{entry:?}");
        assert!(!text.contains("abab") && !text.contains("171"), "{text}");
    }
}

#[test]
fn what_is_no_entry_says_why() {
    let [message, traffic, init, _] = all().map(|entry| entry.to_string());
    let parse = |line: &str| line.parse::<KeyLogEntry>().err();
    assert_eq!(parse(""), Some(KeyLogError::Fields));
    assert_eq!(parse("CLIENT_RANDOM 00 00"), Some(KeyLogError::Label));
    assert_eq!(parse(&message.to_lowercase()), Some(KeyLogError::Label));
    assert_eq!(parse(&message.to_uppercase()), Some(KeyLogError::Hex));
    assert_eq!(parse(&format!("{init} 00")), Some(KeyLogError::Fields));
    assert_eq!(parse(&init[..init.len() - 1]), Some(KeyLogError::Hex));
    assert_eq!(parse(&init[..init.len() - 2]), Some(KeyLogError::Hex));
    assert_eq!(parse(&init.replace("ab", "\u{e4}")), Some(KeyLogError::Hex));
    assert_eq!(parse(&traffic.replace(" 2 ", " 3 ")), Some(KeyLogError::Suite));
    assert_eq!(parse(&traffic.replace(" 2 ", " x ")), Some(KeyLogError::Suite));
    // A line that was cut anywhere is never taken for a whole one.
    for line in [message, traffic, init] {
        for end in 0..line.len() {
            assert!(parse(&line[..end]).is_some(), "{}", &line[..end]);
        }
    }
}

#[test]
fn it_takes_nothing_down_unless_asked_and_never_more_than_its_bound() {
    let mut off = KeyLog::new(false);
    off.message(&[1; 32], &secret(2), &[3; 32]);
    assert_eq!(off.pop(), None);
    let mut on = KeyLog::new(true);
    for number in 0..=MAX_WAITING {
        on.message(&[number as u8; 32], &secret(2), &[3; 32]);
    }
    let taken: Vec<String> = core::iter::from_fn(|| on.pop()).map(|entry| entry.to_string()).collect();
    assert_eq!(taken.len(), MAX_WAITING);
    assert!(taken[0].starts_with("NATIVE_MESSAGE 0000"));
    on.message(&[1; 32], &secret(2), &[3; 32]);
    assert!(on.pop().is_some());
}
