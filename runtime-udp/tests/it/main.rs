//! Real sockets over the loopback interface.

mod batch;
mod close;
mod loopback;
mod net;
mod options;
mod warnings;
