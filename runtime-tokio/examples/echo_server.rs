//! Sends back whatever comes on any stream.
//!
//! `cargo run -p dunlin-tokio --example echo_server [ADDR]`; it prints what `echo_client` needs to know.

use dunlin_tokio::{Config, Connection, Endpoint, Identity, Incoming, RecvStream, SendStream};

type Result<T> = core::result::Result<T, Box<dyn core::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4433".into());
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let mut config = Config::default();
    config.alpns = vec![b"echo".to_vec()];
    let endpoint = Endpoint::bind(addr.parse()?, config, Identity::from_secret(secret))?;
    println!("{} {}", endpoint.local_addr(), endpoint.public_key());
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Err(error) = serve(incoming).await {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

async fn serve(incoming: Incoming) -> Result<()> {
    let connection: Connection = incoming.accept()?.await?;
    if let Some(key) = connection.peer_identity() {
        println!("{key} connected");
    }
    loop {
        let (send, recv) = connection.accept_bi().await?;
        tokio::spawn(echo(send, recv));
    }
}

async fn echo(mut send: SendStream, mut recv: RecvStream) -> Result<()> {
    // Dropping the sending half finishes the stream.
    Ok(tokio::io::copy(&mut recv, &mut send).await.map(drop)?)
}
