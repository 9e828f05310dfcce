//! What a sender that nobody knows can do to what is there, and learn of it.

use super::entry::{Entry, Kind};
use super::path::RelPath;
use super::tree::Naming;
use super::wire::{Have, There, Verdict};
use super::*;

pub(super) fn file(path: &str, size: u64) -> Entry {
    let kind = Kind::File { size, version: Version([7; 8]) };
    Entry { path: RelPath::new(path.as_bytes()).unwrap(), mode: 0o666, kind }
}

/// A record without pieces.
fn empty_record(entry: u32, start: u64, hash: &[u8; 32]) -> Vec<u8> {
    [&entry.to_be_bytes()[..], &start.to_be_bytes(), &[0; 4], hash].concat()
}

#[tokio::test]
async fn a_file_of_another_content_stays_and_the_rest_arrives() {
    let (_scratch, from, to) = folders();
    for name in ["longer", "other", "same", "fresh"] {
        write(&from.join(name), &content(name, 3000));
    }
    write(&to.join("longer"), &content("longer", 4000));
    write(&to.join("other"), &content("mine", 3000));
    write(&to.join("same"), &content("same", 3000));
    let paths = ["longer", "other", "same", "fresh"].map(|name| from.join(name));
    let summary = must_transfer(&paths, &to).await;
    assert_eq!((summary.files, summary.bytes, summary.kept), (2, 6000, 3000));
    assert_eq!(summary.failed.len(), 2);
    assert!(summary.failed.iter().all(|line| line.contains("--replace")), "{:?}", summary.failed);
    assert_eq!(fs::read(to.join("longer")).unwrap(), content("longer", 4000));
    assert_eq!(fs::read(to.join("other")).unwrap(), content("mine", 3000));
    assert_eq!(listing(&to).len(), 4, "nothing else is left behind");
    // Where it may be replaced, both are, in one go.
    let summary = must_replace(&paths, &to).await;
    assert_eq!((summary.files, summary.kept, summary.failed.len()), (4, 6000, 0));
    assert_eq!(listing(&to), listing(&from));
}

#[tokio::test]
async fn guessed_names_empty_no_files() {
    let (_scratch, _, to) = folders();
    let names = ["a", "b", "c"];
    names.iter().for_each(|name| write(&to.join(name), name.as_bytes()));
    let entries = names.map(|name| file(name, 0)).to_vec();
    let nothing = blake3::hash(b"");
    let data = [0, 1, 2].map(|entry| empty_record(entry, 0, nothing.as_bytes())).concat();
    let talk = [Message::Entries(entries), Message::End { entries: 3, bytes: 0 }];
    let (received, replies) = receive_from(&talk, &data, &to).await;
    assert_eq!(received.unwrap().failed.len(), 3);
    let kept = |message: &&Message| matches!(message, Message::Verdict { verdict: Verdict::Kept, .. });
    assert_eq!(replies.iter().filter(kept).count(), 3, "{replies:?}");
    names.iter().for_each(|name| assert_eq!(fs::read(to.join(name)).unwrap(), name.as_bytes()));
}

#[tokio::test]
async fn a_guess_learns_that_a_file_is_there_and_nothing_else() {
    let (_scratch, _, to) = folders();
    write(&to.join("pin"), b"1234");
    let mut nonces = Vec::new();
    // The right length, a wrong one, and the right content without having it: only its hash.
    for (size, proof) in [(4, [0; 32]), (5, [0; 32]), (4, *blake3::hash(b"1234").as_bytes())] {
        let talk = [Message::Entries(vec![file("pin", size)]), Message::End { entries: 1, bytes: size }];
        let (_, replies) = receive_from(&talk, &empty_record(0, size, &proof), &to).await;
        let [Message::Have(Have { entry: 0, what: There::File { nonce } }), verdict, _] = &replies[..] else {
            panic!("{replies:?}");
        };
        assert_eq!(*verdict, Message::Verdict { entry: 0, verdict: Verdict::Kept });
        assert_ne!(nonce, blake3::hash(b"1234").as_bytes());
        assert!(!nonces.contains(nonce), "a proof counts once");
        nonces.push(*nonce);
    }
}

#[tokio::test]
async fn the_incomplete_file_of_another_sender_is_neither_seen_nor_touched() {
    let (_scratch, from, to) = folders();
    write(&from.join("f"), &content("f", 5000));
    let part = part_of(&from.join("f"), &to);
    write(&part, &content("f", 5000)[..2000]);
    let talk = [Message::Entries(vec![file("f", 5000)]), Message::End { entries: 1, bytes: 5000 }];
    let give_up = [&0_u32.to_be_bytes()[..], &0_u64.to_be_bytes(), &[0xff; 4]].concat();
    let (received, replies) = receive_from(&talk, &give_up, &to).await;
    assert_eq!(received.unwrap().failed.len(), 1);
    assert_eq!(replies[0], Message::Have(Have { entry: 0, what: There::Nothing }));
    assert_eq!(fs::read(&part).unwrap().len(), 2000);
    assert_eq!(must_transfer(&[from.join("f")], &to).await.kept, 2000);
}

