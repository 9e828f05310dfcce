//! `send` and `perf` over several addresses at once.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use core::time::Duration;
use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::{Arc, OnceLock};
use std::thread;

use serde_json::Value;

use crate::perf::Server;
use crate::support::{Receiver, Scratch, content, in_time, run};

/// Two ways to the same place, over loopback. The first one that has carried so many bytes carries nothing any more.
struct Ways {
    addresses: [SocketAddr; 2],
    over: Arc<AtomicBool>,
}

impl Ways {
    fn to(place: SocketAddr, amid: usize) -> Self {
        let (over, silent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(usize::MAX)));
        let addresses = [0, 1].map(|number| {
            let (front, back) = (socket(), socket());
            back.connect(place).unwrap();
            let address = front.local_addr().unwrap();
            let way = Way { number, amid, over: Arc::clone(&over), silent: Arc::clone(&silent) };
            thread::spawn(move || way.run(&front, &back));
            address
        });
        Self { addresses, over }
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // So often it is seen whether the test is over.
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket
}

#[derive(Clone)]
struct Way {
    number: usize,
    amid: usize,
    over: Arc<AtomicBool>,
    /// Which of them has fallen silent.
    silent: Arc<AtomicUsize>,
}

impl Way {
    /// Passes on what comes, in both directions.
    fn run(&self, front: &UdpSocket, back: &UdpSocket) {
        let client = OnceLock::new();
        thread::scope(|both| {
            both.spawn(|| {
                let mut carried = 0;
                self.pass(front, |from, data| {
                    carried += data.len();
                    if carried > self.amid {
                        let _ = self.silent.compare_exchange(usize::MAX, self.number, Relaxed, Relaxed);
                    }
                    let _ = client.set(from);
                    back.send(data)
                });
            });
            self.pass(back, |_, data| client.get().map_or(Ok(0), |client| front.send_to(data, client)));
        });
    }

    fn pass(&self, from: &UdpSocket, mut to: impl FnMut(SocketAddr, &[u8]) -> std::io::Result<usize>) {
        let mut buffer = vec![0; 1 << 16];
        while !self.over.load(Relaxed) {
            match from.recv_from(&mut buffer) {
                Ok((len, source)) if self.silent.load(Relaxed) != self.number => {
                    // What the system does not take is lost, as it would be elsewhere.
                    let _ = to(source, &buffer[..len]);
                }
                Ok(_) => {}
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
                // Nobody listens there any more.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// One end of each of these paths or switches.
fn ends<'a>(list: &'a Value, end: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|path| path[end].as_str().unwrap()).collect()
}

#[test]
fn path_that_falls_silent_is_left_and_the_user_sees_it() {
    const SIZE: usize = 48 << 20;
    in_time(|| {
        let scratch = Scratch::new();
        let (file, to) = (scratch.file("file", SIZE), scratch.path("to"));
        let receiver = Receiver::start(&scratch.key("key"), &to, &["--once"]);
        let ways = Ways::to(receiver.address(), SIZE / 3);
        let [one, other] = ways.addresses.map(|address| address.to_string());
        let file = file.to_str().unwrap();
        let sent = run(&["send", "--json", "--to", &one, "--to", &other, "--peer", &receiver.key, file]);
        assert_eq!(sent.code, 0, "{sent:?}");
        assert_eq!(receiver.process.ended().code, 0);
        assert!(fs::read(to.join("file")).unwrap() == content("file", SIZE));
        let told = sent.json();
        let mut remotes = ends(&told["paths"], "remote");
        remotes.sort_unstable();
        let mut all = [&*one, &*other];
        all.sort_unstable();
        assert_eq!(remotes, all);
        let last = told["switches"].as_array().unwrap().last().unwrap();
        let left = last["from"]["remote"].as_str().unwrap();
        assert_eq!(last["to"]["remote"], told["path"]["remote"]);
        assert!(last["why"] == "silent" && left != told["path"]["remote"], "{told}");
        assert!(last["at_s"].as_f64().unwrap() > 0.0);
        let shown = format!("and no more from 127.0.0.1 to {left}, which fell silent");
        assert!(
            sent.stderr.lines().any(|line| line.starts_with("dunlin: after ") && line.ends_with(&shown)),
            "{sent:?}"
        );
        let gap = told["longest_gap_ms"].as_f64().unwrap();
        assert!(gap > 0.0 && gap < told["seconds"].as_f64().unwrap() * 1e3, "{told}");
    });
}

#[test]
fn path_of_each_pair_of_addresses_is_opened_and_counted() {
    in_time(|| {
        let server = Server::start_at("0.0.0.0:0", &[]);
        let port = server.address.rsplit_once(':').unwrap().1;
        let [one, other] = ["127.0.0.1", "127.0.0.2"].map(|ip| format!("{ip}:{port}"));
        let ended = run(&[
            &["perf", "client", "--json", "--seconds", "2", "--policy", "spread", "--peer", &server.key][..],
            &["--local", "127.0.0.3", "--local", "127.0.0.4", "--to", &one, "--to", &other],
        ]
        .concat());
        assert_eq!(ended.code, 0, "{ended:?}");
        let told = ended.json();
        let paths = told["paths"].as_array().unwrap();
        let mut pairs: Vec<_> = paths
            .iter()
            .map(|path| (path["local"].as_str().unwrap(), path["remote"].as_str().unwrap()))
            .collect();
        pairs.sort_unstable();
        assert_eq!(
            pairs,
            [("127.0.0.3", &*one), ("127.0.0.3", &other), ("127.0.0.4", &one), ("127.0.0.4", &other)]
        );
        let count = |path: &Value, what: &str| path[what].as_u64().unwrap();
        for path in paths {
            assert!(count(path, "packets_received") > 0 && path["rtt_us"].is_u64(), "{path}");
            assert!(count(path, "packets_sent") > count(path, "packets_lost"));
        }
        // How the data is spread over them is chance: where the processor is the limit, one may be enough.
        let sent: u64 = paths.iter().map(|path| count(path, "packets_sent")).sum();
        assert!(sent <= told["packets_sent"].as_u64().unwrap());
    });
}

#[test]
fn path_in_use_is_shown_while_it_goes_on() {
    in_time(|| {
        let server = Server::start_at("127.0.0.1:0", &[]);
        let ended = run(&server.args(&["--seconds", "1.5"]));
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.lines().any(|line| line.contains("  via 127.0.0.1 (v4) ")), "{ended:?}");
        let ended = run(&server.args(&["--seconds", "3.5", "--local", "127.0.0.2", "--local", "127.0.0.3"]));
        assert_eq!(ended.code, 0, "{ended:?}");
        let via = ["127.0.0.2", "127.0.0.3"].map(|local| format!("  via {local} (v4) "));
        assert!(ended.stdout.lines().any(|line| via.iter().any(|via| line.contains(via))), "{ended:?}");
        assert!(ended.stdout.contains("\n2 paths, "), "{ended:?}");
    });
}

#[test]
fn path_addresses_that_are_not_ours_are_told_in_one_line() {
    let scratch = Scratch::new();
    let file = scratch.file("file", 1);
    let key = scratch.key("key").1;
    let ended = run(&[
        &["send", "--to", "127.0.0.1:1", "--peer", &key, "--local", "127.0.0.1"][..],
        &["--local", "192.0.2.77", file.to_str().unwrap()],
    ]
    .concat());
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("192.0.2.77:0 is no address of this machine"), "{ended:?}");
}
