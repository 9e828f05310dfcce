//! Two endpoints in memory: no socket, no clock, no thread. One dials the other and says hello.

use dunlin_core::{
    Arrival, Config, ConnectOptions, Endpoint, Event, Identity, Instant, Peer, TrainLimit, TransportAddr,
};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let [alice, bob] = ["192.0.2.1:1", "192.0.2.2:2"].map(|a| TransportAddr::Ip(a.parse().unwrap()));
    let (mut config, now) = (Config::default(), Instant::ZERO);
    config.alpns = vec![b"hello".to_vec()];
    let mut client = Endpoint::new(config.clone(), Identity::from_secret([1; 32]), [2; 32]);
    let mut server = Endpoint::new(config, Identity::from_secret([3; 32]), [4; 32]);
    let peer = Peer::Key(*server.public_key());
    let dial = client.connect(now, peer, ConnectOptions::new(bob, b"hello"))?;
    let stream = client.connection(dial).unwrap().open_bi()?;
    client.connection(dial).unwrap().write(stream, b"hello, bob")?;
    loop {
        carry(&mut client, alice, &mut server);
        while let Some((handle, event)) = server.poll_event() {
            if event == Event::Incoming {
                server.incoming(handle).unwrap().accept(now)?;
            } else if let Event::Readable(stream) = event {
                let text = server.connection(handle).unwrap().read_chunk(stream, 100)?;
                println!("bob reads {text:?}");
                return Ok(());
            }
        }
        carry(&mut server, bob, &mut client);
    }
}

/// The network: hands everything that `from` sends to `to`.
fn carry(from: &mut Endpoint, source: TransportAddr, to: &mut Endpoint) {
    let mut train = Vec::new();
    while let Some(transmit) = from.poll_transmit(Instant::ZERO, TrainLimit::OFFLOAD, &mut train) {
        for datagram in train.chunks_mut(transmit.segment_size) {
            to.handle_datagram(Instant::ZERO, Arrival::from_remote(source), datagram);
        }
        train.clear();
    }
}

#[test]
fn runs() {
    main().unwrap();
}
