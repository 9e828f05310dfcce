//! A peer that loses its state.

use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;

use dunlin_tokio::dunlin_core::{self, Arrival, Event, Instant, TrainLimit, TransportAddr};
use dunlin_tokio::{CloseReason, Endpoint, Identity, Peer};

use crate::{config, soon};

const SECRET: u8 = 9;
/// What becomes of the peer.
const GOES_ON: u8 = 0;
const STARTS_ANEW: u8 = 1;
const ENDS: u8 = 2;

fn engine(seed: u8) -> dunlin_core::Endpoint {
    dunlin_core::Endpoint::new(config(), Identity::from_secret([SECRET; 32]), [seed; 32])
}

/// An engine over a plain socket, for another one to take its place in the middle of everything.
fn run(socket: &UdpSocket, fate: &AtomicU8) {
    let epoch = std::time::Instant::now();
    let (mut engine, mut train, mut datagram) = (engine(1), Vec::new(), vec![0; 65_536]);
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    loop {
        match fate.swap(GOES_ON, Ordering::Relaxed) {
            STARTS_ANEW => engine = self::engine(2),
            ENDS => return,
            _ => {}
        }
        let now = Instant::ZERO + epoch.elapsed();
        engine.handle_timeout(now);
        while let Some((handle, event)) = engine.poll_event() {
            if event == Event::Incoming {
                let _ = engine.incoming(handle).unwrap().accept(now);
            }
        }
        while let Some(transmit) = engine.poll_transmit(now, TrainLimit::SINGLE, &mut train) {
            if let TransportAddr::Ip(remote) = transmit.remote {
                let _ = socket.send_to(&train, remote);
            }
            train.clear();
        }
        if let Ok((len, remote)) = socket.recv_from(&mut datagram) {
            let now = Instant::ZERO + epoch.elapsed();
            engine.handle_datagram(now, Arrival::from_remote(remote), &mut datagram[..len]);
        }
    }
}

/// A reset reaches a shard by chance, and means something to another one.
#[tokio::test]
async fn hostile_restarts_of_a_peer_are_noticed_by_every_shard() {
    let (socket, fate) = (UdpSocket::bind("127.0.0.1:0").unwrap(), Arc::new(AtomicU8::new(GOES_ON)));
    let at = socket.local_addr().unwrap();
    let peer = thread::spawn({
        let fate = Arc::clone(&fate);
        move || run(&socket, &fate)
    });
    let client = Endpoint::builder().config(config()).shards(4);
    let client = client.bind("127.0.0.1:0".parse().unwrap(), Identity::from_secret([1; 32])).unwrap();
    let key = *Identity::from_secret([SECRET; 32]).public();
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(soon(client.connect(at, Peer::Key(key), b"test").unwrap()).await.unwrap());
    }
    fate.store(STARTS_ANEW, Ordering::Relaxed);
    for connection in connections {
        // They ask all the time whether it is still there.
        assert_eq!(soon(connection.closed()).await, CloseReason::PeerRestarted);
    }
    assert_eq!(client.stats().resets_received, 8);
    fate.store(ENDS, Ordering::Relaxed);
    peer.join().unwrap();
}
