//! What any adapter must do.

pub(crate) mod custom;
pub(crate) mod dialling;
pub(crate) mod ends;
pub(crate) mod paths;
pub(crate) mod qotp;
pub(crate) mod several_paths;
pub(crate) mod streams;

use core::net::SocketAddr;

use dunlin_core::{Config, ConnectOptions, Duration, Peer};
use tokio::join;

use crate::adapter::{Adapter, Node, TOO_LONG};

/// How often something is tried that the loss of a packet can spoil.
const TRIES: usize = 100;

/// How long a dial lasts that nobody hears.
const BRIEF: Duration = Duration::from_millis(200);

/// A connection of an adapter's.
type LinkOf<A> = <<A as Adapter>::Node as Node>::Link;

/// Any port on loopback.
fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Time ends nothing here, and who misses the other's last packet asks for it.
fn config() -> Config {
    let mut config = Config::default();
    config.alpns = vec![b"test".to_vec()];
    config.connect_timeout = TOO_LONG;
    config.idle_timeout = Some(TOO_LONG);
    config.limits.half_open_lifetime = TOO_LONG;
    config.keep_alive = Some(Duration::from_millis(20));
    config
}

fn to(node: &impl Node) -> ConnectOptions {
    ConnectOptions::new(node.local_addr(), b"test")
}

/// Two endpoints and a connection between them.
struct Pair<A: Adapter> {
    client: A::Node,
    server: A::Node,
    dialled: LinkOf<A>,
    accepted: LinkOf<A>,
}

impl<A: Adapter> Pair<A> {
    async fn new(adapter: &A) -> Self {
        let (client, server) = (adapter.bind(any(), 1, config()), adapter.bind(any(), 2, config()));
        let (dialled, accepted) = meet::<A>(&client, &server).await;
        Self { client, server, dialled, accepted }
    }
}

/// A connection between two endpoints, dialled by the first: both ends of it.
async fn meet<A: Adapter>(client: &A::Node, server: &A::Node) -> (LinkOf<A>, LinkOf<A>) {
    let dial = client.connect(Peer::Key(server.public_key()), to(server));
    let (dialled, accepted) = join!(dial, server.accept());
    (dialled.unwrap(), accepted.unwrap())
}

/// Bytes that never repeat, others for each number.
fn pattern(number: u64, bytes: usize) -> Vec<u8> {
    let word = |index: u64| (index + (number << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (0..bytes.div_ceil(8) as u64).flat_map(word).take(bytes).collect()
}
