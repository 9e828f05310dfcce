//! What a kernel may say on reading, and what is heard of it.

use core::net::SocketAddr;

use super::*;
use crate::scripted::Receiving;

fn raw(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// Receives into two buffers.
fn receive_from(counters: &Counters, kernel: &impl Calls, metas: &mut [RecvMeta; 2]) -> io::Result<usize> {
    let (mut one, mut two) = ([0; 8], [0; 8]);
    receive(kernel, counters, &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)], metas)
}

#[test]
fn echoes_of_sends_and_signals_are_skipped_until_a_batch_comes() {
    let errors = [libc::ECONNREFUSED, libc::EINTR, libc::EHOSTUNREACH, libc::EMSGSIZE, libc::ENETUNREACH];
    let kernel = Receiving::new(|call, metas: &mut [RecvMeta]| {
        errors.get(call).map_or_else(
            || {
                metas[0].addr = "[::ffff:192.0.2.1]:7".parse().unwrap();
                metas[0].dst_ip = Some("::ffff:192.0.2.2".parse().unwrap());
                Ok(1)
            },
            |number| Err(raw(*number)),
        )
    });
    let (counters, mut metas) = (Counters::default(), [RecvMeta::default(); 2]);
    assert_eq!(receive_from(&counters, &kernel, &mut metas).unwrap(), 1);
    assert_eq!(metas[0].addr, SocketAddr::from(([192, 0, 2, 1], 7)));
    assert_eq!(metas[0].dst_ip, Some([192, 0, 2, 2].into()));
    let stats = counters.snapshot(None);
    assert_eq!((stats.receives, stats.receive_errors), (1, 4));
}

#[test]
fn a_flood_of_echoes_ends_with_nothing_rather_than_never() {
    let kernel = Receiving::new(|_, _: &mut [RecvMeta]| Err(raw(libc::ECONNREFUSED)));
    let (counters, mut metas) = (Counters::default(), [RecvMeta::default(); 2]);
    assert_eq!(receive_from(&counters, &kernel, &mut metas).unwrap(), 0);
    assert_eq!((kernel.calls(), counters.snapshot(None).receive_errors), (64, 64));
}

#[test]
fn what_is_about_the_socket_is_told() {
    for (number, kind) in
        [(libc::EAGAIN, io::ErrorKind::WouldBlock), (libc::ENOMEM, io::ErrorKind::OutOfMemory)]
    {
        let kernel = Receiving::new(|_, _: &mut [RecvMeta]| Err(raw(number)));
        let (counters, mut metas) = (Counters::default(), [RecvMeta::default(); 2]);
        assert_eq!(receive_from(&counters, &kernel, &mut metas).unwrap_err().kind(), kind);
        assert_eq!((kernel.calls(), counters.snapshot(None).receive_errors), (1, 0));
    }
}
