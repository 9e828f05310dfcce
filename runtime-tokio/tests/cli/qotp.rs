//! `--wire qotp`.

use std::fs;
use std::path::{Path, PathBuf};

use dunlin_tokio::QotpIdentity;

use crate::perf::Server;
#[cfg(unix)]
use crate::stopping::{DOOM, doomed, outlive, quiet_address, until_longer};
use crate::support::{
    Ended, Receiver, Running, Scratch, command, content, in_time, listing, part_in, part_length, recv_args,
    run,
};

/// Digits that a private key can have.
const HEX: &str = "0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100";

/// A receiver that speaks QOTP, and the key that it prints.
struct QotpReceiver {
    process: Running,
    address: String,
    key: String,
}

impl QotpReceiver {
    fn start(key: &(PathBuf, String), out: &Path, more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", key, out, more)
    }

    fn start_at(listen: &str, key: &(PathBuf, String), out: &Path, more: &[&str]) -> Self {
        let args = recv_args(listen, &key.0, out);
        let all: Vec<&str> = args.iter().map(String::as_str).chain(["--wire", "qotp"]).collect();
        Self::of(command(&[&all, more].concat()))
    }

    fn of(mut process: Running) -> Self {
        assert!(process.line_with("warning").contains("QOTP proves nobody's identity"));
        let key = process.line_with("public key ").replace("public key ", "");
        let address = process.line_with("listening on ").replace("listening on ", "");
        Self { process, address, key }
    }

    fn sender(&self, more: &[&str]) -> Running {
        command(&[&["send", "--json", "--wire", "qotp", "--to", &self.address], more].concat())
    }

    fn send(&self, more: &[&str]) -> Ended {
        self.sender(more).ended()
    }
}

/// The line of an error: the last one, after the warnings.
fn error(ended: &Ended) -> &str {
    let mut errors = ended.stderr.lines().filter(|line| line.starts_with("dunlin: "));
    errors.next_back().unwrap_or_else(|| panic!("no error: {ended:?}"))
}

#[test]
fn files_arrive_over_qotp_with_a_known_key_and_without() {
    let scratch = Scratch::new();
    scratch.file("from/all/big", 12 << 20);
    for index in 0..100 {
        scratch.file(&format!("from/all/{}/small {index}", index % 7), index * 31);
    }
    let (key, from) = (scratch.key("key"), scratch.path("from/all"));
    for (name, known) in [("known", true), ("any", false)] {
        let to = scratch.path(name);
        let receiver = QotpReceiver::start(&key, &to, &["--once"]);
        assert_ne!(receiver.key, key.1, "the QOTP key is never that of the identity");
        let peer: &[&str] = if known { &["--peer", &receiver.key] } else { &[] };
        let sent = receiver.send(&[peer, &[from.to_str().unwrap()]].concat());
        let received = receiver.process.ended();
        assert_eq!((sent.code, received.code), (0, 0), "{sent:?} {received:?}");
        assert!(sent.stderr.contains("QOTP proves nobody's identity"), "{sent:?}");
        assert_eq!(sent.stderr.contains("whoever answers"), !known, "{sent:?}");
        assert_eq!(listing(&to), listing(&scratch.path("from")));
        let (sent, received) = (sent.json(), received.json());
        assert_eq!((&sent["files"], &sent["hash"]), (&101.into(), &received["hash"]));
    }
}

