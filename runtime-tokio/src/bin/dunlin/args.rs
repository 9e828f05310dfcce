//! The command line.

use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dunlin_tokio::dunlin_core::select::{BiasedRtt, DirectOnly, LowestLatency, PathSelector, Spread};
use dunlin_tokio::dunlin_core::{self, Shard};
use dunlin_tokio::{AeadPolicy, PublicKey};

/// Moves files between machines, encrypted, over UDP; makes keys, measures paths
#[derive(Parser, Debug)]
#[command(name = "dunlin", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a key file and print its public key
    Keygen(KeygenArgs),
    /// Print the public key of a key file
    Key(KeyArgs),
    /// Receive files into a folder
    Recv(RecvArgs),
    /// Send files and folders; what an interrupted try has sent is not sent again
    Send(SendArgs),
    /// Measure a path between two machines
    #[command(subcommand)]
    Perf(PerfCommand),
    /// Send a file from this machine to itself, over real UDP, and show how it went
    Demo(DemoArgs),
    /// Show what is in the packets of a capture, with the keys of a --keylog file
    Decrypt(DecryptArgs),
}

#[derive(Args, Debug)]
pub(crate) struct KeyLogArgs {
    /// Append the keys of every connection to this file, for `dunlin decrypt`: whoever reads it reads what was sent
    #[arg(long = "keylog", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct WireArgs {
    /// What to speak: dunlin's own wire, or QOTP, on which nobody proves who he is. Both sides need the same
    #[arg(long, value_enum, default_value_t = Wire::Native)]
    pub(crate) wire: Wire,
    /// The private key to use in QOTP: a file of 32 bytes or 64 hexadecimal digits, or those digits themselves; without
    /// it, one that belongs to --key
    #[arg(long, value_name = "FILE|HEX", conflicts_with = "qotp_seed")]
    pub(crate) qotp_key: Option<String>,
    /// Derive the private key for QOTP from this text, as its reference implementation does
    #[arg(long, value_name = "STRING", value_parser = seed)]
    pub(crate) qotp_seed: Option<String>,
}

/// The wires by their names here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Wire {
    Native,
    Qotp,
}

#[derive(Args, Debug)]
pub(crate) struct PathArgs {
    /// An address of this machine to send from, with or without a port; may be given up to 16 times: one connection uses
    /// all of them [default: what the system chooses]
    #[arg(long, value_name = "ADDR", value_parser = local)]
    pub(crate) local: Vec<SocketAddr>,
    /// What decides which of several paths data takes from here
    #[arg(long, value_enum, default_value_t = Policy::Rtt)]
    pub(crate) policy: Policy,
}

/// The policies by their names here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Policy {
    /// The shortest round trip, with 3 ms in favour of IPv6
    Rtt,
    /// The shortest round trip
    Latency,
    /// The shortest round trip, and never a relay
    Direct,
    /// All good paths at once
    Spread,
}

