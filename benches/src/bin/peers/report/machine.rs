//! On what, and with which versions.

use std::fs;

use serde::Serialize;

/// Where and what was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    /// Receive and send buffer that the kernel allows a UDP socket, in bytes.
    socket_buffers: String,
    tcp_congestion_control: String,
    /// dunlin's cryptography.
    crypto: &'static str,
    /// Of the stacks, as the lock file has them.
    versions: Vec<String>,
}

const LOCK: &str = include_str!("../../../../../Cargo.lock");

/// The crates whose versions matter.
const CRATES: [&str; 14] = [
    "dunlin-core",
    "quinn",
    "quinn-proto",
    "s2n-quic",
    "s2n-tls",
    "noq",
    "rustls",
    "tokio-rustls",
    "tokio",
    "mio",
    "ring",
    "aws-lc-rs",
    "aes-gcm",
    "chacha20poly1305",
];

impl Machine {
    pub(crate) fn this() -> Self {
        let system = |path: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.trim().to_owned()
        };
        let info = system("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let buffers = ["rmem_max", "wmem_max"].map(|name| system(&format!("/proc/sys/net/core/{name}")));
        Self {
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: system("/proc/sys/kernel/osrelease"),
            socket_buffers: buffers.join(" / "),
            tcp_congestion_control: system("/proc/sys/net/ipv4/tcp_congestion_control"),
            crypto: dunlin_core::CRYPTO_BACKEND,
            versions: CRATES.iter().flat_map(|name| versions(name)).collect(),
        }
    }

    /// A few lines.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{} cores of {}, Linux {}, socket buffers at most {} B, TCP with {}; dunlin's cryptography: {}\n{}",
            self.cores,
            self.processor,
            self.kernel,
            self.socket_buffers,
            self.tcp_congestion_control,
            self.crypto,
            self.versions.join(", ")
        )
    }
}

/// The versions of a crate in the lock file.
fn versions(name: &str) -> impl Iterator<Item = String> {
    let line = format!("name = \"{name}\"");
    let lines: Vec<&str> = LOCK.lines().collect();
    let found: Vec<String> = lines
        .windows(2)
        .filter(|pair| pair[0] == line)
        .filter_map(|pair| pair[1].strip_prefix("version = \"")?.strip_suffix('"'))
        .map(|version| format!("{name} {version}"))
        .collect();
    found.into_iter()
}
