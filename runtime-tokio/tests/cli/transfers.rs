//! `send` and `recv`, and `demo`.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::thread;

use crate::support::{Receiver, Scratch, command, content, listing, run, until_longer};

#[test]
fn a_folder_of_a_thousand_files_arrives() {
    let scratch = Scratch::new();
    for index in 0..1000 {
        scratch.file(&format!("from/many/{}/file {index}", index % 10), index * 7);
    }
    let (key, to) = (scratch.key("key"), scratch.path("to"));
    let receiver = Receiver::start(&key, &to, &["--once"]);
    let sent = run(&receiver.send_args(&[&scratch.path("from/many")]));
    let received = receiver.process.ended();
    assert_eq!((sent.code, received.code), (0, 0), "{sent:?} {received:?}");
    assert_eq!(listing(&to), listing(&scratch.path("from")));
    let (sent, received) = (sent.json(), received.json());
    assert_eq!(sent["hash"], received["hash"]);
    assert_eq!(sent["files"], 1000);
    assert_eq!(sent["bytes"], (0..1000).map(|index| index * 7).sum::<u64>());
    assert!(sent["error"].is_null() && sent["rtt_us"].is_u64() && sent["retransmits"].is_u64());
    assert!(sent["seconds"].is_f64());
}

#[test]
fn a_killed_receiver_goes_on_where_it_stopped() {
    const LENGTH: usize = 96 << 20;
    let scratch = Scratch::new();
    let (file, to) = (scratch.file("big", LENGTH), scratch.path("to"));
    let key = scratch.key("key");
    let receiver = Receiver::start(&key, &to, &["--once"]);
    let sender = command(&receiver.send_args(&[&file]));
    until_longer(&to.join("big.dunlin-part"), 1 << 20);
    let address = receiver.address.clone();
    receiver.process.kill();
    let kept = fs::metadata(to.join("big.dunlin-part")).unwrap().len();

    let receiver = Receiver::start_at(&address, &key, &to, &["--once"]);
    let sent = run(&receiver.send_args(&[&file]));
    assert_eq!(sent.code, 0, "{sent:?}");
    assert_eq!(receiver.process.ended().code, 0);
    assert_eq!(sent.json()["bytes_from_before"], kept);
    assert_eq!(sent.json()["hash"], blake3::hash(&content("big", LENGTH)).to_hex().as_str());
    assert!(fs::read(to.join("big")).unwrap() == content("big", LENGTH));
    assert!(!to.join("big.dunlin-part").exists());

    // The first sender has found out meanwhile.
    let first = sender.ended();
    assert_eq!(first.code, 1);
    assert!(first.error().contains("is gone") && first.error().contains("run both again"), "{first:?}");
}

#[cfg(unix)]
#[test]
fn whoever_is_stopped_tells_the_other_and_loses_nothing() {
    let scratch = Scratch::new();
    let (file, to) = (scratch.file("big", 96 << 20), scratch.path("to"));
    let key = scratch.key("key");
    let part = to.join("big.dunlin-part");
    let mut receiver = Receiver::start(&key, &to, &[]);

    let sender = command(&receiver.send_args(&[&file]));
    until_longer(&part, 1 << 20);
    sender.interrupt();
    let sent = sender.ended();
    assert_eq!(sent.code, 1);
    assert!(sent.error().contains("stopped"), "{sent:?}");
    assert_eq!(
        sent.json()["error"].as_str().map(|line| format!("dunlin: {line}")).as_deref(),
        Some(sent.error())
    );

    // The receiver is still there, for the next try, and this time it is the one to stop.
    let kept = fs::metadata(&part).unwrap().len();
    let sender = command(&receiver.send_args(&[&file]));
    until_longer(&part, kept + (1 << 20));
    receiver.process.interrupt();
    let sent = sender.ended();
    assert_eq!(sent.code, 1);
    assert!(sent.error().contains("the other side was stopped"), "{sent:?}");
    assert_eq!(receiver.process.ended().code, 1);

    receiver = Receiver::start(&key, &to, &["--once"]);
    let sent = run(&receiver.send_args(&[&file]));
    assert_eq!(sent.code, 0, "{sent:?}");
    assert!(sent.json()["bytes_from_before"].as_u64().unwrap() > kept);
    assert!(fs::read(to.join("big")).unwrap() == content("big", 96 << 20));
}

#[test]
fn garbage_sent_to_the_port_does_not_matter() {
    let scratch = Scratch::new();
    let (file, to) = (scratch.file("file", 16 << 20), scratch.path("to"));
    let receiver = Receiver::start(&scratch.key("key"), &to, &["--once"]);
    let (socket, done) = (UdpSocket::bind("127.0.0.1:0").unwrap(), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0_u64.. {
                let mut garbage = content(&round.to_string(), (round % 1400) as usize);
                // Now and then something that looks like a packet.
                if let Some(first) = garbage.first_mut().filter(|_| round % 2 == 0) {
                    *first = 16 + (round / 2 % 8) as u8 * 32;
                }
                let _ = socket.send_to(&garbage, receiver.address());
                if done.load(Relaxed) {
                    break;
                }
                thread::yield_now();
            }
        });
        let sent = run(&receiver.send_args(&[&file]));
        done.store(true, Relaxed);
        sent
    });
    assert_eq!(sent.code, 0, "{sent:?}");
    assert_eq!(receiver.process.ended().code, 0);
    assert!(fs::read(to.join("file")).unwrap() == content("file", 16 << 20));
}

#[test]
fn several_senders_are_served_at_once_and_only_those_allowed() {
    let scratch = Scratch::new();
    let (to, friend, stranger) = (scratch.path("to"), scratch.key("friend"), scratch.key("stranger"));
    let receiver = Receiver::start(&scratch.key("key"), &to, &["--allow", &friend.1]);
    let files = ["a", "b", "c"].map(|name| scratch.file(name, 1 << 20));
    let with_key = |file: &Path, key: &Path| {
        let mut args = receiver.send_args(&[]);
        args.extend(["--key", key.to_str().unwrap(), file.to_str().unwrap()]);
        command(&args)
    };
    let friends = files.each_ref().map(|file| with_key(file, &friend.0));
    let refused = with_key(&files[0], &stranger.0).ended();
    assert_eq!(refused.code, 1);
    assert!(refused.error().contains("does not let this key in"), "{refused:?}");
    for sender in friends {
        let sent = sender.ended();
        assert_eq!(sent.code, 0, "{sent:?}");
    }
    assert_eq!(listing(&to).len(), 3);
}

#[test]
fn the_demo_shows_a_transfer_and_cleans_up() {
    let scratch = Scratch::new();
    let temporary = scratch.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let demo = |more: &[&str]| {
        let args = [&["demo", "--bytes", "3M"], more].concat();
        crate::support::Running::start(
            std::process::Command::new(crate::support::DUNLIN).args(args).env("TMPDIR", &temporary),
        )
        .ended()
    };
    let shown = demo(&[]);
    assert_eq!(shown.code, 0, "{shown:?}");
    for part in ["3.00 MiB", "bit/s", "rtt", "loss", "BLAKE3", "8900", "the hash is that of the file sent"] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    let told = demo(&["--json"]);
    assert_eq!((told.code, &told.json()["bytes"]), (0, &(3 << 20).into()));
    assert!(listing(&temporary).is_empty());
}
