//! `decrypt`, on captures that are made here, and `--keylog`.

use core::net::IpAddr;
use core::time::Duration;
use std::fs;
use std::path::Path;

use dunlin_tokio::dunlin_core::{Inspector, WireVersion};

use crate::capture::{Conversation, End, Format, INTERVAL, Ip, Link, address, packet, udp};
use crate::support::{Ended, Receiver, Scratch, run};

const PCAP: Format = Format::Pcap { big: false, nanos: false };
const PCAPNG: Format = Format::PcapNg { big: false, nanos: false };

/// Everything that was sent, packet by packet, in frames of `link`.
fn frames(conversation: &Conversation, link: Link, ip: Ip) -> Vec<Vec<u8>> {
    conversation.packets().map(|(from, payload)| link.frame(ip, &udp(ip, from, payload))).collect()
}

/// The lines that must come out of these frames with the keys `keys`.
fn wanted(conversation: &Conversation, keys: &str, ip: Ip) -> String {
    let mut inspector = Inspector::new(keys.lines().map(|line| line.parse().unwrap()));
    let mut text = String::new();
    for ((from, payload), count) in conversation.packets().zip(0..) {
        let (time, to) = (INTERVAL * count, if from == End::Dialler { End::Answerer } else { End::Dialler });
        let (from, to) = (address(from, ip), address(to, ip));
        text +=
            &format!("{} {from} > {to} {} bytes {}\n", seconds(time), payload.len(), inspector.read(payload));
    }
    text
}

fn seconds(time: Duration) -> String {
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

/// Writes both files and runs the command on them.
fn decrypt(scratch: &Scratch, keys: &str, capture: &[u8]) -> Ended {
    let (keylog, file) = (scratch.path("keys.log"), scratch.path("capture"));
    fs::write(&keylog, keys).unwrap();
    fs::write(&file, capture).unwrap();
    let ended = run(&["decrypt", "--keylog", keylog.to_str().unwrap(), file.to_str().unwrap()]);
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    ended
}

#[test]
fn every_format_link_and_version_of_ip_gives_the_same_lines() {
    let (scratch, conversation) = (Scratch::new(), Conversation::new(1));
    for ip in [Ip::V4, Ip::V6] {
        let wanted = wanted(&conversation, &conversation.keys, ip);
        let check = |format: Format, link: Link| {
            let capture = format.capture(link, &frames(&conversation, link, ip), usize::MAX);
            let ended = decrypt(&scratch, &conversation.keys, &capture);
            assert_eq!((ended.code, ended.stdout.as_str()), (0, wanted.as_str()), "{format:?} {link:?}");
        };
        for (big, nanos) in [(false, false), (false, true), (true, false), (true, true)] {
            check(Format::Pcap { big, nanos }, Link::Ethernet);
            check(Format::PcapNg { big, nanos }, Link::Ethernet);
        }
        for link in [
            Link::Tagged,
            Link::Null { big: false },
            Link::Null { big: true },
            Link::Loop,
            Link::Raw,
            Link::RawOf(ip),
            Link::Cooked,
            Link::Cooked2,
        ] {
            check(PCAP, link);
            check(PCAPNG, link);
        }
    }
}

#[test]
fn every_packet_of_a_conversation_is_opened_and_told() {
    let (scratch, conversation) = (Scratch::new(), Conversation::new(1));
    let capture = PCAPNG.capture(Link::Raw, &frames(&conversation, Link::Raw, Ip::V4), usize::MAX);
    let ended = decrypt(&scratch, &conversation.keys, &capture);
    let packets = conversation.packets().count();
    assert!(packets > 20);
    assert_eq!(ended.stdout.lines().count(), packets);
    let summary = format!(
        "{packets} packets: {packets} opened, 0 without a key, 0 that their key does not open, 0 other\n"
    );
    assert_eq!(ended.stderr, summary);
    for part in [
        "0.000000 192.0.2.1:50000 > 192.0.2.2:4433 1200 bytes native I>R InitKnown ",
        " 192.0.2.2:4433 > 192.0.2.1:50000 ",
        " native R>I InitKnownReply ",
        "; early data held",
        " native I>R Data ",
        "path 0 #1 phase 0: ACK path 0 0 ",
        "STREAM 0 offset 0 length ",
        " FIN",
        "CLOSE by application code 7 \"that \\x1b[2J is all\"",
    ] {
        assert!(ended.stdout.contains(part), "no {part:?} in {}", ended.stdout);
    }
}

#[test]
fn qotp_conversations_are_opened_and_told() {
    let (scratch, conversation) = (Scratch::new(), Conversation::of(WireVersion::Qotp, 1));
    let packets = conversation.packets().count();
    assert!(packets > 20);
    for (format, link, ip) in
        [(PCAP, Link::Ethernet, Ip::V4), (PCAPNG, Link::Cooked2, Ip::V6), (PCAPNG, Link::Loop, Ip::V4)]
    {
        let capture = format.capture(link, &frames(&conversation, link, ip), usize::MAX);
        let ended = decrypt(&scratch, &conversation.keys, &capture);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (0, wanted(&conversation, &conversation.keys, ip).as_str())
        );
        assert!(ended.stderr.contains(&format!(" {packets} opened, 0 without")), "{}", ended.stderr);
        for part in [
            " 1400 bytes qotp I>R InitCryptoSnd ",
            " qotp R>I InitCryptoRcv ",
            " qotp I>R Data ",
            " epoch 0 #1: ",
            "STREAM 0 offset 0 length ",
            "ACK stream 0 offset 0 length ",
        ] {
            assert!(ended.stdout.contains(part), "no {part:?} in {}", ended.stdout);
        }
        // With native keys it stays shut.
        let ended = decrypt(&scratch, &Conversation::new(1).keys, &capture);
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.lines().all(|line| line.ends_with(": no key")), "{ended:?}");
    }
}

