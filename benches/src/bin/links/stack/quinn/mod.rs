//! quinn-proto as a source and as a sink: its transport and its congestion control as they are, without its TLS.

mod no_crypto;

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::Instant as Clock;

use bytes::BytesMut;
use dunlin_sim::{Ecn, Instant, Node, Rng, Transmit};
use quinn_proto::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint, Endpoint, EndpointConfig,
    Event, ReadError, ReadableError, ServerConfig, StreamEvent, StreamId, TransportConfig, VarInt,
    WriteError,
};

use super::{Arrived, Ends, Gauges, Plan, Stack, Windows, Writer};
use no_crypto::{NoCrypto, NoKey};

/// Which of quinn's controllers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Controller {
    Cubic,
    Bbr,
}

/// What quinn's driver asks for at once.
const SEGMENTS: usize = 10;

/// quinn's clock is the system's: any instant serves as the beginning, since only differences count.
static EPOCH: LazyLock<Clock> = LazyLock::new(Clock::now);

fn clock(now: Instant) -> Clock {
    *EPOCH + core::time::Duration::from_nanos(now.as_nanos())
}

fn instant(clock: Clock) -> Instant {
    Instant::ZERO + clock.saturating_duration_since(*EPOCH)
}

/// quinn's defaults, but for windows: they are fixed ones and made for 100 Mbit/s at 100 ms, so they get what the link
/// needs, as a user who knows the link would set them. And it waits through outages as long as dunlin does.
fn transport(controller: Controller, plan: &Plan) -> Arc<TransportConfig> {
    let factory: Arc<dyn ControllerFactory + Send + Sync> = match controller {
        Controller::Cubic => Arc::new(CubicConfig::default()),
        Controller::Bbr => Arc::new(BbrConfig::default()),
    };
    let mut transport = TransportConfig::default();
    transport.congestion_controller_factory(factory).max_idle_timeout(Some(VarInt::from_u32(90_000).into()));
    if plan.windows == Windows::Fit {
        let window = (4 * plan.pipe).max(16 << 20);
        transport
            .stream_receive_window(VarInt::from_u64(window).expect("a window far below 2^62"))
            .send_window(window);
    }
    Arc::new(transport)
}

fn endpoint(plan: &Plan, label: u64, server: Option<ServerConfig>) -> Endpoint {
    let mut rng = Rng::new(plan.seed).fork(label);
    let mut seed = [0; 32];
    for part in seed.as_chunks_mut::<8>().0 {
        *part = rng.next_u64().to_le_bytes();
    }
    let mut config = EndpointConfig::new(Arc::new(NoKey));
    config.rng_seed(Some(seed));
    Endpoint::new(Arc::new(config), server.map(Arc::new), true, None)
}

/// A source and the sink that it dials.
pub(crate) fn ends(plan: &Plan, controller: Controller) -> Ends {
    let transport = transport(controller, plan);
    let mut server = ServerConfig::new(Arc::new(NoCrypto), Arc::new(NoKey));
    server.transport_config(Arc::clone(&transport));
    let mut client = ClientConfig::new(Arc::new(NoCrypto));
    client.transport_config(transport);
    Ends {
        source: Box::new(Source {
            end: End::new(endpoint(plan, 1, None)),
            dial: Some((plan.start, plan.to, client)),
            stream: None,
            writer: Writer::new(plan.load, plan.start),
        }),
        sink: Box::new(Sink { end: End::new(endpoint(plan, 2, Some(server))), arrived: Arrived::default() }),
    }
}

/// What source and sink share: an endpoint with at most one connection, driven as quinn's own driver does.
struct End {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    /// The connection's timer, kept here because asking for it changes the connection.
    timeout: Option<Instant>,
    /// Datagrams that the endpoint answers itself.
    responses: VecDeque<(quinn_proto::Transmit, Vec<u8>)>,
    lost: bool,
}

impl End {
    fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, connection: None, timeout: None, responses: VecDeque::new(), lost: false }
    }

    fn handle_datagram(&mut self, now: Instant, remote: SocketAddr, ecn: Option<Ecn>, datagram: &[u8]) {
        let ecn = ecn.map(|ecn| match ecn {
            Ecn::Ect0 => EcnCodepoint::Ect0,
            Ecn::Ect1 => EcnCodepoint::Ect1,
            Ecn::Ce => EcnCodepoint::Ce,
        });
        let mut response = Vec::new();
        let bytes = BytesMut::from(datagram);
        match self.endpoint.handle(clock(now), remote, None, ecn, bytes, &mut response) {
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let accepted = self.endpoint.accept(incoming, clock(now), &mut response, None);
                self.connection = Some(accepted.unwrap_or_else(|error| panic!("{:?}", error.cause)));
            }
            Some(DatagramEvent::Response(transmit)) => self.responses.push_back((transmit, response)),
            None => {}
        }
        self.settle();
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, connection)) = &mut self.connection
            && self.timeout.is_some_and(|at| at <= now)
        {
            connection.handle_timeout(clock(now));
        }
        self.settle();
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let transmit = match self.responses.pop_front() {
            Some((transmit, bytes)) => {
                out.extend_from_slice(&bytes);
                transmit
            }
            None => self.connection.as_mut()?.1.poll_transmit(clock(now), SEGMENTS, out)?,
        };
        self.settle();
        Some(Transmit {
            local: None,
            remote: transmit.destination,
            len: transmit.size,
            segment_size: transmit.segment_size,
            ecn: transmit.ecn.map(|ecn| match ecn {
                EcnCodepoint::Ect0 => Ecn::Ect0,
                EcnCodepoint::Ect1 => Ecn::Ect1,
                EcnCodepoint::Ce => Ecn::Ce,
            }),
        })
    }

    /// Carries events between the connection and its endpoint, and looks at the timer.
    fn settle(&mut self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        self.timeout = connection.poll_timeout().map(instant);
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.connection.as_mut()?.1.poll()?;
        self.lost |= matches!(event, Event::ConnectionLost { .. });
        Some(event)
    }
}

