//! Connections whose peers go on at another address.

use dunlin_tokio::{
    AddressSource, AddressStatus, CloseReason, ConnectOptions, Connection, ErrorCode, PathEvent, Peer,
};

use crate::relay::Relay;
use crate::{bind, config, poll_once, soon};

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

#[tokio::test]
async fn path_events_tell_of_the_move_and_the_end() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let relay = Relay::to(server.local_addr()).await;
    let connecting = client.connect(relay.address, Peer::Key(*server.public_key()), b"test").unwrap();
    let accepting = async { server.accept().await.unwrap().accept().unwrap().await };
    let (dialled, accepted) = soon(async { tokio::join!(connecting, accepting) }).await;
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    let before = accepted.path().unwrap();
    let (mut one, mut other) = (accepted.path_events(), accepted.path_events());
    assert_eq!(poll_once(core::pin::pin!(one.next())).await, None, "nothing has happened");
    // Two tasks that wait are both woken.
    let waiting = tokio::spawn(async move { (other.next().await, other) });
    soon(async { tokio::join!(send(&dialled), receive(&accepted, &relay)) }).await;
    let event = soon(one.next()).await.unwrap();
    let PathEvent::Moved { id, from, to } = &event else { panic!("{event:?}") };
    let after = accepted.path().unwrap();
    assert_eq!((*id, from.remote, from.local), (before.id, before.remote, before.local));
    assert_eq!((to.remote, to.local), (after.remote, after.local));
    let (heard, mut other) = soon(waiting).await.unwrap();
    assert_eq!(heard, Some(event));
    dialled.close(ErrorCode::default(), b"");
    assert!(matches!(soon(accepted.closed()).await, CloseReason::Peer { .. }));
    for events in [&mut one, &mut other] {
        let last = soon(events.next()).await;
        assert!(
            matches!(&last, Some(PathEvent::Closed { stats, .. }) if stats.remote == after.remote),
            "{last:?}"
        );
        assert_eq!(soon(events.next()).await, None);
    }
    assert_eq!(soon(accepted.path_events().next()).await, None, "nothing happens to it any more");
}

/// Who waits when the connection ends is woken.
#[tokio::test]
async fn path_events_end_for_who_waits() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let connecting = client.connect(server.local_addr(), Peer::Key(*server.public_key()), b"test").unwrap();
    let accepting = async { server.accept().await.unwrap().accept().unwrap().await };
    let (dialled, accepted) = soon(async { tokio::join!(connecting, accepting) }).await;
    let (dialled, _accepted) = (dialled.unwrap(), accepted.unwrap());
    let mut events = dialled.path_events();
    let waiting = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(event) = events.next().await {
            all.push(event);
        }
        all
    });
    tokio::task::yield_now().await;
    dialled.close(ErrorCode::default(), b"");
    let all = soon(waiting).await.unwrap();
    assert!(matches!(all[..], [PathEvent::Closed { .. }]), "{all:?}");
}

#[tokio::test]
async fn a_peer_with_several_addresses_is_dialled_at_all_of_them() {
    let dead = [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let dead = dead.each_ref().map(|socket| socket.local_addr().unwrap());
    let (client, server) = (bind(1, config()), bind(2, config()));
    let (key, good) = (*server.public_key(), server.local_addr());
    // One is named in the dial, and one was told before.
    client.add_address(&key, dead[0], AddressSource::Application).unwrap();
    assert!(client.remove_address(&key, &dead[0].into()));
    client.add_address(&key, good, AddressSource::Application).unwrap();
    for options in [
        ConnectOptions::new(dead[1], b"test"),
        ConnectOptions::new(dead[1], b"test").also(dead[0]).also(good),
    ] {
        let accepting = async { server.accept().await.unwrap().accept().unwrap().await };
        let connecting = client.connect_with(Peer::Key(key), options).unwrap();
        let (dialled, accepted) = soon(async { tokio::join!(connecting, accepting) }).await;
        let (dialled, _accepted) = (dialled.unwrap(), accepted.unwrap());
        assert_eq!(dialled.path().unwrap().remote, good.into());
        let info = client.remote(&key).unwrap();
        let status = |addr: core::net::SocketAddr| {
            info.addresses.iter().find(|info| info.remote == addr.into()).map(|info| info.status)
        };
        assert_eq!((info.connections, status(good)), (1, Some(AddressStatus::Open)));
        assert_eq!(status(dead[1]), Some(AddressStatus::Unknown), "one copy says nothing");
        dialled.close(ErrorCode::from(0u32), b"");
    }
}
