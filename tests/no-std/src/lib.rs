//! Links dunlin-core without std, and calls every verb of it.
#![no_std]

extern crate alloc;

mod heap;

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use dunlin_core::{
    Arrival, Config, ConnectOptions, ConnectionHandle, Endpoint, Event, Identity, Instant, Peer, TrainLimit,
    TransportAddr,
};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

fn address(host: u8) -> TransportAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), 4433)).into()
}

/// Hands everything that `from` sends to `to`.
fn carry(now: Instant, from: &mut Endpoint, source: TransportAddr, to: &mut Endpoint) {
    let mut out = Vec::new();
    while let Some(transmit) = from.poll_transmit(now, TrainLimit::OFFLOAD, &mut out) {
        for datagram in out.chunks_mut(transmit.segment_size.max(1)) {
            to.handle_datagram(now, Arrival::from_remote(source), datagram);
        }
        out.clear();
    }
}

/// Accepts whoever dials, and says which connection is established.
fn answer(now: Instant, endpoint: &mut Endpoint) -> Option<ConnectionHandle> {
    let mut connected = None;
    while let Some((handle, event)) = endpoint.poll_event() {
        match event {
            Event::Incoming => {
                let _ = endpoint.incoming(handle).map(|incoming| incoming.accept(now));
            }
            Event::Connected => connected = Some(handle),
            _ => {}
        }
    }
    connected
}

/// Dials from one endpoint to another in memory and sends it a message. Returns how many bytes of it arrived.
#[unsafe(no_mangle)]
pub extern "C" fn dunlin_no_std_message() -> usize {
    let mut config = Config::default();
    config.alpns.push(b"proof".to_vec());
    let identity = Identity::from_secret([1; 32]);
    let peer = Peer::Key(*identity.public());
    let mut server = Endpoint::new(config, identity, [2; 32]);
    let mut client = Endpoint::new(Config::default(), Identity::from_secret([3; 32]), [4; 32]);
    let Ok(dial) = client.connect(Instant::ZERO, peer, ConnectOptions::new(address(1), b"proof")) else {
        return 0;
    };
    if let Some(mut connection) = client.connection(dial)
        && let Ok(stream) = connection.open_bi()
    {
        let _ = connection.write(stream, b"no std at all");
        let _ = connection.finish(stream);
    }
    let mut received = 0;
    for step in 0..100 {
        let now = Instant::from_nanos(step * 1_000_000);
        carry(now, &mut client, address(2), &mut server);
        if let Some(mut connection) = answer(now, &mut server).and_then(|handle| server.connection(handle))
            && let Some(stream) = connection.accept(dunlin_core::Direction::Bidirectional)
        {
            let mut buffer = [0; 64];
            received += connection.read(stream, &mut buffer).unwrap_or(0);
        }
        carry(now, &mut server, address(1), &mut client);
        let _ = answer(now, &mut client);
        for endpoint in [&mut client, &mut server] {
            if endpoint.poll_timeout().is_some_and(|due| due <= now) {
                endpoint.handle_timeout(now);
            }
        }
    }
    received
}
