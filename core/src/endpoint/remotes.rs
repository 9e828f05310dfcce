//! What the endpoint knows of its peers: asked for, told, and made use of in a dial.

use alloc::vec::Vec;

use crate::crypto::PublicKey;
use crate::error::AddressError;
use crate::path::addr::{TransportAddr, Tuple};
use crate::remote::fanout::{Fanout, Guess, MAX_WAYS};
use crate::remote::scope::is_public;
use crate::remote::{AddressSource, Known, RemoteInfo, Standing};
use crate::shared::Shared;
use crate::time::Instant;

use super::{ConnectOptions, Endpoint, Entry};

impl Endpoint {
    /// What is known of a peer, over all its connections and for a minute after the last one: at which addresses it may be,
    /// what each is good for, and why there is no path to it. `None` of who is not known.
    #[must_use]
    pub fn remote(&self, peer: &PublicKey) -> Option<RemoteInfo> {
        self.shared.remotes.info(peer)
    }

    /// Says that a peer is at an address. It is dialled with the next dial of this peer, beside the ones that are named there,
    /// and connections that we have dialled may use it for another path ([`Config::automatic_paths`](crate::Config::automatic_paths)).
    ///
    /// What is known of a peer that has no connection is forgotten after a minute in which it is neither dialled nor told of,
    /// and of more than 4,096 such peers (fewer on an endpoint that may hold less than 64 MiB) those go first that have waited
    /// longest. Of a peer's addresses about 30 are kept, and 16 relays: those that failed, or that worked longest ago, give way to
    /// new ones.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn add_address(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        to: Tuple,
        source: AddressSource,
    ) -> Result<(), AddressError> {
        let now = self.shared.advance(now);
        let (to, Shared { remotes, budget, .. }) = (canonical(to), &mut self.shared);
        if !to.remote.is_sendable() {
            return Err(AddressError::Address);
        }
        let is_new = !remotes.knows(peer, &to.remote);
        if !remotes.tell(now, budget, peer, &to, source) {
            return Err(AddressError::NoRoom);
        }
        for slot in self.shared.remotes.curious(peer).into_iter().filter(|_| is_new) {
            self.tell_of_ways(now, slot);
        }
        Ok(())
    }

    /// A connection is told that there are other ways to its peer than before.
    fn tell_of_ways(&mut self, now: Instant, slot: u32) {
        if let Some(Entry::Connection(connection)) = self.slots.at_mut(slot) {
            connection.on_new_ways(&self.shared, now);
            connection.finish_verb(&mut self.shared);
            self.ready.push(slot);
        }
    }

    /// Says that a peer is not at an address any more. `false` if that was not known of it, or if a path is there: then it is
    /// only forgotten that anybody said so.
    pub fn remove_address(&mut self, peer: &PublicKey, remote: &TransportAddr) -> bool {
        self.shared.remotes.untell(&mut self.shared.budget, peer, &remote.canonical())
    }

    /// The addresses that a dial may try, the best first; `None` if there is none. What `options` say of the holder of `key` is
    /// remembered.
    pub(super) fn ways(
        &mut self,
        now: Instant,
        key: Option<&PublicKey>,
        options: &ConnectOptions,
    ) -> Option<Fanout> {
        let Shared { config, sockets, rations, remotes, budget, .. } = &mut self.shared;
        let is_self = |to: &TransportAddr| !config.allow_self && sockets.is_own(to);
        let possible = |to: &Tuple| to.remote.is_sendable() && !is_self(&to.remote);
        let first = Tuple { local: options.local, remote: options.remote };
        let named = core::iter::once(first).chain(options.others.iter().copied());
        let named: Vec<Tuple> = named.take(MAX_WAYS).map(canonical).filter(possible).collect();
        let found = options.guesses.iter().copied().take(MAX_WAYS);
        let found: Vec<Tuple> = found.map(canonical).filter(possible).collect();
        let known = key.filter(|_| !options.exact).map_or_else(Vec::new, |key| remotes.known(key));
        let mut ways: Vec<(Tuple, Vouched)> = Vec::new();
        for (to, vouched) in in_order(&known, &named, &found) {
            let is_new = ways.iter().all(|(other, _)| other.remote != to.remote);
            let may_be = possible(&to) && (vouched == Vouched::Yes || is_public(&to.remote));
            if is_new && may_be && ways.len() < MAX_WAYS {
                // Which socket it is has been decided on anew.
                let said = named.iter().chain(&found).find(|said| said.remote == to.remote);
                ways.push((said.copied().unwrap_or(to), vouched));
            }
        }
        if let Some(key) = key {
            for (told, source) in [(named, AddressSource::Application), (found, AddressSource::Lookup)] {
                for to in told {
                    remotes.tell(now, budget, key, &to, source);
                }
            }
        }
        let mut guesses = ways
            .into_iter()
            .map(|(to, vouched)| match vouched {
                Vouched::Yes => Guess::vouched(to),
                Vouched::No => Guess { to, copies: rations.grant(now, &to.remote) },
            })
            .filter(|guess| guess.copies > 0);
        Some(Fanout::new(guesses.next()?, guesses))
    }
}

/// Whether somebody vouches for an address: the application, or the peer, who was met there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Vouched {
    Yes,
    No,
}

/// All addresses of a peer in the order in which they are tried: the best that this dial names, where it was met, where else
/// the application says it is, where others say so, where it did not answer.
fn in_order(known: &[Known], named: &[Tuple], found: &[Tuple]) -> impl Iterator<Item = (Tuple, Vouched)> {
    let with = |standing| known.iter().filter(move |known| known.standing == standing).map(|known| known.to);
    let (best, further) = named.split_at(named.len().min(1));
    let met = best.iter().copied().chain(with(Standing::Met));
    let vouched = met.chain(further.iter().copied()).chain(with(Standing::Named));
    let others = found.iter().copied().chain(with(Standing::Found));
    let yes = vouched.map(|to| (to, Vouched::Yes)).chain(others.map(|to| (to, Vouched::No)));
    let failed = with(Standing::Failed { found: false }).map(|to| (to, Vouched::Yes));
    yes.chain(failed).chain(with(Standing::Failed { found: true }).map(|to| (to, Vouched::No)))
}

fn canonical(way: Tuple) -> Tuple {
    let remote = way.remote.canonical();
    Tuple { local: way.local.towards(&remote), remote }
}
