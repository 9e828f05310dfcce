//! Drivers on loopback: what is mio's own. What every adapter does is in `tests/adapters`.

mod common;

use core::time::Duration;
use std::io::ErrorKind;

use dunlin_mio::mio::{Events, Poll, Token};
use dunlin_mio::{
    AddressSource, AddressStatus, BindError, BindOptions, CloseReason, ConnectError, ConnectOptions,
    ConnectionHandle, Driver, Endpoint, ErrorCode, Event, Identity, Peer, RunError, UdpSocket, dunlin_udp,
};

use common::config;

/// How often something is tried that the loss of a packet can spoil.
const TRIES: usize = 100;

fn driver(secret: u8) -> Driver {
    Driver::bind("127.0.0.1:0".parse().unwrap(), config(), Identity::from_secret([secret; 32])).unwrap()
}

fn dial(client: &mut Driver, server: &Driver) -> ConnectionHandle {
    let key = Peer::Key(*server.engine().public_key());
    client.connect(server.local_addr(), key, b"test").unwrap()
}

/// Turns both, neither of which may wait for long, and accepts. The events of the first.
fn turn(client: &mut Driver, server: &mut Driver) -> Vec<Event> {
    server.run_once(Some(Duration::ZERO)).unwrap();
    while let Some((handle, event)) = server.poll_event() {
        if event == Event::Incoming {
            server.accept(handle).unwrap();
        }
    }
    client.run_once(Some(Duration::from_millis(1))).unwrap();
    core::iter::from_fn(|| client.poll_event()).map(|(_, event)| event).collect()
}

/// Two drivers and the first one's end of a connection between them.
fn connected() -> (Driver, Driver, ConnectionHandle) {
    let (mut client, mut server) = (driver(1), driver(2));
    let handle = dial(&mut client, &server);
    while !turn(&mut client, &mut server).contains(&Event::Connected) {}
    (client, server, handle)
}

#[test]
fn another_thread_ends_the_wait() {
    let mut driver = driver(1);
    assert_eq!(driver.poll_timeout(), None, "nothing would ever end it");
    for _ in 0..3 {
        let waker = driver.waker();
        let thread = std::thread::spawn(move || waker.wake());
        driver.run_once(None).unwrap();
        thread.join().unwrap().unwrap();
    }
}

