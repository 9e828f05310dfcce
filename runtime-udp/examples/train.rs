//! Forty datagrams in one system call each way: `cargo run -p dunlin-udp --example train`.

use core::time::Duration;
use std::io::{ErrorKind, IoSliceMut};
use std::time::Instant;

use dunlin_udp::{BATCH_SIZE, BindOptions, DatagramSocket, RECV_BUFFER_LEN, RecvMeta, Transmit, UdpSocket};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let bind = || {
        UdpSocket::bind("127.0.0.1:0".parse()?, &BindOptions::default())
            .map_err(Box::<dyn core::error::Error>::from)
    };
    let (sender, receiver) = (bind()?, bind()?);
    println!(
        "at most {} datagrams a send here; buffers: {:?}",
        sender.max_gso_segments(),
        sender.buffer_sizes()
    );
    let train = Transmit {
        destination: receiver.local_addr(),
        ecn: None,
        contents: &[7; 40 * 1200],
        segment_size: Some(1200),
        src_ip: None,
    };
    println!("sending: {:?}", sender.try_send(&train));
    let mut sent = Instant::now();

    let mut buffers = vec![vec![0; RECV_BUFFER_LEN]; BATCH_SIZE];
    let mut metas = vec![RecvMeta::default(); BATCH_SIZE];
    let mut received = 0;
    while received < 40 * 1200 {
        let mut slices: Vec<IoSliceMut<'_>> =
            buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        match receiver.try_recv(&mut slices, &mut metas) {
            Ok(count) => {
                for meta in &metas[..count] {
                    println!("{} bytes in datagrams of {} from {}", meta.len, meta.stride, meta.addr);
                    received += meta.len;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // UDP promises nothing, not even on loopback.
                if sent.elapsed() > Duration::from_secs(1) {
                    println!("sending again: {:?}", sender.try_send(&train));
                    sent = Instant::now();
                }
                std::thread::yield_now();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
