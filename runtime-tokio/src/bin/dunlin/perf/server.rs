//! The server: does what each stream's header asks for.

use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use dunlin_tokio::{Connection, ErrorCode, Incoming, PublicKey, RecvStream, SendStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::args::{Aead, PerfServerArgs, Wire};
use crate::failure::{Failure, Reported, say};
use crate::keyfile;
use crate::keylog::KeyLogFile;
use crate::net::{self, code};
use crate::qotp::{self, Speaks};
use crate::report::Link;
use crate::signal;
use crate::text;

use super::{ALPN, HEADER, PIECE, TELL, Wanted};

/// Streams that a client may have open at once; a little more than a client uses.
const MAX_STREAMS: u32 = 300;

/// Clients at once: with the streams of each and [`AT_ONCE`] it bounds what they make this program hold.
const MAX_CLIENTS: usize = 64;

/// Bytes taken off a stream at once.
const AT_ONCE: usize = 16 << 10;

/// Bytes of a ping that are held on their way back.
const ECHO: usize = 4 << 10;

/// A stream on which nothing has moved for this long ends, and so does a connection without streams.
const SILENCE: Duration = Duration::from_secs(30);

/// What every client is served with.
struct Server {
    allow: Vec<PublicKey>,
    places: Arc<Semaphore>,
    zeros: Arc<[u8]>,
}

/// Answers measurements until it is stopped.
pub(crate) async fn run(args: PerfServerArgs) -> Result<Reported, Failure> {
    let identity = match &args.key {
        Some(path) => keyfile::read(path)?,
        None => net::throwaway()?,
    };
    let speaks = Speaks::of(&args.wire)?;
    if args.wire.wire == Wire::Qotp && !args.allow.is_empty() {
        return Err(Failure::usage(
            "in QOTP a client only claims to have a key, which is no reason to let it in: leave --allow or --wire qotp out",
        ));
    }
    let mut config = speaks.config(ALPN, args.packet_size, Aead::Auto)?;
    config.limits.streams_bidi = MAX_STREAMS;
    let keylog = KeyLogFile::open(args.keylog.file.as_deref())?;
    let endpoint = net::bind(args.listen, args.shards, config, identity, keylog)?;
    say(format_args!("public key {}", speaks.equip(&endpoint)));
    say(format_args!("listening on {}", endpoint.local_addr()));
    if args.shards > net::ONE_SHARD {
        say(format_args!("with {}", text::counted(endpoint.shards() as u64, "shard")));
    }
    let server = Arc::new(Server {
        allow: args.allow,
        places: Arc::new(Semaphore::new(MAX_CLIENTS)),
        zeros: vec![0; PIECE].into(),
    });
    let serving = async {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(meet(incoming, Arc::clone(&server)));
        }
    };
    tokio::select! {
        () = serving => {}
        () = signal::stopped() => {}
    }
    net::shut(endpoint, code::STOPPED, "stopped by its user").await;
    Ok(Ok(()))
}

/// One client, from its handshake to its end.
async fn meet(incoming: Incoming, server: Arc<Server>) {
    let address = incoming.remote();
    if !server.lets_in(incoming.identity().key()) {
        incoming.refuse(code::of(code::NOT_ALLOWED));
        return;
    }
    let Ok(_place) = Arc::clone(&server.places).try_acquire_owned() else {
        incoming.refuse(code::of(code::BUSY));
        return;
    };
    let Ok(connecting) = incoming.accept() else { return };
    // Whoever does not finish the handshake is nobody's business.
    let Ok(connection) = connecting.await else { return };
    if !server.lets_in(connection.peer_identity()) {
        connection.close(code::of(code::NOT_ALLOWED), b"");
        return;
    }
    match connection.peer_identity() {
        Some(key) => say(format_args!("{address} connected with the key {key}")),
        None => say(format_args!("{address} connected, without proof of any key")),
    }
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok(stream) => drop(streams.spawn(serve(connection.clone(), stream, Arc::clone(&server.zeros)))),
                Err(_) => break,
            },
            Some(_) = streams.join_next() => {}
            () = sleep(SILENCE), if streams.is_empty() => {
                net::end(&connection, code::FAILED, b"nothing is measured any more").await;
                break;
            }
        }
    }
    say_goodbye(&address.to_string(), &connection);
}

fn say_goodbye(address: &str, connection: &Connection) {
    let link = Link::of(connection);
    say(format_args!(
        "{address} left; {} received, {} sent, {}",
        text::bytes(link.stats.bytes_received),
        text::bytes(link.stats.bytes_sent),
        link.line()
    ));
}

/// One stream. Whatever ends it early is the client's decision.
async fn serve(
    connection: Connection,
    (mut sender, mut receiver): (SendStream, RecvStream),
    zeros: Arc<[u8]>,
) -> io::Result<()> {
    if !qotp::is_introduced(&connection, &mut receiver, ALPN).await? {
        net::end(&connection, code::FAILED, b"this server only measures").await;
        return Ok(());
    }
    let mut header = [0; HEADER];
    in_time(receiver.read_exact(&mut header)).await?;
    match Wanted::decode(header) {
        Some(Wanted::Upload) => take(&mut sender, &mut receiver).await?,
        Some(Wanted::Download { bytes }) => give(&mut sender, bytes, &zeros).await?,
        Some(Wanted::Ping { .. }) => echo(&mut sender, &mut receiver).await?,
        None => {
            let code: ErrorCode = code::of(code::FAILED);
            receiver.stop(code);
            // The stream may have ended by now, which is as well.
            let _ = sender.reset(code);
            return Ok(());
        }
    }
    sender.shutdown().await
}

/// What `work` comes to, unless nothing moves for too long.
async fn in_time<T, E: Into<io::Error>>(work: impl Future<Output = Result<T, E>>) -> io::Result<T> {
    let done = timeout(SILENCE, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    done.map_err(Into::into)
}

async fn take(sender: &mut SendStream, receiver: &mut RecvStream) -> io::Result<()> {
    let (mut total, mut told) = (0_u64, Instant::now());
    loop {
        let read = in_time(receiver.read_chunk(AT_ONCE)).await?.map(|chunk| chunk.len());
        total += read.unwrap_or(0) as u64;
        if read.is_none() || told.elapsed() >= TELL {
            told = Instant::now();
            in_time(AsyncWriteExt::write_all(sender, &total.to_be_bytes())).await?;
        }
        if read.is_none() {
            return Ok(());
        }
    }
}

async fn give(sender: &mut SendStream, mut bytes: u64, zeros: &[u8]) -> io::Result<()> {
    while bytes > 0 {
        let now = usize::try_from(bytes).map_or(PIECE, |bytes| bytes.min(PIECE));
        bytes -= in_time(AsyncWriteExt::write(sender, &zeros[..now])).await? as u64;
    }
    Ok(())
}

/// Sends back what comes, as it comes: messages are the client's.
async fn echo(sender: &mut SendStream, receiver: &mut RecvStream) -> io::Result<()> {
    while let Some(chunk) = in_time(receiver.read_chunk(ECHO)).await? {
        in_time(AsyncWriteExt::write_all(sender, &chunk)).await?;
    }
    Ok(())
}

impl Server {
    /// Whether somebody with this key may measure; in QOTP nobody has one.
    fn lets_in(&self, key: Option<&PublicKey>) -> bool {
        self.allow.is_empty() || key.is_some_and(|key| self.allow.contains(key))
    }
}
