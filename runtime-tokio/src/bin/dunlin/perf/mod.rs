//! `perf`: how fast a path is.
//!
//! The protocol is called `dunlin-perf/1`. The client opens bidirectional streams, each with a header of 9 bytes: what it
//! wants (1 byte) and a number (8 bytes, big-endian).
//!
//! | byte | wanted | number | then |
//! |---|---|---|---|
//! | 1 | upload | 0 | the client sends; the server tells now and then how many bytes came (8 bytes each), at last all |
//! | 2 | download | bytes | the server sends so many, unless the client stops it before |
//! | 3 | ping | size | the client sends messages of that size, the server sends each back |

pub(crate) mod client;
mod histogram;
mod load;
pub(crate) mod server;
mod summary;

use core::time::Duration;

/// The application protocol's name.
pub(crate) const ALPN: &[u8] = b"dunlin-perf/1";

/// Length of a stream's header, in bytes.
const HEADER: usize = 9;

/// Largest message of a ping, in bytes.
const MAX_PING: u64 = 64 << 10;

/// Bytes handed over at once.
const PIECE: usize = 256 << 10;

/// How often a server tells how much it has received.
const TELL: Duration = Duration::from_millis(100);

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Upload,
    Download {
        /// How many bytes, at most.
        bytes: u64,
    },
    Ping {
        /// Bytes of a message, 1 to [`MAX_PING`].
        size: usize,
    },
}

impl Wanted {
    fn encode(self) -> [u8; HEADER] {
        let (kind, number) = match self {
            Self::Upload => (1, 0),
            Self::Download { bytes } => (2, bytes),
            Self::Ping { size } => (3, size as u64),
        };
        let mut header = [kind; HEADER];
        header[1..].copy_from_slice(&number.to_be_bytes());
        header
    }

    fn decode(header: [u8; HEADER]) -> Option<Self> {
        let [kind, number @ ..] = header;
        let number = u64::from_be_bytes(number);
        match kind {
            1 => Some(Self::Upload),
            2 => Some(Self::Download { bytes: number }),
            3 if (1..=MAX_PING).contains(&number) => Some(Self::Ping { size: number as usize }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_both_ways_and_bad_ones_nowhere() {
        for wanted in [Wanted::Upload, Wanted::Download { bytes: u64::MAX }, Wanted::Ping { size: 1 }] {
            assert_eq!(Wanted::decode(wanted.encode()), Some(wanted));
        }
        assert_eq!(Wanted::decode([0; HEADER]), None);
        assert_eq!(Wanted::decode([3, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Wanted::decode([3, 0, 0, 0, 0, 0, 1, 0, 1]), None);
    }
}
