//! A scripted kernel: what it refuses, and what happens to the rest then.

mod batch;
mod model;
mod offload;
mod train;

use core::net::SocketAddr;
use std::io;

use quinn_udp::{EcnCodepoint, Transmit};

use super::*;
use crate::scripted::Bench;

const PEER: SocketAddr = peer(1);

/// One of many destinations.
const fn peer(number: u8) -> SocketAddr {
    SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, number)), 1)
}

fn to(destination: SocketAddr, contents: &[u8], segment_size: Option<usize>) -> Transmit<'_> {
    Transmit { destination, ecn: Some(EcnCodepoint::Ect0), contents, segment_size, src_ip: None }
}

/// Bytes of which no two stretches are equal.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

fn raw(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// A kernel that takes everything.
fn willing(batch: &[Transmit<'_>], _: usize) -> io::Result<usize> {
    Ok(batch.len())
}

/// A kernel that segments nothing and says so in this way.
fn cannot_segment(number: i32) -> impl Fn(&[Transmit<'_>], usize) -> io::Result<usize> {
    let is_train = |transmit: &Transmit<'_>| {
        transmit.segment_size.is_some_and(|segment| segment < transmit.contents.len())
    };
    move |batch, _| match batch.iter().position(is_train) {
        Some(0) => Err(raw(number)),
        Some(before) => Ok(before),
        None => Ok(batch.len()),
    }
}

/// Lengths and segment sizes of the messages of the last send.
fn shapes(bench: &Bench) -> Vec<(usize, Option<usize>)> {
    bench.calls().iter().flatten().map(|seen| (seen.contents.len(), seen.segment_size)).collect()
}
