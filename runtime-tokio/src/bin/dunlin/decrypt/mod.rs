//! `decrypt`: a line for every packet of a capture, with what the keys of a key log open.
//!
//! | file | what it owns |
//! |---|---|
//! | `capture` | pcap and pcapng: from a file to frames |
//! | `link` | from a frame to the UDP datagram in it |
//! | `train` | from a datagram to packets: a capture has trains of them in one piece |

mod capture;
mod link;
mod train;

use core::fmt::Display;
use core::time::Duration;
use std::io::{self, BufWriter, Write};

use dunlin_tokio::dunlin_core::{Inspector, Payload};

use crate::args::DecryptArgs;
use crate::failure::Failure;
use crate::keylog;
use crate::text;

use capture::{Capture, Frame};

/// Shows what is in a capture.
pub(crate) fn run(args: &DecryptArgs) -> Result<(), Failure> {
    let log = keylog::read(&args.keylog)?;
    // The file may be anybody's, and its lines may be as many as it likes.
    const NAMED: usize = 10;
    for fault in log.faults.iter().take(NAMED) {
        eprintln!("dunlin: warning: left out {fault}");
    }
    if log.faults.len() > NAMED {
        eprintln!("dunlin: warning: and {} more lines", log.faults.len() - NAMED);
    }
    let mut capture = Capture::open(&args.capture)?;
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        inspector: Inspector::new(log.entries),
        first: None,
        counts: Counts::default(),
    };
    let read = loop {
        let printed = match capture.next_frame() {
            Ok(Some(frame)) => printer.frame(&frame),
            Ok(None) => break Ok(()),
            Err(failure) => break Err(failure),
        };
        match printed {
            Ok(()) => {}
            // Whoever reads the lines has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Failure::failed(format!("cannot print: {error}"))),
        }
    };
    match printer.out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::failed(format!("cannot print: {error}")));
        }
        _ => eprintln!("{}", printer.counts.line()),
    }
    read
}

/// Prints lines, and counts what they say.
struct Printer<W> {
    out: W,
    inspector: Inspector,
    /// When the first frame was captured.
    first: Option<Duration>,
    counts: Counts,
}

impl<W: Write> Printer<W> {
    fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        let first = *self.first.get_or_insert(frame.time);
        // A capture's clock may have been set back.
        let (sign, time) = match frame.time.checked_sub(first) {
            Some(time) => ("", time),
            None => ("-", first - frame.time),
        };
        let time = format!("{sign}{}.{:06}", time.as_secs(), time.subsec_micros());
        match link::datagram(frame.link, &frame.bytes) {
            Ok(datagram) => {
                let (from, to) = (datagram.from, datagram.to);
                let mut missing = datagram.len.saturating_sub(datagram.payload.len());
                let mut packets = train::packets(datagram.payload).peekable();
                while let Some(packet) = packets.next() {
                    // What the capture cut off was at the end.
                    let lost = if packets.peek().is_none() { core::mem::take(&mut missing) } else { 0 };
                    let length = packet.len() + lost;
                    let inspected = self.inspector.read(packet);
                    self.counts.add(&inspected.payload);
                    let cut = if lost > 0 { format!(" ({} captured)", packet.len()) } else { String::new() };
                    self.line(&time, format_args!("{from} > {to} {length} bytes{cut} {inspected}"))?;
                }
                Ok(())
            }
            Err(why) => {
                self.counts.other += 1;
                self.line(&time, format_args!("{} bytes: {why}", frame.len))
            }
        }
    }

    fn line(&mut self, time: &str, what: impl Display) -> io::Result<()> {
        writeln!(self.out, "{time} {what}")
    }
}

/// How many packets could be read, and how many not, and why.
#[derive(Default)]
struct Counts {
    opened: u64,
    no_key: u64,
    unopened: u64,
    other: u64,
}

impl Counts {
    fn add(&mut self, payload: &Payload) {
        match payload {
            Payload::Frames(_) => self.opened += 1,
            Payload::NoKey => self.no_key += 1,
            Payload::Unopened(_) => self.unopened += 1,
            _ => self.other += 1,
        }
    }

    fn line(&self) -> String {
        let all = self.opened + self.no_key + self.unopened + self.other;
        let mut line = format!(
            "{}: {} opened, {} without a key, {} that their key does not open, {} other",
            text::counted(all, "packet"),
            self.opened,
            self.no_key,
            self.unopened,
            self.other
        );
        if self.opened == 0 && self.no_key > 0 {
            line.push_str("; the key log is not of these connections");
        }
        line
    }
}
