//! `demo`: both sides in one process.

use core::net::{Ipv4Addr, SocketAddr};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use dunlin_tokio::{AeadPolicy, Endpoint, Peer};

use crate::args::DemoArgs;
use crate::failure::{self, Failure, Reported};
use crate::folder::{self, Existing};
use crate::net::{self, CLOSING, code};
use crate::progress::Show;
use crate::report::Report;
use crate::text;
use crate::transfer::{self, Counters, Destination};

use super::recv::{finish, report};
use super::send::{close_failed, gather, transfer_over};
use super::streams::{self, Accepted};

/// The name of the file that is made.
const NAME: &str = "demo.bin";

/// Bytes written at once while making it.
const PIECE: usize = 1 << 20;

/// Where the file is made and where it goes; removed in the end, however that comes.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs in the folder for temporary files are the system's to remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sends a file from this machine to itself.
pub(crate) async fn run(args: DemoArgs) -> Result<Reported, Failure> {
    let show = Show::new(args.json);
    let say = |line: String| if args.json { show.note(&line) } else { show.print(&line) };
    let cannot = |error: io::Error| {
        Failure::failed(format!(
            "cannot make the demo's file: {error}; set TMPDIR to a folder with twice that space"
        ))
    };
    let scratch = Scratch(folder::private_temporary("dunlin-demo").map_err(cannot)?);
    let (from, to) = (scratch.0.join(NAME), scratch.0.join("received"));
    say(format!("making a file of {} of random bytes in {}", text::bytes(args.bytes), scratch.0.display()));
    let (path, bytes) = (from.clone(), args.bytes);
    let original = blocking(move || make(&path, bytes)).await?.map_err(cannot)?;
    let destination = Destination::open(&to, Existing::Keep).map_err(cannot)?;

    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = net::config(transfer::ALPN, args.packet_size, AeadPolicy::Auto);
    let receiver = net::bind(here, net::ONE_SHARD, config.clone(), net::throwaway()?, None)?;
    let sender = net::bind(here, net::ONE_SHARD, config, net::throwaway()?, None)?;
    say(format!(
        "sending it from {} to {} over UDP, in packets of {} bytes (loopback carries them; networks mostly 1200 to 1500)",
        sender.local_addr(),
        receiver.local_addr(),
        args.packet_size
    ));

    let source = gather(vec![from]).await?;
    let sending = send(&sender, &receiver, source, &show);
    let ((sent, crypto), received) = tokio::try_join!(sending, receive(&receiver, destination))?;
    tokio::join!(net::shut(sender, code::DONE, ""), net::shut(receiver, code::DONE, ""));
    // The first one has the cause, the second may only have heard of it.
    let result = received.result().and_then(|()| sent.result());
    if result.is_err() {
        if args.json {
            failure::say(sent.json());
        }
        return Ok(result);
    }

    let path = to.join(NAME);
    let arrived = blocking(move || hash(&path)).await?.map_err(cannot)?;
    if arrived != original {
        return Err(Failure::failed("the file that arrived is not the one that was sent"));
    }
    if args.json {
        failure::say(sent.json());
    } else {
        show.print(&sent.text());
        show.print(&format!("protected with {crypto}"));
        show.print("the file was read again where it arrived: the hash is that of the file sent");
    }
    Ok(Ok(()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::failed(error.to_string()))
}

/// The sending side; also says which cipher was used.
async fn send(
    sender: &Endpoint,
    receiver: &Endpoint,
    source: transfer::Source,
    show: &Show,
) -> Result<(Report, String), Failure> {
    let failed = |error: &dyn core::error::Error| {
        Failure::failed(format!("the demo cannot connect to itself: {error}"))
    };
    let peer = Peer::Key(*receiver.public_key());
    let connecting =
        sender.connect(receiver.local_addr(), peer, transfer::ALPN).map_err(|error| failed(&error))?;
    let connection = connecting.await.map_err(|error| failed(&error))?;
    let report = transfer_over(&connection, &receiver.local_addr().to_string(), source, show).await;
    match &report.outcome {
        Ok(_) => drop(connection.close_graceful(CLOSING, code::of(code::DONE), b"").await),
        Err(_) => close_failed(&connection, &report).await,
    }
    Ok((report, net::crypto(&connection)))
}

/// The receiving side: one connection, one transfer.
async fn receive(receiver: &Endpoint, to: Destination) -> Result<Report, Failure> {
    let nobody = || Failure::failed("the demo's receiver was closed");
    let incoming = receiver.accept().await.ok_or_else(nobody)?;
    let peer = incoming.remote().to_string();
    let connection = incoming.accept().map_err(|_| nobody())?.await.map_err(|_| nobody())?;
    let begun = Instant::now();
    let Accepted { control, incoming, data } = streams::accept(&connection).await.ok_or_else(nobody)?;
    let outcome = transfer::receive(&to, incoming, control, data, Arc::new(Counters::default())).await;
    let report = report(&connection, peer, begun, outcome);
    finish(&connection, &report).await;
    Ok(report)
}

/// Makes a file of random bytes, and returns its hash.
fn make(path: &Path, bytes: u64) -> io::Result<blake3::Hash> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let mut random = blake3::Hasher::new_keyed(&seed).finalize_xof();
    let (mut hasher, mut file, mut left) = (blake3::Hasher::new(), File::create(path)?, bytes);
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let now = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        random.fill(&mut piece[..now]);
        hasher.update(&piece[..now]);
        file.write_all(&piece[..now])?;
        left -= now as u64;
    }
    Ok(hasher.finalize())
}

fn hash(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}