#[cfg(unix)]
#[test]
fn a_killed_qotp_receiver_goes_on_where_it_stopped() {
    in_time(|| {
        const LENGTH: usize = 16 << 20;
        let scratch = Scratch::new();
        let (file, to, key) = (scratch.file("big", LENGTH), scratch.path("to"), scratch.key("key"));
        let address = quiet_address();
        let mut recv = doomed();
        recv.args(recv_args(&address, &key.0, &to)).args(["--wire", "qotp", "--once"]);
        let receiver = QotpReceiver::of(Running::start(&mut recv));
        let mut sender = receiver.sender(&["--peer", &receiver.key, file.to_str().unwrap()]);
        let Some(status) = outlive(&mut sender, receiver.process) else { panic!("{:?}", sender.ended()) };
        assert_eq!(status.code(), None, "it was killed");
        let kept = part_length(&to, "big");
        assert_eq!(kept, DOOM);

        let receiver = QotpReceiver::start_at(&address, &key, &to, &["--once"]);
        let sent = receiver.send(&["--peer", &receiver.key, file.to_str().unwrap()]);
        assert_eq!(sent.code, 0, "{sent:?}");
        assert_eq!(receiver.process.ended().code, 0);
        assert_eq!(sent.json()["bytes_from_before"], kept);
        assert!(fs::read(to.join("big")).unwrap() == content("big", LENGTH));

        let first = sender.ended();
        assert_eq!(first.code, 1);
        assert!(error(&first).contains("is gone") && error(&first).contains("run both again"), "{first:?}");
    });
}

#[cfg(unix)]
#[test]
fn a_qotp_receiver_notices_that_its_sender_was_stopped() {
    in_time(|| assert!((0..20).any(|_| stop_sender()), "every transfer was over before it could be stopped"));
}

/// Stops a sender; `false` if that came too late.
#[cfg(unix)]
fn stop_sender() -> bool {
    let scratch = Scratch::new();
    let (file, to) = (scratch.file("big", 96 << 20), scratch.path("to"));
    let mut receiver = QotpReceiver::start(&scratch.key("key"), &to, &["--once"]);
    let mut sender = receiver.sender(&[file.to_str().unwrap()]);
    if !until_longer(&mut sender, &to, "big", 1 << 20) {
        return false;
    }
    sender.interrupt();
    let sent = sender.ended();
    if sent.code == 0 {
        return false;
    }
    let received = receiver.process.report();
    assert_eq!(sent.code, 1);
    assert!(error(&sent).contains("stopped"), "{sent:?}");
    assert!(received["error"].as_str().unwrap().contains("too early"), "{received:?}");
    assert!(part_in(&to, "big").is_some() && !to.join("big").exists());
    true
}

#[test]
fn a_fault_is_told_over_qotp() {
    let scratch = Scratch::new();
    let (file, to) = (scratch.file("file", 1000), scratch.path("to"));
    fs::create_dir_all(to.join("file")).unwrap();
    let mut receiver = QotpReceiver::start(&scratch.key("key"), &to, &["--once"]);
    let sent = receiver.send(&[file.to_str().unwrap()]);
    let received = receiver.process.report();
    assert_eq!(sent.code, 1);
    assert!(error(&sent).contains("move that away"), "{sent:?}");
    assert!(received["error"].as_str().unwrap().contains("move that away"), "{received:?}");
}

#[test]
fn qotp_is_measured() {
    let server = Server::start_with(&["--wire", "qotp"]);
    for way in ["--upload", "--download"] {
        let ended =
            run(&server.args(&[way, "--wire", "qotp", "--json", "--bytes", "3000001", "--streams", "3"]));
        assert_eq!(ended.code, 0, "{ended:?}");
        let told = ended.json();
        assert_eq!((&told["bytes"], &told["packet_size"]), (&3_000_001.into(), &1400.into()));
        assert_eq!(told["aead"], "ChaCha20-Poly1305");
    }
    let timed = run(&server.args(&["--wire", "qotp", "--download", "--json", "--seconds", "0.3"]));
    assert_eq!(timed.code, 0, "{timed:?}");
    assert!(timed.json()["bytes"].as_u64().unwrap() > 0);
    let ping = run(&server.args(&["--wire", "qotp", "--ping", "--json", "--seconds", "0.3"]));
    assert_eq!(ping.code, 0, "{ping:?}");
    assert!(ping.json()["round_trips"].as_u64().unwrap() > 0);
}

#[test]
fn files_sent_in_qotp_to_a_server_that_only_measures_go_nowhere() {
    let (server, scratch) = (Server::start_with(&["--wire", "qotp"]), Scratch::new());
    let file = scratch.file("file", 1);
    let ended = run(&["send", "--wire", "qotp", "--to", &server.address, file.to_str().unwrap()]);
    assert_eq!(ended.code, 1);
    assert!(error(&ended).contains("too early"), "{ended:?}");
}

