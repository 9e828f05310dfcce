//! The streams of a transfer: control in both directions, data in one.

use std::io;

use dunlin_tokio::{Connection, OpenError, RecvStream, SendStream, WireVersion};

use crate::qotp;
use crate::transfer::ALPN;

/// The numbers that the two streams have in QOTP, which hands them out in the order of their first packets.
const CONTROL: u32 = 0;
const DATA: u32 = 1;

/// What the receiver has of a transfer's streams.
pub(crate) struct Accepted {
    pub(crate) control: SendStream,
    pub(crate) incoming: RecvStream,
    pub(crate) data: RecvStream,
}

/// The sender's two halves of control, and data.
pub(crate) async fn open(connection: &Connection) -> io::Result<(SendStream, RecvStream, SendStream)> {
    let failed = |error: OpenError| io::Error::other(error);
    if connection.wire() != WireVersion::Qotp {
        let (control, incoming) = connection.open_bi().await.map_err(failed)?;
        return Ok((control, incoming, connection.open_uni().await.map_err(failed)?));
    }
    let (mut control, incoming) = connection.open_id(CONTROL).await.map_err(failed)?;
    qotp::introduce(connection, &mut control, ALPN).await?;
    // Nothing comes back on it.
    let (data, _) = connection.open_id(DATA).await.map_err(failed)?;
    Ok((control, incoming, data))
}

/// The receiver's part of them; `None` if the connection ends before, or is for something else.
pub(crate) async fn accept(connection: &Connection) -> Option<Accepted> {
    if connection.wire() != WireVersion::Qotp {
        let (control, incoming) = connection.accept_bi().await.ok()?;
        return Some(Accepted { control, incoming, data: connection.accept_uni().await.ok()? });
    }
    let mut streams = [connection.accept_bi().await.ok()?, connection.accept_bi().await.ok()?];
    streams.sort_by_key(|(_, incoming)| incoming.id());
    if streams.each_ref().map(|(_, incoming)| incoming.id().qotp_number()) != [Some(CONTROL), Some(DATA)] {
        return None;
    }
    let [(control, mut incoming), (_, data)] = streams;
    let ours = qotp::is_introduced(connection, &mut incoming, ALPN).await.ok()?;
    ours.then_some(Accepted { control, incoming, data })
}
