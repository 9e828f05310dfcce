//! The two processes of a run: server and client.

use core::time::Duration;
use std::io::{self, Write};

use tokio::runtime::{Builder, Runtime};

use crate::args::Job;
use crate::blocking::{mio, trains};
use crate::grid::Peer;
use crate::load::{Client, run, serve};
use crate::process::{Ends, Role, pin};
use crate::sample::Sample;
use crate::setup::{Contact, Setup};
use crate::stack::Stack;
use crate::stack::{dunlin::Dunlin, noq::Noq, quinn::Quinn, s2n::S2n, tcp};

fn setup(job: Job) -> Setup {
    let Job { peer, aead, scenario, millis } = job;
    Setup { peer, aead, scenario, time: Duration::from_millis(millis) }
}

fn runtime(threads: u8) -> io::Result<Runtime> {
    if threads == 1 {
        return Builder::new_current_thread().enable_all().build();
    }
    Builder::new_multi_thread().worker_threads(threads.into()).enable_all().build()
}

/// Tells whoever has started this process how to reach it.
pub(crate) fn announce(contact: &Contact) {
    println!("{} {}", contact.addr, to_hex(&contact.proof));
    io::stdout().flush().expect("somebody listens");
}

/// Ends the process when anything in it panics: what one task says is enough.
fn fail_at_once() {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::exit(1);
    }));
}

/// A server, until the process is ended.
pub(crate) fn server(job: Job) -> io::Result<()> {
    fail_at_once();
    let setup = setup(job);
    pin(setup.scenario.cores, Role::Server)?;
    match setup.peer {
        Peer::Dunlin | Peer::DunlinPure => serve_with::<Dunlin>(&setup),
        Peer::Quinn => serve_with::<Quinn>(&setup),
        Peer::S2n => serve_with::<S2n>(&setup),
        Peer::Noq => serve_with::<Noq>(&setup),
        Peer::Tls => serve_with::<tcp::Tcp<tcp::Tls>>(&setup),
        Peer::Tcp => serve_with::<tcp::Tcp<tcp::Plain>>(&setup),
        Peer::Raw | Peer::Ideal => trains::serve(&setup),
        Peer::DunlinMio => mio::serve(&setup),
    }
}

fn serve_with<S: Stack>(setup: &Setup) -> io::Result<()> {
    let load = setup.scenario.load;
    let setup = *setup;
    runtime(setup.scenario.threads)?.block_on(async move {
        let (listener, contact) = S::listen(&setup);
        announce(&contact);
        // In a task of its own: with several threads, what `block_on` runs itself is slower.
        tokio::spawn(serve::serve::<S>(load, listener)).await.map_err(io::Error::other)
    })
}

/// A client, and what it has measured.
pub(crate) fn client(job: Job, contact: Contact, server: i32) -> io::Result<Sample> {
    fail_at_once();
    let setup = setup(job);
    pin(setup.scenario.cores, Role::Client)?;
    let client = Client { setup, ends: Ends::new(server) };
    match setup.peer {
        Peer::Dunlin | Peer::DunlinPure => load_with::<Dunlin>(client, contact),
        Peer::Quinn => load_with::<Quinn>(client, contact),
        Peer::S2n => load_with::<S2n>(client, contact),
        Peer::Noq => load_with::<Noq>(client, contact),
        Peer::Tls => load_with::<tcp::Tcp<tcp::Tls>>(client, contact),
        Peer::Tcp => load_with::<tcp::Tcp<tcp::Plain>>(client, contact),
        Peer::Raw | Peer::Ideal => trains::load(client, contact.addr),
        Peer::DunlinMio => mio::load(client, &contact),
    }
}

fn load_with<S: Stack>(client: Client, contact: Contact) -> io::Result<Sample> {
    let runtime = runtime(client.setup.scenario.threads)?;
    let sample = runtime.block_on(async move { tokio::spawn(run::<S>(client, contact)).await })?;
    // What the stack still has to do is of no interest.
    runtime.shutdown_background();
    Ok(sample)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal digits; `None` if they are none.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(digit).collect()
}
