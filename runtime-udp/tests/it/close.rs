//! Closing a socket that others share.

use std::io::{ErrorKind, IoSliceMut};

use dunlin_udp::{BatchOutcome, Closed, DatagramSocket, LossCause, Outcome, RecvMeta};

use crate::net::{V4, bind, deaf, to};

#[test]
fn after_closing_every_call_says_so_and_closing_again_does_nothing() {
    let (socket, other) = (bind(V4).unwrap(), deaf());
    let local = socket.local_addr();
    assert!(!socket.is_closed());
    for _ in 0..2 {
        socket.close();
        assert!(socket.is_closed());
        let transmit = to(other.local_addr(), b"late");
        let closed = Outcome::Lost(LossCause::Closed);
        assert_eq!(socket.try_send(&transmit), closed);
        let batch = socket.try_send_batch(&[transmit.clone(), transmit]);
        assert_eq!(batch, BatchOutcome { sent: 0, last: closed });
        let mut buffer = [0; 10];
        let error = socket.try_recv(&mut [IoSliceMut::new(&mut buffer)], &mut [RecvMeta::default()]);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Closed>()));
    }
    assert_eq!((socket.stats().lost_closed, socket.stats().sends), (4, 0));
    assert_eq!(socket.local_addr(), local, "for logs");
}

#[test]
fn dropping_gives_the_port_back() {
    let socket = bind(V4).unwrap();
    let local = socket.local_addr();
    socket.close();
    drop(socket);
    assert!(std::net::UdpSocket::bind(local).is_ok());
}

/// Linux wakes everybody who waits for a socket that is shut down, with or without a peer.
#[cfg(target_os = "linux")]
#[test]
fn closing_wakes_whoever_waits_to_read() {
    use core::time::Duration;
    use std::sync::mpsc;

    let socket = deaf();
    let reader = socket.as_std().try_clone().unwrap();
    reader.set_nonblocking(false).unwrap();
    let (tell, told) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        begin.send(()).unwrap();
        tell.send(reader.recv(&mut [0; 10]).unwrap_or(0)).unwrap();
    });
    begun.recv().unwrap();
    socket.close();
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(0));
    waiting.join().unwrap();
}
