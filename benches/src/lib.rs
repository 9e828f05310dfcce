//! What the benchmark programs share.

use dunlin_core::{
    AeadPolicy, Arrival, Config, ConnectOptions, ConnectionHandle, Duration, Endpoint, Event, Identity,
    Instant, Peer, TrainLimit,
};

/// The application protocol of the benchmarks.
pub const ALPN: &[u8] = b"bench";

/// Two endpoints in one process, joined by function calls: the engine alone, without sockets.
#[derive(Debug)]
pub struct InMemory {
    /// The side that dialled.
    pub client: Endpoint,
    /// The side that answered.
    pub server: Endpoint,
    /// The client's connection.
    pub client_handle: ConnectionHandle,
    /// The server's connection.
    pub server_handle: ConnectionHandle,
    /// The clock of both.
    pub now: Instant,
    buffer: Vec<u8>,
}

/// One way between the two, in the clock of the engines.
pub const ONE_WAY: Duration = Duration::from_micros(25);

impl InMemory {
    /// A connected pair.
    ///
    /// # Panics
    /// If the engines cannot connect, which would be a bug.
    #[must_use]
    pub fn connect(aead: AeadPolicy, packet_size: u16) -> Self {
        let mut config = Config::default();
        config.alpns = vec![ALPN.to_vec()];
        config.aead = aead;
        config.packet_size = packet_size;
        config.mtu_discovery.enabled = false;
        let mut client = Endpoint::new(config.clone(), Identity::from_secret([1; 32]), [1; 32]);
        let server = Endpoint::new(config, Identity::from_secret([2; 32]), [2; 32]);
        let now = Instant::ZERO;
        let peer = Peer::Key(*server.public_key());
        let options = ConnectOptions::new(core::net::SocketAddr::from(([127, 0, 0, 1], 2)), ALPN);
        let client_handle = client.connect(now, peer, options).expect("the dial starts");
        let mut server_handle = None;
        let mut pair =
            Self { client, server, client_handle, server_handle: client_handle, now, buffer: Vec::new() };
        for _ in 0..20 {
            pair.exchange();
            while let Some((handle, event)) = pair.server.poll_event() {
                match event {
                    Event::Incoming => {
                        let incoming = pair.server.incoming(handle).expect("just announced");
                        server_handle = Some(incoming.accept(pair.now).expect("accepts"));
                    }
                    Event::Connected => server_handle = Some(handle),
                    _ => {}
                }
            }
            while pair.client.poll_event().is_some() {}
        }
        pair.server_handle = server_handle.expect("the server has a connection");
        pair
    }

    /// Moves everything that waits in one direction, then in the other.
    pub fn exchange(&mut self) {
        self.now += ONE_WAY;
        carry(self.now, &mut self.client, &mut self.server, 1, &mut self.buffer);
        self.now += ONE_WAY;
        carry(self.now, &mut self.server, &mut self.client, 2, &mut self.buffer);
    }
}

/// Moves everything that `from` has to send to `to`. Returns the number of datagrams.
pub fn carry(now: Instant, from: &mut Endpoint, to: &mut Endpoint, port: u16, buffer: &mut Vec<u8>) -> usize {
    let mut count = 0;
    loop {
        buffer.clear();
        let Some(train) = from.poll_transmit(now, TrainLimit::OFFLOAD, buffer) else { return count };
        for datagram in buffer.chunks_mut(train.segment_size) {
            to.handle_datagram(now, arrival(port), datagram);
            count += 1;
        }
    }
}

/// A datagram from `port` on the loopback address.
#[must_use]
pub fn arrival(port: u16) -> Arrival {
    Arrival::from_remote(core::net::SocketAddr::from(([127, 0, 0, 1], port)))
}