#[test]
fn both_wires_may_be_in_one_qotp_capture_and_one_key_log() {
    let scratch = Scratch::new();
    let native = Conversation::new(1);
    let qotp = Conversation::of(WireVersion::Qotp, 2);
    let keys = native.keys.clone() + &qotp.keys;
    let mut all = frames(&native, Link::Raw, Ip::V4);
    all.extend(frames(&qotp, Link::Raw, Ip::V4));
    let ended = decrypt(&scratch, &keys, &PCAPNG.capture(Link::Raw, &all, usize::MAX));
    assert_eq!((ended.code, ended.stdout.lines().count()), (0, all.len()));
    assert!(ended.stderr.contains(" 0 without a key, 0 that their key does not open, 0 other"), "{ended:?}");
    assert!(ended.stdout.contains(" native I>R ") && ended.stdout.contains(" qotp I>R "));
}

#[test]
fn trains_that_were_captured_whole_are_cut() {
    let (scratch, conversation) = (Scratch::new(), Conversation::new(1));
    let trains = conversation.trains.iter();
    assert!(trains.clone().any(|(_, train, size)| train.len() > *size));
    let frames: Vec<_> =
        trains.map(|(from, train, _)| Link::Ethernet.frame(Ip::V4, &udp(Ip::V4, *from, train))).collect();
    let ended = decrypt(&scratch, &conversation.keys, &PCAP.capture(Link::Ethernet, &frames, usize::MAX));
    let without_time = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    };
    let wanted = wanted(&conversation, &conversation.keys, Ip::V4);
    assert_eq!(without_time(&ended.stdout), without_time(&wanted));
}

#[test]
fn a_key_log_of_something_else_leaves_the_headers() {
    let (scratch, conversation) = (Scratch::new(), Conversation::new(1));
    let capture = PCAP.capture(Link::Raw, &frames(&conversation, Link::Raw, Ip::V4), usize::MAX);
    let other = Conversation::new(2).keys;
    for keys in [other.as_str(), "", "# nothing\n\n"] {
        let ended = decrypt(&scratch, keys, &capture);
        assert_eq!(
            (ended.code, ended.stdout),
            (0, wanted(&conversation, keys.trim_start_matches("# nothing\n\n"), Ip::V4))
        );
        assert!(ended.stderr.contains(" 0 opened") && ended.stderr.contains("not of these connections"));
    }
    let ended = decrypt(&scratch, &other, &capture);
    assert!(ended.stdout.lines().all(|line| line.ends_with(": no key")), "{ended:?}");
}

