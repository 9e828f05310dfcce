//! Bulk transfer over loopback, dunlin beside quinn in one run: one stream, 1,400-byte packets, equal windows, client and
//! server in processes of their own with one thread each, the peers in turn.
//!
//! `cargo run --release -p dunlin-benches --features peers --bin loopback [-- --bytes N] [--runs N]`

mod dunlin_peer;
mod quinn_peer;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// UDP payload of a full packet.
const PACKET: u16 = 1400;
/// Receive window of a stream; twice that for the connection.
const WINDOW: u32 = 16 << 20;
/// Bytes per write and read call.
const PIECE: usize = 128 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Aead {
    Aes,
    ChaCha,
}

/// One measured transfer.
#[derive(Clone, Copy, Debug)]
struct Run {
    gbit: f64,
    /// CPU seconds per GiB, client and server.
    cpu: (f64, f64),
}

const KINDS: [(&str, &str, Aead); 4] = [
    ("dunlin", "AES-256-GCM", Aead::Aes),
    ("quinn", "AES-256-GCM", Aead::Aes),
    ("dunlin", "ChaCha20-Poly1305", Aead::ChaCha),
    ("quinn", "ChaCha20-Poly1305", Aead::ChaCha),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("serve") => serve(kind(&args[1])),
        Some("send") => send(kind(&args[1]), &args[2], &args[3], args[4].parse().expect("bytes")),
        _ => compare(&args),
    }
}

fn kind(index: &str) -> (&'static str, &'static str, Aead) {
    KINDS[index.parse::<usize>().expect("an index")]
}

fn option(args: &[String], name: &str, default: u64) -> u64 {
    let value = args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    value.map_or(default, |value| value.parse().expect("a number"))
}

fn compare(args: &[String]) {
    let bytes = option(args, "--bytes", 2 << 30);
    let runs = option(args, "--runs", 5);
    println!(
        "{bytes} bytes, one stream, {PACKET}-byte packets, {runs} runs in turn; dunlin's crypto: {}",
        dunlin_core::CRYPTO_BACKEND
    );
    let mut results: [Vec<Run>; 4] = Default::default();
    for _ in 0..runs {
        for (index, results) in results.iter_mut().enumerate() {
            results.push(run(index, bytes));
        }
    }
    println!("{:<18} {:<8} {:>22} {:>24}", "AEAD", "", "Gbit/s (min - max)", "CPU s/GiB send / receive");
    let medians = results.map(|mut runs| {
        runs.sort_by(|a, b| a.gbit.total_cmp(&b.gbit));
        (runs[runs.len() / 2], runs[0].gbit, runs[runs.len() - 1].gbit)
    });
    for ((name, aead, _), (median, min, max)) in KINDS.iter().zip(&medians) {
        println!(
            "{aead:<18} {name:<8} {:>7.2} ({min:>5.2} - {max:>5.2}) {:>13.2} / {:>8.2}",
            median.gbit, median.cpu.0, median.cpu.1
        );
    }
    for pair in [0, 2] {
        println!(
            "{:<18} dunlin / quinn: {:.2}",
            KINDS[pair].1,
            medians[pair].0.gbit / medians[pair + 1].0.gbit
        );
    }
}

/// One transfer in two processes of its own.
fn run(index: usize, bytes: u64) -> Run {
    let program = std::env::current_exe().expect("this program has a path");
    let index = index.to_string();
    let mut server = Command::new(&program)
        .args(["serve", &index])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    let (addr, secret) = (next(), next());
    let client = Command::new(&program)
        .args(["send", &index, &addr, &secret, &bytes.to_string()])
        .output()
        .expect("runs");
    assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
    let client = String::from_utf8_lossy(&client.stdout).into_owned();
    let (seconds, client_cpu) = client.trim().split_once(' ').expect("two numbers");
    let server_cpu = next();
    server.wait().expect("the server ends");
    let gib = bytes as f64 / (1u64 << 30) as f64;
    let number = |text: &str| text.parse::<f64>().expect("a number");
    Run {
        gbit: bytes as f64 * 8.0 / number(seconds) / 1e9,
        cpu: (number(client_cpu) / gib, number(&server_cpu) / gib),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn serve((name, _, aead): (&str, &str, Aead)) {
    let ready = |addr: SocketAddr, secret: String| {
        println!("{addr}\n{secret}");
        std::io::stdout().flush().expect("the parent reads");
    };
    runtime().block_on(async {
        match name {
            "dunlin" => dunlin_peer::serve(aead, ready).await,
            _ => quinn_peer::serve(aead, ready).await,
        }
    });
    println!("{}", cpu_seconds());
}

fn send((name, _, aead): (&str, &str, Aead), addr: &str, secret: &str, bytes: u64) {
    let addr = addr.parse().expect("an address");
    let time = runtime().block_on(async {
        match name {
            "dunlin" => dunlin_peer::send(aead, addr, secret, bytes).await,
            _ => quinn_peer::send(aead, addr, secret, bytes).await,
        }
    });
    println!("{} {}", time.as_secs_f64(), cpu_seconds());
}

/// CPU time of this process so far, user and system.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        behind.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
