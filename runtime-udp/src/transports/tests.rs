use core::sync::atomic::AtomicUsize;
use std::collections::VecDeque;
use std::task::Wake;

use dunlin_core::{
    Arrival, Config, ConnectOptions, ConnectionHandle, Duration, Endpoint, Event, Identity, Instant, Peer,
    PeerRef, RelayId, TransportAddr,
};

use super::memory::{MemoryNetwork, MemoryTransport};
use super::*;
use crate::steps::{Left, Receiver, Transmitter};

const ID: TransportId = TransportId::new(7);

fn profile() -> TransportProfile {
    TransportProfile::new(1_400)
}

fn address(name: &[u8]) -> CustomAddr {
    CustomAddr::new(name).unwrap()
}

fn custom(name: &[u8]) -> TransportAddr {
    TransportAddr::Custom { transport: ID, address: address(name) }
}

fn alone(transport: impl CustomTransport + 'static) -> Transports {
    Transports::among(1, vec![(ID, Box::new(transport))]).unwrap().remove(0)
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), count.into())
}

impl Count {
    fn take(&self) -> usize {
        self.0.swap(0, Relaxed)
    }
}

/// A transport that answers as it is told, and takes everything otherwise.
#[derive(Default, Debug)]
struct Scripted {
    max_datagram: Option<u16>,
    sends: VecDeque<io::ErrorKind>,
    fails: Option<io::ErrorKind>,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl CustomTransport for Scripted {
    fn profile(&self) -> TransportProfile {
        self.max_datagram.map_or_else(profile, TransportProfile::new)
    }

    fn try_send(&mut self, _to: &CustomAddr, datagram: &[u8], _ecn: Option<Ecn>) -> io::Result<()> {
        if let Some(error) = self.sends.pop_front() {
            return Err(error.into());
        }
        self.taken.lock().unwrap().push(datagram.to_vec());
        Ok(())
    }

    fn try_recv(&mut self, _buffer: &mut [u8]) -> io::Result<Received> {
        Err(self.fails.unwrap_or(io::ErrorKind::WouldBlock).into())
    }

    fn set_waker(&mut self, _waker: &Waker) {}
}

/// An endpoint that has nothing but a custom transport.
struct Host {
    engine: Endpoint,
    transports: Transports,
    transmitter: Transmitter,
    receiver: Receiver,
    events: Vec<(ConnectionHandle, Event)>,
}

impl Host {
    fn new(secret: u8, transports: Transports) -> Self {
        let mut config = Config::default();
        config.alpns = vec![b"test".to_vec()];
        config.transports.extend(transports.profiles());
        Self {
            engine: Endpoint::new(config, Identity::from_secret([secret; 32]), [secret; 32]),
            transmitter: Transmitter::new(1).with_transports(transports.clone()),
            transports,
            receiver: Receiver::new(),
            events: Vec::new(),
        }
    }

    /// Dials, with the key of [`Host::new`]'s secret.
    fn dial(&mut self, secret: u8, remote: TransportAddr) -> ConnectionHandle {
        let peer = Peer::Key(*Identity::from_secret([secret; 32]).public());
        self.engine.connect(Instant::ZERO, peer, ConnectOptions::new(remote, b"test").exact()).unwrap()
    }

