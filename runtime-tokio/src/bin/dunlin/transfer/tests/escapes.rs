//! Names that would lead out of the receiver's folder, and a sender that breaks the rules.

use proptest::prelude::*;

use super::entry::{Entry, Kind, Version};
use super::path::{PathError, RelPath, part_name};
use super::*;

#[test]
fn paths_that_lead_elsewhere_are_no_paths() {
    for bad in [
        &b""[..],
        b"/",
        b"/etc/passwd",
        b"..",
        b"../x",
        b"a/../b",
        b"a/..",
        b".",
        b"./a",
        b"a/.",
        b"a//b",
        b"a/",
        b"a\0b",
        b"x.dunlin-part",
        b"x.dunlin-part/y",
        b".dunlin-part",
        &[b'n'; 256],
        &[b'/'; 10],
        &b"a/".repeat(3000),
    ] {
        assert!(RelPath::new(bad).is_err(), "{bad:?}");
    }
    for good in
        [&b"a"[..], b"a/b", b"...", b"..a", b"a..", b".hidden", b" ", b"~", b"$HOME", b"-rf", b"a\\..\\b"]
    {
        assert_eq!(RelPath::new(good).is_ok(), cfg!(unix) || !good.contains(&b'\\'), "{good:?}");
    }
    assert_eq!(RelPath::new(b"a/../b"), Err(PathError::Dots));
}

proptest! {
    #[test]
    fn whatever_passes_stays_below(bytes in proptest::collection::vec(
        prop_oneof![Just(b'.'), Just(b'/'), Just(0), Just(b'a'), any::<u8>()], 0..12,
    )) {
        if let Ok(path) = RelPath::new(&bytes) {
            let root = Path::new("/root/of/all");
            let joined = root.join(folder::path_from_bytes(path.as_bytes()));
            prop_assert!(joined.starts_with(root));
            prop_assert!(joined.components().all(|part| part != std::path::Component::ParentDir));
            prop_assert!(joined.components().count() > root.components().count());
        }
    }

    #[test]
    fn part_names_fit_and_differ(a in "[a-zé]{1,120}", b in "[a-zé]{1,120}", v in 0_u8..2, w in 0_u8..2) {
        let named = |name: &str, version: u8| part_name(name.as_bytes(), Version([version; 8]));
        let (here, there) = (named(&a, v), named(&b, w));
        prop_assert!(here.len() <= 255);
        prop_assert!(core::str::from_utf8(&here).is_ok());
        prop_assert_eq!(here == there, a == b && v == w);
    }
}

/// ENTRIES with one file as its bytes stand on the wire, so that anything can be said.
fn raw_entries(path: &[u8]) -> Vec<u8> {
    let mut payload = vec![1, 0x01, 0xff];
    payload.extend(5_u64.to_be_bytes());
    payload.extend([7; 8]);
    payload.extend((path.len() as u16).to_be_bytes());
    payload.extend(path);
    let mut message = vec![1];
    message.extend((payload.len() as u32).to_be_bytes());
    message.extend(payload);
    message
}

#[tokio::test]
async fn a_sender_that_tries_to_escape_is_refused_and_told() {
    use tokio::io::AsyncWriteExt;
    for path in [&b"../escaped"[..], b"/tmp/escaped", b"in/../../escaped", b"a\0b", b""] {
        let (scratch, _, to) = folders();
        let ((near, far), (_near_data, far_data)) = (duplex(1 << 16), duplex(1 << 16));
        let destination = Destination::open(&to, Existing::Keep).unwrap();
        let receiver = tokio::spawn(async move {
            let (incoming, control) = split(far);
            receive(&destination, incoming, control, far_data, Arc::default()).await
        });
        let (incoming, mut control) = split(near);
        control.write_all(&raw_entries(path)).await.unwrap();
        let reply = MessageReader::new(incoming, Arc::default()).next().await.unwrap();
        assert!(matches!(reply, Some(Message::Fault(_))), "{reply:?}");
        drop(control);
        let received = receiver.await.unwrap();
        assert_eq!(fault(&received).1.kind, FaultKind::Refused);
        assert!(listing(&to).is_empty());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2, "nothing beside the folder");
    }
}

