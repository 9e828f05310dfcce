//! Two loops on mio: an echo server that is its own loop, and a client beside something else in a `Poll` of its own.

use core::error::Error;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use dunlin_mio::mio::{Events, Poll, Token, Waker};
use dunlin_mio::{
    Bytes, Config, Connection, ConnectionHandle, Driver, Endpoint, Event, Identity, Peer, ReadError,
    RunError, StreamId, WriteError,
};

type Result<T> = core::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Serves until `stop` says so; the driver's waker has to be called then.
fn serve(mut driver: Driver, stop: &Receiver<()>) -> Result<()> {
    // What could not be sent back yet.
    let mut backlog: HashMap<(ConnectionHandle, StreamId), Bytes> = HashMap::new();
    loop {
        match driver.run_once(None) {
            Err(RunError::Closed) => return Ok(()),
            turned => turned?,
        }
        if stop.try_recv().is_ok() {
            driver.close(0.into(), b"the server stops");
        }
        while let Some((handle, event)) = driver.poll_event() {
            match event {
                Event::Incoming => drop(driver.accept(handle)?),
                Event::Readable(stream) | Event::Writable(stream) => {
                    let Some(mut connection) = driver.connection(handle) else { continue };
                    let backlog = backlog.entry((handle, stream)).or_default();
                    if let Err(error) = echo(&mut connection, stream, backlog) {
                        println!("server: {stream:?}: {error}");
                    }
                }
                Event::Finished(stream) => drop(backlog.remove(&(handle, stream))),
                Event::Closed(reason) => {
                    println!("server: {reason}");
                    backlog.retain(|(connection, _), _| *connection != handle);
                }
                _ => {}
            }
        }
    }
}

/// Sends back what there is, as far as the stream takes it. The next event of the stream says that it goes on.
fn echo(connection: &mut Connection<'_>, stream: StreamId, backlog: &mut Bytes) -> Result<()> {
    loop {
        while !backlog.is_empty() {
            match connection.write(stream, backlog) {
                Ok(written) => drop(backlog.split_to(written)),
                Err(WriteError::Blocked) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        match connection.read_chunk(stream, 64 << 10) {
            Ok(Some(chunk)) => *backlog = chunk,
            Ok(None) => return Ok(connection.finish(stream)?),
            Err(ReadError::Blocked) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

const DUNLIN: Token = Token(0);
const LINES: Token = Token(1);

/// Sends the lines that another thread comes up with, and prints what comes back.
fn ask(mut endpoint: Endpoint, dial: ConnectionHandle) -> Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
    endpoint.register(poll.registry(), DUNLIN)?;
    let (sender, lines) = channel();
    // It stays here: what it says is lost with the last of it.
    let waker = Arc::new(Waker::new(poll.registry(), LINES)?);
    let wakes = Arc::clone(&waker);
    let thinking = thread::spawn(move || {
        for line in ["one", "two", "three"] {
            // The client may have gone.
            let _ = sender.send(line).map(|()| wakes.wake());
        }
    });
    let stream = endpoint.connection(dial).ok_or("it was just made")?.open_bi()?;
    let mut back = Vec::new();
    loop {
        match endpoint.transmit() {
            Err(RunError::Closed) => break,
            sent => sent?,
        }
        poll.poll(&mut events, endpoint.poll_timeout())?;
        if events.iter().any(|event| event.token() == LINES) {
            for line in lines.try_iter() {
                // So little always fits.
                let mut connection = endpoint.connection(dial).ok_or("the connection is forgotten")?;
                connection.write(stream, format!("{line}\n").as_bytes())?;
            }
        }
        endpoint.receive()?;
        while let Some((handle, event)) = endpoint.poll_event() {
            match event {
                Event::Readable(stream) => {
                    let mut connection = endpoint.connection(handle).ok_or("it has just told something")?;
                    while let Ok(Some(chunk)) = connection.read_chunk(stream, 1000) {
                        back.extend_from_slice(&chunk);
                    }
                    if back.ends_with(b"three\n") {
                        print!("{}", String::from_utf8_lossy(&back));
                        endpoint.close(0.into(), b"that was all");
                    }
                }
                Event::Closed(reason) => println!("client: {reason}"),
                _ => {}
            }
        }
    }
    thinking.join().map_err(|_| "the other thread panicked")?;
    Ok(())
}

fn main() -> Result<()> {
    let mut config = Config::default();
    config.alpns = vec![b"echo".to_vec()];
    // Take your secrets from the system's random generator, and keep them.
    let server = Driver::bind("127.0.0.1:0".parse()?, config, Identity::from_secret([1; 32]))?;
    let mut client =
        Endpoint::bind("127.0.0.1:0".parse()?, Config::default(), Identity::from_secret([2; 32]))?;
    let key = Peer::Key(*server.engine().public_key());
    let dial = client.connect(server.local_addr(), key, b"echo")?;

    let ((stop, stopped), waker) = (channel(), server.waker());
    let serving = thread::spawn(move || serve(server, &stopped));
    ask(client, dial)?;
    stop.send(())?;
    waker.wake()?;
    serving.join().map_err(|_| "the server panicked")?
}

#[test]
fn runs() {
    main().unwrap();
}
