//! dunlin through its mio adapter: the scenarios once more, as a loop with states instead of tasks.

mod client;
mod server;
mod stream;

pub(crate) use client::load;
pub(crate) use server::serve;
