//! The file-transfer protocol `dunlin-file/2`.
//!
//! The sender opens a bidirectional stream for control and a unidirectional one for data. On the control stream it
//! lists what it offers ([`wire`]). The receiver answers, file by file and in the order of the list, what it has:
//!
//! - Nothing: the sender sends the file.
//! - The beginning of the file from an earlier try, with its BLAKE3. The sender compares with its own file and sends the
//!   rest, or all of it where they differ. What an earlier try has left is found by the file's version only, which the
//!   sender takes from what its system knows of the file: nobody else meets it.
//! - A file of that name, and a nonce. What is in the receiver's files is not for everybody to know, so it is the sender
//!   that shows what it has: the BLAKE3 of its file, keyed with the nonce. If that is not the hash of the receiver's file,
//!   this one stays, or the sender is told to send its own, when it is done with all others.
//!
//! Nothing waits for an answer except the first file and those that replace others. A file's data ends with the BLAKE3 of
//! the whole file, which the receiver checks before the file gets its name; until then it has another one that ends in
//! `.dunlin-part`. In the end the receiver tells the hash of everything, the sender checks that, and the end of its
//! control stream is the last word.
//!
//! Either side may say on the control stream what went wrong instead. What was received stays, for the next try.
//!
//! | file | what it owns |
//! |---|---|
//! | `path` | relative paths that stay where they should |
//! | `entry` | the list and its limits |
//! | `wire` | messages and records |
//! | `fault` | what can go wrong |
//! | `source`, `reader` | finding what is to be sent, and opening it |
//! | `send`, `offer` | the sender: its conversation, its reading thread |
//! | `receive`, `check`, `store` | the receiver: its conversation, its thread that looks, its thread that writes |
//! | `tree` | the receiver's folder |
//! | `hashing`, `pump` | hashes of files, buffers between threads and streams |
//! | `counters`, `pulse` | progress, silence |

mod check;
mod counters;
mod entry;
mod fault;
mod hashing;
mod offer;
mod path;
mod pulse;
mod pump;
mod reader;
mod receive;
mod send;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod wire;

pub(crate) use counters::{Count, Counters, Summary};
pub(crate) use fault::{Fault, FaultKind, TransferError};
pub(crate) use receive::receive;
pub(crate) use send::send;
pub(crate) use source::Source;
pub(crate) use tree::Destination;

use core::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use wire::{Message, MessageReader};

/// The application protocol's name.
pub(crate) const ALPN: &[u8] = b"dunlin-file/2";

/// How long one side waits for the other's last words, once all is decided.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells the peer about a fault of ours, as far as it still listens, and waits until it has heard.
async fn tell<R, W>(fault: &Fault, messages: &mut MessageReader<R>, control: &mut W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let telling = async {
        wire::write_message(control, &Message::Fault(fault.clone())).await?;
        control.shutdown().await?;
        while let Ok(Some(_)) = messages.next().await {}
        std::io::Result::Ok(())
    };
    // A peer that does not want to hear it loses the explanation, nothing else.
    let _ = tokio::time::timeout(PATIENCE, telling).await;
}

/// The peer's explanation for a stream that broke, if it gives one. The end of our half of the control stream tells it
/// that we have stopped, so that it does not wait for us either.
async fn explained<R, W>(
    error: TransferError,
    messages: &mut MessageReader<R>,
    control: &mut W,
) -> TransferError
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if !matches!(error, TransferError::Lost(_)) {
        return error;
    }
    let words = async {
        let _ = control.shutdown().await;
        while let Ok(Some(message)) = messages.next().await {
            if let Message::Fault(fault) = message {
                return Some(fault);
            }
        }
        None
    };
    match tokio::time::timeout(PATIENCE, words).await {
        Ok(Some(fault)) => TransferError::There(fault),
        _ => error,
    }
}
