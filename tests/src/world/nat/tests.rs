//! A NAT alone: who gets through, as which address, and for how long.

use super::*;

const OUTSIDE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(198, 51, 100, 1));

const MAPPINGS: [Mapping; 2] = [Mapping::EndpointIndependent, Mapping::EndpointDependent];
const FILTERINGS: [Filtering; 3] =
    [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent];

fn nat(config: NatConfig) -> Nat {
    Nat::new(Some(OUTSIDE), config, Rng::new(1))
}

fn inner(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 168, 0, 2], port))
}

fn remote(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, host], port))
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// Which of these get through to the outer address that the first of them was sent to from: the same address and port,
/// the same address with another port, another address.
fn who_gets_through(nat: &mut Nat) -> [bool; 3] {
    let (now, inner) = (at(0), inner(7));
    let outer = nat.outbound(now, inner, remote(1, 1)).unwrap();
    [remote(1, 1), remote(1, 2), remote(2, 1)].map(|from| {
        let admitted = nat.inbound(now, from, outer);
        assert!(admitted.is_none_or(|to| to == inner));
        admitted.is_some()
    })
}

#[test]
fn path_nat_table_of_who_gets_through() {
    for mapping in MAPPINGS {
        for (filtering, expected) in
            FILTERINGS.into_iter().zip([[true, true, true], [true, true, false], [true, false, false]])
        {
            let config = NatConfig { mapping, filtering, ..NatConfig::default() };
            let mut nat = nat(config);
            assert_eq!(who_gets_through(&mut nat), expected, "{config:?}");
            let let_in = expected.iter().filter(|in_| **in_).count() as u64;
            let stats = nat.stats();
            assert_eq!(
                (stats.mappings, stats.went_out, stats.let_in, stats.kept_out),
                (1, 1, let_in, 3 - let_in)
            );
            let mut firewall = Nat::new(None, config, Rng::new(1));
            assert_eq!(who_gets_through(&mut firewall), expected, "a firewall, {config:?}");
            assert_eq!(
                firewall.outer(at(0), inner(7), remote(1, 1)),
                Some(inner(7)),
                "it translates nothing"
            );
        }
    }
}

#[test]
fn path_nat_mappings_depend_on_the_endpoint_or_do_not() {
    for mapping in MAPPINGS {
        let mut nat = nat(NatConfig { mapping, ..NatConfig::default() });
        let mut out = |port, to| nat.outbound(at(0), inner(port), to).unwrap();
        let first = out(7, remote(1, 1));
        assert_eq!((first.ip(), out(7, remote(1, 1))), (OUTSIDE, first));
        assert!(first.port() >= FIRST_PORT);
        assert_ne!(out(8, remote(1, 1)), first, "another inner port has another outer one");
        for other in [remote(1, 2), remote(2, 1)] {
            assert_eq!(out(7, other) == first, mapping == Mapping::EndpointIndependent, "{mapping:?}");
        }
    }
}

/// Behind a mapping for one endpoint nobody else is let in by having been sent to through another mapping.
#[test]
fn path_nat_leave_to_answer_belongs_to_the_mapping() {
    for (mapping, admitted) in MAPPINGS.into_iter().zip([true, false]) {
        let mut nat = nat(NatConfig { mapping, ..NatConfig::default() });
        let first = nat.outbound(at(0), inner(7), remote(1, 1)).unwrap();
        nat.outbound(at(0), inner(7), remote(2, 1)).unwrap();
        assert_eq!(nat.inbound(at(0), remote(2, 1), first).is_some(), admitted, "{mapping:?}");
    }
}

