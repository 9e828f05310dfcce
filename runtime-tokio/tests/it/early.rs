//! Requests that are answered before the handshake is done.

use dunlin_tokio::{Config, ConnectOptions, EarlyData, EarlyToken, Endpoint, Identity, Peer};
use tokio::io::AsyncReadExt as _;

use crate::{bind, config, poll_once, soon};

fn applying() -> Config {
    let mut config = config();
    config.early_data = EarlyData::Apply;
    config
}

/// Accepts everybody, answers early requests and later ones; says by the first byte which it was.
fn serve(server: &Endpoint) {
    let server = server.clone();
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let connecting = incoming.accept().unwrap();
            if connecting.is_early() {
                let (mut send, mut recv) = connecting.accept_bi().await.unwrap();
                let request = recv.read_to_end(100).await.unwrap();
                send.write_all(&[b"early ", &request[..]].concat()).await.unwrap();
                send.finish().unwrap();
            }
            tokio::spawn(async move {
                let Ok(connection) = connecting.await else { return };
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    let request = recv.read_to_end(100).await.unwrap();
                    send.write_all(&[b"late ", &request[..]].concat()).await.unwrap();
                }
                // What was sent is read before the handle goes.
                connection.closed().await;
            });
        }
    });
}

/// Asks with the first packet of a dial. Returns the answer, and a token for the next one.
async fn ask(client: &Endpoint, server: &Endpoint, token: Option<EarlyToken>) -> (Vec<u8>, EarlyToken) {
    let mut options = ConnectOptions::new(server.local_addr(), b"test");
    options.early = token;
    let connecting = client.connect_with(Peer::Key(*server.public_key()), options).unwrap();
    let (mut send, mut recv) = connecting.open_bi().await.unwrap();
    send.write_all(b"request").await.unwrap();
    send.finish().unwrap();
    assert!(!connecting.is_early(), "the dialler knows whom it talks to");
    let connection = soon(connecting).await.unwrap();
    let answer = soon(recv.read_to_end(100)).await.unwrap();
    let token = loop {
        if let Some(token) = connection.early_token() {
            break token;
        }
        // It comes when our key is proved.
        tokio::task::yield_now().await;
    };
    connection.close(0u32.into(), b"");
    (answer, token)
}

#[tokio::test]
async fn a_request_with_a_token_is_answered_at_once_and_one_without_when_the_connection_stands() {
    let (client, server) = (bind(1, config()), bind(2, applying()));
    serve(&server);
    let (answer, token) = ask(&client, &server, None).await;
    assert_eq!(answer, b"late request");
    let (answer, next) = ask(&client, &server, Some(token.clone())).await;
    assert_eq!(answer, b"early request");
    let stored = EarlyToken::from_bytes(*next.as_bytes());
    assert_eq!(ask(&client, &server, Some(stored)).await.0, b"early request");
    assert_eq!(ask(&client, &server, Some(token)).await.0, b"late request", "it was used");
    assert_eq!(server.stats().early_applied, 2);
}

#[tokio::test]
async fn shards_know_each_others_tokens() {
    let server = Endpoint::builder().config(applying()).shards(3);
    let server = server.bind(([127, 0, 0, 1], 0).into(), Identity::from_secret([2; 32])).unwrap();
    let client = bind(1, config());
    serve(&server);
    let (_, mut token) = ask(&client, &server, None).await;
    for _ in 0..12 {
        let (answer, next) = ask(&client, &server, Some(token)).await;
        assert_eq!(answer, b"early request");
        token = next;
    }
    let applied: Vec<u64> = server.shard_stats().iter().map(|stats| stats.early_applied).collect();
    assert_eq!(applied.iter().sum::<u64>(), 12);
    assert!(server.shards() == 1 || applied.iter().filter(|count| **count > 0).count() > 1, "{applied:?}");
}

#[tokio::test]
async fn what_is_written_before_anything_is_awaited_goes_with_the_reply() {
    let (client, server) = (bind(1, config()), bind(2, applying()));
    let first = async {
        let incoming = server.accept().await.unwrap();
        let connection = incoming.accept().unwrap().await.unwrap();
        connection.closed().await;
    };
    let dial = async {
        let connection = client
            .connect(server.local_addr(), Peer::Key(*server.public_key()), b"test")
            .unwrap()
            .await
            .unwrap();
        while connection.early_token().is_none() {
            tokio::task::yield_now().await;
        }
        let token = connection.early_token().unwrap();
        connection.close(0u32.into(), b"");
        token
    };
    let (_, token) = soon(async { tokio::join!(first, dial) }).await;

    let options = ConnectOptions::new(server.local_addr(), b"test").early(token);
    let connecting = client.connect_with(Peer::Key(*server.public_key()), options).unwrap();
    let mut send = connecting.open_uni().await.unwrap();
    send.write_all(b"request").await.unwrap();
    let mut dialling = Box::pin(connecting);
    assert!(poll_once(dialling.as_mut()).await.is_none());
    let incoming = soon(server.accept()).await.unwrap();
    let connecting = incoming.accept().unwrap();
    let mut recv = connecting.accept_uni().await.unwrap();
    let mut request = [0; 7];
    recv.read_exact(&mut request).await.unwrap();
    let mut answer = connecting.open_uni().await.unwrap();
    answer.write_all(&request).await.unwrap();
    // On this thread nothing has been sent yet: the dialler has the answer as soon as it is connected.
    let (dialled, accepted) = soon(async { tokio::join!(dialling, connecting) }).await;
    let (dialled, _accepted) = (dialled.unwrap(), accepted.unwrap());
    let mut read = soon(dialled.accept_uni()).await.unwrap();
    read.read_exact(&mut request).await.unwrap();
    assert_eq!(&request, b"request");
}
