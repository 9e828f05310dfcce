//! The sockets of an endpoint with several addresses: one group for each address, of as many sockets as shards.

use core::net::SocketAddr;

use dunlin_core::{ConnectOptions, LocalSocket, TransportAddr};

use crate::bind::BindOptions;
use crate::error::BindError;
use crate::shards::SocketGroup;
use crate::socket::UdpSocket;

/// The sockets of an endpoint that has several addresses, or one.
///
/// The engine knows the sockets of a shard by their numbers ([`LocalAddr::socket`](dunlin_core::LocalAddr::socket)), which
/// are those of the addresses in their order.
#[derive(Debug)]
pub struct SocketGroups {
    /// By address; at least one, and all of as many sockets.
    groups: Vec<SocketGroup>,
}

impl SocketGroups {
    /// The most addresses of an endpoint: more than a machine has networks, and few enough to try each in turn.
    pub const MAX_ADDRESSES: usize = 16;

    /// Binds a group to each of the addresses in `others`, beside the `first`, with as many sockets.
    ///
    /// # Errors
    /// What is in the way of one of them; [`BindError::TooManyAddresses`]; [`BindError::Shards`].
    pub fn bind(first: SocketGroup, others: &[SocketAddr], options: &BindOptions) -> Result<Self, BindError> {
        let (shards, count) = (first.shards(), 1 + others.len());
        if count > Self::MAX_ADDRESSES {
            return Err(BindError::TooManyAddresses { count });
        }
        let mut groups = vec![first];
        for address in others {
            let group = SocketGroup::bind(*address, options, shards)?;
            if group.shards() != shards {
                return Err(BindError::Shards { address: *address, shards });
            }
            groups.push(group);
        }
        Ok(Self { groups })
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.groups[0].shards()
    }

    /// The addresses that they are bound to.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.groups.iter().map(SocketGroup::local_addr).collect()
    }

    /// The sockets of each shard: one for each address, in their order.
    #[must_use]
    pub fn into_shards(self) -> Vec<Vec<UdpSocket>> {
        let shards = self.shards();
        let mut groups: Vec<_> = self.groups.into_iter().map(SocketGroup::into_iter).collect();
        let mut shard = || groups.iter_mut().filter_map(Iterator::next).collect();
        (0..shards).map(|_| shard()).collect()
    }
}

/// Has a dial that does not say through which sockets it leaves do so, for each address, through the one that
/// [`socket_for`] names.
pub fn choose_sockets(options: &mut ConnectOptions, bound: &[SocketAddr]) {
    options.choose_sockets(|remote| socket_for(bound, remote));
}

/// The sockets that are `bound` to these addresses, as [`Endpoint::set_sockets`](dunlin_core::Endpoint::set_sockets) wants to
/// know them: their numbers are their places.
#[must_use]
pub fn local_sockets(bound: &[SocketAddr]) -> Vec<LocalSocket> {
    (0..).zip(bound).map(|(number, bound)| LocalSocket::new(number, *bound)).collect()
}

/// The number of the first socket of those that are `bound` to these addresses that reaches `remote`
/// ([`LocalSocket::reaches`]). If there is none it is the first, where the system will say why.
#[must_use]
pub fn socket_for(bound: &[SocketAddr], remote: &TransportAddr) -> u16 {
    let reaching = local_sockets(bound).into_iter().find(|socket| socket.reaches(remote));
    reaching.map_or(0, |socket| socket.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::DatagramSocket;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// The socket that a dial chooses.
    fn chosen(bound: &[SocketAddr], remote: &str) -> u16 {
        let mut options = ConnectOptions::new(remote.parse::<TransportAddr>().unwrap(), b"test");
        choose_sockets(&mut options, bound);
        assert_eq!(options.local.ip, None);
        options.local.socket
    }

    #[test]
    fn path_a_dial_leaves_through_a_socket_that_reaches_the_peer() {
        let bound = addresses(&["127.0.0.1:1", "192.0.2.1:1", "192.0.2.2:1", "[::1]:1", "[2001:db8::1]:1"]);
        for (remote, number) in [
            ("127.0.0.9:9", 0),
            ("198.51.100.1:9", 1),
            ("[::ffff:198.51.100.1]:9", 1),
            ("[::1]:9", 3),
            ("[2001:db8::9]:9", 4),
            ("custom:1/00", 0),
        ] {
            assert_eq!(chosen(&bound, remote), number, "{remote}");
        }
        assert_eq!(chosen(&bound[1..3], "[::1]:9"), 0, "none does");
        assert_eq!(chosen(&addresses(&["127.0.0.1:1", "[::]:1"]), "192.0.2.1:9"), 1);
        let mut said = ConnectOptions::new("198.51.100.1:9".parse::<SocketAddr>().unwrap(), b"test");
        said.local.socket = 2;
        choose_sockets(&mut said, &bound);
        assert_eq!(said.local.socket, 2, "it is not asked");
    }

    #[test]
    fn path_each_shard_has_a_socket_of_every_address() {
        let first = SocketGroup::bind("127.0.0.1:0".parse().unwrap(), &BindOptions::default(), 2).unwrap();
        let groups =
            SocketGroups::bind(first, &addresses(&["127.0.0.1:0", "[::1]:0"]), &BindOptions::default());
        let groups = match groups {
            Err(BindError::NoFamily { .. } | BindError::NotLocal { .. }) => {
                return println!("skipped: no IPv6");
            }
            groups => groups.unwrap(),
        };
        let (shards, local) = (groups.shards(), groups.local_addrs());
        let sockets = groups.into_shards();
        assert_eq!(sockets.len(), shards);
        for shard in sockets {
            assert_eq!(shard.iter().map(DatagramSocket::local_addr).collect::<Vec<_>>(), local);
        }
    }

    #[test]
    fn path_an_endpoint_has_16_addresses_at_most() {
        let bind = |count| {
            let any = "127.0.0.1:0".parse().unwrap();
            let first = UdpSocket::bind(any, &BindOptions::default()).unwrap().into();
            SocketGroups::bind(first, &vec![any; count], &BindOptions::default())
        };
        assert_eq!(bind(15).unwrap().local_addrs().len(), 16);
        assert!(matches!(bind(16), Err(BindError::TooManyAddresses { count: 17 })));
    }
}
