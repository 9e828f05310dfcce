//! Several drivers behind one address, each on a thread of its own.

mod common;

use core::net::SocketAddr;
use core::num::NonZeroU8;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use core::time::Duration;
use std::collections::HashMap;
use std::net::UdpSocket as StdSocket;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use dunlin_core::{DropReason, Shard};
use dunlin_mio::dunlin_udp::{DatagramSocket, Outcome, Transmit};
use dunlin_mio::{
    BindOptions, ConnectionHandle, Driver, Endpoint, EndpointStats, Event, Identity, Peer, PublicKey,
    SocketGroup, StreamId, UdpSocket,
};

use common::config;

const TEXT: &[u8] = b"there and back";

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn identity(secret: u8) -> Identity {
    Identity::from_secret([secret; 32])
}

/// Threads that send back what comes on a stream, until they are told to stop.
struct Server {
    address: SocketAddr,
    also: SocketAddr,
    key: PublicKey,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<EndpointStats>>,
}

impl Server {
    fn start(shards: usize) -> Self {
        let builder =
            Endpoint::builder().config(config()).shards(shards).also_on("127.0.0.2:0".parse().unwrap());
        let endpoints = builder.bind(any(), identity(9)).unwrap();
        let (addresses, key) = (endpoints[0].local_addrs().to_vec(), *endpoints[0].engine().public_key());
        assert!(endpoints.iter().all(|endpoint| endpoint.local_addrs() == addresses));
        let (address, also) = (addresses[0], addresses[1]);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = endpoints.into_iter().map(|endpoint| {
            let (driver, stop) = (Driver::new(endpoint).unwrap(), Arc::clone(&stop));
            thread::spawn(move || serve(driver, &stop))
        });
        Self { address, also, key, threads: threads.collect(), stop }
    }

    /// What each shard has counted.
    fn stop(self) -> Vec<EndpointStats> {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

fn serve(mut driver: Driver, stop: &AtomicBool) -> EndpointStats {
    while !stop.load(Relaxed) {
        driver.run_once(Some(Duration::from_millis(5))).unwrap();
        while let Some((handle, event)) = driver.poll_event() {
            match event {
                Event::Incoming => drop(driver.accept(handle)),
                Event::Readable(stream) => {
                    let mut connection = driver.connection(handle).unwrap();
                    while let Ok(Some(text)) = connection.read_chunk(stream, 1000) {
                        connection.write(stream, &text).unwrap();
                    }
                }
                _ => {}
            }
        }
    }
    driver.engine().stats()
}

/// Dials so often, and has the text come back on a stream of each connection.
fn dial(client: &mut Driver, server: &Server, connections: usize) -> HashMap<ConnectionHandle, StreamId> {
    dial_at(client, server, server.address, connections)
}

fn dial_at(
    client: &mut Driver,
    server: &Server,
    address: SocketAddr,
    connections: usize,
) -> HashMap<ConnectionHandle, StreamId> {
    let dials = (0..connections).map(|_| {
        let dialled = client.connect(address, Peer::Key(server.key), b"test").unwrap();
        let stream = client.connection(dialled).unwrap().open_bi().unwrap();
        (dialled, stream)
    });
    let streams: HashMap<_, _> = dials.collect();
    echo(client, &streams);
    streams
}

/// Writes the text on each stream and waits until all of it has come back.
fn echo(client: &mut Driver, streams: &HashMap<ConnectionHandle, StreamId>) {
    for (handle, stream) in streams {
        assert_eq!(client.connection(*handle).unwrap().write(*stream, TEXT), Ok(TEXT.len()));
    }
    let mut missing = streams.len() * TEXT.len();
    while missing > 0 {
        client.run_once(None).unwrap();
        while let Some((handle, event)) = client.poll_event() {
            match event {
                Event::Readable(stream) => {
                    let mut connection = client.connection(handle).unwrap();
                    while let Ok(Some(text)) = connection.read_chunk(stream, 1000) {
                        missing -= text.len();
                    }
                }
                Event::Closed(reason) => panic!("{reason}"),
                _ => {}
            }
        }
    }
}

fn assert_all_used_and_none_astray(shards: &[EndpointStats]) {
    for shard in shards {
        // One that gets none of 64 is one of 10^8 draws.
        assert!(shard.connections > 0, "{shards:?}");
        assert_eq!(shard.dropped(DropReason::UnknownConnection), 0);
    }
}

#[test]
fn drivers_share_an_address_and_nothing_else() {
    let server = Server::start(4);
    let mut clients: Vec<Driver> =
        (1..=8).map(|secret| Driver::bind(any(), config(), identity(secret)).unwrap()).collect();
    for client in &mut clients {
        dial(client, &server, 8);
    }
    let shards = server.stop();
    if cfg!(target_os = "linux") {
        assert_eq!(shards.len(), 4);
    }
    assert_eq!(shards.iter().map(|shard| shard.connections).sum::<u64>(), 64);
    assert_all_used_and_none_astray(&shards);
}

#[test]
fn path_every_shard_has_every_address() {
    let server = Server::start(3);
    // Who knows the one address would try it too when he dials the other one.
    let mut clients = [1, 3].map(|secret| Driver::bind(any(), config(), identity(secret)).unwrap());
    for (client, address) in clients.iter_mut().zip([server.address, server.also]) {
        for (handle, _) in dial_at(client, &server, address, 32) {
            assert_eq!(client.connection(handle).unwrap().path().remote, address.into());
        }
    }
    let shards = server.stop();
    assert_eq!(shards.iter().map(|shard| shard.connections).sum::<u64>(), 64);
    assert_all_used_and_none_astray(&shards);
}

/// Passes on what one client and `server` tell each other, from the first or the second of two addresses, as the number
/// says. What comes to the other one is lost.
fn relay(server: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let bind = || StdSocket::bind(any()).unwrap();
    let (front, backs) = (Arc::new(bind()), [Arc::new(bind()), Arc::new(bind())]);
    let (address, source, client) =
        (front.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)), Arc::new(OnceLock::new()));
    for (index, back) in backs.iter().cloned().enumerate() {
        let (front, client, source) = (Arc::clone(&front), Arc::clone(&client), Arc::clone(&source));
        pump(back, move |datagram, _| {
            if let Some(client) = client.get().filter(|_| source.load(Relaxed) == index) {
                front.send_to(datagram, *client).unwrap();
            }
        });
    }
    let chosen = Arc::clone(&source);
    pump(front, move |datagram, from| {
        client.get_or_init(|| from);
        backs[chosen.load(Relaxed)].send_to(datagram, server).unwrap();
    });
    (address, source)
}

