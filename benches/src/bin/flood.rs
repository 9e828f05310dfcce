//! A flood of first packets from invented addresses, beside a transfer at 100 Mbit/s that an endpoint serves: what it costs and
//! what it disturbs.
//!
//! `cargo run --release -p dunlin-benches --bin flood [seconds]`
//!
//! In each simulated second the endpoint gets as many first packets of a class as one core of this machine makes in a real one,
//! and no more than 10 Gbit/s of them. Counted are the work of the engine and X25519 operations; nanoseconds are of this
//! machine, and of the engine alone.

use core::net::SocketAddr;
use core::time::Duration as Span;
use std::time::Instant as Clock;

use dunlin_core::fuzzing::Stranger;
use dunlin_core::{Arrival, CRYPTO_BACKEND, Duration, EndpointStats, Instant, LocalAddr, Peer, PublicKey};
use dunlin_sim::{
    AcceptAll, LinkConfig, Pair, QueueLimit, Rate, Receiver, Rng, Sender, Verdict, config, work_between,
};

/// First packets of 1,200 bytes that fill 10 Gbit/s, in a millisecond.
const MOST: u64 = 1_040;
/// Before anything is counted: the transfer is at its rate, and the flood has taken what it can take.
const WARM_UP: u64 = 2;
/// Where the tokens stand in an Init, behind the byte that has their length.
const TOKENS: usize = 42;
/// Length of a Retry token.
const TOKEN: usize = 25;
/// The beginning of the payload in an Init that is not sealed, and its length in one that is.
const PAYLOAD: usize = TOKENS + 32;
const SEALED: usize = 1200 - TOKENS - 48 - 16;

/// What floods consist of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    /// To whoever answers: nothing in it is sealed, so it is as good as any.
    Clear,
    /// To this endpoint, and does not open.
    Garbage,
    /// To this endpoint, made by the book: whoever makes it pays for it too.
    Sealed,
    /// As the first, with a token that nobody gave out.
    False,
    /// As the first, with a token that was given out to somebody else.
    Stolen,
}

impl Class {
    const ALL: [Self; 5] = [Self::Clear, Self::Garbage, Self::Sealed, Self::False, Self::Stolen];

    const fn name(self) -> &'static str {
        match self {
            Self::Clear => "IX",
            Self::Garbage => "IK, garbage",
            Self::Sealed => "IK, well-formed",
            Self::False => "IX, false token",
            Self::Stolen => "IX, token of another",
        }
    }
}

/// Makes first packets.
struct Forge {
    rng: Rng,
    stranger: Stranger,
    victim: PublicKey,
    clear: Vec<u8>,
    known: Vec<u8>,
    token: [u8; TOKEN],
}

impl Forge {
    fn new() -> Self {
        let mut answerer = config();
        answerer.retry = dunlin_core::RetryPolicy::Always;
        let mut pair = Pair::with(1, LinkConfig::default(), config(), answerer, AcceptAll, AcceptAll);
        let seen = std::rc::Rc::new(core::cell::RefCell::new(Vec::new()));
        let record = std::rc::Rc::clone(&seen);
        pair.world.add_tap(move |passing| {
            record.borrow_mut().push(passing.bytes.clone());
            Verdict::Pass
        });
        pair.dial_as(Peer::AnyKey);
        pair.dial();
        pair.world.run_for(Duration::from_millis(100));
        let of_type = |ty: u8| {
            let found = seen.borrow().iter().find(|bytes: &&Vec<u8>| bytes[0] >> 5 == ty).cloned();
            found.expect("both were dialled, and asked")
        };
        let (clear, known, retry) = (of_type(0), of_type(2), of_type(5));
        let mut token = [0; TOKEN];
        token.copy_from_slice(&retry[9..9 + TOKEN]);
        Self {
            rng: Rng::new(7),
            stranger: Stranger::new([9; 32]),
            victim: pair.server_key(),
            clear,
            known,
            token,
        }
    }

    /// Another one, in the place of what `out` held.
    fn make(&mut self, class: Class, now: Instant, out: &mut Vec<u8>) {
        out.clear();
        match class {
            Class::Clear => out.extend_from_slice(&self.clear),
            Class::Garbage => out.extend_from_slice(&self.known),
            Class::Sealed => return self.seal(out),
            Class::False | Class::Stolen => {
                out.extend_from_slice(&self.clear);
                out[TOKENS - 1] = TOKEN as u8;
                out.truncate(1200 - TOKEN);
                out.splice(TOKENS..TOKENS, self.token);
                // What has expired need not be looked at, so false ones have not.
                let expiry = (now + Duration::from_secs(10)).as_nanos().to_be_bytes();
                if class == Class::False {
                    out[TOKENS + 1..][..8].copy_from_slice(&expiry);
                }
            }
        }
        out[1..9].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        out[9..17].copy_from_slice(&self.rng.next_u64().to_le_bytes());
    }

    fn seal(&mut self, out: &mut Vec<u8>) {
        let mut ephemeral = [3; 32];
        ephemeral[..8].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        let (id, payload) = (self.rng.next_u64().to_le_bytes(), &self.clear[PAYLOAD..][..SEALED]);
        let made = self.stranger.init(Some(&self.victim), id, ephemeral, &[], payload);
        out.extend(made.expect("his key is one"));
    }

    /// Somebody, somewhere.
    fn address(&mut self) -> SocketAddr {
        SocketAddr::from(((0x0b00_0000 | self.rng.next_u64() as u32 >> 8).to_be_bytes(), 7000))
    }