#[test]
fn a_name_that_is_taken_meanwhile_stays_with_who_has_it() {
    let (_scratch, _, to) = folders();
    let entry = file("f", 3);
    for (existing, naming, left) in
        [(Existing::Keep, Naming::Taken, b"old"), (Existing::Replace, Naming::Done, b"new")]
    {
        use std::io::Write;
        let mut tree = Destination::open(&to, existing).unwrap().tree().unwrap();
        tree.open_part(&entry).unwrap().file.write_all(b"new").unwrap();
        write(&to.join("f"), b"old");
        assert_eq!(tree.complete(&entry).unwrap(), naming);
        assert_eq!(listing(&to), [(PathBuf::from("f"), Some(left.to_vec()))]);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn modes_grant_no_more_than_the_system_does_and_change_nothing_that_was_there() {
    use std::os::unix::fs::PermissionsExt;
    let (_scratch, from, to) = folders();
    let set = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let get = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    write(&from.join("d/new/x"), b"x");
    write(&from.join("d/y"), b"y");
    write(&from.join("d/z"), b"z");
    for path in ["d", "d/new", "d/new/x", "d/y", "d/z"] {
        set(&from.join(path), 0o777);
    }
    write(&to.join("d/y"), b"y");
    set(&to.join("d/y"), 0o600);
    set(&to.join("d"), 0o700);
    must_transfer(&[from.join("d")], &to).await;
    assert_eq!((get(&to.join("d")), get(&to.join("d/y"))), (0o700, 0o600));
    fs::create_dir(to.join("plain")).unwrap();
    let plain = get(&to.join("plain"));
    for path in ["d/new", "d/new/x", "d/z"] {
        assert_eq!(get(&to.join(path)), plain, "{path}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_takes_the_place_of_a_listed_file_is_not_sent() {
    use std::os::unix::fs::symlink;
    let (scratch, from, to) = folders();
    let outside = scratch.path().join("outside");
    write(&outside.join("f"), b"secret");
    for name in ["d/link", "d/folder/f", "d/pipe", "d/file", "d/stays"] {
        write(&from.join(name), b"listed");
    }
    let source = Source::gather(&[from.join("d")]).unwrap();
    let here = from.join("d");
    for name in ["link", "pipe"] {
        fs::remove_file(here.join(name)).unwrap();
    }
    symlink(outside.join("f"), here.join("link")).unwrap();
    fs::rename(here.join("folder"), here.join("away")).unwrap();
    symlink(&outside, here.join("folder")).unwrap();
    let (fifo, mode) = (nix::sys::stat::SFlag::S_IFIFO, nix::sys::stat::Mode::S_IRWXU);
    nix::sys::stat::mknod(&here.join("pipe"), fifo, mode, 0).unwrap();
    fs::rename(outside.join("f"), here.join("file")).unwrap();
    write(&outside.join("f"), b"secret");
    let ((near, far), (near_data, far_data)) = (duplex(1 << 20), duplex(1 << 20));
    let ((near_in, near_out), (far_in, far_out)) = (split(near), split(far));
    let destination = Destination::open(&to, Existing::Keep).unwrap();
    let (sent, received) = tokio::join!(
        send(source, near_in, near_out, near_data, Arc::default()),
        receive(&destination, far_in, far_out, far_data, Arc::default())
    );
    assert_eq!((sent.unwrap().failed.len(), received.unwrap().failed.len()), (4, 4));
    let arrived: Vec<_> =
        listing(&to).into_iter().filter_map(|(path, content)| Some((path, content?))).collect();
    assert_eq!(arrived, [(PathBuf::from("d/stays"), b"listed".to_vec())]);
}

#[cfg(unix)]
#[test]
fn a_folder_swapped_for_a_link_while_files_come_leads_nowhere() {
    use std::io::Write;
    let (scratch, _, to) = folders();
    let (outside, entry) = (scratch.path().join("outside"), file("d/f", 3));
    write(&outside.join("f"), b"theirs");
    let destination = Destination::open(&to, Existing::Replace).unwrap();
    let mut tree = destination.tree().unwrap();
    tree.open_part(&entry).unwrap().file.write_all(b"new").unwrap();
    fs::rename(to.join("d"), to.join("moved")).unwrap();
    std::os::unix::fs::symlink(&outside, to.join("d")).unwrap();
    // Where it was opened it goes on, and what looks for it anew finds no folder.
    assert_eq!(tree.complete(&entry).unwrap(), Naming::Done);
    assert_eq!(fs::read(to.join("moved/f")).unwrap(), b"new");
    let found = destination.tree().unwrap().open_part(&entry);
    assert_eq!(found.map(drop).unwrap_err().kind, FaultKind::Refused);
    assert_eq!(listing(&outside), [(PathBuf::from("f"), Some(b"theirs".to_vec()))]);
}
