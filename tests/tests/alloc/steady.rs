//! In the steady state no packet costs an allocation, or a deallocation, in either direction.

use dunlin_core::{
    AeadPolicy, Config, ConnectionHandle, Direction, Duration, Event, LocalAddr, PathId, StreamId,
};
use dunlin_sim::{Ppm, config};

use crate::counter::Heap;
use crate::rig::Rig;

/// An application that keeps a stream full on one side, reads it on the other, and answers pings.
struct Traffic {
    out: Vec<u8>,
    buffer: Vec<u8>,
    read: u64,
    messages: u64,
    /// Bytes of a message that the reader waits for before it answers; `None` for bulk.
    message: Option<usize>,
    missing: usize,
}

impl Traffic {
    fn new(message: Option<usize>) -> Self {
        let out = vec![7; message.unwrap_or(64 << 10)];
        Self { out, buffer: vec![0; 64 << 10], read: 0, messages: 0, message, missing: message.unwrap_or(0) }
    }

    fn fill(&mut self, rig: &mut Rig, side: usize, handle: ConnectionHandle, id: StreamId) {
        while let Some(Ok(written)) = rig.with(side, handle, |connection| connection.write(id, &self.out)) {
            if self.message.is_some() {
                assert_eq!(written, self.out.len(), "there is room for a message");
                return;
            }
        }
    }

    fn react(&mut self, rig: &mut Rig, side: usize, handle: ConnectionHandle, event: &Event) {
        match event {
            Event::StreamOpened(direction) => {
                let accepted = rig.with(side, handle, |connection| connection.accept(*direction)).flatten();
                let id = accepted.expect("it was opened");
                self.drain(rig, side, handle, id);
            }
            Event::Writable(id) => self.fill(rig, side, handle, *id),
            Event::Readable(id) => self.drain(rig, side, handle, *id),
            _ => {}
        }
    }

    fn drain(&mut self, rig: &mut Rig, side: usize, handle: ConnectionHandle, id: StreamId) {
        while let Some(Ok(read)) = rig.with(side, handle, |connection| connection.read(id, &mut self.buffer))
        {
            self.read += read as u64;
            let Some(message) = self.message else { continue };
            self.missing -= read;
            if self.missing == 0 {
                self.missing = message;
                self.messages += 1;
                self.fill(rig, side, handle, id);
            }
        }
    }
}

/// What `span` cost after `warm_up`: heap of both sides, packets received in all.
fn measure(settings: Config, sender: usize, message: Option<usize>, loss: Ppm) -> ([Heap; 2], u64, u64) {
    measure_over(None, settings, sender, message, loss)
}

/// The same over the native wire, or over QOTP with the key known or not.
fn measure_over(
    qotp: Option<bool>,
    settings: Config,
    sender: usize,
    message: Option<usize>,
    loss: Ppm,
) -> ([Heap; 2], u64, u64) {
    let mut rig = Rig::new(settings.clone(), settings);
    rig.qotp = qotp;
    let handles = rig.connect();
    rig.loss = loss;
    let mut traffic = Traffic::new(message);
    let opened = rig.with(sender, handles[sender], |connection| connection.open(Direction::Bidirectional));
    let id = opened.expect("it stands").expect("a stream");
    traffic.fill(&mut rig, sender, handles[sender], id);
    let mut run = |rig: &mut Rig, span| {
        rig.run(span, &mut |rig, side, handle, event| traffic.react(rig, side, handle, event));
    };
    // Until every ring has seen its peak: a whole cycle of probing. An exchange of messages takes longer to get there.
    run(&mut rig, Duration::from_secs(if message.is_some() { 12 } else { 8 }));
    let before = [rig.sides[0].heap, rig.sides[1].heap];
    let packets = rig.sides[0].packets + rig.sides[1].packets;
    // Two of BBR's probes for the round-trip time, five seconds apart.
    run(&mut rig, Duration::from_secs(7));
    let after = [rig.sides[0].heap - before[0], rig.sides[1].heap - before[1]];
    (after, rig.sides[0].packets + rig.sides[1].packets - packets, traffic.read)
}

fn settings(aead: AeadPolicy) -> Config {
    let mut config = config();
    config.aead = aead;
    config
}

#[test]
fn bulk_transfer_does_not_touch_the_heap() {
    for aead in [AeadPolicy::ChaCha20, AeadPolicy::Aes] {
        for sender in 0..2 {
            let (heap, packets, read) = measure(settings(aead), sender, None, Ppm::NEVER);
            println!("bulk, {aead:?}, from side {sender}: {packets} packets, {read} bytes, {heap:?}");
            assert!(packets > 40_000, "{packets} packets");
            assert_eq!(heap, [Heap::default(); 2]);
        }
    }
}