#[test]
fn a_turn_waits_no_longer_than_it_may() {
    let mut driver = driver(1);
    driver.run_once(Some(Duration::ZERO)).unwrap();
    driver.run_once(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(driver.poll_event(), None);
}

#[test]
fn what_is_due_ends_the_wait() {
    let mut client = driver(1);
    let mut options = ConnectOptions::new("127.0.0.1:9".parse::<core::net::SocketAddr>().unwrap(), b"test");
    options.timeout = Some(Duration::from_millis(3));
    let dial = client.connect_with(Peer::AnyKey, options).unwrap();
    assert_eq!(client.poll_timeout(), Some(Duration::ZERO), "there is something to send");
    let told = loop {
        client.run_once(None).unwrap();
        if let Some(told) = client.poll_event() {
            break told;
        }
    };
    assert_eq!(told, (dial, Event::Closed(CloseReason::NoAnswer)));
}

#[test]
fn path_a_peer_is_dialled_at_all_addresses_that_are_known_of_it() {
    let (mut client, mut server) = (driver(1), driver(2));
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (key, good) = (*server.engine().public_key(), server.local_addr());
    client.add_address(&key, good, AddressSource::Application).unwrap();
    client.connect_with(Peer::Key(key), ConnectOptions::new(dead, b"test")).unwrap();
    while !turn(&mut client, &mut server).contains(&Event::Connected) {}
    let info = client.remote(&key).unwrap();
    let open = info.addresses.iter().filter(|info| info.status == AddressStatus::Open);
    assert_eq!(open.map(|info| info.remote).collect::<Vec<_>>(), [good.into()]);
    assert!(client.remove_address(&key, &dead.into()));
    assert_eq!(client.remote(&key).unwrap().addresses.len(), 1);
}

#[test]
fn trains_and_codepoints_go_both_ways() {
    const BYTES: usize = 4 << 20;
    let (mut client, mut server, handle) = connected();
    let stream = client.connection(handle).unwrap().open_uni().unwrap();
    let (mut written, mut read, mut buffer) = (0, 0, vec![7; 64 << 10]);
    let mut accepted = None;
    while read < BYTES {
        if written < BYTES
            && let Ok(more) =
                client.connection(handle).unwrap().write(stream, &buffer[..(BYTES - written).min(64 << 10)])
        {
            written += more;
        }
        client.run_once(Some(Duration::ZERO)).unwrap();
        while client.poll_event().is_some() {}
        server.run_once(Some(Duration::from_millis(1))).unwrap();
        while let Some((handle, event)) = server.poll_event() {
            if let Event::Readable(stream) = event {
                accepted = Some((handle, stream));
            }
        }
        if let Some((handle, stream)) = accepted {
            while let Ok(more) = server.connection(handle).unwrap().read(stream, &mut buffer) {
                read += more;
            }
        }
    }
    let packets = client.engine().stats().datagrams_sent;
    let sends = client.socket().unwrap().stats().sends;
    if cfg!(target_os = "linux") {
        assert!(sends < packets, "{packets} packets in {sends} sends");
        let ecn = server.connection(accepted.unwrap().0).unwrap().path().ecn;
        assert!(ecn.received.ect0 > 0, "{ecn:?}");
    }
}

/// Linux wakes who waits for a socket that is closed in his hands.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_is_closed_under_a_driver_ends_it() {
    let (mut client, _server, handle) = connected();
    client.socket().unwrap().close();
    let error = loop {
        match client.run_once(None) {
            Ok(()) => {}
            Err(RunError::Socket(error)) => break error,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(error.get_ref().is_some_and(|inner| inner.is::<dunlin_udp::Closed>()), "{error}");
    assert!(client.is_closed() && client.socket().is_none());
    assert!(client.connection(handle).is_none_or(|connection| connection.is_closing()));
    assert!(matches!(client.run_once(None), Err(RunError::Closed)));
}

/// The same of one of several: only the last one ends it.
#[cfg(target_os = "linux")]
#[test]
fn path_a_socket_that_is_closed_under_a_driver_leaves_the_others() {
    let builder = Endpoint::builder().config(config()).also_on("127.0.0.2:0".parse().unwrap());
    let endpoint =
        builder.bind("127.0.0.1:0".parse().unwrap(), Identity::from_secret([1; 32])).unwrap().remove(0);
    let (mut client, mut server) = (Driver::new(endpoint).unwrap(), driver(2));
    client.sockets().next().unwrap().close();
    while client.sockets().count() == 2 {
        client.run_once(None).unwrap();
    }
    let mut options = ConnectOptions::new(server.local_addr(), b"test");
    options.local.socket = 1;
    client.connect_with(Peer::Key(*server.engine().public_key()), options).unwrap();
    while !turn(&mut client, &mut server).contains(&Event::Connected) {}
    // A dial through the one that is gone finds nobody, and nobody else is held up by it.
    let lost = dial(&mut client, &server);
    while client.connection(lost).unwrap().stats().packets_sent == 0 {
        turn(&mut client, &mut server);
    }
    client.sockets().next().unwrap().close();
    let end = loop {
        match client.run_once(None) {
            Ok(()) => while client.poll_event().is_some() {},
            Err(end) => break end,
        }
    };
    assert!(matches!(end, RunError::Socket(_)), "{end}");
}

#[test]
fn a_closed_driver_is_closed_for_good() {
    let (mut client, mut server, handle) = connected();
    client.close(5.into(), b"enough");
    client.close(6.into(), b"twice");
    assert!(client.is_closed());
    let dialled = client.connect(server.local_addr(), Peer::AnyKey, b"test");
    assert_eq!(dialled, Err(ConnectError::Closed));
    // Until the peer has heard of it, or has had the time to.
    let end = loop {
        match client.run_once(None) {
            Ok(()) => drop(server.run_once(Some(Duration::ZERO))),
            Err(end) => break end,
        }
    };
    assert!(matches!(end, RunError::Closed));
    assert!(client.socket().is_none());
    assert_eq!(client.poll_event(), Some((handle, Event::Closed(CloseReason::Local { code: 5.into() }))));
    assert_eq!(client.poll_event(), None);

    assert!(matches!(client.run_once(None), Err(RunError::Closed)));
    assert!(matches!(client.transmit(), Err(RunError::Closed)));
    assert!(matches!(client.receive(), Err(RunError::Closed)));
    let poll = Poll::new().unwrap();
    assert_eq!(client.register(poll.registry(), Token(0)).unwrap_err().kind(), ErrorKind::NotConnected);
    client.deregister().unwrap();
    client.close(7.into(), b"three times");
}

#[test]
fn a_peer_hears_of_a_drop() {
    for _ in 0..TRIES {
        let (client, mut server, _) = connected();
        drop(client);
        // One packet says so, and it may get lost.
        for _ in 0..TRIES {
            server.run_once(Some(Duration::from_millis(1))).unwrap();
            while let Some((_, event)) = server.poll_event() {
                if let Event::Closed(reason) = event {
                    assert_eq!(
                        reason,
                        CloseReason::Peer { code: ErrorCode::default(), reason: (&b""[..]).into() }
                    );
                    return;
                }
            }
        }
    }
    panic!("no peer was told");
}

#[test]
fn a_driver_takes_a_socket_and_an_endpoint_over() {
    let bound = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let local = bound.local_addr().unwrap();
    let socket = UdpSocket::from_std(bound).unwrap();
    let identity = || Identity::from_secret([1; 32]);
    let mut endpoint = Endpoint::with_socket(socket, config(), identity()).unwrap();
    let poll = Poll::new().unwrap();
    endpoint.register(poll.registry(), Token(0)).unwrap();
    let mut driver = Driver::new(endpoint).unwrap();
    assert_eq!(driver.local_addr(), local);
    driver.run_once(Some(Duration::ZERO)).unwrap();

    let taken = Driver::bind(local, config(), identity()).unwrap_err();
    assert!(matches!(taken, BindError::Socket(dunlin_udp::BindError::InUse { .. })), "{taken}");
    let other = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &BindOptions::default()).unwrap();
    assert!(Endpoint::with_socket(other, config(), identity()).is_ok());
}

#[test]
fn the_engine_is_at_hand() {
    let mut settings = config();
    settings.key_log = true;
    let mut client =
        Driver::bind("127.0.0.1:0".parse().unwrap(), settings, Identity::from_secret([1; 32])).unwrap();
    let mut server = driver(2);
    let handle = dial(&mut client, &server);
    while !turn(&mut client, &mut server).contains(&Event::Connected) {}
    // What opens the two messages of the handshake, and the rest.
    let entries = core::iter::from_fn(|| client.engine_mut().poll_key_log());
    assert_eq!(entries.count(), 3);
    assert_eq!(client.engine().stats().connections, 1);
    assert!(client.connection(handle).unwrap().stats().packets_received > 0);
    assert!(client.now() > dunlin_mio::Instant::ZERO);
}

#[test]
fn another_socket_keeps_the_connection() {
    let (mut client, mut server, handle) = connected();
    // Nothing moves a connection yet, so the server's packets come to the old address: only what goes there is heard.
    let bind = || UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &BindOptions::default()).unwrap();
    let old = client.local_addr();
    client.rebind(bind()).unwrap();
    assert_ne!(client.local_addr(), old);
    assert_eq!(client.socket().unwrap().as_std().local_addr().unwrap(), client.local_addr());
    let mut connection = client.connection(handle).unwrap();
    let stream = connection.open_uni().unwrap();
    connection.write(stream, b"from elsewhere").unwrap();
    let heard = 'heard: loop {
        client.run_once(Some(Duration::ZERO)).unwrap();
        while client.poll_event().is_some() {}
        server.run_once(Some(Duration::from_millis(1))).unwrap();
        while let Some((handle, event)) = server.poll_event() {
            if let Event::Readable(stream) = event {
                break 'heard server.connection(handle).unwrap().read_chunk(stream, 100).unwrap();
            }
        }
    };
    assert_eq!(heard.as_deref(), Some(&b"from elsewhere"[..]));

    client.close(0.into(), b"");
    assert_eq!(client.rebind(bind()).unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn a_new_socket_is_watched_where_the_old_one_was() {
    let mut endpoint =
        Endpoint::bind("127.0.0.1:0".parse().unwrap(), config(), Identity::from_secret([1; 32])).unwrap();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(4));
    endpoint.register(poll.registry(), Token(5)).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &BindOptions::default()).unwrap();
    endpoint.rebind(udp).unwrap();
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"anything", endpoint.local_addr()).unwrap();
    poll.poll(&mut events, None).unwrap();
    assert!(events.iter().all(|event| event.token() == Token(5)) && !events.is_empty());
}

#[test]
fn a_report_of_the_network_is_acted_on_in_the_next_turn() {
    let mut client = driver(1);
    // Nobody is there.
    let deaf = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(deaf.local_addr().unwrap(), Peer::AnyKey, b"test").unwrap();
    let sent = |client: &Driver| client.engine().stats().datagrams_sent;
    while sent(&client) < 2 {
        client.run_once(None).unwrap();
    }
    // The next copy would go in half a second.
    let before = sent(&client);
    client.network_changed();
    client.run_once(Some(Duration::ZERO)).unwrap();
    assert!(sent(&client) > before);
}