impl From<Policy> for Arc<dyn PathSelector> {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Rtt => Arc::new(BiasedRtt),
            Policy::Latency => Arc::new(LowestLatency),
            Policy::Direct => Arc::new(DirectOnly),
            Policy::Spread => Arc::new(Spread),
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct DecryptArgs {
    /// The key file that --keylog wrote, here or at the other end
    #[arg(long, value_name = "FILE")]
    pub(crate) keylog: PathBuf,
    /// The capture, in the format pcap or pcapng
    #[arg(value_name = "CAPTURE")]
    pub(crate) capture: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct KeygenArgs {
    /// Where to write the key
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Derive the key from this text, which then is as good as the key to whoever knows it
    #[arg(long, value_name = "STRING", value_parser = seed)]
    pub(crate) seed: Option<String>,
    /// Replace the file if there is one
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct KeyArgs {
    /// The key file
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct RecvArgs {
    /// Address and port to listen on, such as 0.0.0.0:4433 for all addresses
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// The key file of this receiver
    #[arg(long, value_name = "FILE", required_unless_present_any = ["qotp_key", "qotp_seed"])]
    pub(crate) key: Option<PathBuf>,
    /// The folder for what arrives; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Let in only who has this public key; may be given several times. Without it everybody may send
    #[arg(long, value_name = "PUBKEY", num_args = 1.., value_parser = public_key)]
    pub(crate) allow: Vec<PublicKey>,
    /// Replace files whose names others of another content come with; without it they stay, and the sender is told
    #[arg(long)]
    pub(crate) replace: bool,
    /// End after the first transfer that is complete
    #[arg(long)]
    pub(crate) once: bool,
    /// Print one JSON object per transfer instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) wire: WireArgs,
    #[command(flatten)]
    pub(crate) keylog: KeyLogArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    /// Address and port of the receiver; may be given several times if it has several addresses: one connection uses all
    /// that answer
    #[arg(long, value_name = "ADDR", required = true)]
    pub(crate) to: Vec<Remote>,
    /// The receiver's public key, which it prints; may be left out in QOTP
    #[arg(long, value_name = "PUBKEY")]
    pub(crate) peer: Option<String>,
    /// The key file to show; without it, a key that is made for this transfer and then forgotten
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Bytes per UDP packet; more than 1200 only where the whole path carries it [default: 1200]
    #[arg(long, value_name = "N", value_parser = packet_size())]
    pub(crate) packet_size: Option<u16>,
    /// Print one JSON object at the end instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) wire: WireArgs,
    #[command(flatten)]
    pub(crate) keylog: KeyLogArgs,
    #[command(flatten)]
    pub(crate) paths: PathArgs,
    /// Files and folders
    #[arg(value_name = "PATH", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum PerfCommand {
    /// Answer measurements
    Server(PerfServerArgs),
    /// Measure against a server
    Client(PerfClientArgs),
}

#[derive(Args, Debug)]
pub(crate) struct PerfServerArgs {
    /// Address and port to listen on, such as 0.0.0.0:4433 for all addresses
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// The key file of this server; without it, a key that is made now
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Let in only who has this public key; may be given several times. Without it everybody may measure
    #[arg(long, value_name = "PUBKEY", num_args = 1.., value_parser = public_key)]
    pub(crate) allow: Vec<PublicKey>,
    /// Spread the connections over so many shards, which work on as many cores at once; one connection uses one (Linux)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = shards())]
    pub(crate) shards: u8,
    /// Bytes per UDP packet for downloads; more than 1200 only where the whole path carries it [default: 1200]
    #[arg(long, value_name = "N", value_parser = packet_size())]
    pub(crate) packet_size: Option<u16>,
    #[command(flatten)]
    pub(crate) wire: WireArgs,
    #[command(flatten)]
    pub(crate) keylog: KeyLogArgs,
}

#[derive(Args, Debug)]
pub(crate) struct PerfClientArgs {
    /// The key file to show; without it, a key that is made for this measurement and then forgotten
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Address and port of the server; may be given several times if it has several addresses: one connection uses all that
    /// answer
    #[arg(long, value_name = "ADDR", required = true)]
    pub(crate) to: Vec<Remote>,
    /// The server's public key, which it prints; may be left out in QOTP
    #[arg(long, value_name = "PUBKEY")]
    pub(crate) peer: Option<String>,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    /// Stop after so many bytes, such as 500M or 2GiB; with --ping, the size of a message
    #[arg(long, value_name = "N", value_parser = bytes)]
    pub(crate) bytes: Option<u64>,
    /// Use so many shards, which work on as many cores at once, and dial a connection for each of them (Linux)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = shards())]
    pub(crate) shards: u8,
    /// Streams at once, on each connection
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) streams: u16,
    /// Stop after so many seconds [default: 10, without --bytes]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// The cipher: what is fastest on both machines, ChaCha20-Poly1305, or AES-256-GCM
    #[arg(long, value_enum, default_value_t = Aead::Auto)]
    pub(crate) aead: Aead,
    /// Bytes per UDP packet; more than 1200 only where the whole path carries it [default: 1200]
    #[arg(long, value_name = "N", value_parser = packet_size())]
    pub(crate) packet_size: Option<u16>,
    /// Print one JSON object at the end instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) paths: PathArgs,
    #[command(flatten)]
    pub(crate) wire: WireArgs,
    #[command(flatten)]
    pub(crate) keylog: KeyLogArgs,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct ModeArgs {
    /// Send to the server (the default)
    #[arg(long)]
    upload: bool,
    /// Have the server send
    #[arg(long)]
    download: bool,
    /// Send small messages to and fro
    #[arg(long)]
    ping: bool,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Client to server.
    Upload,
    /// Server to client.
    Download,
    /// Round trips.
    Ping,
}

impl ModeArgs {
    pub(crate) const fn mode(&self) -> Mode {
        match (self.download, self.ping) {
            (true, _) => Mode::Download,
            (_, true) => Mode::Ping,
            _ => Mode::Upload,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Size of the file, such as 500M or 2GiB
    #[arg(long, value_name = "N", default_value = "256MiB", value_parser = bytes)]
    pub(crate) bytes: u64,
    /// Bytes per UDP packet; loopback carries larger ones than most networks
    #[arg(long, value_name = "N", default_value_t = 8900, value_parser = packet_size())]
    pub(crate) packet_size: u16,
    /// Print one JSON object at the end instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// The ciphers by their names here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Aead {
    Auto,
    Chacha,
    Aes,
}

impl From<Aead> for AeadPolicy {
    fn from(aead: Aead) -> Self {
        match aead {
            Aead::Auto => Self::Auto,
            Aead::Chacha => Self::ChaCha20,
            Aead::Aes => Self::Aes,
        }
    }
}

/// A host, by address or name, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Remote(String);

impl Remote {
    /// As it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// All of them, for messages about the one peer that they lead to.
    pub(crate) fn names(all: &[Self]) -> String {
        all.iter().map(Self::as_str).collect::<Vec<_>>().join(" or ")
    }
}

impl FromStr for Remote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WANTED: &str = "write ADDRESS:PORT or NAME:PORT, such as 192.0.2.7:4433 or [2001:db8::7]:4433";
        if let Ok(address) = text.parse::<SocketAddr>() {
            let sendable = dunlin_core::TransportAddr::from(address).is_sendable();
            return if sendable {
                Ok(Self(text.to_owned()))
            } else {
                Err("nothing can be sent there: give the receiver's own address and a port above 0"
                    .to_owned())
            };
        }
        let Some((name, port)) = text.rsplit_once(':') else { return Err(WANTED.to_owned()) };
        let is_name = !name.is_empty() && !name.contains([':', '/', '[', ']', ' ']);
        if is_name && port.parse().is_ok_and(|port: u16| port > 0) {
            Ok(Self(text.to_owned()))
        } else {
            Err(WANTED.to_owned())
        }
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write ADDRESS:PORT, such as 0.0.0.0:4433 for all addresses, or 127.0.0.1:4433 for this machine only".into()
    })
}

fn local(text: &str) -> Result<SocketAddr, String> {
    let address =
        text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)).or_else(|_| text.parse::<SocketAddr>());
    address.map_err(|_| {
        "write an address of this machine, such as 192.0.2.7 or 2001:db8::7, with or without a port".into()
    })
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    text.parse().map_err(|error| format!("{error}; `dunlin key FILE` prints one"))
}

fn seed(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("an empty seed is everybody's key".to_owned()) } else { Ok(text.to_owned()) }
}

