//! dunlin as a source and as a sink.

use core::net::SocketAddr;

use dunlin_core::{
    AeadPolicy, Arrival, Config, ConnectOptions, ConnectionHandle, Endpoint, Event, Identity, LocalAddr,
    NetworkChange, Peer, PublicKey, ReadError, StreamId, TrainLimit, TransportAddr, WriteError,
};
use dunlin_sim::{Duration, Ecn, Instant, Node, Transmit};

use super::{Arrived, Ends, Gauges, Plan, Stack, Windows, Writer};

pub(crate) const ALPN: &[u8] = b"links";
const SINK_SECRET: [u8; 32] = [2; 32];

/// The settings of all endpoints of the suite: the defaults, but for windows where the link holds more than the
/// default lets a stream have in flight four times over.
pub(crate) fn config(pipe: u64, windows: Windows) -> Config {
    let mut config = Config::default();
    config.alpns = vec![ALPN.to_vec()];
    // For links on which a handshake takes longer than anybody would wait.
    config.connect_timeout = Duration::from_secs(60);
    // As large on the wire as the other, and cheaper where many gigabytes pass.
    config.aead = AeadPolicy::Aes;
    let limits = &mut config.limits;
    if windows == Windows::Fit && 4 * pipe > limits.max_stream_window {
        limits.max_stream_window = 4 * pipe;
        limits.max_window = 4 * pipe;
        limits.send_buffer = 4 * pipe;
        limits.per_connection = 16 * pipe;
        limits.per_endpoint = limits.per_endpoint.max(16 * pipe);
    }
    config
}

/// A source and the sink that it dials.
pub(crate) fn ends(plan: &Plan) -> Ends {
    let endpoint = |secret: [u8; 32]| {
        let mut seed = secret;
        seed[..8].copy_from_slice(&plan.seed.to_le_bytes());
        Endpoint::new(config(plan.pipe, plan.windows), Identity::from_secret(secret), seed)
    };
    let (source, sink) = (endpoint([1; 32]), endpoint(SINK_SECRET));
    let dial = Dial { at: plan.start, to: plan.to, key: *sink.public_key() };
    Ends {
        source: Box::new(Source {
            endpoint: source,
            dial: Some(dial),
            connection: None,
            stream: None,
            writer: Writer::new(plan.load, plan.start),
            lost: false,
        }),
        sink: Box::new(Sink {
            endpoint: sink,
            arrived: Arrived::default(),
            buffer: vec![0; 64 << 10],
            lost: false,
        }),
    }
}

/// A dial to come.
#[derive(Debug)]
struct Dial {
    at: Instant,
    to: SocketAddr,
    key: PublicKey,
}

#[derive(Debug)]
struct Source {
    endpoint: Endpoint,
    dial: Option<Dial>,
    connection: Option<ConnectionHandle>,
    stream: Option<StreamId>,
    writer: Writer,
    lost: bool,
}

impl Source {
    fn react(&mut self) {
        while let Some((handle, event)) = self.endpoint.poll_event() {
            match event {
                Event::Connected => {
                    let mut connection = self.endpoint.connection(handle).expect("it has just connected");
                    self.stream = Some(connection.open_uni().expect("the first stream"));
                    self.write();
                }
                Event::Writable(_) => self.write(),
                Event::Closed(_) => self.lost = true,
                _ => {}
            }
        }
    }

    fn write(&mut self) {
        let (Some(handle), Some(id)) = (self.connection, self.stream) else { return };
        let Some(mut connection) = self.endpoint.connection(handle) else { return };
        loop {
            let piece = self.writer.piece();
            if piece.is_empty() {
                return;
            }
            match connection.write(id, piece) {
                Ok(len) => {
                    if self.writer.written(len) {
                        connection.finish(id).expect("an open stream can be finished");
                        self.stream = None;
                        return;
                    }
                }
                Err(WriteError::Blocked) => return,
                Err(error) => panic!("dunlin's source cannot write: {error}"),
            }
        }
    }
}

