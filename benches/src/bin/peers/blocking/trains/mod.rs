//! Trains of datagrams without a protocol: what the kernel takes (`raw`), and what the kernel and the cryptography take
//! (`ideal`).
//! A window keeps the kernel from dropping any.

mod packets;

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, IoSliceMut};
use std::net::UdpSocket;
use std::time::Instant;

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
/// Bytes on the way: half of what the kernel keeps for a socket, so that nothing is lost.
const WINDOW: u64 = 2 << 20;
/// After so many bytes the server says how far it has come, which costs nothing that could be seen.
const REPORT: u64 = WINDOW / 2;

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
    let size = usize::from(setup.scenario.packet);
    let received = match setup.peer {
        Peer::Raw => send(&socket, server, size, deadline, &mut Plain)?,
        _ => send(&socket, server, size, deadline, &mut Sealed::new(setup.aead))?,
    };
    Ok(Sample::new(meter, received))
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

    /// Waits until the server says how far it has come.
    fn report(&self) -> io::Result<Report> {
        self.socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut bytes = [0; REPORT_LEN];
        self.socket.recv_from(&mut bytes)?;
        let [wire, data] = [0, 8].map(|at| u64::from_be_bytes(*bytes[at..].first_chunk().unwrap_or(&[0; 8])));
        Ok(Report { wire, data })
    }
}

/// What has arrived, in bytes: of datagrams, and of the data in them.
#[derive(Clone, Copy, Debug, Default)]
struct Report {
    wire: u64,
    data: u64,
}

const REPORT_LEN: usize = 2 * size_of::<u64>();

impl Report {
    fn to_bytes(self) -> [u8; REPORT_LEN] {
        let mut bytes = [0; REPORT_LEN];
        bytes[..8].copy_from_slice(&self.wire.to_be_bytes());
        bytes[8..].copy_from_slice(&self.data.to_be_bytes());
        bytes
    }
}

/// Sends trains until the time is over, and then one byte that asks for the last report; returns the data that arrived.
fn send(
    socket: &Socket,
    server: SocketAddr,
    size: usize,
    deadline: Instant,
    packets: &mut impl Packets,
) -> io::Result<u64> {
    let mut train = vec![0; (TRAIN / size).min(SEGMENTS) * size];
    // What no packet changes need not be written again.
    train.chunks_mut(size).for_each(|packet| packets.prepare(packet));
    let (mut number, mut sent, mut report) = (0u32, 0, Report::default());
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
        sent += train.len() as u64;
        while sent - report.wire > WINDOW {
            report = socket.report()?;
        }
    }
    socket.socket.send_to(&[0], server)?;
    while report.wire < sent {
        report = socket.report()?;
    }
    Ok(report.data)
}

/// Receives trains, and reports, until the process is ended.
fn receive(socket: &Socket, packets: &mut impl Packets) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let (mut received, mut reported) = (Report::default(), 0);
    loop {
        let mut meta = RecvMeta::default();
        let mut slices = [IoSliceMut::new(&mut buffer)];
        socket.state.recv((&socket.socket).into(), &mut slices, core::slice::from_mut(&mut meta))?;
        let asked = meta.len == 1;
        if !asked {
            received.wire += meta.len as u64;
            let packets =
                buffer[..meta.len].chunks_mut(meta.stride.max(1)).map(|packet| packets.read(packet) as u64);
            received.data += packets.sum::<u64>();
        }
        if asked || received.wire - reported >= REPORT {
            socket.socket.send_to(&received.to_bytes(), meta.addr)?;
            reported = received.wire;
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
