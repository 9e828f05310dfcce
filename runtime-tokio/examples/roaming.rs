//! A transfer that outlives the network that it was begun on, and what the application sees of it.
//!
//! `cargo run -p dunlin-tokio --example roaming`
//!
//! The networks are relays on loopback. The client has an address in each, as a phone has: "wifi", where it dials, is switched
//! off in the middle and comes back when "cellular" is about to go.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use dunlin_tokio::{
    Config, Connection, Endpoint, Identity, LocalAddr, PathEvent, PathEvents, Peer, TransportAddr,
};
use tokio::net::UdpSocket;
use tokio::time::sleep;

type Result<T> = core::result::Result<T, Box<dyn core::error::Error + Send + Sync>>;

/// What is sent at once, and how often: 20 Mbit/s for four seconds.
const PIECE: usize = 64 << 10;
const PIECES: usize = 160;
const PERIOD: Duration = Duration::from_millis(25);

/// A network on the way to the server.
struct Network {
    name: &'static str,
    address: SocketAddr,
    is_up: Arc<AtomicBool>,
}

impl Network {
    async fn to(server: SocketAddr, name: &'static str) -> Result<Self> {
        let (front, back) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
        let (address, is_up) = (front.local_addr()?, Arc::new(AtomicBool::new(true)));
        back.connect(server).await?;
        tokio::spawn(carry(front, back, Arc::clone(&is_up)));
        Ok(Self { name, address, is_up })
    }

    fn switch(&self, on: bool) {
        println!("         {} is {}", self.name, if on { "back" } else { "gone" });
        self.is_up.store(on, Relaxed);
    }
}

/// Passes on what comes from the one who came first, while the network is up. Nobody is told when it is not.
async fn carry(front: UdpSocket, back: UdpSocket, is_up: Arc<AtomicBool>) -> Result<()> {
    let (mut there, mut here, mut client) = (vec![0; 1 << 16], vec![0; 1 << 16], None);
    loop {
        tokio::select! {
            heard = front.recv_from(&mut there) => {
                let (len, from) = heard?;
                if is_up.load(Relaxed) && *client.get_or_insert(from) == from {
                    back.send(&there[..len]).await?;
                }
            }
            heard = back.recv(&mut here) => {
                let len = heard?;
                if let Some(client) = client.filter(|_| is_up.load(Relaxed)) {
                    front.send_to(&here[..len], client).await?;
                }
            }
        }
    }
}

/// Prints what happens to the paths, until the connection ends.
async fn show(mut events: PathEvents, networks: [Arc<Network>; 2], begun: Instant) {
    let name =
        |remote| networks.iter().find(|it| TransportAddr::Ip(it.address) == remote).map_or("?", |it| it.name);
    while let Some(event) = events.next().await {
        let what = match event {
            PathEvent::Opened { remote, .. } => format!("there is a path by {}", name(remote)),
            PathEvent::Selected { remote, .. } => format!("data goes by {}", name(remote)),
            // A way that was tried, and leads nowhere.
            PathEvent::Closed { stats: last, .. } if last.packets_received == 0 => continue,
            PathEvent::Closed { stats: last, .. } => {
                let (by, sent, lost) = (name(last.remote), last.packets_sent, last.packets_lost);
                format!("by {by}: {sent} packets sent, {lost} lost")
            }
            other => format!("{other:?}"),
        };
        println!("{:5.2} s  {what}", begun.elapsed().as_secs_f64());
    }
}

/// Reads everything, and says how much it was, and for how long nothing came at most.
async fn receive(server: Endpoint) -> Result<(usize, Duration)> {
    let connection: Connection = server.accept().await.ok_or("closed")?.accept()?.await?;
    let mut recv = connection.accept_uni().await?;
    let (mut buffer, mut total, mut longest, mut last) = (vec![0; PIECE], 0, Duration::ZERO, Instant::now());
    while let Some(read) = recv.read(&mut buffer).await? {
        let now = Instant::now();
        longest = longest.max(if total > 0 { now - last } else { Duration::ZERO });
        (last, total) = (now, total + read);
    }
    connection.closed().await;
    Ok((total, longest))
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut config = Config::default();
    config.alpns = vec![b"roaming".to_vec()];
    let server = Endpoint::bind("127.0.0.1:0".parse()?, config, Identity::from_secret([1; 32]))?;
    let key = *server.public_key();
    let wifi = Arc::new(Network::to(server.local_addr(), "wifi").await?);
    let cellular = Arc::new(Network::to(server.local_addr(), "cellular").await?);
    let receiving = tokio::spawn(receive(server));

    let builder = Endpoint::builder().also_on("127.0.0.2:0".parse()?);
    let client = builder.bind("127.0.0.1:0".parse()?, Identity::from_secret([2; 32]))?;
    let connection = client.connect(wifi.address, Peer::Key(key), b"roaming")?.await?;
    let (begun, mut events) = (Instant::now(), connection.path_events());
    let networks = [Arc::clone(&wifi), Arc::clone(&cellular)];
    let showing = tokio::spawn(show(connection.path_events(), networks, begun));
    // From the second socket, whatever its address is by then.
    connection.open_path(cellular.address, Some(LocalAddr { socket: 1, ip: None }))?;
    while !matches!(events.next().await.ok_or("closed")?, PathEvent::Opened { .. }) {}

    let mut send = connection.open_uni().await?;
    for number in 0..PIECES {
        send.write_all(&[7; PIECE]).await?;
        match number * 8 / PIECES {
            2 if wifi.is_up.load(Relaxed) => wifi.switch(false),
            5 if !wifi.is_up.load(Relaxed) => wifi.switch(true),
            7 if cellular.is_up.load(Relaxed) => cellular.switch(false),
            _ => {}
        }
        if number % 20 == 0 {
            let (percent, rtt) = (number * 100 / PIECES, connection.path().ok_or("closed")?.rtt.smoothed());
            println!("{:5.2} s  {percent} %, a round trip takes {rtt:?}", begun.elapsed().as_secs_f64());
        }
        sleep(PERIOD).await;
    }
    connection.close_graceful(Duration::from_secs(5), 0.into(), b"done").await;
    showing.await?;
    let (bytes, gap) = receiving.await??;
    println!(
        "{bytes} bytes arrived, all that were sent: {}; for {gap:?} at most nothing came",
        bytes == PIECE * PIECES
    );
    Ok(())
}
