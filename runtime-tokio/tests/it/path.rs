//! Connections whose peers go on at another address.

use dunlin_tokio::{Connection, Peer};

use crate::relay::Relay;
use crate::{bind, config, soon};

/// What goes one way, in bytes; the way changes after an eighth of it.
const BYTES: usize = 8 << 20;

async fn send(connection: &Connection) {
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&vec![7; BYTES]).await.unwrap();
    stream.finish().unwrap();
}

async fn receive(connection: &Connection, relay: &Relay) {
    let mut stream = connection.accept_uni().await.unwrap();
    let (mut buffer, mut total) = (vec![0; 64 << 10], 0);
    while let Some(read) = stream.read(&mut buffer).await.unwrap() {
        assert!(buffer[..read].iter().all(|byte| *byte == 7));
        if total < BYTES / 8 && total + read >= BYTES / 8 {
            relay.forget_source();
        }
        total += read;
    }
    assert_eq!(total, BYTES);
}

#[tokio::test]
async fn a_client_whose_relay_forgets_its_port_is_followed() {
    for upload in [true, false] {
        let (client, server) = (bind(1, config()), bind(2, config()));
        let relay = Relay::to(server.local_addr()).await;
        let connecting = client.connect(relay.address, Peer::Key(*server.public_key()), b"test").unwrap();
        let accepting = async { server.accept().await.unwrap().accept().unwrap().await };
        let (dialled, accepted) = soon(async { tokio::join!(connecting, accepting) }).await;
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        let before = accepted.path().unwrap().remote;
        let (from, to) = if upload { (&dialled, &accepted) } else { (&accepted, &dialled) };
        soon(async { tokio::join!(send(from), receive(to, &relay)) }).await;
        assert_ne!(accepted.path().unwrap().remote, before);
    }
}
