//! A transport that carries datagrams over a TCP connection, each behind its length.

use core::task::Waker;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use dunlin_core::{CustomAddr, Ecn, TransportProfile};
use dunlin_udp::{CustomTransport, Received};

/// Datagrams that wait on either side of the connection; what comes beyond is dropped, as a router does.
const ROOM: usize = 256;

/// One end. The other one has no name: it is all there is.
#[derive(Debug)]
pub(crate) struct Tunnel {
    stream: TcpStream,
    outbox: SyncSender<Vec<u8>>,
    inbox: Arc<Mutex<Inbox>>,
}

#[derive(Default, Debug)]
struct Inbox {
    datagrams: VecDeque<Vec<u8>>,
    waker: Option<Waker>,
    ended: bool,
}

impl Tunnel {
    /// The largest datagram: a size that no UDP path on the internet has.
    pub(crate) const MAX_DATAGRAM: u16 = 4_000;

    /// Both ends of one.
    pub(crate) fn pair() -> [Self; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        [dialled, listener.accept().unwrap().0].map(Self::new)
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let (inbox, (outbox, waiting)) = (Arc::default(), sync_channel(ROOM));
        let [reading, writing] = [(); 2].map(|()| stream.try_clone().unwrap());
        let arrivals = Arc::clone(&inbox);
        thread::spawn(move || {
            let ended = read(reading, &arrivals);
            put(&arrivals, |inbox| inbox.ended = true);
            ended
        });
        thread::spawn(move || write(writing, &waiting));
        Self { stream, outbox, inbox }
    }
}

fn read(mut stream: TcpStream, inbox: &Mutex<Inbox>) -> io::Result<()> {
    loop {
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut datagram = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut datagram)?;
        put(inbox, |inbox| {
            if inbox.datagrams.len() < ROOM {
                inbox.datagrams.push_back(datagram);
            }
        });
    }
}

fn write(mut stream: TcpStream, waiting: &Receiver<Vec<u8>>) -> io::Result<()> {
    for datagram in waiting {
        stream.write_all(&(datagram.len() as u16).to_be_bytes())?;
        stream.write_all(&datagram)?;
    }
    Ok(())
}

fn put(inbox: &Mutex<Inbox>, change: impl FnOnce(&mut Inbox)) {
    let mut inbox = inbox.lock().unwrap();
    change(&mut inbox);
    let waker = inbox.waker.clone();
    drop(inbox);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl CustomTransport for Tunnel {
    fn profile(&self) -> TransportProfile {
        TransportProfile::new(Self::MAX_DATAGRAM)
    }

    fn try_send(&mut self, _to: &CustomAddr, datagram: &[u8], _ecn: Option<Ecn>) -> io::Result<()> {
        self.outbox.try_send(datagram.to_vec()).map_err(io::Error::other)
    }

    fn try_recv(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut inbox = self.inbox.lock().unwrap();
        let Some(datagram) = inbox.datagrams.pop_front() else {
            let ended = inbox.ended;
            return Err(
                if ended { io::ErrorKind::ConnectionAborted } else { io::ErrorKind::WouldBlock }.into()
            );
        };
        buffer[..datagram.len()].copy_from_slice(&datagram);
        Ok(Received { from: nobody(), len: datagram.len(), ecn: None })
    }

    fn set_waker(&mut self, waker: &Waker) {
        self.inbox.lock().unwrap().waker = Some(waker.clone());
    }
}

/// The name of the other end.
pub(crate) fn nobody() -> CustomAddr {
    CustomAddr::new(b"").unwrap()
}

/// Ends both threads, and those of the other end.
impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
