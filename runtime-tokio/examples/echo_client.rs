//! Sends standard input to `echo_server` and prints what comes back.
//!
//! `cargo run -p dunlin-tokio --example echo_client ADDR KEY`

use core::time::Duration;

use dunlin_tokio::{Config, Endpoint, Identity, Peer};
use tokio::io::AsyncWriteExt;

type Result<T> = core::result::Result<T, Box<dyn core::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let [addr, key] = [1, 2].map(|place| std::env::args().nth(place).unwrap_or_default());
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let addr: core::net::SocketAddr = addr.parse()?;
    let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let endpoint = Endpoint::bind(any.parse()?, Config::default(), Identity::from_secret(secret))?;

    let connection = endpoint.connect(addr, Peer::Key(key.parse()?), b"echo")?.await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
    let there = async {
        tokio::io::copy(&mut input, &mut send).await?;
        send.shutdown().await
    };
    let back = async {
        tokio::io::copy(&mut recv, &mut output).await?;
        output.flush().await
    };
    tokio::try_join!(there, back)?;
    connection.close_graceful(Duration::from_secs(5), 0.into(), b"done").await;
    endpoint.wait_idle().await;
    Ok(())
}
