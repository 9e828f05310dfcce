//! Trains of datagrams without a protocol: what the kernel takes (`raw`), and what the kernel and the cryptography take
//! (`ideal`). Nothing is acknowledged; what counts is what arrives.

mod packets;

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};

use crate::grid::Peer;
use crate::pattern::{self, Check};
use crate::process::Meter;
use crate::roles::announce;
use crate::sample::Sample;
use crate::setup::{Contact, Setup, udp_socket};
use packets::{Packets, Plain, Sealed};

/// The most that one UDP datagram carries over IPv4, and so one train.
const TRAIN: usize = 65_507;
/// The most segments that Linux takes for a train (UDP_MAX_SEGMENTS).
const SEGMENTS: usize = 64;
/// What the client asks at the end, and the server answers: a number.
const QUESTION: u64 = u64::MAX;

/// The server's side.
pub(crate) fn serve(setup: &Setup) -> io::Result<()> {
    let socket = Socket::new()?;
    announce(&Contact { addr: socket.socket.local_addr()?, proof: Vec::new() });
    match setup.peer {
        Peer::Raw => receive(&socket, &mut Plain),
        _ => receive(&socket, &mut Sealed::new(setup.aead)),
    }
}

/// The client's side.
pub(crate) fn load(client: crate::load::Client, server: SocketAddr) -> io::Result<Sample> {
    let (setup, socket) = (client.setup, Socket::new()?);
    let meter = Meter::start(client.ends);
    let deadline = client.deadline();
    match setup.peer {
        Peer::Raw => send(&socket, server, setup.scenario.packet, deadline, &mut Plain)?,
        _ => send(&socket, server, setup.scenario.packet, deadline, &mut Sealed::new(setup.aead))?,
    }
    let bytes = socket.ask(server)?;
    Ok(Sample::new(meter, bytes))
}

/// A blocking socket with segmentation offload in both directions.
struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    fn new() -> io::Result<Self> {
        let socket = udp_socket();
        let state = UdpSocketState::new((&socket).into())?;
        socket.set_nonblocking(false)?;
        Ok(Self { socket, state })
    }

    /// Asks how many bytes have arrived, until there is an answer.
    fn ask(&self, server: SocketAddr) -> io::Result<u64> {
        self.socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        for _ in 0..20 {
            self.socket.send_to(&QUESTION.to_be_bytes(), server)?;
            let mut answer = [0; size_of::<u64>()];
            if self.socket.recv(&mut answer).is_ok() {
                return Ok(u64::from_be_bytes(answer));
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Sends trains until the time is over.
fn send(
    socket: &Socket,
    server: SocketAddr,
    packet: u16,
    deadline: Instant,
    packets: &mut impl Packets,
) -> io::Result<()> {
    let size = usize::from(packet);
    let mut train = vec![0; (TRAIN / size).min(SEGMENTS) * size];
    // What no packet changes need not be written again.
    train.chunks_mut(size).for_each(|packet| packets.prepare(packet));
    let mut number = 0u32;
    while Instant::now() < deadline {
        for packet in train.chunks_mut(size) {
            packets.write(number, packet);
            number = number.wrapping_add(1);
        }
        let transmit = Transmit {
            destination: server,
            ecn: None,
            contents: &train,
            segment_size: Some(size),
            src_ip: None,
        };
        socket.state.try_send((&socket.socket).into(), &transmit)?;
    }
    Ok(())
}

/// Receives trains, and answers whoever asks, until the process is ended.
fn receive(socket: &Socket, packets: &mut impl Packets) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0u64;
    loop {
        let mut meta = RecvMeta::default();
        let mut slices = [IoSliceMut::new(&mut buffer)];
        socket.state.recv((&socket.socket).into(), &mut slices, core::slice::from_mut(&mut meta))?;
        for packet in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
            if packet.len() == size_of::<u64>() {
                socket.socket.send_to(&received.to_be_bytes(), meta.addr)?;
            } else {
                received += packets.read(packet) as u64;
            }
        }
    }
}

/// Checks what a packet carries; returns how much it is.
fn check(number: u32, data: &[u8]) -> usize {
    let mut check = Check::from(place(number, data.len()));
    check.take(data);
    data.len()
}

/// Where the data of a packet is from.
fn place(number: u32, len: usize) -> u64 {
    u64::from(number) * len as u64
}

/// The data of a packet.
fn data(number: u32, len: usize) -> &'static [u8] {
    pattern::at(place(number, len), len)
}
