//! The kernel's buffers of a socket: asked for, read back, and compared.

use core::fmt;
use std::io;
use std::net::UdpSocket as StdSocket;

use socket2::{SockRef, Socket};

/// The kernel's buffers, in bytes of the same kind as in [`BindOptions`](crate::BindOptions).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BufferSizes {
    /// The receive buffer.
    pub recv: usize,
    /// The send buffer.
    pub send: usize,
}

/// The system gave a socket less than it was asked for, because of a limit of its own. A burst that is longer than the
/// receive buffer is lost, which looks like loss on the way ([`SocketStats::receive_drops`](crate::SocketStats) tells
/// them apart). As text it says what to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SmallBuffers {
    /// What the socket was asked for.
    pub asked: BufferSizes,
    /// What it has. One of the two may be as large as was asked.
    pub given: BufferSizes,
}

impl SmallBuffers {
    /// `None` if nothing is missing.
    pub(crate) fn compare(asked: BufferSizes, given: BufferSizes) -> Option<Self> {
        let is_small = given.recv < asked.recv || given.send < asked.send;
        is_small.then_some(Self { asked, given })
    }
}

/// Where the limits are set: for receiving, and for sending (Linux: socket(7), "/proc interfaces").
const LIMITS: Option<[&str; 2]> = if cfg!(any(target_os = "linux", target_os = "android")) {
    Some(["net.core.rmem_max", "net.core.wmem_max"])
} else {
    None
};

impl fmt::Display for SmallBuffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, given } = self;
        f.write_str("the system's limits make the socket's buffers small, which costs packets under load:")?;
        let [recv_limit, send_limit] = LIMITS.map_or([None; 2], |limits| limits.map(Some));
        let both =
            [("receive", asked.recv, given.recv, recv_limit), ("send", asked.send, given.send, send_limit)];
        let mut separator = "";
        for (what, asked, given, limit) in both.into_iter().filter(|(_, asked, given, _)| given < asked) {
            write!(f, "{separator} {given} of {asked} bytes to {what}")?;
            if let Some(limit) = limit {
                write!(f, " (as root: sysctl -w {limit}={asked})")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

/// One of a socket's buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Buffer {
    Recv,
    Send,
}

/// The system calls for buffers. Tests have a kernel of their own, with limits.
pub(crate) trait BufferCalls {
    /// Asks for a size in bytes. The kernel may give less without a word, or refuse.
    fn set(&self, buffer: Buffer, bytes: usize) -> io::Result<()>;

    /// The size in bytes.
    fn get(&self, buffer: Buffer) -> io::Result<usize>;
}

impl BufferCalls for Socket {
    fn set(&self, buffer: Buffer, bytes: usize) -> io::Result<()> {
        match buffer {
            Buffer::Recv => self.set_recv_buffer_size(bytes),
            Buffer::Send => self.set_send_buffer_size(bytes),
        }
    }

    fn get(&self, buffer: Buffer) -> io::Result<usize> {
        let bytes = match buffer {
            Buffer::Recv => self.recv_buffer_size()?,
            Buffer::Send => self.send_buffer_size()?,
        };
        // Linux adds as much again for its own bookkeeping, and reports both together (socket(7), SO_RCVBUF).
        let share = if cfg!(any(target_os = "linux", target_os = "android")) { 2 } else { 1 };
        Ok(bytes / share)
    }
}

/// Below this, in bytes, asking for less is no use.
const SMALLEST: usize = 64 << 10;

/// Asks for both buffers, for less where that is refused, and says what there is then.
pub(crate) fn ask(calls: &impl BufferCalls, wanted: BufferSizes) -> io::Result<BufferSizes> {
    for (buffer, mut bytes) in [(Buffer::Recv, wanted.recv), (Buffer::Send, wanted.send)] {
        while calls.set(buffer, bytes).is_err() && bytes > SMALLEST {
            bytes /= 2;
        }
    }
    sizes(calls)
}

/// The buffers of a socket that somebody else has made.
pub(crate) fn of(socket: &StdSocket) -> io::Result<BufferSizes> {
    sizes(&*SockRef::from(socket))
}

fn sizes(calls: &impl BufferCalls) -> io::Result<BufferSizes> {
    Ok(BufferSizes { recv: calls.get(Buffer::Recv)?, send: calls.get(Buffer::Send)? })
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// A kernel with a limit for each buffer: it gives no more, or refuses.
    struct Limited {
        limits: BufferSizes,
        refuses: bool,
        given: Cell<BufferSizes>,
    }

    impl Limited {
        fn new(recv: usize, send: usize, refuses: bool) -> Self {
            Self { limits: BufferSizes { recv, send }, refuses, given: Cell::default() }
        }
    }

    impl BufferCalls for Limited {
        fn set(&self, buffer: Buffer, bytes: usize) -> io::Result<()> {
            let (mut given, limits) = (self.given.get(), self.limits);
            let (size, limit) = match buffer {
                Buffer::Recv => (&mut given.recv, limits.recv),
                Buffer::Send => (&mut given.send, limits.send),
            };
            if self.refuses && bytes > limit {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            *size = bytes.min(limit);
            self.given.set(given);
            Ok(())
        }

        fn get(&self, buffer: Buffer) -> io::Result<usize> {
            let given = self.given.get();
            Ok(if buffer == Buffer::Recv { given.recv } else { given.send })
        }
    }

    const ASKED: BufferSizes = BufferSizes { recv: 4 << 20, send: 4 << 20 };

    #[test]
    fn what_the_kernel_gives_is_enough_or_told() {
        let given = ask(&Limited::new(8 << 20, 4 << 20, false), ASKED).unwrap();
        assert_eq!((given, SmallBuffers::compare(ASKED, given)), (ASKED, None));

        let given = ask(&Limited::new(212_992, 8 << 20, false), ASKED).unwrap();
        assert_eq!(given, BufferSizes { recv: 212_992, ..ASKED });
        let small = SmallBuffers::compare(ASKED, given).unwrap();
        assert_eq!(small, SmallBuffers { asked: ASKED, given });
        let text = small.to_string();
        assert!(text.contains("212992 of 4194304 bytes to receive") && !text.contains("send"), "{text}");
        if cfg!(target_os = "linux") {
            assert!(text.contains("sysctl -w net.core.rmem_max=4194304"), "{text}");
            let given = BufferSizes { send: 1 << 16, ..ASKED };
            let text = SmallBuffers::compare(ASKED, given).unwrap().to_string();
            assert!(text.contains("net.core.wmem_max") && !text.contains("rmem"), "{text}");
        }
    }

    #[test]
    fn where_too_much_is_refused_less_is_asked_for() {
        let given = ask(&Limited::new(1_500_000, 100_000, true), ASKED).unwrap();
        assert_eq!(given, BufferSizes { recv: 1 << 20, send: 1 << 16 });
        assert!(SmallBuffers::compare(ASKED, given).is_some());
        // Nothing that one could ask for: it stays as it was.
        assert_eq!(ask(&Limited::new(1, 1, true), ASKED).unwrap(), BufferSizes::default());
    }
}