fn packet_size() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1200..=65_000)
}

fn shards() -> clap::builder::RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(1..=Shard::MAX_COUNT.into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=1e6).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write a number of seconds, at least 0.1".to_owned()),
    }
}

/// A number of bytes, with or without one of the usual units, which all count in 1024s.
fn bytes(text: &str) -> Result<u64, String> {
    const WANTED: &str = "write a number of bytes, such as 1000000, 64K, 500M or 2GiB";
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_uppercase();
    let shift = match unit.trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(WANTED.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| WANTED.to_owned())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(|| WANTED.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_the_usual_units() {
        let cases = [
            ("17", 17),
            ("64K", 64 << 10),
            ("500M", 500 << 20),
            ("2GiB", 2 << 30),
            ("1 gb", 1 << 30),
            ("9B", 9),
        ];
        for (text, wanted) in cases {
            assert_eq!(bytes(text), Ok(wanted), "{text}");
        }
        for text in ["", "0", "M", "1X", "-1", "1.5G", "99999999999T", "1MM"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn path_local_addresses_may_have_a_port() {
        let cases = [
            ("192.0.2.7", "192.0.2.7:0"),
            ("192.0.2.7:4433", "192.0.2.7:4433"),
            ("2001:db8::7", "[2001:db8::7]:0"),
            ("[2001:db8::7]:4433", "[2001:db8::7]:4433"),
        ];
        for (text, wanted) in cases {
            assert_eq!(local(text), Ok(wanted.parse().unwrap()), "{text}");
        }
        for text in ["", "eth0", "192.0.2", "[2001:db8::7]", "192.0.2.7:"] {
            assert!(local(text).is_err(), "{text}");
        }
    }

    #[test]
    fn remotes_need_a_port_and_a_place() {
        for good in ["127.0.0.1:1", "[::1]:65535", "example.org:4433", "host-1:80"] {
            assert!(good.parse::<Remote>().is_ok(), "{good}");
        }
        let bad = [
            "",
            "127.0.0.1",
            "::1:80",
            "host",
            ":80",
            "host:0",
            "host:99999",
            "0.0.0.0:80",
            "1.2.3.4:0",
            "a b:1",
        ];
        for bad in bad {
            assert!(bad.parse::<Remote>().is_err(), "{bad}");
        }
    }
}
