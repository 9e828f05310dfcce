//! `send`.

use core::slice;
use core::time::Duration;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use dunlin_tokio::Connection;
use tokio::time::timeout;

use crate::args::{Aead, Remote, SendArgs};
use crate::failure::{Failure, Reported, say};
use crate::keyfile;
use crate::keylog::KeyLogFile;
use crate::net::{self, CLOSING, code};
use crate::paths::Paths;
use crate::progress::Show;
use crate::qotp::{Speaks, Target};
use crate::report::{Link, Report, Way};
use crate::signal;
use crate::transfer::{self, Counters, Fault, FaultKind, Source, TransferError};

use super::streams;

/// How long the receiver may take to let streams be opened.
const OPENING: Duration = Duration::from_secs(10);

/// How many of the things left out are named one by one.
const NAMED: usize = 10;

/// Sends files and folders.
pub(crate) async fn run(args: SendArgs) -> Result<Reported, Failure> {
    let identity = match &args.key {
        Some(path) => keyfile::read(path)?,
        None => net::throwaway()?,
    };
    let speaks = Speaks::of(&args.wire)?;
    let target = speaks.target(args.peer.as_deref())?;
    if target == Target::Native(*identity.public()) {
        return Err(Failure::usage("--peer is the key in --key itself: give the receiver's public key"));
    }
    let show = Show::new(args.json);
    let source = gather(args.files).await?;
    for line in source.left_out.iter().take(NAMED) {
        show.note(&format!("dunlin: {line}"));
    }
    if source.left_out.len() > NAMED {
        show.note(&format!("dunlin: and {} more are left out", source.left_out.len() - NAMED));
    }
    if source.entries.is_empty() {
        return Err(Failure::usage("there is nothing to send in what was named"));
    }
    let mut config = speaks.config(transfer::ALPN, args.packet_size, Aead::Auto)?;
    config.selector = args.paths.policy.into();
    let keylog = KeyLogFile::open(args.keylog.file.as_deref())?;
    let endpoint = net::dialler(&args.paths.local, net::ONE_SHARD, config, identity, keylog)?;
    speaks.equip(&endpoint);
    let connection = tokio::select! {
        connection = net::dial(&endpoint, &args.to, target, transfer::ALPN) => connection?,
        () = signal::stopped() => return Err(Failure::failed("stopped before anything was sent")),
    };
    let above = show.clone();
    let tell = move |line: &str| above.note(line);
    let paths = Paths::watch(slice::from_ref(&connection), None::<fn() -> u64>, tell);
    let report = transfer_over(&connection, &Remote::names(&args.to), source, &show).await;
    match &report.outcome {
        Ok(_) => drop(connection.close_graceful(CLOSING, code::of(code::DONE), b"").await),
        Err(_) => close_failed(&connection, &report).await,
    }
    net::shut(endpoint, code::DONE, "").await;
    let paths = paths.end().await;
    if args.json {
        let mut json = report.json();
        paths.put_into(&mut json);
        say(json);
    } else if report.outcome.is_ok() {
        show.print(&report.text());
        paths.line().iter().for_each(|line| show.print(line));
    }
    Ok(report.result())
}

/// Looks at what is to be sent, beside the runtime's threads.
pub(crate) async fn gather(paths: Vec<PathBuf>) -> Result<Source, Failure> {
    let gathered = tokio::task::spawn_blocking(move || Source::gather(&paths)).await;
    let gathered = gathered.map_err(|error| Failure::failed(error.to_string()))?;
    gathered.map_err(|fault| match fault.kind {
        FaultKind::Refused => Failure::usage(fault.text),
        _ => Failure::failed(fault.text),
    })
}

/// Sends `source` over `connection` to the receiver called `name`, until it is done, fails or is stopped.
pub(crate) async fn transfer_over(
    connection: &Connection,
    name: &str,
    source: Source,
    show: &Show,
) -> Report {
    let begun = Instant::now();
    let counters = Arc::new(Counters::default());
    let work = async {
        let opened = timeout(OPENING, streams::open(connection)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let (control, incoming, data) = opened.map_err(TransferError::Lost)?;
        transfer::send(source, incoming, control, data, Arc::clone(&counters)).await
    };
    let outcome = tokio::select! {
        outcome = show.during(&counters, connection, work) => {
            outcome.map_err(|error| explain(error, connection, name, "receiver"))
        }
        () = signal::stopped() => {
            net::end(connection, code::STOPPED, b"stopped by its user").await;
            Err(Failure::failed("stopped; run it again to go on where it stopped"))
        }
    };
    let link = Link::of(connection);
    Report { way: Way::Sent, peer: name.to_owned(), seconds: begun.elapsed(), link, outcome }
}

/// A transfer's error in one line; `other` is what the peer is in it.
pub(crate) fn explain(error: TransferError, connection: &Connection, name: &str, other: &str) -> Failure {
    match error {
        TransferError::Here(fault) => Failure::failed(fault.text),
        TransferError::There(Fault { text, .. }) => {
            Failure::failed(format!("the {other} at {name} says: {text}"))
        }
        TransferError::Lost(error) => Failure::failed(match connection.close_reason() {
            Some(reason) => net::ended(&reason, name),
            None => format!(
                "the {other} at {name} ended the transfer too early ({error}); run both again to go on"
            ),
        }),
    }
}

/// Closes a connection whose transfer failed; the reason goes along, for a peer that has not heard it.
pub(crate) async fn close_failed(connection: &Connection, report: &Report) {
    let text = report.outcome.as_ref().err().map_or_else(String::new, ToString::to_string);
    net::end(connection, code::FAILED, text.as_bytes()).await;
}
