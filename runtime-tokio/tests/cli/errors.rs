//! What goes wrong gets one clear line and the right exit code.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use crate::support::{DUNLIN, Receiver, Scratch, in_time, listing, part_length, recv_args, run};

/// A public key that nobody here has.
const STRANGER: &str = "0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100";

#[test]
fn bad_usage_is_told_in_one_line_with_exit_code_2() {
    let scratch = Scratch::new();
    let file = scratch.file("file", 1);
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str); 17] = [
        (&["send", "--peer", STRANGER, file], "--to"),
        (&["send", "--to", "nonsense", "--peer", STRANGER, file], "ADDRESS:PORT"),
        (&["send", "--to", "0.0.0.0:1", "--peer", STRANGER, file], "port above 0"),
        (&["send", "--to", "127.0.0.1:1", "--peer", "xyz", file], "64 lower-case hexadecimal digits"),
        (&["send", "--to", "127.0.0.1:1", "--peer", &"00".repeat(32), file], "low order"),
        (&["send", "--to", "127.0.0.1:1", "--peer", STRANGER], "PATH"),
        (&["send", "--to", "127.0.0.1:1", "--peer", STRANGER, "/no/such/file"], "/no/such/file"),
        (&["send", "--to", "127.0.0.1:1", "--peer", STRANGER, "--key", "/no/key", file], "/no/key"),
        (&["send", "--to", "127.0.0.1:1", "--peer", STRANGER, "--local", "wlan0", file], "such as 192.0.2.7"),
        (&["send", "--to", "127.0.0.1:1", "--peer", STRANGER, "--policy", "fastest", file], "rtt, latency"),
        (&["recv", "--listen", "4433", "--key", "k", "--out", "o"], "0.0.0.0:4433"),
        (&["perf", "client", "--to", "h:1", "--peer", STRANGER, "--upload", "--ping"], "--ping"),
        (&["perf", "client", "--to", "h:1", "--peer", STRANGER, "--shards", "0"], "0 is not in 1..=64"),
        (&["perf", "server", "--listen", "127.0.0.1:0", "--shards", "65"], "65 is not in 1..=64"),
        (&["perf", "server", "--listen", "127.0.0.1:0", "--shards", "all"], "--shards"),
        (&["demo", "--bytes", "much"], "500M"),
        (&["fly"], "fly"),
    ];
    for (args, part) in cases {
        let ended = run(args);
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
        assert!(ended.error().contains(part), "{args:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{args:?}: {ended:?}");
    }
    let help = run(&["send", "--help"]);
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("--peer"));
}

#[test]
fn nobody_there_ends_after_five_seconds() {
    let scratch = Scratch::new();
    let file = scratch.file("file", 1);
    // Bound, so that nobody else gets the port, and silent.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let ended = run(&["send", "--json", "--to", &address, "--peer", STRANGER, file.to_str().unwrap()]);
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("no answer from") && ended.error().contains(&address), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1);
    assert!(ended.json()["error"].as_str().unwrap().contains("no answer"));
}

#[test]
fn a_receiver_with_another_key_is_named() {
    in_time(|| {
        let scratch = Scratch::new();
        let (file, key) = (scratch.file("file", 1), scratch.key("key"));
        let receiver = Receiver::start(&key, &scratch.path("to"), &[]);
        let ended = run(&["send", "--to", &receiver.address, "--peer", STRANGER, file.to_str().unwrap()]);
        assert_eq!(ended.code, 1);
        assert!(ended.error().contains(&format!("before you trust {}", key.1)), "{ended:?}");
        // It is not even disturbed, and nothing was sent.
        let sent = run(&receiver.send_args(&[&file]));
        assert_eq!(sent.code, 0, "{sent:?}");
        assert_eq!(listing(&scratch.path("to")).len(), 1);
    });
}

#[test]
fn a_choosy_receiver_with_another_key_is_noticed_though_not_named() {
    in_time(|| {
        let scratch = Scratch::new();
        let (file, key) = (scratch.file("file", 1), scratch.key("key"));
        let receiver = Receiver::start(&key, &scratch.path("to"), &["--allow", STRANGER]);
        let ended = run(&["send", "--to", &receiver.address, "--peer", STRANGER, file.to_str().unwrap()]);
        assert_eq!(ended.code, 1);
        assert!(ended.error().contains("not to the key given with --peer"), "{ended:?}");
    });
}

#[test]
fn a_port_in_use_is_told() {
    let scratch = Scratch::new();
    let key = scratch.key("key");
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = recv_args(&address, &key.0, &scratch.path("to"));
    let ended = run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("is in use") && ended.error().contains(&address), "{ended:?}");
    assert!(ended.json()["error"].as_str().unwrap().contains("is in use"));
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_listening() {
    let scratch = Scratch::new();
    let (key, file) = (scratch.key("key"), scratch.file("file", 1));
    let args = recv_args("127.0.0.1:0", &key.0, &file.join("below"));
    let ended = run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("cannot write to the folder"), "{ended:?}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_told_to_both_and_what_arrived_counts() {
    in_time(|| {
        let scratch = Scratch::new();
        let (file, to, key) = (scratch.file("file", 4 << 20), scratch.path("to"), scratch.key("key"));
        // No file may grow beyond 2,048 blocks of 512 bytes: as close to a full disk as a test gets without being root.
        let limited = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", limited, DUNLIN]).args(recv_args("127.0.0.1:0", &key.0, &to)).arg("--once");
        let mut receiver = Receiver::of(&mut command, &key.1);
        let sent = run(&receiver.send_args(&[&file]));
        let words = "no space left for `file`";
        assert!(sent.code == 1 && sent.error().contains("the receiver"), "{sent:?}");
        assert!(sent.error().contains(words), "{sent:?}");
        assert!(receiver.process.report()["error"].as_str().unwrap().contains(words));
        assert!(receiver.process.status().is_none(), "it waits for one that is complete");
        assert!(part_length(&to, "file") > 0);

        let receiver = Receiver::start(&key, &to, &["--once"]);
        let sent = run(&receiver.send_args(&[&file]));
        assert_eq!(sent.code, 0, "{sent:?}");
        assert!(sent.json()["bytes_from_before"].as_u64().unwrap() > 0);
    });
}

#[test]
fn something_in_the_way_is_told_to_both() {
    in_time(|| {
        let scratch = Scratch::new();
        let (file, to) = (scratch.file("file", 1000), scratch.path("to"));
        fs::create_dir_all(to.join("file")).unwrap();
        let mut receiver = Receiver::start(&scratch.key("key"), &to, &["--once"]);
        let sent = run(&receiver.send_args(&[&file]));
        assert!(sent.code == 1 && sent.error().contains("move that away"), "{sent:?}");
        let received = receiver.process.report();
        assert!(received["error"].as_str().unwrap().contains("move that away"), "{received:?}");
        assert_eq!(
            sent.json()["error"].as_str().map(|line| format!("dunlin: {line}")).as_deref(),
            Some(sent.error())
        );
    });
}
