//! The loop of an engine on io_uring: a turn is one system call, which sends everything, waits, and receives. Both ends
//! in one process: a message and its echo.
//!
//! Their sockets are connected to each other, which keeps addresses out of the picture. Who serves many takes `SendMsg`
//! and `RecvMsg` in place of `Send` and `Recv`.

#[cfg(target_os = "linux")]
mod linux {
    use core::error::Error;
    use std::io;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::thread;
    use std::time::Instant as Clock;

    use dunlin_core::{
        Arrival, Config, ConnectOptions, Connection, Duration, Endpoint, ErrorCode, Event, Identity, Instant,
        Peer, StreamId, TrainLimit,
    };
    use io_uring::{IoUring, opcode, squeue, types};

    type Done = Result<(), Box<dyn Error>>;

    /// Datagrams that one turn sends at most.
    const SENDS: usize = 30;
    /// Marks what comes back of the receive.
    const RECEIVE: u64 = 1;

    /// Sends the train's datagrams, then receives one into `datagram`, if one comes within `wait`; its length. All that
    /// the kernel was asked for has ended when this returns, so that it keeps no buffer.
    fn turn(
        ring: &mut IoUring,
        socket: &UdpSocket,
        train: core::slice::Chunks<'_, u8>,
        datagram: &mut [u8],
        wait: Duration,
    ) -> io::Result<Option<usize>> {
        let (fd, wait) = (types::Fd(socket.as_raw_fd()), types::Timespec::from(wait));
        let send = |bytes: &[u8]| opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32).build();
        let mut entries: Vec<_> = train.map(send).collect();
        let receive = opcode::Recv::new(fd, datagram.as_mut_ptr(), datagram.len() as u32).build();
        entries.push(receive.user_data(RECEIVE).flags(squeue::Flags::IO_LINK));
        entries.push(opcode::LinkTimeout::new(&raw const wait).build());
        // SAFETY: what the entries point to is borrowed, or lives, until the loop below has heard of the end of them all.
        unsafe { ring.submission().push_multiple(&entries) }.map_err(io::Error::other)?;
        let (mut missing, mut received) = (entries.len(), None);
        while missing > 0 {
            // A signal may end the wait, but not what was asked for.
            let _ = ring.submit_and_wait(missing);
            for done in ring.completion() {
                missing -= 1;
                // What fails is lost, as so much is on the way; and who receives nothing is cancelled in the end.
                if done.user_data() == RECEIVE {
                    received = usize::try_from(done.result()).ok();
                }
            }
        }
        Ok(received)
    }

    /// Drives an endpoint until its last connection is forgotten. `read` is called when a stream has something to read.
    fn run(mut endpoint: Endpoint, socket: &UdpSocket, read: fn(Connection<'_>, StreamId) -> Done) -> Done {
        let (mut ring, remote, epoch) = (IoUring::new(SENDS as u32 + 2)?, socket.peer_addr()?, Clock::now());
        let (mut train, mut datagram, mut served) = (Vec::new(), vec![0; 65_536], false);
        let limit = TrainLimit { segments: SENDS, ..TrainLimit::OFFLOAD };
        loop {
            let now = Instant::ZERO + epoch.elapsed();
            endpoint.handle_timeout(now);
            train.clear();
            let transmit = endpoint.poll_transmit(now, limit, &mut train);
            while let Some((handle, event)) = endpoint.poll_event() {
                if event == Event::Incoming {
                    endpoint.incoming(handle).ok_or("it gave up")?.accept(now)?;
                } else if let Event::Readable(stream) = event {
                    read(endpoint.connection(handle).ok_or("it is forgotten")?, stream)?;
                }
            }
            let connections = endpoint.stats().connections;
            if served && connections == 0 {
                return Ok(());
            }
            served |= connections > 0;
            let datagrams = train.chunks(transmit.map_or(1, |transmit| transmit.segment_size));
            let wait = endpoint.poll_timeout().map_or(Duration::from_secs(60), |due| due - now);
            if let Some(len) = turn(&mut ring, socket, datagrams, &mut datagram, wait)? {
                let now = Instant::ZERO + epoch.elapsed();
                endpoint.handle_datagram(now, Arrival::from_remote(remote), &mut datagram[..len]);
            }
        }
    }

    fn endpoint(secret: [u8; 32]) -> Result<Endpoint, Box<dyn Error>> {
        let (mut config, mut seed) = (Config::default(), [0; 32]);
        config.alpns = vec![b"echo".to_vec()];
        getrandom::fill(&mut seed)?;
        Ok(Endpoint::new(config, Identity::from_secret(secret), seed))
    }

    pub(crate) fn main() -> Done {
        if let Err(error) = IoUring::new(2) {
            // Old kernels have none, and many sandboxes forbid it.
            println!("skipped: no io_uring here: {error}");
            return Ok(());
        }
        let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        here.connect(there.local_addr()?)?;
        there.connect(here.local_addr()?)?;
        let (mut client, server) = (endpoint([1; 32])?, endpoint([2; 32])?);
        let key = Peer::Key(*server.public_key());
        let options = ConnectOptions::new(there.local_addr()?, b"echo");
        let dial = client.connect(Instant::ZERO, key, options)?;
        let stream = client.connection(dial).ok_or("it is forgotten")?.open_bi()?;
        client.connection(dial).ok_or("it is forgotten")?.write(stream, b"hello, ring")?;
        let echo = |mut connection: Connection<'_>, stream| -> Done {
            while let Ok(Some(text)) = connection.read_chunk(stream, 1000) {
                connection.write(stream, &text)?;
            }
            Ok(())
        };
        let print = |mut connection: Connection<'_>, stream| -> Done {
            println!("the echo: {:?}", connection.read_chunk(stream, 1000)?);
            connection.close(ErrorCode::default(), b"that was all");
            Ok(())
        };
        let server = thread::spawn(move || run(server, &there, echo).map_err(|error| error.to_string()));
        run(client, &here, print)?;
        Ok(server.join().map_err(|_| "the server panicked")??)
    }
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    #[cfg(target_os = "linux")]
    return linux::main();
    #[cfg(not(target_os = "linux"))]
    Ok(println!("skipped: only Linux has io_uring"))
}

#[test]
fn runs() {
    main().unwrap();
}
