//! Frames of the native wire in words, by their names in docs/PROTOCOL.md.

use alloc::string::String;
use core::fmt::{self, Write};

use crate::hex::Hex;
use crate::id::Direction;
use crate::wire::frame::{
    Abandon, Ack, Close, CloseKind, Frame, FrameError, Frames, NewConnectionId, PathStatus, StatusChange,
};
use crate::wire::params::{EarlyOutcome, Hello};

/// Appends the frames of `payload` to `out`, with commas between them.
pub(super) fn describe(payload: &[u8], out: &mut String) {
    for (count, frame) in Frames::new(payload).enumerate() {
        if count > 0 {
            out.push_str(", ");
        }
        // Writing to a `String` cannot fail.
        let _ = match frame {
            Ok(frame) => write_frame(&frame, out),
            Err(FrameError::Malformed) => out.write_str("a malformed frame"),
            Err(FrameError::Unknown) => out.write_str("a frame of an unknown type"),
        };
    }
}

fn write_frame(frame: &Frame<'_>, out: &mut String) -> fmt::Result {
    match frame {
        Frame::Padding => out.write_str("PADDING"),
        Frame::Ping => out.write_str("PING"),
        Frame::Ack(ack) => write_ack(ack, out),
        Frame::ResetStream { id, code, final_size } => {
            write!(out, "RESET_STREAM {id} code {code} size {final_size}")
        }
        Frame::StopSending { id, code } => write!(out, "STOP_SENDING {id} code {code}"),
        Frame::Stream { id, offset, data, fin } => {
            let fin = if *fin { " FIN" } else { "" };
            write!(out, "STREAM {id} offset {offset} length {}{fin}", data.len())
        }
        Frame::MaxData(max) => write!(out, "MAX_DATA {max}"),
        Frame::MaxStreamData { id, max } => write!(out, "MAX_STREAM_DATA {id} {max}"),
        Frame::MaxStreams { direction: Direction::Bidirectional, max } => {
            write!(out, "MAX_STREAMS bidirectional {max}")
        }
        Frame::MaxStreams { direction: Direction::Unidirectional, max } => {
            write!(out, "MAX_STREAMS unidirectional {max}")
        }
        Frame::NewConnectionId(NewConnectionId { sequence, id, reset_token }) => {
            write!(
                out,
                "NEW_CONNECTION_ID {sequence} id {} reset token {}",
                Hex(id.as_bytes()),
                Hex(reset_token.as_bytes())
            )
        }
        Frame::RetireConnectionId(sequence) => write!(out, "RETIRE_CONNECTION_ID {sequence}"),
        Frame::PathChallenge(data) => write!(out, "PATH_CHALLENGE {}", Hex(data)),
        Frame::PathResponse(data) => write!(out, "PATH_RESPONSE {}", Hex(data)),
        Frame::PathStatus(StatusChange { path, generation, sequence, status }) => {
            let status = match status {
                PathStatus::Available => "available",
                PathStatus::Backup => "backup",
            };
            write!(
                out,
                "PATH_STATUS path {} generation {generation} sequence {sequence} {status}",
                path.get()
            )
        }
        Frame::PathAbandon(Abandon { path, generation, code }) => {
            write!(out, "PATH_ABANDON path {} generation {generation} code {code}", path.get())
        }
        Frame::Close(close) => write_close(close, out),
        Frame::Hello(values) => write_hello(values, out),
        Frame::NewToken(token) => write!(out, "NEW_TOKEN {}", Hex(token)),
        Frame::Datagram(data) => write!(out, "DATAGRAM length {}", data.len()),
        Frame::Reserved => out.write_str("a frame of a reserved type"),
    }
}

/// Ranges stand highest first, as on the wire.
fn write_ack(ack: &Ack<'_>, out: &mut String) -> fmt::Result {
    write!(out, "ACK path {}", ack.path.get())?;
    for range in ack.ranges() {
        match (range.start(), range.end()) {
            (low, high) if low == high => write!(out, " {low}")?,
            (low, high) => write!(out, " {low}-{high}")?,
        }
    }
    write!(out, " delay {} us", ack.delay.as_micros())?;
    match ack.ecn {
        Some(counts) => write!(out, " ect0 {} ect1 {} ce {}", counts.ect0, counts.ect1, counts.ce),
        None => Ok(()),
    }
}

fn write_close(close: &Close<'_>, out: &mut String) -> fmt::Result {
    let by = match close.by {
        CloseKind::Transport => "transport",
        CloseKind::Application => "application",
    };
    write!(out, "CLOSE by {by} code {}", close.code)?;
    if close.reason.is_empty() { Ok(()) } else { write!(out, " \"{}\"", close.reason.escape_ascii()) }
}

fn write_hello(values: &[u8], out: &mut String) -> fmt::Result {
    let Ok(hello) = Hello::decode(values) else { return out.write_str("a malformed HELLO") };
    out.write_str("HELLO(versions")?;
    hello.versions.iter().try_for_each(|version| write!(out, " {version}"))?;
    out.write_str("; suites")?;
    hello.suites.iter().try_for_each(|suite| write!(out, " {suite}"))?;
    out.write_str("; protocols")?;
    hello.alpns.iter().try_for_each(|name| write!(out, " \"{}\"", name.escape_ascii()))?;
    if let Some(id) = &hello.connection_id {
        write!(out, "; connection id {id:?}")?;
    }
    match hello.early {
        EarlyOutcome::None => {}
        EarlyOutcome::Held => out.write_str("; early data held")?,
        EarlyOutcome::Refused => out.write_str("; early data refused")?,
        EarlyOutcome::Applied => out.write_str("; early data applied")?,
    }
    let params = &hello.params;
    write!(
        out,
        "; max_data {}; max_streams {} {}; idle {} ms)",
        params.max_data,
        params.max_streams_bidi,
        params.max_streams_uni,
        params.max_idle_timeout.as_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_in_words() {
        let mut out = String::new();
        describe(&[0x07, 2, 0xab, 0x01, 0x01], &mut out);
        assert_eq!(out, "NEW_TOKEN ab01, PING");
    }

    #[test]
    fn path_frames_are_told_in_words() {
        let mut out = String::new();
        describe(&[0x21, 0, 0, 1, 0x22, 3, 1, 5, 0x23, 63, 2, 0x40, 0xff], &mut out);
        let expected = [
            "PATH_STATUS path 0 generation 0 sequence 1 available",
            "PATH_STATUS path 3 generation 1 sequence 5 backup",
            "PATH_ABANDON path 63 generation 2 code 255",
        ];
        assert_eq!(out, expected.join(", "));
    }
}
