//! A game: the engine is served from a tick, sixty times a second, and nobody ever waits for it.
//!
//! The player steers with unreliable datagrams, of which only the newest matters, and hears where it is from the world in
//! the same way; its name goes by a stream, which loses nothing. Both are in this process, in one loop.

use std::io::ErrorKind::WouldBlock;
use std::net::UdpSocket;
use std::thread;
use std::time::Instant as Clock;

use dunlin_core::{
    Arrival, Config, ConnectOptions, Connection, ConnectionHandle, Duration, Endpoint, ErrorCode, Event,
    Identity, Instant, Peer, TrainLimit, TransportAddr,
};

type Result<T> = core::result::Result<T, Box<dyn core::error::Error>>;

/// A sixtieth of a second.
const TICK: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// Where the player wants to be.
const GOAL: u32 = 30;

/// The engine and its socket, which never blocks.
struct Net {
    engine: Endpoint,
    socket: UdpSocket,
    train: Vec<u8>,
    datagram: Vec<u8>,
}

impl Net {
    fn bind(secret: [u8; 32]) -> Result<Self> {
        let (mut config, mut seed) = (Config::default(), [0; 32]);
        config.alpns = vec![b"game".to_vec()];
        getrandom::fill(&mut seed)?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let engine = Endpoint::new(config, Identity::from_secret(secret), seed);
        Ok(Self { engine, socket, train: Vec::new(), datagram: vec![0; 65_536] })
    }

    /// At the beginning of a tick: takes in what has come since the last one.
    fn receive(&mut self, now: Instant) -> Result<()> {
        self.engine.handle_timeout(now);
        loop {
            let (len, remote) = match self.socket.recv_from(&mut self.datagram) {
                Err(error) if error.kind() == WouldBlock => return Ok(()),
                received => received?,
            };
            self.engine.handle_datagram(now, Arrival::from_remote(remote), &mut self.datagram[..len]);
        }
    }

    /// At its end: sends what the tick has made. What is due before the next one goes with that.
    fn transmit(&mut self, now: Instant) {
        while let Some(transmit) = self.engine.poll_transmit(now, TrainLimit::SINGLE, &mut self.train) {
            if let TransportAddr::Ip(remote) = transmit.remote {
                // What cannot be sent is lost, as so many are on the way.
                let _ = self.socket.send_to(&self.train, remote);
            }
            self.train.clear();
        }
    }

    fn connection(&mut self, handle: ConnectionHandle) -> Result<Connection<'_>> {
        Ok(self.engine.connection(handle).ok_or("the connection is forgotten")?)
    }

    /// The newest datagram, as a number.
    fn newest(&mut self, handle: ConnectionHandle) -> Result<Option<u32>> {
        let mut all = Vec::new();
        while self.connection(handle)?.read_datagram(&mut all).is_some() {}
        Ok(all.last_chunk().map(|newest| u32::from_be_bytes(*newest)))
    }
}

/// A tick of the world: hears the players, moves them, and tells them where they are. `false`: the game is over.
fn world(net: &mut Net, now: Instant, places: &mut Vec<(ConnectionHandle, u32)>) -> Result<bool> {
    while let Some((handle, event)) = net.engine.poll_event() {
        match event {
            Event::Incoming => drop(net.engine.incoming(handle).ok_or("it gave up")?.accept(now)?),
            Event::Connected => places.push((handle, 0)),
            Event::Readable(id) => println!("{:?} joins", net.connection(handle)?.read_chunk(id, 100)?),
            Event::Closed(reason) => {
                println!("the player leaves: {reason}");
                return Ok(false);
            }
            _ => {}
        }
    }
    for (handle, place) in places {
        // Without news from the player it stays where it is.
        *place += net.newest(*handle)?.unwrap_or(0).min(1);
        net.connection(*handle)?.send_datagram(&place.to_be_bytes())?;
    }
    Ok(true)
}

/// A tick of the player: steers, until the world says that it is there.
fn player(net: &mut Net, dial: ConnectionHandle) -> Result<()> {
    // It asks for all it wants to know.
    while net.engine.poll_event().is_some() {}
    if net.newest(dial)?.is_some_and(|place| place >= GOAL) {
        net.connection(dial)?.close(ErrorCode::default(), b"there");
    } else if net.connection(dial)?.max_datagram().is_some() {
        net.connection(dial)?.send_datagram(&1u32.to_be_bytes())?;
    }
    Ok(())
}

/// Plays to the end. `rest` passes the time until a tick is due; its argument is when, since the game began.
fn play(rest: impl Fn(Clock, Duration)) -> Result<()> {
    let (mut server, mut client) = (Net::bind([1; 32])?, Net::bind([2; 32])?);
    let key = Peer::Key(*server.engine.public_key());
    let options = ConnectOptions::new(server.socket.local_addr()?, b"game");
    let dial = client.engine.connect(Instant::ZERO, key, options)?;
    let stream = client.connection(dial)?.open_uni()?;
    client.connection(dial)?.write(stream, b"dunlin")?;
    client.connection(dial)?.finish(stream)?;
    let (start, mut places) = (Clock::now(), Vec::new());
    for tick in 0.. {
        let now = Instant::ZERO + start.elapsed();
        client.receive(now)?;
        player(&mut client, dial)?;
        client.transmit(now);
        server.receive(now)?;
        if !world(&mut server, now, &mut places)? {
            break;
        }
        server.transmit(now);
        rest(start, TICK * (tick + 1));
    }
    Ok(())
}

fn main() -> Result<()> {
    play(|start, due| thread::sleep(due.saturating_sub(start.elapsed())))
}

#[test]
fn runs() {
    // As fast as it can: no tick waits for its time.
    play(|_, _| thread::yield_now()).unwrap();
}