/// A thread that hands over what a socket hears, for as long as the program runs.
fn pump(socket: Arc<StdSocket>, mut take: impl FnMut(&[u8], SocketAddr) + Send + 'static) {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            take(&buffer[..len], from);
        }
    });
}

#[test]
fn a_connection_stays_on_its_shard_when_the_source_port_changes() {
    let mut server = Server::start(4);
    let (address, source) = relay(server.address);
    server.address = address;
    let mut client = Driver::bind(any(), config(), identity(1)).unwrap();
    let streams = dial(&mut client, &server, 64);
    source.store(1, Relaxed);
    echo(&mut client, &streams);
    let shards = server.stop();
    assert_eq!(shards.iter().map(|shard| shard.incoming).sum::<u64>(), 64, "they are the same ones");
    assert_all_used_and_none_astray(&shards);
}

/// As a network card may put together what several connections between the same two ports send.
#[test]
fn a_train_of_several_connections_reaches_all_their_shards() {
    const INIT: usize = 1200;
    let server = Server::start(4);
    let catcher = StdSocket::bind(any()).unwrap();
    let mut client = Driver::bind(any(), config(), identity(1)).unwrap();
    let count = NonZeroU8::new(server.threads.len() as u8).unwrap();
    let (mut train, mut expected) = (Vec::new(), vec![0; server.threads.len()]);
    for _ in 0..16 {
        client.connect(catcher.local_addr().unwrap(), Peer::Key(server.key), b"test").unwrap();
        client.run_once(Some(Duration::ZERO)).unwrap();
        let mut datagram = [0; INIT];
        // A copy of an Init that came before has its place already.
        while datagram[0] == 0 || train.chunks(INIT).any(|known| known == datagram) {
            assert_eq!(catcher.recv(&mut datagram).unwrap(), INIT);
        }
        expected[usize::from(Shard::of(&datagram, count))] += 1;
        train.extend(datagram);
    }
    let sender = UdpSocket::bind(any(), &BindOptions::default()).unwrap();
    let train = Transmit {
        destination: server.address,
        ecn: None,
        contents: &train,
        segment_size: Some(INIT),
        src_ip: None,
    };
    assert_eq!(sender.try_send(&train), Outcome::Sent);
    // Each is answered.
    let answers = sender.as_std().try_clone().unwrap();
    answers.set_nonblocking(false).unwrap();
    let mut answered = 0;
    while answered < 16 {
        let len = answers.recv(&mut [0; 1 << 16]).unwrap();
        answered += usize::from(len > 0);
    }
    let incoming: Vec<u64> = server.stop().iter().map(|shard| shard.incoming).collect();
    assert_eq!(incoming, expected);
}

#[test]
fn a_driver_of_a_group_that_ends_takes_no_other_with_it() {
    let mut shards = Endpoint::builder().config(config()).shards(3).bind(any(), identity(9)).unwrap();
    if shards.len() < 3 {
        // The system has none.
        return;
    }
    let (address, key) = (shards[0].local_addr(), *shards[0].engine().public_key());
    drop(shards.remove(0));
    let mut shards: Vec<Driver> = shards.into_iter().map(|shard| Driver::new(shard).unwrap()).collect();
    let mut client = Driver::bind(any(), config(), identity(1)).unwrap();
    // Who dials finds one that is there, sooner or later, and it works.
    for _ in 0..64 {
        client.connect(address, Peer::Key(key), b"test").unwrap();
    }
    let mut connected = 0;
    while connected < 16 {
        client.run_once(Some(Duration::from_millis(1))).unwrap();
        while let Some((_, event)) = client.poll_event() {
            connected += usize::from(event == Event::Connected);
        }
        for shard in &mut shards {
            shard.run_once(Some(Duration::ZERO)).unwrap();
            while let Some((handle, event)) = shard.poll_event() {
                if event == Event::Incoming {
                    shard.accept(handle).unwrap();
                }
            }
        }
    }
    for shard in &shards {
        assert_eq!(shard.engine().stats().dropped(DropReason::UnknownConnection), 0);
    }
}

#[test]
fn a_group_of_one_is_one_endpoint() {
    let socket = UdpSocket::bind(any(), &BindOptions::default()).unwrap();
    let local = socket.as_std().local_addr().unwrap();
    let shards = Endpoint::builder().shards(4).on(SocketGroup::from(socket), identity(1)).unwrap();
    assert_eq!((shards.len(), shards[0].local_addr()), (1, local));
}
