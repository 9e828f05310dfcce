//! Secrets go where the application wants them, and only then.

use dunlin_tokio::dunlin_core::Config;
use dunlin_tokio::{Endpoint, Identity, KeyLogEntry, Peer};
use tokio::sync::mpsc;

use crate::{config, soon};

/// An endpoint, and what it logs.
fn logging(secret: u8, config: Config) -> (Endpoint, mpsc::UnboundedReceiver<KeyLogEntry>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let identity = Identity::from_secret([secret; 32]);
    let sink = move |entry| {
        // Nobody may listen any more.
        let _ = sender.send(entry);
    };
    let builder = Endpoint::builder().config(config).shards(2).key_log(sink);
    (builder.bind("127.0.0.1:0".parse().unwrap(), identity).unwrap(), receiver)
}

#[tokio::test]
async fn both_ends_hand_out_the_same_entries() {
    let ((client, mut ours), (server, mut theirs)) = (logging(1, config()), logging(2, config()));
    let dial = client.connect(server.local_addr(), Peer::Key(*server.public_key()), b"test").unwrap();
    let answer = async { server.accept().await.unwrap().accept().unwrap().await.unwrap() };
    let (_here, _there) = soon(async { tokio::join!(async { dial.await.unwrap() }, answer) }).await;
    let mut logs = [Vec::new(), Vec::new()];
    for (log, receiver) in logs.iter_mut().zip([&mut ours, &mut theirs]) {
        // What opens the two messages of the handshake, and the rest.
        for _ in 0..3 {
            log.push(soon(receiver.recv()).await.unwrap().to_string());
        }
        assert!(receiver.try_recv().is_err());
        log.sort();
    }
    assert_eq!(logs[0], logs[1]);
}
