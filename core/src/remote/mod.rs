//! What is known of peers beyond any one connection, and how their addresses are tried.

pub(crate) mod fanout;
pub(crate) mod rations;
pub(crate) mod scope;
