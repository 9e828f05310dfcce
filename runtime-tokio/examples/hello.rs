//! Two endpoints in one process: one asks, one answers.

use dunlin_tokio::{Config, Connection, Endpoint, Identity, Peer};

type Result<T> = core::result::Result<T, Box<dyn core::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut config = Config::default();
    config.alpns = vec![b"hello".to_vec()];
    let server = Endpoint::bind("127.0.0.1:0".parse()?, config, Identity::from_secret([1; 32]))?;
    let client = Endpoint::bind("127.0.0.1:0".parse()?, Config::default(), Identity::from_secret([2; 32]))?;
    let (addr, key) = (server.local_addr(), *server.public_key());

    let answering = tokio::spawn(async move {
        let incoming = server.accept().await.ok_or("closed")?;
        answer(incoming.accept()?.await?).await
    });
    let connection = client.connect(addr, Peer::Key(key), b"hello")?.await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(b"dunlin").await?;
    send.finish()?;
    println!("{}", String::from_utf8_lossy(&recv.read_to_end(1024).await?));
    connection.close(0.into(), b"thank you");
    answering.await?
}

async fn answer(connection: Connection) -> Result<()> {
    let (mut send, mut recv) = connection.accept_bi().await?;
    let name = recv.read_to_end(1024).await?;
    send.write_all(&[b"hello, ", &name[..]].concat()).await?;
    send.finish()?;
    println!("{}", connection.closed().await);
    Ok(())
}