    /// How many one core makes in a millisecond.
    fn rate(&mut self, class: Class) -> u64 {
        let (begun, mut made, mut out) = (Clock::now(), 0, Vec::new());
        while begun.elapsed() < Span::from_millis(200) {
            self.make(class, Instant::ZERO, &mut out);
            made += 1;
        }
        (made / 200).clamp(1, MOST)
    }
}

/// What was seen of a transfer, and of what came beside it.
struct Run {
    delivered: u64,
    before: EndpointStats,
    after: EndpointStats,
    /// The most X25519 operations of a second.
    x25519: u64,
    inits: u64,
    /// The least time of a second that the engine had for them: what else runs on the machine makes it only longer.
    spent: Span,
}

/// A transfer beside `each` first packets in a millisecond.
fn run(flood: Option<(Class, u64)>, seconds: u64) -> Run {
    let link = LinkConfig {
        rate: Some(Rate::mbit(100)),
        delay: Duration::from_millis(10),
        queue: QueueLimit::Bytes(500_000),
        ..LinkConfig::default()
    };
    let (receiver, received) = Receiver::new();
    let mut pair = Pair::with(1, link, config(), config(), Sender::new(1, 1 << 40), receiver);
    pair.connect();
    let mut forge = Forge::new();
    let mut result = None::<Run>;
    let mut begun = 0;
    for second in 0..WARM_UP + seconds {
        let (before, mut spent) = (pair.server().endpoint.stats(), Span::ZERO);
        for _ in 0..1000 {
            if let Some((class, each)) = flood {
                spent += pour(&mut pair, &mut forge, class, each);
            }
            pair.world.run_for(Duration::from_millis(1));
        }
        if second < WARM_UP {
            begun = received.borrow().total();
            continue;
        }
        let after = pair.server().endpoint.stats();
        let x25519 = after.x25519_operations - before.x25519_operations;
        let delivered = received.borrow().total() - begun;
        let inits = flood.map_or(0, |(_, each)| each * 1000 * (second + 1 - WARM_UP));
        result = Some(match result.take() {
            Some(so_far) => Run {
                before: so_far.before,
                x25519: x25519.max(so_far.x25519),
                spent: spent.min(so_far.spent),
                delivered,
                after,
                inits,
            },
            None => Run { delivered, before, after, x25519, inits, spent },
        });
    }
    result.expect("a second at least")
}

/// So many arrive at once. Says how long the engine took.
fn pour(pair: &mut Pair, forge: &mut Forge, class: Class, each: u64) -> Span {
    let (now, ip) = (pair.now(), Some(pair.server_addr.ip()));
    let mut batch = Vec::new();
    for _ in 0..each {
        let mut bytes = Vec::with_capacity(1200);
        forge.make(class, now, &mut bytes);
        batch.push((forge.address(), bytes));
    }
    let local = LocalAddr { socket: 0, ip };
    let endpoint = &mut pair.world.node_mut(pair.server).endpoint;
    let begun = Clock::now();
    for (from, bytes) in &mut batch {
        let _ = endpoint.handle_datagram(now, Arrival { local, remote: (*from).into(), ecn: None }, bytes);
    }
    begun.elapsed()
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(3).max(1);
    let limit = config().limits.dh_per_second;
    println!(
        "backend: {CRYPTO_BACKEND}; a transfer at 100 Mbit/s for {seconds} s beside first packets of 1,200 bytes"
    );
    println!("X25519 operations for attempts: {limit} a second at most");
    println!(
        "{:<22} {:>10} {:>8} {:>10} {:>9} {:>8} {:>9} {:>17}",
        "class", "Inits/s", "ns/Init", "work/Init", "% of core", "X25519/s", "transfer", "memory, MiB"
    );
    let alone = run(None, seconds);
    let quiet = work_between(&alone.before, &alone.after);
    for class in Class::ALL {
        let each = Forge::new().rate(class);
        let beside = run(Some((class, each)), seconds);
        let nanos = beside.spent.as_nanos() as f64;
        let work = work_between(&beside.before, &beside.after).saturating_sub(quiet);
        let mib = |stats: &EndpointStats| stats.memory_used as f64 / f64::from(1 << 20);
        println!(
            "{:<22} {:>10} {:>8.0} {:>10.2} {:>9.1} {:>8} {:>8.2}% {:>8.1} {:>8.1}",
            class.name(),
            each * 1000,
            nanos / (each * 1000) as f64,
            work as f64 / beside.inits as f64,
            nanos / 1e7,
            beside.x25519,
            100.0 * beside.delivered as f64 / alone.delivered as f64,
            mib(&beside.before),
            mib(&beside.after),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_floods_of_every_class_leave_a_transfer_alone() {
        let alone = run(None, 1);
        let quiet = work_between(&alone.before, &alone.after);
        for class in Class::ALL {
            let beside = run(Some((class, 5)), 1);
            let name = class.name();
            assert!(beside.delivered * 100 >= alone.delivered * 95, "{name}: {} bytes", beside.delivered);
            assert!(beside.x25519 <= config().limits.dh_per_second.into(), "{name}: {}", beside.x25519);
            // Half of what attempts may hold, for who shows no address, and the transfer's.
            let held = beside.after.memory_used;
            assert!(held <= config().limits.per_endpoint / 8 + (16 << 20), "{name}: {held} bytes");
            let work = work_between(&beside.before, &beside.after).saturating_sub(quiet);
            let operations = beside.after.x25519_operations - beside.before.x25519_operations;
            assert!(work <= 40 * beside.inits + 200 * operations, "{name}: {work} for {}", beside.inits);
        }
    }
}
