//! Who is killed or stopped half-way.

use core::time::Duration;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;

use crate::support::{
    DUNLIN, Receiver, Running, Scratch, command, content, in_time, part_in, part_length, recv_args, run,
};

/// Between two looks at what nobody announces.
const POLL: Duration = Duration::from_millis(1);

/// Waits until the incomplete file of `name` in `to` has more than `length` bytes; `false` if `writer` ends before.
pub(crate) fn until_longer(writer: &mut Running, to: &Path, name: &str, length: u64) -> bool {
    while part_length(to, name) <= length {
        if writer.status().is_some() {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// Waits for the end of `other`; `None` if `survivor` ends before.
pub(crate) fn outlive(survivor: &mut Running, mut other: Running) -> Option<ExitStatus> {
    loop {
        if let Some(status) = other.status() {
            return Some(status);
        }
        if survivor.status().is_some() {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Bytes of a file that the program of [`doomed`] does not survive.
pub(crate) const DOOM: u64 = 2048 * 512;

/// The program, which the system kills when it writes more than [`DOOM`] to a file: neither too early nor too late.
pub(crate) fn doomed() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c 0; ulimit -f 2048; exec \"$0\" \"$@\"", DUNLIN]);
    command
}

/// An address that can be bound again later: the system gives its port to nobody who does not ask for it (RFC 6335
/// section 6; Linux begins at 32,768).
pub(crate) fn quiet_address() -> String {
    let first = 20_000 + std::process::id() % 10_000;
    let mut addresses = (first..first + 1_000).map(|port| format!("127.0.0.1:{port}"));
    addresses.find(|address| UdpSocket::bind(address).is_ok()).expect("one of a thousand ports is free")
}

#[test]
fn a_killed_receiver_goes_on_where_it_stopped() {
    in_time(|| {
        const LENGTH: usize = 16 << 20;
        let scratch = Scratch::new();
        let (file, to) = (scratch.file("big", LENGTH), scratch.path("to"));
        let (key, address) = (scratch.key("key"), quiet_address());
        let mut recv = doomed();
        recv.args(recv_args(&address, &key.0, &to)).arg("--once");
        let receiver = Receiver::of(&mut recv, &key.1);
        let mut sender = command(&receiver.send_args(&[&file]));
        let Some(status) = outlive(&mut sender, receiver.process) else { panic!("{:?}", sender.ended()) };
        assert_eq!(status.code(), None, "it was killed");
        let kept = part_length(&to, "big");
        assert_eq!(kept, DOOM);

        let receiver = Receiver::start_at(&address, &key, &to, &["--once"]);
        let sent = run(&receiver.send_args(&[&file]));
        assert_eq!(sent.code, 0, "{sent:?}");
        assert_eq!(receiver.process.ended().code, 0);
        assert_eq!(sent.json()["bytes_from_before"], kept);
        assert_eq!(sent.json()["hash"], blake3::hash(&content("big", LENGTH)).to_hex().as_str());
        assert!(fs::read(to.join("big")).unwrap() == content("big", LENGTH));
        assert_eq!(part_in(&to, "big"), None);

        // The first sender has found out meanwhile.
        let first = sender.ended();
        assert_eq!(first.code, 1);
        assert!(first.error().contains("is gone") && first.error().contains("run both again"), "{first:?}");
    });
}

#[test]
fn whoever_is_stopped_tells_the_other_and_loses_nothing() {
    in_time(|| assert!((0..20).any(|_| stop_both()), "every transfer was over before it could be stopped"));
}

/// Stops a sender, then a receiver; `false` if that came too late.
fn stop_both() -> bool {
    let scratch = Scratch::new();
    let (file, to) = (scratch.file("big", 96 << 20), scratch.path("to"));
    let key = scratch.key("key");
    let mut receiver = Receiver::start(&key, &to, &[]);

    let mut sender = command(&receiver.send_args(&[&file]));
    if !until_longer(&mut sender, &to, "big", 1 << 20) {
        return false;
    }
    sender.interrupt();
    let sent = sender.ended();
    if sent.code == 0 {
        return false;
    }
    assert_eq!(sent.code, 1);
    assert!(sent.error().contains("stopped"), "{sent:?}");
    assert_eq!(
        sent.json()["error"].as_str().map(|line| format!("dunlin: {line}")).as_deref(),
        Some(sent.error())
    );

    // The receiver is still there, for the next try, and this time it is the one to stop.
    assert!(receiver.process.report()["error"].is_string());
    let kept = part_length(&to, "big");
    let mut sender = command(&receiver.send_args(&[&file]));
    if !until_longer(&mut sender, &to, "big", kept + (1 << 20)) {
        return false;
    }
    receiver.process.interrupt();
    let sent = sender.ended();
    if sent.code == 0 {
        return false;
    }
    assert_eq!(sent.code, 1);
    assert!(sent.error().contains("the other side was stopped"), "{sent:?}");
    assert_eq!(receiver.process.ended().code, 1);

    receiver = Receiver::start(&key, &to, &["--once"]);
    let sent = run(&receiver.send_args(&[&file]));
    assert_eq!(sent.code, 0, "{sent:?}");
    assert!(sent.json()["bytes_from_before"].as_u64().unwrap() > kept);
    assert!(fs::read(to.join("big")).unwrap() == content("big", 96 << 20));
    true
}
