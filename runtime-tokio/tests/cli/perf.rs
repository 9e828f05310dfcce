//! `perf`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::{DUNLIN, Scratch, in_time, run};

/// A server that is killed with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) key: String,
    out: Option<BufReader<std::process::ChildStdout>>,
}

impl Server {
    fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", more)
    }

    pub(crate) fn start_at(listen: &str, more: &[&str]) -> Self {
        let mut child = Command::new(DUNLIN)
            .args(["perf", "server", "--listen", listen])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut next = |what| next_line(&mut out).strip_prefix(what).unwrap().to_owned();
        let (key, address) = (next("public key "), next("listening on "));
        Self { child, address, key, out: Some(out) }
    }

    pub(crate) fn args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["perf", "client", "--to", &self.address, "--peer", &self.key], more].concat()
    }
}

fn next_line(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn bytes_go_up_and_down_and_are_all_counted() {
    let rest = ["--json", "--bytes", "3000001", "--streams", "3", "--packet-size", "8900"];
    in_time(|| {
        let server = Server::start();
        for (way, aead, name) in
            [("--upload", "chacha", "ChaCha20-Poly1305"), ("--download", "aes", "AES-256-GCM")]
        {
            let ended = run(&server.args(&[&[way, "--aead", aead], &rest[..]].concat()));
            assert_eq!(ended.code, 0, "{ended:?}");
            let told = ended.json();
            assert_eq!((&told["bytes"], &told["streams"]), (&3_000_001.into(), &3.into()));
            assert_eq!((&told["aead"], &told["packet_size"]), (&name.into(), &8900.into()));
            assert_eq!(told["shards"], 1);
            assert!(told["crypto_backend"].is_string() && told["bits_per_second"].as_f64().unwrap() > 0.0);
            let limiter = told["limiter_seconds"].as_object().unwrap();
            assert!(limiter.len() == 7 && limiter["application"].is_f64(), "{limiter:?}");
        }
    });
}

#[test]
fn a_measurement_ends_in_time_and_says_what_it_used() {
    in_time(|| {
        let server = Server::start();
        for way in ["--upload", "--download"] {
            let ended = run(&server.args(&[way, "--seconds", "0.3"]));
            assert_eq!(ended.code, 0, "{ended:?}");
            let limiter = "before sending more";
            for part in ["bit/s", "/s)", "rtt", "loss", "sent again", limiter, " bytes, protected with "] {
                assert!(ended.stdout.contains(part), "{part}: {ended:?}");
            }
        }
    });
}

#[test]
fn shards_get_a_connection_each_and_all_bytes_are_counted() {
    let count = if cfg!(target_os = "linux") { 3 } else { 1 };
    in_time(|| {
        let mut server = Server::start_with(&["--shards", "2"]);
        let told = next_line(server.out.as_mut().unwrap());
        assert_eq!(told, if cfg!(target_os = "linux") { "with 2 shards" } else { "with 1 shard" });
        let more = ["--json", "--bytes", "1000001", "--streams", "2", "--shards", "3"];
        let ended = run(&server.args(&more));
        assert_eq!(ended.code, 0, "{ended:?}");
        let told = ended.json();
        assert_eq!((&told["bytes"], &told["error"]), (&1_000_001.into(), &serde_json::Value::Null));
        assert_eq!((&told["shards"], &told["streams"]), (&count.into(), &(2 * count).into()));
        for _ in 0..count {
            assert!(next_line(server.out.as_mut().unwrap()).contains(" connected with the key "));
        }
        let ended = run(&server.args(&["--bytes", "1000", "--shards", "2"]));
        let streams = if count > 1 { "2 streams of 2 connections" } else { "1 stream:" };
        assert!(ended.stdout.contains(streams), "{ended:?}");
    });
}

#[test]
fn pings_come_back() {
    in_time(|| {
        let server = Server::start();
        let measure = |seconds: &str| {
            let more = ["--ping", "--json", "--seconds", seconds, "--bytes", "100", "--streams", "2"];
            let ended = run(&server.args(&more));
            assert_eq!(ended.code, 0, "{ended:?}");
            Some(ended.json()).filter(|told| told["round_trips"].as_u64().unwrap() > 0)
        };
        // A slow machine needs more time for a single one.
        let told = ["0.3", "3", "30"].into_iter().find_map(measure).expect("a message comes back");
        let [min, half, worst] =
            ["min", "p50", "p99"].map(|name| told["round_trip_us"][name].as_f64().unwrap());
        assert!(0.0 < min && min <= half && half <= worst);
        let too_large = run(&server.args(&["--ping", "--bytes", "1M"]));
        assert_eq!(too_large.code, 2);
    });
}

#[test]
fn files_sent_to_a_server_that_only_measures_are_refused() {
    in_time(|| {
        let (server, scratch) = (Server::start(), Scratch::new());
        let file = scratch.file("file", 1);
        let ended = run(&["send", "--to", &server.address, "--peer", &server.key, file.to_str().unwrap()]);
        assert_eq!(ended.code, 1);
        assert!(ended.error().contains("runs another command"), "{ended:?}");
    });
}

#[test]
fn both_sides_can_log_their_keys() {
    in_time(|| {
        let scratch = Scratch::new();
        let logs = ["server", "client"].map(|name| scratch.path(name).to_str().unwrap().to_owned());
        let server = Server::start_with(&["--keylog", &logs[0]]);
        let ended = run(&server.args(&["--bytes", "100K", "--keylog", &logs[1]]));
        assert_eq!(ended.code, 0, "{ended:?}");
        let [server, client] = logs.map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(client.len(), 3);
        // The server has more if the client came late and asked who was there.
        assert!(client.iter().all(|line| server.contains(line)), "{client:?} {server:?}");
    });
}

#[test]
fn a_server_whose_output_nobody_reads_goes_on() {
    in_time(|| {
        let mut server = Server::start();
        drop(server.out.take());
        for _ in 0..2 {
            let ended = run(&server.args(&["--bytes", "1000"]));
            assert_eq!(ended.code, 0, "{ended:?}");
        }
    });
}

#[test]
fn only_those_allowed_measure() {
    in_time(|| {
        let scratch = Scratch::new();
        let (friend, stranger) = (scratch.key("friend"), scratch.key("stranger"));
        let server = Server::start_with(&["--allow", &friend.1]);
        let with =
            |key: &std::path::Path| run(&server.args(&["--bytes", "1000", "--key", key.to_str().unwrap()]));
        assert_eq!(with(&friend.0).code, 0);
        let refused = with(&stranger.0);
        assert!(refused.code == 1 && refused.error().contains("does not let this key in"), "{refused:?}");
    });
}
