//! The engines hear of it when the system's addresses change.

use core::net::SocketAddr;
use std::sync::Arc;

use dunlin_udp::Watch;
use tracing::warn;

use crate::endpoint::network_changed;
use crate::state::Shared;

/// Has all shards told, if it concerns those who are `bound` to these addresses.
pub(crate) fn watch(bound: &[SocketAddr], shards: &Arc<[Arc<Shared>]>) -> Option<Watch> {
    if !Watch::is_worth_it(bound) {
        return None;
    }
    let shards = Arc::clone(shards);
    let watch = Watch::start(move |change| network_changed(&shards, &change));
    watch
        .inspect_err(|error| warn!(%error, "changes of the network go unseen: Endpoint::network_changed tells of them"))
        .ok()
}
