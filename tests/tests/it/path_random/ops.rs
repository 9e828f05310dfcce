//! What can be done, as a list to be generated.

use dunlin_core::{Duration, PathStatus};
use dunlin_sim::Toward;
use proptest::prelude::*;

use crate::duo::Side;

/// What happens next. Numbers pick among what there is, modulo its count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Time passes.
    Pass(Duration),
    /// A side's machine is suspended.
    Sleep(Side, Duration),
    /// One direction between two interfaces changes.
    Way(Way, Weather),
    /// The NAT of one of the dialler's interfaces forgets it, or the interface is seen at another port.
    Rebind(usize),
    /// The next packets of a side arrive first from an address that is nobody's.
    Hijack(Side, u8),
    Open(Side, usize, usize),
    Shut(Side, u8),
    Status(Side, u8, PathStatus),
    Select(Side, u8),
    Write(Side, u8, u32),
    Finish(Side, u8),
    Datagram(Side, u16),
    Learn(Side, usize),
    Unlearn(Side, usize),
    /// The network is reported to have changed.
    Report(Side),
    /// Whatever is under way, the connection ends.
    Close(Side),
}

/// One direction between two interfaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) client: usize,
    pub(super) server: usize,
    pub(super) toward: Toward,
}

impl Way {
    /// The same where each side has so many interfaces.
    pub(super) const fn within(self, count: usize) -> Self {
        Self { client: self.client % count, server: self.server % count, ..self }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Weather {
    Silent,
    Good,
    /// It loses, repeats and reorders.
    Rough,
    /// It drops what is large.
    Narrow,
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

fn way() -> impl Strategy<Value = Way> {
    let toward = prop_oneof![Just(Toward::Client), Just(Toward::Server)];
    (0..3usize, 0..3usize, toward).prop_map(|(client, server, toward)| Way { client, server, toward })
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        3 => (0..100u64).prop_map(Duration::from_millis),
        4 => (100..2_000u64).prop_map(Duration::from_millis),
        1 => (2..40u64).prop_map(Duration::from_secs),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let weather = prop_oneof![
        3 => Just(Weather::Silent),
        2 => Just(Weather::Good),
        1 => Just(Weather::Rough),
        1 => Just(Weather::Narrow),
    ];
    let status = prop_oneof![Just(PathStatus::Available), Just(PathStatus::Backup)];
    let bytes = prop_oneof![1..2_000u32, 1..300_000u32];
    prop_oneof![
        16 => span().prop_map(Op::Pass),
        1 => (side(), span()).prop_map(|(side, span)| Op::Sleep(side, span)),
        8 => (way(), weather).prop_map(|(way, weather)| Op::Way(way, weather)),
        2 => (0..3usize).prop_map(Op::Rebind),
        2 => (side(), 1..4u8).prop_map(|(side, count)| Op::Hijack(side, count)),
        8 => (side(), 0..3usize, 0..3usize).prop_map(|(side, client, server)| Op::Open(side, client, server)),
        3 => (side(), any::<u8>()).prop_map(|(side, which)| Op::Shut(side, which)),
        2 => (side(), any::<u8>(), status).prop_map(|(side, which, status)| Op::Status(side, which, status)),
        2 => (side(), any::<u8>()).prop_map(|(side, which)| Op::Select(side, which)),
        8 => (side(), any::<u8>(), bytes).prop_map(|(side, which, bytes)| Op::Write(side, which, bytes)),
        2 => (side(), any::<u8>()).prop_map(|(side, which)| Op::Finish(side, which)),
        3 => (side(), 8..1_100u16).prop_map(|(side, len)| Op::Datagram(side, len)),
        1 => (side(), 0..3usize).prop_map(|(side, which)| Op::Learn(side, which)),
        1 => (side(), 0..3usize).prop_map(|(side, which)| Op::Unlearn(side, which)),
        2 => side().prop_map(Op::Report),
    ]
}

/// The end comes early now and then.
fn close() -> impl Strategy<Value = Option<Op>> {
    prop_oneof![9 => Just(None), 1 => side().prop_map(Op::Close).prop_map(Some)]
}

/// At most so many.
pub(super) fn ops(count: usize) -> impl Strategy<Value = Vec<Op>> {
    let ops = proptest::collection::vec(op(), 0..count);
    (ops, close()).prop_map(|(ops, close)| ops.into_iter().chain(close).collect())
}
