//! What an application does with a connection.

use core::net::SocketAddr;

use dunlin_core::{
    Connection, ConnectionHandle, Direction, Duration, ErrorCode, LocalAddr, PathId, PathStatus, Role,
    StreamId,
};

use super::actions::pick;
use super::duo::{Duo, SOCKETS};

/// What an application does with a connection. A `u8` picks a stream.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Opens a stream.
    Open(Direction),
    /// Opens a stream of QOTP by its number.
    OpenId(u32),
    /// Takes a stream that the peer has opened.
    Accept(Direction),
    /// Writes so many bytes.
    Write(u8, u32),
    /// Ends what it writes.
    Finish(u8),
    /// Takes back what it wrote.
    Reset(u8),
    /// Wants no more to read.
    Stop(u8),
    /// Wants to hear of a stream no more.
    Abandon(u8),
    /// Reads at most so many bytes.
    Read(u8, u16),
    /// The same into a buffer of its own.
    ReadChunk(u8, usize),
    /// Gives a stream a priority.
    Priority(u8, i32),
    /// Sends a datagram of so many bytes.
    SendDatagram(u16),
    /// Takes a datagram.
    ReadDatagram,
    /// Opens a path between two of a few sockets, and listens to what becomes of paths. Path ids are small numbers.
    OpenPath(u8),
    /// Abandons a path.
    ClosePath(u8),
    /// Makes a path a backup, or available again.
    PathStatus(u8, bool),
    /// Wants data on a path.
    SelectPath(u8),
    /// Trusts the peer's key.
    Trust,
    /// Closes at once.
    Close,
    /// Closes once everything has arrived, within so much time.
    CloseGraceful(Duration),
    /// Lets go without a word.
    Forget,
    /// Asks everything that can be asked.
    Look,
}

impl Verb {
    pub(super) fn apply(self, duo: &mut Duo, side: usize, handle: ConnectionHandle) {
        let now = duo.now;
        let Duo { sides, journal, .. } = duo;
        let peer = sides[1 - side].addr;
        let known = &mut sides[side];
        let Some(mut connection) = known.endpoint.connection(handle) else { return };
        let id = |which: u8| stream_id(&known.streams, which);
        let place = |which: u8| (side, handle, id(which));
        let data = |len: usize| -> Vec<u8> { (0..len).map(|at| at as u8).collect() };
        let mut found = None;
        let answer = match self {
            Self::Open(direction) => {
                let opened = connection.open(direction);
                found = opened.ok();
                format!("{opened:?}")
            }
            Self::Accept(direction) => {
                found = connection.accept(direction);
                format!("{found:?}")
            }
            Self::Write(which, len) => journal.write(&mut connection, place(which), len as usize),
            Self::Finish(which) => format!("{:?}", connection.finish(id(which))),
            Self::Reset(which) => format!("{:?}", connection.reset(id(which), 4u32.into())),
            Self::OpenId(number) => {
                let opened = connection.open_id(number);
                found = opened.ok();
                format!("{opened:?}")
            }
            Self::Abandon(which) => format!("{:?}", connection.abandon(id(which))),
            Self::Stop(which) => format!("{:?}", connection.stop(id(which), ErrorCode::MAX)),
            Self::Read(which, len) => journal.read(&mut connection, place(which), len.into()),
            Self::ReadChunk(which, max) => journal.read_chunk(&mut connection, place(which), max),
            Self::Priority(which, priority) => format!("{:?}", connection.set_priority(id(which), priority)),
            Self::SendDatagram(len) => format!("{:?}", connection.send_datagram(&data(len.into()))),
            Self::ReadDatagram => {
                let mut out = Vec::new();
                format!("{:?} {out:?}", connection.read_datagram(&mut out))
            }
            Self::OpenPath(which) => {
                let remote = SocketAddr::new(peer.ip(), peer.port() + u16::from(which / SOCKETS % SOCKETS));
                let local = LocalAddr { socket: u16::from(which % SOCKETS), ip: None };
                let _ = connection.subscribe_paths();
                format!("{:?}", connection.open_path(remote, Some(local)))
            }
            Self::ClosePath(which) => format!("{:?}", connection.close_path(path_id(which))),
            Self::PathStatus(which, backup) => {
                let status = if backup { PathStatus::Backup } else { PathStatus::Available };
                format!("{:?}", connection.set_path_status(path_id(which), status))
            }
            Self::SelectPath(which) => format!("{:?}", connection.select_path(path_id(which))),
            Self::Trust => format!("{:?}", connection.trust()),
            Self::Close => format!("{:?}", connection.close(5u32.into(), &[7; 600])),
            Self::CloseGraceful(span) => {
                format!("{:?}", connection.close_graceful(now + span, 6u32.into(), b"done"))
            }
            Self::Forget => {
                connection.forget();
                String::new()
            }
            Self::Look => look(&connection),
        };
        if let Some(id) = found
            && !known.streams.contains(&id)
        {
            known.streams.push(id);
        }
        duo.note(&answer);
    }
}

/// Sometimes an id that this side knows, of whatever connection, sometimes one that may be, sometimes one that never was.
fn stream_id(known: &[StreamId], which: u8) -> StreamId {
    match which {
        0..8 => StreamId::new(Role::Initiator, Direction::Bidirectional, (1 << 60) - u64::from(which)),
        8..40 => StreamId::new(
            if which & 1 == 0 { Role::Initiator } else { Role::Responder },
            if which & 2 == 0 { Direction::Bidirectional } else { Direction::Unidirectional },
            u64::from(which >> 2),
        ),
        40.. => {
            let first = StreamId::new(Role::Initiator, Direction::Bidirectional, 0);
            pick(known, which).unwrap_or(first)
        }
    }
}

/// One that may be open, or the one after.
fn path_id(which: u8) -> PathId {
    PathId::new(which % 9).unwrap_or(PathId::ZERO)
}

/// Everything that can be asked.
fn look(connection: &Connection<'_>) -> String {
    let claimed = (connection.wire(), connection.qotp_claimed_key());
    let identity =
        (claimed, connection.peer_identity(), connection.alpn(), connection.suite(), connection.role());
    let state = (connection.state(), connection.max_datagram(), connection.undelivered());
    // A secret does not show itself.
    let exported = connection.export(b"label", b"").map(|secret| secret.map(|secret| *secret));
    let secrets = (connection.handshake_hash(), exported, connection.export(&[0; 256], b"").is_err());
    let paths = (connection.path(), connection.paths().collect::<Vec<_>>(), connection.path_log());
    let counts = (connection.stats(), connection.limiter(), connection.is_closing());
    format!("{identity:?} {state:?} {secrets:?} {counts:?} {paths:?}")
}
