//! `recv`.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use dunlin_tokio::{Connection, Endpoint, Incoming, PublicKey, WireVersion};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::args::{Aead, RecvArgs, Wire};
use crate::failure::{Failure, Reported};
use crate::folder::Existing;
use crate::keyfile;
use crate::keylog::KeyLogFile;
use crate::net::{self, CLOSING, code};
use crate::progress::Show;
use crate::qotp::Speaks;
use crate::report::{Link, Report, Way};
use crate::signal;
use crate::transfer::{self, Counters, Destination, Fault, FaultKind, Summary, TransferError};

use super::places::Places;
use super::send::{close_failed, explain};
use super::streams::{self, Accepted};

/// How long somebody who has connected may take to begin.
const BEGIN: Duration = Duration::from_secs(10);

/// At most one line about somebody not let in per this time: they could come as fast as packets do.
const QUIET: Duration = Duration::from_secs(1);

/// What every connection of this receiver is served with.
struct Receiver {
    to: Destination,
    allow: Vec<PublicKey>,
    places: Arc<Places>,
    show: Show,
    json: bool,
}

/// Receives files into a folder.
pub(crate) async fn run(args: RecvArgs) -> Result<Reported, Failure> {
    let identity = match &args.key {
        Some(path) => keyfile::read(path)?,
        None => net::throwaway()?,
    };
    let speaks = Speaks::of(&args.wire)?;
    if args.wire.wire == Wire::Qotp && !args.allow.is_empty() {
        return Err(Failure::usage(
            "in QOTP a sender only claims to have a key, which is no reason to let it in: leave --allow or --wire qotp out",
        ));
    }
    let existing = if args.replace { Existing::Replace } else { Existing::Keep };
    let to = open_folder(&args.out, existing)?;
    let config = speaks.config(transfer::ALPN, None, Aead::Auto)?;
    let keylog = KeyLogFile::open(args.keylog.file.as_deref())?;
    let endpoint = net::bind(args.listen, net::ONE_SHARD, config, identity, keylog)?;
    let key = speaks.equip(&endpoint);
    let show = Show::new(args.json);
    announce(endpoint.local_addr(), &key, &args, &show);
    let receiver =
        Arc::new(Receiver { to, allow: args.allow, places: Arc::default(), show, json: args.json });
    let (done, mut reports) = mpsc::channel(1);
    let result = tokio::select! {
        () = serve(&endpoint, &receiver, done) => Err(Failure::failed("the socket was closed")),
        result = until_enough(&mut reports, args.once) => Ok(result),
        () = signal::stopped() => {
            let idle = receiver.places.are_free() && !args.once;
            net::shut(endpoint, code::STOPPED, "stopped by its user").await;
            return if idle { Ok(Ok(())) } else { Err(Failure::failed("stopped; what arrived is kept")) };
        }
    };
    net::shut(endpoint, code::DONE, "").await;
    result
}

/// Opens the folder for what arrives.
fn open_folder(path: &Path, existing: Existing) -> Result<Destination, Failure> {
    Destination::open(path, existing).map_err(|error| {
        let path = path.display();
        Failure::failed(format!("cannot write to the folder {path} ({error}): choose another with --out"))
    })
}

fn announce(address: SocketAddr, key: &str, args: &RecvArgs, show: &Show) {
    let say = |line: &str| if args.json { show.note(line) } else { show.print(line) };
    say(&format!("public key {key}"));
    say(&format!("listening on {address}"));
    let to = if address.ip().is_unspecified() {
        format!("ADDRESS:{}", address.port())
    } else {
        address.to_string()
    };
    let wire = match args.wire.wire {
        Wire::Native => "",
        Wire::Qotp => " --wire qotp",
    };
    show.note(&format!("to send here: dunlin send{wire} --to {to} --peer {key} PATH…"));
    match args.wire.wire {
        Wire::Qotp => show.note("anybody may send to this folder"),
        Wire::Native if args.allow.is_empty() => {
            show.note("anybody may send to this folder; --allow PUBKEY lets in only who has that key");
        }
        Wire::Native => {}
    }
}