#[test]
fn the_wires_do_not_meet() {
    let scratch = Scratch::new();
    let (file, key) = (scratch.file("file", 1), scratch.key("key"));
    let file = file.to_str().unwrap();
    let (native_to, qotp_to) = (scratch.path("native"), scratch.path("qotp"));
    let native = Receiver::start(&key, &native_to, &[]);
    let qotp = QotpReceiver::start(&key, &qotp_to, &[]);
    let qotp_at_native = command(&["send", "--wire", "qotp", "--to", &native.address, file]);
    let native_at_qotp = command(&["send", "--to", &qotp.address, "--peer", &key.1, file]);
    for (ended, hint) in
        [(qotp_at_native.ended(), "--wire qotp"), (native_at_qotp.ended(), "check the address")]
    {
        assert_eq!(ended.code, 1);
        assert!(error(&ended).contains("no answer") && error(&ended).contains(hint), "{ended:?}");
    }
    assert!(listing(&native_to).is_empty() && listing(&qotp_to).is_empty());
}

#[test]
fn qotp_keys_come_from_texts_digits_and_files() {
    let scratch = Scratch::new();
    let key = scratch.key("key");
    let shown = |more: &[&str]| QotpReceiver::start(&key, &scratch.path("to"), more).key;
    let of = |identity: QotpIdentity| identity.public().to_string();
    assert_eq!(shown(&["--qotp-seed", "a seed"]), of(QotpIdentity::from_seed_text("a seed")));
    assert_eq!(shown(&["--qotp-key", HEX]), of(QotpIdentity::from_hex(HEX).unwrap()));
    assert_eq!(shown(&[]), shown(&[]), "it belongs to the key file");

    let path = scratch.path("qotp-key");
    let in_file = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        restrict(&path);
        shown(&["--qotp-key", path.to_str().unwrap()])
    };
    assert_eq!(in_file(&[7; 32]), of(QotpIdentity::from_seed([7; 32])));
    assert_eq!(in_file(format!("{HEX}\n").as_bytes()), of(QotpIdentity::from_hex(HEX).unwrap()));
}

/// For its owner only.
fn restrict(path: &Path) {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    #[cfg(not(unix))]
    let _ = path;
}

#[test]
fn what_qotp_cannot_do_is_bad_usage() {
    let scratch = Scratch::new();
    let (file, key) = (scratch.file("file", 1), scratch.key("key"));
    let (file, key_file) = (file.to_str().unwrap(), key.0.to_str().unwrap());
    let short = scratch.file("short", 31);
    restrict(&short);
    let send = ["send", "--to", "127.0.0.1:1"];
    let recv = ["recv", "--listen", "127.0.0.1:0", "--key", key_file, "--out", "unused"];
    let perf = ["perf", "client", "--to", "127.0.0.1:1", "--wire", "qotp"];
    let cases: [(&[&str], &[&str], &str); 9] = [
        (&recv, &["--wire", "qotp", "--allow", &key.1], "only claims"),
        (&send, &["--peer", &key.1, "--qotp-seed", "text", file], "--wire qotp"),
        (&send, &["--wire", "qotp", "--peer", "xyz", file], "64 hexadecimal digits"),
        (&send, &["--wire", "qotp", "--packet-size", "1400", file], "--packet-size"),
        (&send, &["--wire", "qotp", "--qotp-key", "/no/such/key", file], "/no/such/key"),
        (&send, &["--wire", "qotp", "--qotp-key", short.to_str().unwrap(), file], "32 bytes"),
        (&send, &["--wire", "qotp", "--qotp-key", HEX, "--qotp-seed", "text", file], "--qotp-seed"),
        (&send, &[file], "--peer"),
        (&perf, &["--aead", "aes"], "--aead"),
    ];
    for (command, more, part) in cases {
        let ended = run(&[command, more].concat());
        assert_eq!(ended.code, 2, "{more:?}: {ended:?}");
        assert!(error(&ended).contains(part), "{more:?}: {ended:?}");
    }
}
