//! Networks that show their addresses and then want everything: each gets its part of what is left (docs/DESIGN.md, "Under
//! load").

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use dunlin_core::{ConnectionHandle, Duration, Endpoint, Event, Instant, Peer};
use dunlin_sim::{AcceptAll, Injection, Pair, Rng, config};

use crate::common::{INIT, Seen, Undecided, kind, ms, quick, record};

const RETRY: u8 = 5;
/// Where the token's length stands in an Init.
const TOKEN_LEN: usize = 41;
/// The answerer's other address.
const ALSO: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)), 2000);

/// Answers nobody but the dialler of a [`Pair`].
fn sparing(now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
    if *event == Event::Incoming
        && let Some(incoming) = endpoint.incoming(handle)
        && incoming.remote() == Some(SocketAddr::from(([10, 0, 0, 1], 1000)).into())
    {
        let _ = incoming.accept(now);
    }
}

/// People who show their addresses, and never confirm what they begin.
struct Crowd {
    /// A first packet that everybody takes for a good one.
    init: Vec<u8>,
    /// Their addresses, each with the token that it was given.
    members: Vec<(SocketAddr, Vec<u8>)>,
    rng: Rng,
}

impl Crowd {
    /// Makes the answerer busy from invented addresses, and then shows it these.
    fn gather(pair: &mut Pair, addresses: impl Iterator<Item = SocketAddr>) -> Self {
        let mut crowd = Self { init: first_packet(), members: Vec::new(), rng: Rng::new(3) };
        while pair.server().endpoint.stats().retries_sent == 0 {
            let invented = 0x0b00_0000 | crowd.rng.next_u64() as u32 >> 8;
            crowd.send(pair, SocketAddr::from((invented.to_be_bytes(), 9)), &[]);
            pair.world.run_for(Duration::ZERO);
        }
        pair.world.run_for(ms(1));
        let (seen, mut count) = (record(&mut pair.world), 0);
        for address in addresses {
            crowd.send(pair, address, &[]);
            pair.world.run_for(ms(1));
            count += 1;
        }
        let is_retry = |seen: &&Seen| kind(&seen.bytes) == RETRY;
        let token = |seen: &Seen| (seen.to, seen.bytes[9..34].to_vec());
        crowd.members = seen.borrow().iter().filter(is_retry).map(token).collect();
        assert_eq!(crowd.members.len(), count, "each was asked");
        crowd
    }

    /// Another first packet arrives from there.
    fn send(&mut self, pair: &mut Pair, from: SocketAddr, token: &[u8]) {
        let mut bytes = self.init.clone();
        bytes[1..9].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        bytes[9..17].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        bytes[TOKEN_LEN] = token.len() as u8;
        bytes.splice(TOKEN_LEN + 1..TOKEN_LEN + 1, token.iter().copied());
        bytes.truncate(1200);
        let to = if from.is_ipv4() { pair.server_addr } else { ALSO };
        pair.world.inject(Injection { after: Duration::ZERO, from, to, ecn: None, bytes });
    }

    /// Each of them sends so many.
    fn press(&mut self, pair: &mut Pair, each: usize) {
        for _ in 0..each {
            for (from, token) in self.members.clone() {
                self.send(pair, from, &token);
            }
            pair.world.run_for(ms(4));
        }
    }
}

/// An Init of somebody who does not know whom he dials.
fn first_packet() -> Vec<u8> {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    pair.dial_as(Peer::AnyKey);
    pair.world.run_for(Duration::ZERO);
    let init = seen.borrow().iter().find(|seen| kind(&seen.bytes) == INIT).map(|seen| seen.bytes.clone());
    init.expect("it was sent")
}

/// An honest dial beside so many who show their addresses: that it gets in, and how many places they have then.
fn dial_beside(addresses: impl Iterator<Item = SocketAddr>, dh_per_second: u32) -> u64 {
    let mut answerer = config();
    answerer.limits.dh_per_second = dh_per_second;
    answerer.limits.half_open_lifetime = Duration::from_secs(3);
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, sparing);
    pair.world.add_address(pair.server, ALSO);
    let mut crowd = Crowd::gather(&mut pair, addresses);
    crowd.press(&mut pair, 500);
    let client = pair.dial_as(Peer::AnyKey);
    let begun = pair.now();
    crowd.press(&mut pair, 30);
    let connected = pair.client().when(client, &Event::Connected).expect("it gets in");
    assert_eq!(connected - begun, ms(80), "two round trips");
    let taken = pair.server().endpoint.stats().half_open;
    let server = pair.server;
    pair.world.node_mut(server).app = Box::new(Undecided);
    pair.finish();
    taken
}

#[test]
fn ac_17_twenty_networks_that_show_their_addresses_and_never_confirm_keep_nobody_out() {
    let networks = || (0..20).map(|n| SocketAddr::from(([203, 0, n, 1], 9)));
    for dh_per_second in [10_000, u32::MAX] {
        let taken = dial_beside(networks(), dh_per_second);
        assert!((2_000..4_096 - 300).contains(&taken), "{taken} places with {dh_per_second}");
    }
}

#[test]
fn ac_17_all_networks_of_a_site_together_get_the_part_of_one() {
    let networks = (0..=255).map(|n: u16| SocketAddr::from(([0x2001, 0xdb8, 7, n << 8, 0, 0, 0, 1], 9)));
    let taken = dial_beside(networks, u32::MAX);
    assert!((1_000..4_096 * 3 / 4).contains(&taken), "{taken} places");
}