#[test]
fn bulk_transfer_over_one_of_two_paths_does_not_touch_the_heap() {
    for sender in 0..2 {
        let mut rig = Rig::new(settings(AeadPolicy::Auto), settings(AeadPolicy::Auto));
        let handles = rig.connect();
        // Until there are ids for another path.
        rig.run(Duration::from_secs(2), &mut |_, _, _, _| {});
        let (remote, local) = (rig.answerer(), LocalAddr { socket: 1, ip: None });
        let opened = rig.with(0, handles[0], |connection| connection.open_path(remote, Some(local)));
        let second = opened.expect("it stands").expect("a path");
        rig.run(Duration::from_secs(1), &mut |_, _, _, _| {});
        let mut traffic = Traffic::new(None);
        let opened =
            rig.with(sender, handles[sender], |connection| connection.open(Direction::Unidirectional));
        traffic.fill(&mut rig, sender, handles[sender], opened.expect("it stands").expect("a stream"));
        // On the first one first, so that its rings have seen their peak when it has little to do.
        for id in [PathId::ZERO, second] {
            let selected = rig.with(sender, handles[sender], |connection| connection.select_path(id));
            selected.expect("it stands").expect("the path is open");
            let mut run = |rig: &mut Rig, span| {
                rig.run(span, &mut |rig, side, handle, event| traffic.react(rig, side, handle, event));
            };
            run(&mut rig, Duration::from_secs(8));
            let (before, packets) = ([0, 1].map(|side| rig.sides[side].heap), rig.sides[1 - sender].packets);
            run(&mut rig, Duration::from_secs(7));
            let heap = [0, 1].map(|side| rig.sides[side].heap - before[side]);
            let packets = rig.sides[1 - sender].packets - packets;
            println!("{id:?} of two paths, from side {sender}: {packets} packets, {heap:?}");
            assert!(packets > 40_000, "{packets} packets");
            assert_eq!(heap, [Heap::default(); 2]);
        }
    }
}

#[test]
fn ping_pong_does_not_touch_the_heap() {
    for message in [1, 1000, 10_000, 100_000] {
        for sender in 0..2 {
            let (heap, packets, read) =
                measure(settings(AeadPolicy::Auto), sender, Some(message), Ppm::NEVER);
            println!(
                "ping-pong of {message} bytes from side {sender}: {packets} packets, {read} bytes, {heap:?}"
            );
            assert!(packets > 300, "{packets} packets");
            assert_eq!(heap, [Heap::default(); 2]);
        }
    }
}

/// Loss, which also means reordering for what comes after it, costs an allocation now and then, but not per packet.
#[test]
fn lossy_bulk_transfer_hardly_touches_the_heap() {
    for sender in 0..2 {
        let (heap, packets, read) = measure(settings(AeadPolicy::Auto), sender, None, Ppm::percent(1));
        println!("bulk with 1 % loss from side {sender}: {packets} packets, {read} bytes, {heap:?}");
        let touched: u64 = heap.iter().map(|heap| heap.allocations + heap.frees).sum();
        assert!(touched * 1000 <= packets, "{touched} times in {packets} packets");
    }
}

/// Settings of an endpoint that accepts QOTP, and may fill the link.
fn qotp(in_flight: u64) -> Config {
    let mut config = config().accept_qotp(true);
    config.qotp.max_in_flight = in_flight;
    config
}

#[test]
fn bulk_transfer_over_qotp_does_not_touch_the_heap() {
    for sender in 0..2 {
        let known = Some(sender == 0);
        let (heap, packets, read) = measure_over(known, qotp(4_000_000), sender, None, Ppm::NEVER);
        println!("bulk over QOTP from side {sender}: {packets} packets, {read} bytes, {heap:?}");
        assert!(packets > 80_000, "{packets} packets");
        assert_eq!(heap, [Heap::default(); 2]);
    }
}

#[test]
fn ping_pong_over_qotp_does_not_touch_the_heap() {
    for message in [1, 1000, 10_000, 100_000] {
        for sender in 0..2 {
            let known = Some(sender == 0);
            let (heap, packets, read) = measure_over(known, qotp(100_000), sender, Some(message), Ppm::NEVER);
            println!("ping-pong over QOTP of {message} bytes: {packets} packets, {read} bytes, {heap:?}");
            assert!(packets > 300, "{packets} packets");
            assert_eq!(heap, [Heap::default(); 2]);
        }
    }
}

#[test]
fn lossy_bulk_transfer_over_qotp_hardly_touches_the_heap() {
    for sender in 0..2 {
        let (heap, packets, read) = measure_over(Some(true), qotp(4_000_000), sender, None, Ppm::percent(1));
        println!(
            "bulk over QOTP with 1 % loss from side {sender}: {packets} packets, {read} bytes, {heap:?}"
        );
        let touched: u64 = heap.iter().map(|heap| heap.allocations + heap.frees).sum();
        assert!(touched * 1000 <= packets, "{touched} times in {packets} packets");
    }
}