struct Source {
    end: End,
    dial: Option<(Instant, SocketAddr, ClientConfig)>,
    stream: Option<StreamId>,
    writer: Writer,
}

impl Source {
    fn react(&mut self) {
        while let Some(event) = self.end.poll_event() {
            match event {
                Event::Connected => {
                    let connection = self.end.connection.as_mut().map(|(_, connection)| connection);
                    self.stream = connection.and_then(|connection| connection.streams().open(Dir::Uni));
                    self.write();
                }
                Event::Stream(StreamEvent::Writable { .. }) => self.write(),
                _ => {}
            }
        }
    }

    fn write(&mut self) {
        let (Some((_, connection)), Some(id)) = (&mut self.end.connection, self.stream) else { return };
        let mut stream = connection.send_stream(id);
        loop {
            let piece = self.writer.piece();
            if piece.is_empty() {
                return;
            }
            match stream.write(piece) {
                Ok(len) => {
                    if self.writer.written(len) {
                        stream.finish().expect("an open stream can be finished");
                        self.stream = None;
                        return;
                    }
                }
                Err(WriteError::Blocked) => return,
                Err(error) => panic!("quinn's source cannot write: {error}"),
            }
        }
    }
}

impl Node for Source {
    fn handle_datagram(
        &mut self,
        now: Instant,
        _local: SocketAddr,
        remote: SocketAddr,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    ) {
        self.end.handle_datagram(now, remote, ecn, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, to, config)) = self.dial.take_if(|(at, ..)| *at <= now) {
            let dialled = self.end.endpoint.connect(clock(now), config, to, "sink");
            self.end.connection = Some(dialled.expect("the dial starts"));
        }
        self.end.handle_timeout(now);
        if self.writer.on_time(now) {
            self.write();
        }
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        self.react();
        self.end.poll_transmit(now, out)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let dial = self.dial.as_ref().map(|(at, ..)| *at);
        [self.end.timeout, dial, self.writer.next()].into_iter().flatten().min()
    }
}

impl Stack for Source {
    fn arrived(&self) -> Arrived {
        Arrived::default()
    }

    fn lost(&self) -> bool {
        self.end.lost
    }

    fn gauges(&mut self) -> Option<Gauges> {
        let (_, connection) = self.end.connection.as_ref()?;
        let window = connection.congestion_state().window();
        Some(Gauges { window, packet_size: connection.current_mtu() })
    }
}

struct Sink {
    end: End,
    arrived: Arrived,
}

impl Sink {
    fn react(&mut self, now: Instant) {
        while let Some(event) = self.end.poll_event() {
            match event {
                Event::Stream(StreamEvent::Opened { dir }) => {
                    let Some((_, connection)) = &mut self.end.connection else { return };
                    if let Some(id) = connection.streams().accept(dir) {
                        self.read(now, id);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read(now, id),
                _ => {}
            }
        }
    }

    /// Out of order: in order, quinn-proto ends the connection when a stream has more than 1,024 gaps, as fast links
    /// with loss make them. So it is credited a little early for what comes behind a gap.
    fn read(&mut self, now: Instant, id: StreamId) {
        let Some((_, connection)) = &mut self.end.connection else { return };
        let mut stream = connection.recv_stream(id);
        let mut chunks = match stream.read(false) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream) => return,
            Err(error) => panic!("quinn's sink cannot read: {error}"),
        };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => self.arrived.add(now, chunk.bytes.len()),
                Ok(None) => {
                    self.arrived.ended = true;
                    break;
                }
                Err(ReadError::Blocked) => break,
                Err(error) => panic!("quinn's sink cannot read: {error}"),
            }
        }
        // What it has to send is found when the world polls next, which is at once.
        let _ = chunks.finalize();
    }
}

impl Node for Sink {
    fn handle_datagram(
        &mut self,
        now: Instant,
        _local: SocketAddr,
        remote: SocketAddr,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    ) {
        self.end.handle_datagram(now, remote, ecn, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.end.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        self.react(now);
        self.end.poll_transmit(now, out)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.end.timeout
    }
}

impl Stack for Sink {
    fn arrived(&self) -> Arrived {
        self.arrived
    }

    fn lost(&self) -> bool {
        self.end.lost
    }

    fn gauges(&mut self) -> Option<Gauges> {
        None
    }
}