    /// Sends and receives once, and says whether anything went or came.
    fn turn(&mut self, now: Instant, waker: &Waker) -> bool {
        self.transmitter.load(now, &mut self.engine, 64);
        let mut busy = self.transmitter.send_custom(waker, |_, _, size| panic!("{size} bytes"));
        self.transports.wake(waker);
        for place in self.transports.to_receive() {
            busy |= self.receiver.receive_custom(place, &self.transports).is_ok();
            self.receiver.hand_over(|arrival, datagram| {
                self.engine.handle_datagram(now, arrival, datagram);
            });
        }
        while let Some((handle, event)) = self.engine.poll_event() {
            if event == Event::Incoming {
                self.engine.incoming(handle).unwrap().accept(now).unwrap();
            }
            self.events.push((handle, event));
        }
        busy
    }
}

/// Two hosts on a network whose queues have room for so many datagrams.
fn two(room: usize) -> [Host; 2] {
    let network = MemoryNetwork::new(profile(), room);
    [1, 2].map(|secret| Host::new(secret, alone(network.attach(address(&[secret])))))
}

#[test]
fn path_custom_transports_carry_a_connection_however_little_room_they_have() {
    for room in [1, 3, 1_000] {
        let (mut hosts, (woken, waker)) = (two(room), counting());
        let dial = hosts[0].dial(2, custom(&[2]));
        let stream = {
            let mut connection = hosts[0].engine.connection(dial).unwrap();
            let stream = connection.open_uni().unwrap();
            assert_eq!(connection.write(stream, &[7; 60_000]).unwrap(), 60_000);
            connection.finish(stream).unwrap();
            stream
        };
        let (mut now, mut received) = (Instant::ZERO, Vec::new());
        while received.len() < 60_000 {
            for host in &mut hosts {
                while host.turn(now, &waker) {}
            }
            for (handle, event) in core::mem::take(&mut hosts[1].events) {
                if let (Event::Readable(_), Some(mut connection)) =
                    (event, hosts[1].engine.connection(handle))
                {
                    assert_eq!(connection.path().remote, custom(&[1]));
                    while let Ok(Some(chunk)) = connection.read_chunk(stream, usize::MAX) {
                        received.extend_from_slice(&chunk);
                    }
                }
            }
            // As a driver sleeps: until somebody wakes it, or something is due.
            if woken.take() == 0 {
                now = hosts.iter().filter_map(|host| host.engine.poll_timeout()).min().unwrap().max(now);
                assert!(now < Instant::ZERO + Duration::from_secs(60), "{room}: {} bytes", received.len());
            }
        }
        assert!(received.iter().all(|byte| *byte == 7) && received.len() == 60_000);
        let [here, there] = hosts.each_ref().map(|host| host.transports.stats().each[&ID]);
        assert!(here.is_open && here.lost == 0 && here.lost_too_big == 0, "{here:?}");
        assert_eq!((here.blocked > 0, here.sent), (room < 1_000, there.received));
    }
}

#[test]
fn path_custom_transports_wake_who_waits_for_them_and_once() {
    let network = MemoryNetwork::new(profile(), 1);
    let mut far = network.attach(address(b"far"));
    let mut shards =
        Transports::among(2, vec![(ID, Box::new(network.attach(address(b"near"))) as _)]).unwrap();
    let (mut other, mut first) = (shards.pop().unwrap(), shards.pop().unwrap());
    assert_eq!((first.to_receive(), other.to_receive()), (0..1, 0..0), "one receives for all");
    let [(first_woken, first_waker), (other_woken, other_waker)] = [counting(), counting()];
    for (shard, waker) in [(&mut first, &first_waker), (&mut other, &other_waker)] {
        shard.wake(waker);
    }
    far.try_send(&address(b"near"), b"one", None).unwrap();
    assert_eq!((first_woken.take(), other_woken.take()), (1, 1));
    let mut receiver = Receiver::new();
    assert_eq!(receiver.receive_custom(0, &first).unwrap(), Left::Nothing);
    far.try_send(&address(b"near"), b"two", None).unwrap();
    assert_eq!((first_woken.take(), other_woken.take()), (0, 0), "nobody has asked since");

    // And when there is room again.
    first.wake(&first_waker);
    let line = first.line(0).unwrap();
    let send = || line.lock().as_mut().unwrap().try_send(&address(b"far"), b"x", None);
    send().unwrap();
    assert_eq!(send().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    far.try_recv(&mut [0; 9]).unwrap();
    assert_eq!(first_woken.take(), 1);
    send().unwrap();
    send().unwrap_err();
    first.wake(&first_waker);
    drop(far);
    assert_eq!(first_woken.take(), 1, "who waits for one that is gone hears of it");
    assert_eq!(send().unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn path_custom_datagrams_come_with_where_they_are_from() {
    let network = MemoryNetwork::new(profile(), 100);
    let (mut far, near) = (network.attach(address(b"far")), alone(network.attach(address(b"near"))));
    let mut receiver = Receiver::new();
    assert_eq!(receiver.receive_custom(0, &near).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(receiver.receive_custom(1, &near).unwrap_err().kind(), io::ErrorKind::WouldBlock, "no such");
    far.try_send(&address(b"near"), b"hello", Some(Ecn::Ce)).unwrap();
    far.try_send(&address(b"near"), b"", None).unwrap();
    assert_eq!(receiver.receive_custom(0, &near).unwrap(), Left::Nothing);
    let mut heard = Vec::new();
    receiver.hand_over(|arrival, datagram| heard.push((arrival, datagram.to_vec())));
    let from = Arrival::from_remote(custom(b"far"));
    assert_eq!(heard, [(Arrival { ecn: Some(Ecn::Ce), ..from }, b"hello".to_vec()), (from, Vec::new())]);
    for _ in 0..100 {
        far.try_send(&address(b"near"), b"x", None).unwrap();
    }
    // Others have their turn before it has given everything.
    assert_eq!(receiver.receive_custom(0, &near).unwrap(), Left::Perhaps);
}

/// The engine keeps to what a profile says, but for what no handshake can do without: a first packet of 1,200 bytes.
#[test]
fn path_custom_transport_gets_nothing_larger_than_it_carries() {
    let transport = Scripted { max_datagram: Some(1_199), ..Scripted::default() };
    let taken = Arc::clone(&transport.taken);
    let mut host = Host::new(1, alone(transport));
    let dial = host.dial(2, custom(b"x"));
    host.transmitter.load(Instant::ZERO, &mut host.engine, 64);
    let mut told = Vec::new();
    host.transmitter
        .send_custom(Waker::noop(), |connection, ends, size| told.push((connection, ends.remote, size)));
    assert_eq!(told, [(dial, custom(b"x"), 1_200)]);
    assert!(taken.lock().unwrap().is_empty());
    assert_eq!(host.transports.stats().each[&ID].lost_too_big, 1);
}

fn key(secret: u8) -> dunlin_core::PublicKey {
    *Identity::from_secret([secret; 32]).public()
}

#[test]
fn path_custom_transport_that_refuses_or_fails_loses_datagrams_and_nothing_else() {
    let mut transport = Scripted::default();
    transport.sends.extend([io::ErrorKind::Other, io::ErrorKind::WouldBlock, io::ErrorKind::WouldBlock]);
    transport.fails = Some(io::ErrorKind::ConnectionReset);
    let taken = Arc::clone(&transport.taken);
    let mut host = Host::new(1, alone(transport));
    let send = |host: &mut Host| {
        host.dial(2, custom(b"x"));
        host.transmitter.load(Instant::ZERO, &mut host.engine, 64);
        host.transmitter.send_custom(Waker::noop(), |_, _, _| panic!());
        let stats = host.transports.stats().each[&ID];
        (stats.sent, stats.lost, stats.blocked)
    };
    assert_eq!(send(&mut host), (0, 1, 0), "refused");
    assert_eq!(send(&mut host), (0, 1, 2), "tried once more, in case that there is room by now");
    assert_eq!(send(&mut host), (2, 1, 2), "what waited, and what came with it");
    assert_eq!(taken.lock().unwrap().len(), 2);
    assert!(host.receiver.receive_custom(0, &host.transports).is_err());
    assert!(!host.transports.stats().each[&ID].is_open);
    assert_eq!(Arc::strong_count(&taken), 1, "it is dropped");
    assert_eq!(send(&mut host), (2, 2, 2), "there is nobody");
    assert!(host.receiver.receive_custom(0, &host.transports).is_err());
}

#[test]
fn path_custom_trains_without_a_way_are_lost_and_counted() {
    let network = MemoryNetwork::new(profile(), 100);
    let mut host = Host::new(1, alone(network.attach(address(b"near"))));
    let relayed = TransportAddr::Relay { relay: RelayId::new(0), peer: PeerRef::new(0) };
    let other = TransportAddr::Custom { transport: TransportId::new(8), address: address(b"far") };
    for remote in [relayed, other] {
        host.dial(2, remote);
    }
    let mut elsewhere =
        ConnectOptions::new("192.0.2.1:9".parse::<core::net::SocketAddr>().unwrap(), b"test").exact();
    elsewhere.local.socket = 5;
    host.engine.connect(Instant::ZERO, Peer::Key(key(2)), elsewhere).unwrap();
    assert!(!host.transmitter.load(Instant::ZERO, &mut host.engine, 64));
    assert_eq!(host.transports.stats().lost_homeless, 3);
    host.dial(2, custom(b"nobody"));
    host.turn(Instant::ZERO, Waker::noop());
    let stats = host.transports.stats();
    assert_eq!((stats.lost_homeless, stats.each[&ID].lost), (3, 1));
}

#[test]
fn path_custom_transports_have_a_number_each_and_are_16_at_most() {
    let all = |ids: &[u16]| {
        let network = MemoryNetwork::new(profile(), 1);
        let each = ids.iter().enumerate().map(|(place, id)| {
            let transport: MemoryTransport = network.attach(address(&[place as u8]));
            (TransportId::new(*id), Box::new(transport) as Box<dyn CustomTransport>)
        });
        Transports::among(1, each.collect())
    };
    let numbers: Vec<u16> = (0..17).collect();
    assert_eq!(all(&numbers[..16]).unwrap()[0].len(), 16);
    assert!(matches!(all(&numbers), Err(BindError::TooManyTransports { count: 17 })));
    assert!(matches!(all(&[3, 1, 3]), Err(BindError::SameTransport { id }) if id.get() == 3));
}