/// Takes connections for ever.
async fn serve(endpoint: &Endpoint, receiver: &Arc<Receiver>, done: mpsc::Sender<Report>) {
    let mut refused_at = None;
    while let Some(incoming) = endpoint.accept().await {
        // A key that is only claimed is good enough to refuse; letting in waits for the proof.
        let key = incoming.identity().key().copied();
        if !receiver.lets_in(key.as_ref()) {
            if refused_at.is_none_or(|at: Instant| at.elapsed() > QUIET) {
                refused_at = Some(Instant::now());
                let key = key.map_or_else(|| "no key".to_owned(), |key| format!("the key {key}"));
                receiver.show.note(&format!("dunlin: refused {} with {key}", incoming.remote()));
            }
            incoming.refuse(code::of(code::NOT_ALLOWED));
            continue;
        }
        tokio::spawn(meet(Arc::clone(receiver), incoming, done.clone()));
    }
}

/// Waits for what `--once` asks for: one transfer that is complete. Strangers who come in between and fail end nothing.
async fn until_enough(reports: &mut mpsc::Receiver<Report>, once: bool) -> Reported {
    while let Some(report) = reports.recv().await {
        if once && report.result().is_ok() {
            break;
        }
    }
    Ok(())
}

impl Receiver {
    /// Whether somebody with this key may send; in QOTP nobody has one.
    fn lets_in(&self, key: Option<&PublicKey>) -> bool {
        self.allow.is_empty() || key.is_some_and(|key| self.allow.contains(key))
    }

    /// Prints what became of a transfer.
    fn print(&self, report: &Report) {
        match report.result() {
            _ if self.json => self.show.print(&report.json().to_string()),
            Ok(()) => self.show.print(&report.text()),
            Err(failure) => self.show.note(&format!("dunlin: from {}: {failure}", report.peer)),
        }
    }
}

/// One connection, from its handshake to its end.
async fn meet(receiver: Arc<Receiver>, incoming: Incoming, done: mpsc::Sender<Report>) {
    let address = incoming.remote();
    let Ok(connecting) = incoming.accept() else { return };
    // Whoever does not finish the handshake, or only looked who is here, is nobody's business.
    let Ok(connection) = connecting.await else { return };
    if !receiver.lets_in(connection.peer_identity()) {
        connection.close(code::of(code::NOT_ALLOWED), b"");
        return;
    }
    let Ok(Some(streams)) = timeout(BEGIN, streams::accept(&connection)).await else {
        net::end(&connection, code::FAILED, b"no transfer was begun").await;
        return;
    };
    let Accepted { control, incoming, data } = streams;
    let (counters, begun) = (Arc::new(Counters::default()), Instant::now());
    let Some(place) = receiver.places.take(&address, &counters, begun) else {
        net::end(&connection, code::BUSY, b"no more transfers now").await;
        return;
    };
    let work = transfer::receive(&receiver.to, incoming, control, data, Arc::clone(&counters));
    let outcome = tokio::select! {
        outcome = receiver.show.during(&counters, &connection, work) => outcome,
        () = place.lost() => {
            net::end(&connection, code::BUSY, b"others were waiting").await;
            let text = "it hardly moved, and others were waiting; what arrived is kept";
            Err(TransferError::Here(Fault::new(FaultKind::Busy, text)))
        }
    };
    let report = report(&connection, address.to_string(), begun, outcome);
    receiver.print(&report);
    finish(&connection, &report).await;
    drop(place);
    // With `--once` this ends the program; otherwise it is only taken note of.
    let _ = done.send(report).await;
}

/// What became of a transfer from `peer`.
pub(crate) fn report(
    connection: &Connection,
    peer: String,
    begun: Instant,
    outcome: Result<Summary, TransferError>,
) -> Report {
    let link = Link::of(connection);
    let outcome = outcome.map_err(|error| explain(error, connection, &peer, "sender"));
    Report { way: Way::Received, peer, seconds: begun.elapsed(), link, outcome }
}

/// Ends a connection: the sender does that after a transfer that went well, unless it has no word for it.
pub(crate) async fn finish(connection: &Connection, report: &Report) {
    if report.outcome.is_err() {
        close_failed(connection, report).await;
    } else if connection.wire() == WireVersion::Qotp {
        net::end(connection, code::DONE, b"").await;
    }
    if timeout(CLOSING, connection.closed()).await.is_err() {
        connection.close(code::of(code::DONE), b"");
    }
}
