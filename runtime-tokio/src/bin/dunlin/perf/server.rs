//! The server: does what each stream's header asks for.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use dunlin_tokio::{Connection, ErrorCode, Incoming, RecvStream, SendStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::args::{Aead, PerfServerArgs};
use crate::failure::{Failure, Reported};
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

/// Answers measurements until it is stopped.
pub(crate) async fn run(args: PerfServerArgs) -> Result<Reported, Failure> {
    let identity = match &args.key {
        Some(path) => keyfile::read(path)?,
        None => net::throwaway()?,
    };
    let speaks = Speaks::of(&args.wire)?;
    let mut config = speaks.config(ALPN, args.packet_size, Aead::Auto)?;
    config.limits.streams_bidi = MAX_STREAMS;
    let keylog = KeyLogFile::open(args.keylog.file.as_deref())?;
    let endpoint = net::bind(args.listen, args.shards, config, identity, keylog)?;
    println!("public key {}", speaks.equip(&endpoint));
    println!("listening on {}", endpoint.local_addr());
    if args.shards > net::ONE_SHARD {
        println!("with {}", text::counted(endpoint.shards() as u64, "shard"));
    }
    let zeros: Arc<[u8]> = vec![0; PIECE].into();
    let serving = async {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(meet(incoming, Arc::clone(&zeros)));
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
async fn meet(incoming: Incoming, zeros: Arc<[u8]>) {
    let address = incoming.remote();
    let Ok(connecting) = incoming.accept() else { return };
    // Whoever does not finish the handshake is nobody's business.
    let Ok(connection) = connecting.await else { return };
    match connection.peer_identity() {
        Some(key) => println!("{address} connected with the key {key}"),
        None => println!("{address} connected, without proof of any key"),
    }
    while let Ok(stream) = connection.accept_bi().await {
        tokio::spawn(serve(connection.clone(), stream, Arc::clone(&zeros)));
    }
    say_goodbye(&address.to_string(), &connection);
}

fn say_goodbye(address: &str, connection: &Connection) {
    let link = Link::of(connection);
    println!(
        "{address} left; {} received, {} sent, {}",
        text::bytes(link.stats.bytes_received),
        text::bytes(link.stats.bytes_sent),
        link.line()
    );
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
    receiver.read_exact(&mut header).await?;
    match Wanted::decode(header) {
        Some(Wanted::Upload) => take(&mut sender, &mut receiver).await?,
        Some(Wanted::Download { bytes }) => give(&mut sender, bytes, &zeros).await?,
        Some(Wanted::Ping { size }) => echo(&mut sender, &mut receiver, size).await?,
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

async fn take(sender: &mut SendStream, receiver: &mut RecvStream) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let (mut total, mut told) = (0_u64, Instant::now());
    loop {
        let read = AsyncReadExt::read(receiver, &mut piece).await?;
        total += read as u64;
        if read == 0 || told.elapsed() >= TELL {
            told = Instant::now();
            AsyncWriteExt::write_all(sender, &total.to_be_bytes()).await?;
        }
        if read == 0 {
            return Ok(());
        }
    }
}

async fn give(sender: &mut SendStream, mut bytes: u64, zeros: &[u8]) -> io::Result<()> {
    while bytes > 0 {
        let now = usize::try_from(bytes).map_or(PIECE, |bytes| bytes.min(PIECE));
        AsyncWriteExt::write_all(sender, &zeros[..now]).await?;
        bytes -= now as u64;
    }
    Ok(())
}

async fn echo(sender: &mut SendStream, receiver: &mut RecvStream, size: usize) -> io::Result<()> {
    let mut message = vec![0; size];
    loop {
        match receiver.read_exact(&mut message).await {
            Ok(_) => AsyncWriteExt::write_all(sender, &message).await?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