#[test]
fn path_nat_idle_mappings_die_and_come_back_with_another_port() {
    let lifetime = Lifetime::Idle(Duration::from_secs(30));
    let mut nat = nat(NatConfig { lifetime, ..NatConfig::default() });
    let first = nat.outbound(at(0), inner(7), remote(1, 1)).unwrap();
    assert_eq!(nat.outbound(at(29), inner(7), remote(1, 1)), Some(first));
    assert_eq!(nat.inbound(at(58), remote(1, 1), first), Some(inner(7)), "either direction keeps it");
    assert_eq!(nat.outer(at(87), inner(7), remote(1, 1)), Some(first));
    assert_eq!(nat.outer(at(88), inner(7), remote(1, 1)), None);
    assert_eq!(nat.inbound(at(88), remote(1, 1), first), None);
    let second = nat.outbound(at(88), inner(7), remote(1, 1)).unwrap();
    assert_ne!(second, first);
    assert_eq!(nat.inbound(at(88), remote(1, 1), first), None, "the old port is nobody's");
    assert_eq!(nat.inbound(at(88), remote(1, 1), second), Some(inner(7)));
}

#[test]
fn path_nat_a_peers_leave_to_answer_dies_by_itself() {
    let lifetime = Lifetime::Idle(Duration::from_secs(30));
    let mut nat = nat(NatConfig { lifetime, ..NatConfig::default() });
    let outer = nat.outbound(at(0), inner(7), remote(1, 1)).unwrap();
    for second in [0, 20, 40] {
        assert_eq!(nat.outbound(at(second), inner(7), remote(2, 1)), Some(outer));
    }
    assert_eq!(nat.inbound(at(40), remote(1, 1), outer), None);
    assert_eq!(nat.inbound(at(40), remote(2, 1), outer), Some(inner(7)));
}

#[test]
fn path_nat_absolute_mappings_die_however_much_they_are_used() {
    let lifetime = Lifetime::Absolute(Duration::from_secs(60));
    let mut nat = nat(NatConfig { lifetime, ..NatConfig::default() });
    let first = nat.outbound(at(0), inner(7), remote(1, 1)).unwrap();
    for second in 1..60 {
        assert_eq!(nat.outbound(at(second), inner(7), remote(1, 1)), Some(first));
        assert_eq!(nat.inbound(at(second), remote(1, 1), first), Some(inner(7)));
    }
    assert_eq!(nat.inbound(at(60), remote(1, 1), first), None);
    assert_ne!(nat.outbound(at(60), inner(7), remote(1, 1)), Some(first));
    assert_eq!(nat.stats().mappings, 2);
}

#[test]
fn path_nat_that_forgets_draws_other_ports_the_same_for_the_same_seed() {
    let run = |seed| {
        let mut nat = Nat::new(Some(OUTSIDE), NatConfig::default(), Rng::new(seed));
        let mut ports = Vec::new();
        for _ in 0..100 {
            let outer = nat.outbound(at(0), inner(7), remote(1, 1)).unwrap();
            assert_ne!(ports.last(), Some(&outer.port()));
            assert_eq!(nat.inbound(at(0), remote(1, 1), outer), Some(inner(7)));
            nat.forget();
            assert_eq!(nat.inbound(at(0), remote(1, 1), outer), None);
            ports.push(outer.port());
        }
        assert!(nat.mapped.len() <= 2 && nat.keys.len() <= 2, "the dead are not kept");
        ports
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn path_nat_without_a_free_port_lets_nothing_out() {
    let mut nat = nat(NatConfig { mapping: Mapping::EndpointDependent, ..NatConfig::default() });
    // Filled by hand: drawing looks through all mappings for dead ones.
    for n in 0..MAX_MAPPINGS as u16 {
        let key = Key { inner: inner(n), remote: None };
        let outer = SocketAddr::new(OUTSIDE, FIRST_PORT + n % 100);
        nat.mapped.insert(key, Mapped { outer, ends: Instant::MAX, peers: BTreeMap::new() });
    }
    assert_eq!(nat.outbound(at(0), inner(7), remote(1, 1)), None);
    assert_eq!((nat.stats().kept_in, nat.stats().mappings), (1, 0));
}
