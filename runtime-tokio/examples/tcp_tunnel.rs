//! Where UDP does not pass: the packets go over a TCP connection, by a transport of one's own.
//!
//! `cargo run -p dunlin-tokio --example tcp_tunnel`

use core::task::{Context, Poll, Waker};
use std::io::{self, ErrorKind};

use dunlin_tokio::dunlin_core::Ecn;
use dunlin_tokio::dunlin_udp::Received;
use dunlin_tokio::{
    Config, ConnectOptions, CustomAddr, CustomTransport, Endpoint, Identity, Peer, TransportAddr,
    TransportId, TransportProfile,
};
use tokio::net::{TcpListener, TcpStream};

type Result<T> = core::result::Result<T, Box<dyn core::error::Error + Send + Sync>>;

/// The number of the transport, in addresses on this machine.
const TUNNEL: TransportId = TransportId::new(1);

/// Datagrams over a TCP connection, each behind its length, in two bytes.
#[derive(Debug)]
struct Tunnel {
    stream: TcpStream,
    /// The endpoint's: woken when it is worth trying again.
    waker: Waker,
    /// Bytes received, the beginning of a datagram first, and bytes that the stream does not take yet.
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Tunnel {
    fn new(stream: TcpStream) -> Self {
        Self { stream, waker: Waker::noop().clone(), inbox: Vec::new(), outbox: Vec::new() }
    }

    /// Writes what waits.
    fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            match self.stream.try_write(&self.outbox) {
                Ok(written) => drop(self.outbox.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let Poll::Ready(ready) =
                        self.stream.poll_write_ready(&mut Context::from_waker(&self.waker))
                    else {
                        return Err(error);
                    };
                    ready?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads more.
    fn fill(&mut self) -> io::Result<()> {
        loop {
            match self.stream.try_read_buf(&mut self.inbox) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let Poll::Ready(ready) =
                        self.stream.poll_read_ready(&mut Context::from_waker(&self.waker))
                    else {
                        return Err(error);
                    };
                    ready?;
                }
                read => return read.map(drop),
            }
        }
    }
}

impl CustomTransport for Tunnel {
    fn profile(&self) -> TransportProfile {
        // TCP cuts as it likes: fewer and larger packets cost less.
        TransportProfile::new(16_000)
    }

    fn try_send(&mut self, _to: &CustomAddr, datagram: &[u8], _ecn: Option<Ecn>) -> io::Result<()> {
        // What waits goes first, and while it does, the endpoint keeps the rest.
        self.flush()?;
        self.outbox.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
        self.outbox.extend_from_slice(datagram);
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn try_recv(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        // A part of a datagram may wait although nothing more is to be sent.
        let _ = self.flush();
        loop {
            if let Some((len, rest)) = self.inbox.split_first_chunk() {
                let len = usize::from(u16::from_be_bytes(*len));
                if let Some(datagram) = rest.get(..len) {
                    buffer[..len].copy_from_slice(datagram);
                    self.inbox.drain(..2 + len);
                    return Ok(Received { from: peer(), len, ecn: None });
                }
            }
            self.fill()?;
        }
    }

    fn set_waker(&mut self, waker: &Waker) {
        self.waker = waker.clone();
    }
}

/// There is only one at the other end, so it needs no name.
fn peer() -> CustomAddr {
    CustomAddr::new(b"").expect("nothing is not too long")
}

fn endpoint(secret: u8, stream: TcpStream) -> Result<Endpoint> {
    let mut config = Config::default();
    config.alpns = vec![b"hello".to_vec()];
    let builder = Endpoint::builder().config(config).transport(TUNNEL, Tunnel::new(stream));
    Ok(builder.bind("127.0.0.1:0".parse()?, Identity::from_secret([secret; 32]))?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (here, there) = tokio::try_join!(TcpStream::connect(listener.local_addr()?), listener.accept())?;
    let (client, server) = (endpoint(1, here)?, endpoint(2, there.0)?);

    let key = *server.public_key();
    let answering = tokio::spawn(async move {
        let connection = server.accept().await.ok_or("closed")?.accept()?.await?;
        println!("{} dials", connection.path().ok_or("closed")?.remote);
        let received = connection.accept_uni().await?.read_to_end(8 << 20).await?.len();
        println!("{received} bytes came");
        connection.close(0.into(), b"thank you");
        server.wait_idle().await;
        Result::Ok(())
    });
    let remote = TransportAddr::Custom { transport: TUNNEL, address: peer() };
    let connection = client.connect_with(Peer::Key(key), ConnectOptions::new(remote, b"hello"))?.await?;
    let mut send = connection.open_uni().await?;
    send.write_all(&vec![7; 8 << 20]).await?;
    send.finish()?;
    send.delivered().await?;
    println!("they went in packets of {}", connection.path().ok_or("closed")?.packet_size);
    println!("{}", connection.closed().await);
    answering.await?
}