#[test]
fn a_damaged_key_log_opens_what_it_still_can() {
    let (scratch, conversation) = (Scratch::new(), Conversation::new(1));
    let capture = PCAP.capture(Link::Raw, &frames(&conversation, Link::Raw, Ip::V4), usize::MAX);
    let keys = &conversation.keys;
    assert_eq!(keys.lines().count(), 3);
    // Another program's line, and one that was cut off.
    let mixed = format!("CLIENT_RANDOM 00 11\n{keys}{}", &keys[..50]);
    let ended = decrypt(&scratch, &mixed, &capture);
    assert_eq!((ended.code, ended.stdout), (0, wanted(&conversation, keys, Ip::V4)));
    assert!(ended.stderr.contains("left out line 1 of "), "{}", ended.stderr);
    assert!(ended.stderr.contains("left out line 5 of "), "{}", ended.stderr);
    // Keys of one digit off.
    let other =
        |line: &str| line.split_at(line.len() - 1).0.to_owned() + if line.ends_with('0') { "1" } else { "0" };
    let wrong: String = keys.lines().map(|line| other(line) + "\n").collect();
    let ended = decrypt(&scratch, &wrong, &capture);
    assert_eq!((ended.code, ended.stdout), (0, wanted(&conversation, &wrong, Ip::V4)));
    assert!(ended.stderr.contains(" that their key does not open"), "{}", ended.stderr);
    let ended = decrypt(&scratch, "what\nis this?", &capture);
    assert_eq!(ended.code, 2);
    assert!(ended.error().contains("is no key log"), "{ended:?}");
}

#[test]
fn packets_that_were_not_captured_whole_say_so() {
    let (scratch, conversation) = (Scratch::new(), Conversation::new(1));
    for format in [PCAP, PCAPNG] {
        for snap in [0, 5, 19, 27, 28, 36, 37, 58, 59, 100] {
            let frames = frames(&conversation, Link::Raw, Ip::V4);
            let ended = decrypt(&scratch, &conversation.keys, &format.capture(Link::Raw, &frames, snap));
            assert_eq!((ended.code, ended.stdout.lines().count()), (0, frames.len()), "{ended:?}");
            for (line, frame) in ended.stdout.lines().zip(&frames) {
                let whole = frame.len() <= snap;
                let (all, kept) = (frame.len() - 28, snap.saturating_sub(28));
                let cut = match snap {
                    0..28 => line.ends_with(&format!(" {} bytes: too short, or damaged", frame.len())),
                    28 => line.ends_with(&format!(" {all} bytes (0 captured) unknown ?>?: empty")),
                    _ => line.contains(&format!(" {all} bytes ({kept} captured) native ")),
                };
                // Nothing but the routing id of such a packet is to be believed.
                assert!(whole || cut, "{snap}: {line}");
                assert!(whole || !line.contains(" phase "), "{snap}: {line}");
            }
        }
    }
}