impl Node for Source {
    fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    ) {
        self.endpoint.handle_datagram(now, arrival(local, remote, ecn), datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(dial) = self.dial.take_if(|dial| dial.at <= now) {
            let options = ConnectOptions::new(dial.to, ALPN);
            let handle = self.endpoint.connect(now, Peer::Key(dial.key), options).expect("the dial starts");
            self.connection = Some(handle);
        }
        self.endpoint.handle_timeout(now);
        if self.writer.on_time(now) {
            self.write();
        }
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        self.react();
        transmit(&mut self.endpoint, now, out)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let dial = self.dial.as_ref().map(|dial| dial.at);
        [self.endpoint.poll_timeout(), dial, self.writer.next()].into_iter().flatten().min()
    }
}

impl Stack for Source {
    fn arrived(&self) -> Arrived {
        Arrived::default()
    }

    fn lost(&self) -> bool {
        self.lost
    }

    fn network_changed(&mut self, now: Instant) {
        self.endpoint.network_changed(now, NetworkChange::Unspecified);
    }

    fn gauges(&mut self) -> Option<Gauges> {
        let path = self.endpoint.connection(self.connection?)?.path();
        Some(Gauges { window: path.congestion.window, packet_size: path.packet_size })
    }
}

#[derive(Debug)]
struct Sink {
    endpoint: Endpoint,
    arrived: Arrived,
    buffer: Vec<u8>,
    lost: bool,
}

impl Sink {
    fn react(&mut self, now: Instant) {
        while let Some((handle, event)) = self.endpoint.poll_event() {
            match event {
                Event::Incoming => {
                    let incoming = self.endpoint.incoming(handle).expect("it was just announced");
                    incoming.accept(now).expect("it can be accepted");
                }
                Event::StreamOpened(direction) => {
                    let id = self.endpoint.connection(handle).and_then(|mut c| c.accept(direction));
                    if let Some(id) = id {
                        self.read(now, handle, id);
                    }
                }
                Event::Readable(id) => self.read(now, handle, id),
                Event::Closed(_) => self.lost = true,
                _ => {}
            }
        }
    }

    fn read(&mut self, now: Instant, handle: ConnectionHandle, id: StreamId) {
        let Some(mut connection) = self.endpoint.connection(handle) else { return };
        loop {
            match connection.read(id, &mut self.buffer) {
                Ok(0) => return self.arrived.ended = true,
                Ok(len) => self.arrived.add(now, len),
                Err(ReadError::Blocked | ReadError::Closed) => return,
                Err(error) => panic!("dunlin's sink cannot read: {error}"),
            }
        }
    }
}

impl Node for Sink {
    fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    ) {
        self.endpoint.handle_datagram(now, arrival(local, remote, ecn), datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        self.react(now);
        transmit(&mut self.endpoint, now, out)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }
}

impl Stack for Sink {
    fn arrived(&self) -> Arrived {
        self.arrived
    }

    fn lost(&self) -> bool {
        self.lost
    }

    fn network_changed(&mut self, now: Instant) {
        self.endpoint.network_changed(now, NetworkChange::Unspecified);
    }

    fn gauges(&mut self) -> Option<Gauges> {
        None
    }
}

fn arrival(local: SocketAddr, remote: SocketAddr, ecn: Option<Ecn>) -> Arrival {
    Arrival { local: LocalAddr { socket: 0, ip: Some(local.ip()) }, remote: remote.into(), ecn }
}

fn transmit(endpoint: &mut Endpoint, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
    let train = endpoint.poll_transmit(now, TrainLimit::OFFLOAD, out)?;
    let TransportAddr::Ip(remote) = train.remote else { return None };
    let segment_size = Some(train.segment_size);
    Some(Transmit { local: None, remote, len: train.len, segment_size, ecn: train.ecn })
}
