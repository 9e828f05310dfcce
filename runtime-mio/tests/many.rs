//! One endpoint with many peers: what one system call carries then.

use core::net::SocketAddr;
use core::time::Duration;

use dunlin_mio::dunlin_udp::SEND_BATCH_SIZE;
use dunlin_mio::{Config, ConnectionHandle, Driver, Event, Identity, Peer};

const CONNECTIONS: usize = 500;

/// Nothing takes this long.
const TOO_LONG: Duration = Duration::from_secs(600);

/// How often the word is given before some of its datagrams count as held back for good.
const TRIES: usize = 20;

fn driver(secret: u8) -> Driver {
    let mut config = Config::default();
    config.alpns = vec![b"test".to_vec()];
    config.connect_timeout = TOO_LONG;
    config.idle_timeout = Some(TOO_LONG);
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Driver::bind(address, config, Identity::from_secret([secret; 32])).unwrap()
}

/// The server's end of so many connections.
fn connected(client: &mut Driver, server: &mut Driver) -> Vec<ConnectionHandle> {
    let (key, address) = (*server.engine().public_key(), server.local_addr());
    for _ in 0..CONNECTIONS {
        client.connect(address, Peer::Key(key), b"test").unwrap();
    }
    let mut ends = Vec::new();
    while ends.len() < CONNECTIONS {
        for driver in [&mut *server, &mut *client] {
            driver.run_once(Some(Duration::ZERO)).unwrap();
        }
        while client.poll_event().is_some() {}
        while let Some((handle, event)) = server.poll_event() {
            match event {
                Event::Incoming => drop(server.accept(handle)),
                Event::Connected => ends.push(handle),
                _ => {}
            }
        }
    }
    ends
}

/// Turns both until neither has anything to do at once.
fn settle(client: &mut Driver, server: &mut Driver) {
    let rest = Duration::from_millis(5);
    let mut still = 0;
    while still < 20 {
        let before = [&*client, &*server].map(|driver| driver.engine().stats().datagrams_sent);
        for driver in [&mut *server, &mut *client] {
            driver.run_once(Some(rest)).unwrap();
            while driver.poll_event().is_some() {}
        }
        let after = [&*client, &*server].map(|driver| driver.engine().stats().datagrams_sent);
        still = if before == after { still + 1 } else { 0 };
    }
}

/// A word to everybody: one datagram each.
#[test]
fn what_goes_to_many_peers_at_once_goes_in_few_calls() {
    let (mut client, mut server) = (driver(1), driver(2));
    let ends = connected(&mut client, &mut server);
    settle(&mut client, &mut server);
    let (mut sends, mut calls) = (0, 0);
    for _ in 0..TRIES {
        let before = server.socket().unwrap().stats();
        for end in &ends {
            let mut connection = server.connection(*end).unwrap();
            let stream = connection.open_uni().unwrap();
            connection.write(stream, &[7; 200]).unwrap();
        }
        server.transmit().unwrap();
        let after = server.socket().unwrap().stats();
        (sends, calls) = (after.sends - before.sends, after.send_calls - before.send_calls);
        if sends >= CONNECTIONS as u64 {
            break;
        }
        settle(&mut client, &mut server);
    }
    println!("{sends} messages in {calls} system calls");
    assert!(sends >= CONNECTIONS as u64, "{sends} messages");
    assert!(calls <= 2 * sends.div_ceil(SEND_BATCH_SIZE as u64), "{sends} messages in {calls} calls");
}
