//! What is not asynchronous: trains of datagrams without a protocol, and dunlin on mio.

pub(crate) mod mio;
pub(crate) mod trains;