#[test]
fn captures_have_other_packets_too() {
    let scratch = Scratch::new();
    let (from, to) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let tcp = packet(6, from, to, &[0; 20]);
    let mut fragment = udp(Ip::V4, End::Dialler, &[0x90; 100]);
    fragment[6] = 0x20;
    let dns = udp(Ip::V4, End::Dialler, &[0x13, 0x37, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let empty = udp(Ip::V4, End::Dialler, &[]);
    let short = udp(Ip::V4, End::Dialler, &[0x90, 1, 2]);
    let mut frames: Vec<_> =
        [&tcp, &fragment, &dns, &empty, &short].map(|packet| Link::Ethernet.frame(Ip::V4, packet)).into();
    frames.push([&[2; 12][..], &[0x08, 0x06], &[0; 28]].concat());
    frames.push([&[2; 12][..], &[0x88, 0xcc], &[0; 28]].concat());
    frames.push(vec![1, 2, 3]);
    for format in [PCAP, PCAPNG] {
        let ended = decrypt(&scratch, "", &format.capture(Link::Ethernet, &frames, usize::MAX));
        assert_eq!(ended.code, 0);
        let lines: Vec<&str> = ended.stdout.lines().collect();
        let ends = [
            " 54 bytes: not UDP",
            " 142 bytes: a fragment of an IP packet, which is not put together here",
            " 12 bytes unknown ?>? 3701000001000000: not a version that is known here",
            " 0 bytes unknown ?>?: empty",
            " 3 bytes native ?>?: shorter than a packet of its type can be",
            " 42 bytes: not IP",
            " 42 bytes: not IP",
            " 3 bytes: too short, or damaged",
        ];
        assert_eq!(lines.len(), ends.len());
        for (line, end) in lines.iter().zip(ends) {
            assert!(line.ends_with(end), "{line:?} is not {end:?}");
        }
        assert!(ended.stderr.contains("8 other"), "{ended:?}");
    }
    // 802.11, which is none of those that are read.
    let mut wireless = PCAP.capture(Link::Raw, &[vec![0; 40]], usize::MAX);
    wireless[20] = 105;
    let ended = decrypt(&scratch, "", &wireless);
    assert!(ended.stdout.ends_with(" 40 bytes: the link type 105 is not read here\n"), "{ended:?}");
}

#[test]
fn files_that_are_no_captures_are_told_apart() {
    let scratch = Scratch::new();
    for nothing in [&b""[..], b"x", b"GIF89a and more of that", &[0; 4096]] {
        let ended = decrypt(&scratch, "", nothing);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
        assert!(ended.error().contains("capture"), "{ended:?}");
    }
    let keys = scratch.file("keys", 0);
    let keys = keys.to_str().unwrap();
    for (keylog, capture, part) in
        [(keys, "/no/capture", "/no/capture"), ("/no/keys", keys, "/no/keys"), (keys, "/", "capture")]
    {
        let ended = run(&["decrypt", "--keylog", keylog, capture]);
        assert!(ended.code == 2 || ended.code == 1, "{ended:?}");
        assert!(ended.error().contains(part), "{ended:?}");
    }
}

#[test]
fn a_damaged_capture_gives_its_good_packets_and_one_clear_line() {
    let (scratch, conversation) = (Scratch::new(), Conversation::new(1));
    let frames = frames(&conversation, Link::Raw, Ip::V4);
    let wanted = wanted(&conversation, &conversation.keys, Ip::V4);
    for format in [PCAP, PCAPNG] {
        let whole = format.capture(Link::Raw, &frames, usize::MAX);
        let header = format.capture(Link::Raw, &[], usize::MAX).len();
        for end in (header + 1..whole.len()).step_by(1_999) {
            let ended = decrypt(&scratch, &conversation.keys, &whole[..end]);
            assert!(wanted.starts_with(&ended.stdout), "{ended:?}");
            if ended.code != 0 {
                assert_eq!(ended.code, 1);
                let count = ended.stdout.lines().count();
                let line = format!("ends in the middle of a packet, after {count} packets");
                assert!(ended.error().ends_with(&line), "{ended:?}");
            }
        }
        // A length that is out of all proportion.
        let mut long = whole.clone();
        let at = header + if format == PCAP { 8 } else { 4 };
        long[at..at + 4].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
        let ended = decrypt(&scratch, &conversation.keys, &long);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
        assert!(ended.error().contains("the capture "), "{ended:?}");
        // Any byte of the first blocks.
        for at in 0..header + 60 {
            let mut other = whole.clone();
            other[at] ^= 0xff;
            let ended = decrypt(&scratch, &conversation.keys, &other);
            assert!((0..=2).contains(&ended.code), "{at}: {ended:?}");
            if ended.code != 0 {
                assert!(!ended.error().is_empty());
            }
        }
    }
}

fn lines(path: &Path) -> Vec<String> {
    let mut lines: Vec<String> = fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// `path` as an argument.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn both_sides_of_a_transfer_write_the_same_keys_and_warn() {
    let scratch = Scratch::new();
    let (file, key) = (scratch.file("file", 10_000), scratch.key("key"));
    let (theirs, ours) = (scratch.path("recv.log"), scratch.path("send.log"));
    let receiver = Receiver::start(&key, &scratch.path("to"), &["--once", "--keylog", text(&theirs)]);
    let mut args = receiver.send_args(&[&file]);
    args.extend(["--keylog", text(&ours)]);
    let sent = run(&args);
    assert_eq!(sent.code, 0, "{sent:?}");
    assert!(sent.stderr.contains("warning: the keys of every connection go to "), "{sent:?}");
    assert_eq!(receiver.process.ended().code, 0);
    assert_eq!(lines(&ours).len(), 3);
    assert_eq!(lines(&ours), lines(&theirs));
    assert!(lines(&ours).iter().all(|line| line.starts_with("NATIVE_")));
    #[cfg(unix)]
    for path in [&ours, &theirs] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_key_log_grows_and_is_kept_from_others() {
    let scratch = Scratch::new();
    let (file, key, keylog) = (scratch.file("file", 10), scratch.key("key"), scratch.path("keys.log"));
    let receiver = Receiver::start(&key, &scratch.path("to"), &[]);
    let mut args = receiver.send_args(&[&file]);
    args.extend(["--keylog", text(&keylog)]);
    for count in 1..3 {
        assert_eq!(run(&args).code, 0);
        assert_eq!(lines(&keylog).len(), 3 * count);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&keylog, fs::Permissions::from_mode(0o644)).unwrap();
        let ended = run(&args);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.error().contains("chmod 600"), "{ended:?}");
        assert_eq!(lines(&keylog).len(), 6);
    }
    let folder = scratch.path("");
    *args.last_mut().unwrap() = text(&folder);
    let ended = run(&args);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.error().contains("cannot write the key log"), "{ended:?}");
}