fn file(path: &str, size: u64) -> Entry {
    Entry {
        path: RelPath::new(path.as_bytes()).unwrap(),
        mode: 0o644,
        kind: Kind::File { size, version: Version([7; 8]) },
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_in_the_receivers_folder_are_never_followed() {
    use std::os::unix::fs::symlink;
    let (scratch, from, to) = folders();
    let outside = scratch.path().join("outside");
    write(&outside.join("victim"), b"untouched");
    // A folder, the file itself, and the incomplete file, each a link that leads out.
    write(&from.join("d/f"), b"evil");
    symlink(&outside, to.join("d")).unwrap();
    let (sent, received) = transfer(&[from.join("d")], &to).await;
    assert_eq!(fault(&sent), (false, fault(&received).1));
    assert_eq!(fault(&received).1.kind, FaultKind::Refused);
    fs::remove_file(to.join("d")).unwrap();

    fs::create_dir(to.join("d")).unwrap();
    symlink(outside.join("victim"), to.join("d/f")).unwrap();
    let (_, received) = transfer(&[from.join("d")], &to).await;
    assert!(fault(&received).1.text.contains("symbolic link"), "{received:?}");
    fs::remove_file(to.join("d/f")).unwrap();

    symlink(outside.join("victim"), part_of(&from.join("d/f"), &to.join("d"))).unwrap();
    let (_, received) = transfer(&[from.join("d")], &to).await;
    assert!(fault(&received).1.text.contains("symbolic link"), "{received:?}");

    assert_eq!(listing(&outside), [(PathBuf::from("victim"), Some(b"untouched".to_vec()))]);
}

#[tokio::test]
async fn lists_that_contradict_themselves_are_refused() {
    let lists = [
        vec![file("a", 1), file("a", 1)],
        vec![file("b", 1), file("a", 1)],
        vec![file("a", 1), file("a/b", 1)],
        vec![file("a", u64::MAX)],
        vec![file("a", i64::MAX as u64), file("b", 1)],
    ];
    for list in lists {
        let (_scratch, _, to) = folders();
        let (received, _) = receive_from(&[Message::Entries(list.clone())], b"", &to).await;
        assert_eq!(fault(&received).1.kind, FaultKind::Refused, "{list:?}");
        assert!(listing(&to).is_empty());
    }
}

#[tokio::test]
async fn data_that_breaks_the_rules_ends_the_transfer() {
    let record = |entry: u32, start: u64, rest: &[&[u8]]| {
        [&entry.to_be_bytes()[..], &start.to_be_bytes(), &rest.concat()].concat()
    };
    let piece = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let end = |hash: blake3::Hash| [&[0; 4][..], hash.as_bytes()].concat();
    let good = blake3::hash(b"12345");
    let cases = [
        (record(1, 0, &[&piece(b"12345"), &end(good)]), FaultKind::Protocol, "another file"),
        (record(0, 2, &[&piece(b"345"), &end(good)]), FaultKind::Protocol, "a start in the middle"),
        (record(0, 0, &[&piece(b"123456"), &end(good)]), FaultKind::Protocol, "too long"),
        (record(0, 0, &[&piece(b"123"), &end(good)]), FaultKind::Protocol, "too short"),
        (record(0, 0, &[&piece(b"12346"), &end(good)]), FaultKind::Mismatch, "other bytes"),
    ];
    for (data, kind, what) in cases {
        let (_scratch, _, to) = folders();
        let talk = [Message::Entries(vec![file("f", 5)]), Message::End { entries: 1, bytes: 5 }];
        let (received, replies) = receive_from(&talk, &data, &to).await;
        assert_eq!(fault(&received).1.kind, kind, "{what}");
        assert!(
            matches!(replies.last(), Some(Message::Fault(told)) if told.kind == kind),
            "{what}: {replies:?}"
        );
        assert!(!to.join("f").exists(), "{what}");
    }
}
