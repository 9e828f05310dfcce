//! The whole loop of an engine, over a plain `std::net::UdpSocket`. Both ends in one process: a message and its echo.

use core::error::Error;
use std::io::ErrorKind::{TimedOut, WouldBlock};
use std::net::UdpSocket;
use std::thread;
use std::time::Instant as Clock;

use dunlin_core::{
    Arrival, Config, ConnectOptions, Connection, Duration, Endpoint, ErrorCode, Event, Identity, Instant,
    Peer, StreamId, TrainLimit, TransportAddr,
};

type Done = Result<(), Box<dyn Error>>;

/// Drives an endpoint until its last connection is forgotten. `read` is called when a stream has something to read.
fn run(mut endpoint: Endpoint, socket: UdpSocket, read: fn(Connection<'_>, StreamId) -> Done) -> Done {
    let (epoch, mut served) = (Clock::now(), false);
    let (mut train, mut datagram) = (Vec::new(), [0; 65_536]);
    loop {
        let now = Instant::ZERO + epoch.elapsed();
        endpoint.handle_timeout(now);
        while let Some(transmit) = endpoint.poll_transmit(now, TrainLimit::SINGLE, &mut train) {
            if let TransportAddr::Ip(remote) = transmit.remote {
                // What cannot be sent is lost, as so many are on the way.
                let _ = socket.send_to(&train, remote);
            }
            train.clear();
        }
        while let Some((handle, event)) = endpoint.poll_event() {
            if event == Event::Incoming {
                endpoint.incoming(handle).ok_or("it gave up")?.accept(now)?;
            } else if let Event::Readable(stream) = event {
                read(endpoint.connection(handle).ok_or("it is forgotten")?, stream)?;
            }
        }
        let (connections, due) = (endpoint.stats().connections, endpoint.poll_timeout());
        if served && connections == 0 {
            return Ok(());
        }
        served |= connections > 0;
        // A socket takes a timeout of zero for none at all.
        let wait = due.map_or(Duration::MAX, |due| due - now).max(Duration::from_micros(1));
        socket.set_read_timeout(Some(wait.min(Duration::from_secs(60))))?;
        match socket.recv_from(&mut datagram) {
            Ok((len, remote)) => {
                let now = Instant::ZERO + epoch.elapsed();
                endpoint.handle_datagram(now, Arrival::from_remote(remote), &mut datagram[..len]);
            }
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn endpoint(secret: [u8; 32]) -> Result<Endpoint, Box<dyn Error>> {
    let (mut config, mut seed) = (Config::default(), [0; 32]);
    config.alpns = vec![b"echo".to_vec()];
    getrandom::fill(&mut seed)?;
    Ok(Endpoint::new(config, Identity::from_secret(secret), seed))
}

fn main() -> Done {
    let (server, at) = (endpoint([1; 32])?, UdpSocket::bind("127.0.0.1:0")?);
    let (key, address) = (*server.public_key(), at.local_addr()?);
    let echo = |mut connection: Connection<'_>, stream| -> Done {
        while let Ok(Some(text)) = connection.read_chunk(stream, 1000) {
            connection.write(stream, &text)?;
        }
        Ok(())
    };
    let server = thread::spawn(move || run(server, at, echo).map_err(|error| error.to_string()));

    let mut client = endpoint([2; 32])?;
    let dial = client.connect(Instant::ZERO, Peer::Key(key), ConnectOptions::new(address, b"echo"))?;
    let stream = client.connection(dial).ok_or("it is forgotten")?.open_bi()?;
    client.connection(dial).ok_or("it is forgotten")?.write(stream, b"hello over there")?;
    let print = |mut connection: Connection<'_>, stream| -> Done {
        println!("the echo: {:?}", connection.read_chunk(stream, 1000)?);
        connection.close(ErrorCode::default(), b"that was all");
        Ok(())
    };
    run(client, UdpSocket::bind("127.0.0.1:0")?, print)?;
    Ok(server.join().map_err(|_| "the server panicked")??)
}

#[test]
fn runs() {
    main().unwrap();
}
