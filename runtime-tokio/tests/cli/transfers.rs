//! `send` and `recv`, and `demo`.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::support::{DUNLIN, Receiver, Running, Scratch, command, content, in_time, listing, run};

#[test]
fn a_folder_of_a_thousand_files_arrives() {
    in_time(|| {
        let scratch = Scratch::new();
        for index in 0..1000 {
            scratch.file(&format!("from/many/{}/file {index}", index % 10), index * 7);
        }
        let (key, to) = (scratch.key("key"), scratch.path("to"));
        let receiver = Receiver::start(&key, &to, &["--once"]);
        let receiver_address = receiver.address().to_string();
        let sent = run(&receiver.send_args(&[&scratch.path("from/many")]));
        assert_eq!(sent.code, 0, "{sent:?}");
        let received = receiver.process.ended();
        assert_eq!(received.code, 0, "{received:?}");
        assert_eq!(listing(&to), listing(&scratch.path("from")));
        let (sent, received) = (sent.json(), received.json());
        assert_eq!(sent["hash"], received["hash"]);
        assert_eq!(sent["files"], 1000);
        assert_eq!(sent["bytes"], (0..1000).map(|index| index * 7).sum::<u64>());
        assert!(sent["error"].is_null() && sent["rtt_us"].is_u64() && sent["retransmits"].is_u64());
        assert!(sent["seconds"].is_f64());
        let ends = [&sent["path"]["local"], &sent["path"]["remote"]].map(|end| end.as_str().unwrap());
        assert_eq!(ends, ["127.0.0.1", &receiver_address]);
        assert_eq!(sent["switches"], serde_json::json!([]), "it has moved nowhere");
    });
}

#[test]
fn path_a_receiver_with_several_addresses_is_dialled_at_all_of_them() {
    in_time(|| {
        let scratch = Scratch::new();
        let (file, to) = (scratch.file("file", 1000), scratch.path("to"));
        let receiver = Receiver::start(&scratch.key("key"), &to, &["--once"]);
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let silent = silent.local_addr().unwrap().to_string();
        let mut args = receiver.send_args(&[&file]);
        args.splice(1..1, ["--to", &silent, "--to", "no-such-name.invalid:4433"]);
        let sent = run(&args);
        assert_eq!(sent.code, 0, "{sent:?}");
        assert_eq!(sent.json()["path"]["remote"], receiver.address);
        assert!(sent.stderr.contains("warning: cannot find no-such-name.invalid"), "{sent:?}");
        assert_eq!(receiver.process.ended().code, 0);
    });
}

#[test]
fn garbage_sent_to_the_port_does_not_matter() {
    in_time(|| {
        let scratch = Scratch::new();
        let (file, to) = (scratch.file("file", 16 << 20), scratch.path("to"));
        let receiver = Receiver::start(&scratch.key("key"), &to, &["--once"]);
        let (socket, done) = (UdpSocket::bind("127.0.0.1:0").unwrap(), AtomicBool::new(false));
        let address = receiver.address();
        let sent = thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0_u64.. {
                    let mut garbage = content(&round.to_string(), (round % 1400) as usize);
                    // Now and then something that looks like a packet.
                    if let Some(first) = garbage.first_mut().filter(|_| round % 2 == 0) {
                        *first = 16 + (round / 2 % 8) as u8 * 32;
                    }
                    let _ = socket.send_to(&garbage, address);
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
    });
}

#[test]
fn several_senders_are_served_at_once_and_only_those_allowed() {
    in_time(|| {
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
    });
}

#[test]
fn the_demo_shows_a_transfer_and_cleans_up() {
    in_time(|| {
        let scratch = Scratch::new();
        let temporary = scratch.path("tmp");
        fs::create_dir(&temporary).unwrap();
        let demo = |more: &[&str]| {
            let args = [&["demo", "--bytes", "3M"], more].concat();
            Running::start(Command::new(DUNLIN).args(args).env("TMPDIR", &temporary)).ended()
        };
        let shown = demo(&[]);
        assert_eq!(shown.code, 0, "{shown:?}");
        for part in
            ["3.00 MiB", "bit/s", "rtt", "loss", "BLAKE3", "8900", "the hash is that of the file sent"]
        {
            assert!(shown.stdout.contains(part), "{part}: {shown:?}");
        }
        let told = demo(&["--json"]);
        assert_eq!((told.code, &told.json()["bytes"]), (0, &(3 << 20).into()));
        assert!(listing(&temporary).is_empty());
    });
}
