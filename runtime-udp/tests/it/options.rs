//! What a socket is asked for, and what there is to say when it cannot be had.

use dunlin_udp::{BindError, BindOptions, BufferSizes, DatagramSocket, SocketGroup, UdpSocket};

use crate::net::{V4, bind, deliver, to};
use crate::warnings::warnings;

#[test]
fn buffers_are_as_asked_or_the_truth_is_told() {
    let options = BindOptions { recv_buffer: 100_000, send_buffer: 70_000, ..BindOptions::default() };
    let socket = UdpSocket::bind((V4, 0).into(), &options).unwrap();
    assert_eq!((socket.buffer_sizes().recv, socket.buffer_sizes().send), (100_000, 70_000));
    assert_eq!((socket.small_buffers(), socket.stats().small_buffers), (None, None));
    let socket = UdpSocket::bind((V4, 0).into(), &huge()).unwrap();
    assert!((1..=1 << 30).contains(&socket.buffer_sizes().recv));
    assert_eq!(socket.stats().buffers, socket.buffer_sizes());
}

/// More than any system gives, if it has a limit at all.
fn huge() -> BindOptions {
    BindOptions { recv_buffer: 1 << 30, send_buffer: 1 << 30, ..BindOptions::default() }
}

#[test]
fn a_bind_that_gets_small_buffers_warns_once() {
    let modest = BindOptions { recv_buffer: 100_000, send_buffer: 70_000, ..BindOptions::default() };
    assert_eq!(warnings(|| drop(SocketGroup::bind((V4, 0).into(), &modest, 2).unwrap())), [""; 0]);

    let mut small = None;
    let warned = warnings(|| small = SocketGroup::bind((V4, 0).into(), &huge(), 3).unwrap().small_buffers());
    // A machine without limits has nothing to tell.
    let Some(small) = small else { return assert_eq!(warned, [""; 0]) };
    assert_eq!(small.asked, BufferSizes { recv: 1 << 30, send: 1 << 30 });
    assert!(small.given.recv < 1 << 30 || small.given.send < 1 << 30);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains(&small.to_string()), "{warned:?}");
    assert_eq!(warnings(|| drop(UdpSocket::bind_any(0, &huge()).unwrap())).len(), 1);
}

#[test]
fn bind_errors_say_what_to_do() {
    let socket = bind(V4).unwrap();
    let taken = UdpSocket::bind(socket.local_addr(), &BindOptions::default());
    assert!(matches!(&taken, Err(BindError::InUse { address, .. }) if *address == socket.local_addr()));
    assert!(taken.unwrap_err().to_string().contains("choose another port"));
    // TEST-NET-1 (RFC 5737).
    let foreign = UdpSocket::bind("192.0.2.1:0".parse().unwrap(), &BindOptions::default());
    assert!(matches!(foreign, Err(BindError::NotLocal { .. })));
}

#[test]
fn any_address_of_any_family_can_be_had() {
    let socket = UdpSocket::bind_any(0, &BindOptions::default()).unwrap();
    assert!(socket.speaks(V4) && socket.local_addr().port() != 0);
    let taken = UdpSocket::bind_any(socket.local_addr().port(), &BindOptions::default());
    assert!(matches!(taken, Err(BindError::InUse { .. })));
}

/// Nobody without privileges may mark packets, and nobody at all where there are no marks.
#[test]
fn a_mark_is_set_or_the_error_says_what_it_needs() {
    let options = BindOptions { mark: Some(0x51), ..BindOptions::default() };
    match UdpSocket::bind((V4, 0).into(), &options) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Ok(socket) => assert_eq!(socket2::SockRef::from(&socket).mark().unwrap(), 0x51),
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        Ok(_) => panic!("there are no marks here"),
        Err(error @ BindError::MarkNotPermitted { mark: 0x51, .. }) => {
            assert!(error.to_string().contains("CAP_NET_ADMIN"));
            eprintln!("not permitted to mark packets here: only the error was tested");
        }
        Err(BindError::Unsupported { option }) => assert_eq!(option, "mark"),
        Err(error) => panic!("{error}"),
    }
}

/// The loopback interface has this name on all systems that keep to one.
const LOOPBACK: &str = if cfg!(target_vendor = "apple") { "lo0" } else { "lo" };

#[test]
fn a_socket_keeps_to_its_interface() {
    let options = BindOptions { interface: Some(LOOPBACK.to_owned()), ..BindOptions::default() };
    let socket = match UdpSocket::bind(([0, 0, 0, 0], 0).into(), &options) {
        Ok(socket) => socket,
        Err(error @ (BindError::InterfaceNotPermitted { .. } | BindError::Unsupported { .. })) => {
            eprintln!("not tested: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let receiver = bind(V4).unwrap();
    assert_eq!(deliver(&socket, &to(receiver.local_addr(), b"here"), &receiver).datagrams.len(), 1);
    #[cfg(target_os = "linux")]
    assert_eq!(socket2::SockRef::from(&socket).device().unwrap().as_deref(), Some(LOOPBACK.as_bytes()));
}

#[test]
fn an_interface_that_is_not_there_is_named_in_the_error() {
    for name in ["dunlin-none", "a name that is longer than an interface's can be"] {
        let options = BindOptions { interface: Some(name.to_owned()), ..BindOptions::default() };
        match UdpSocket::bind((V4, 0).into(), &options) {
            Err(error @ BindError::NoInterface { .. }) => assert!(error.to_string().contains(name)),
            Err(BindError::InterfaceNotPermitted { .. } | BindError::Unsupported { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The kernel gives a socket at least 2,304 bytes (SOCK_MIN_RCVBUF of socket(7), doubled): a few datagrams fill it.
#[cfg(target_os = "linux")]
#[test]
fn what_does_not_fit_into_the_receive_buffer_is_counted() {
    use std::io::{ErrorKind, IoSliceMut};

    use dunlin_udp::RecvMeta;

    let sender = bind(V4).unwrap();
    let options = BindOptions { recv_buffer: 1, ..BindOptions::default() };
    let receiver = UdpSocket::bind((V4, 0).into(), &options).unwrap();
    let Some(0) = receiver.stats().receive_drops else {
        eprintln!("not tested: this kernel does not tell");
        return;
    };
    for _ in 0..100 {
        let _ = sender.try_send(&to(receiver.local_addr(), &[0; 1_000]));
    }
    let drops = receiver.stats().receive_drops;
    assert!(drops.is_some_and(|drops| (1..100).contains(&drops)), "{drops:?}");
    let mut buffer = [0; 2_000];
    let mut received = 0;
    loop {
        let buffers = &mut [IoSliceMut::new(&mut buffer)];
        match receiver.try_recv(buffers, &mut [RecvMeta::default()]) {
            Ok(filled) => received += filled,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(received as u32 + drops.unwrap(), 100);
}
