//! Frames as a peer without manners writes them (RFC 9000 section 19; ACK is the multipath draft's), by hand, so that
//! nothing but the wire format is shared with the engine.

/// A variable-length integer (RFC 9000 section 16); the two highest bits of `n` are cut.
pub fn varint(out: &mut Vec<u8>, n: u64) {
    match n & ((1 << 62) - 1) {
        n @ 0..0x40 => out.push(n as u8),
        n @ 0x40..0x4000 => out.extend_from_slice(&(n as u16 | 1 << 14).to_be_bytes()),
        n @ 0x4000..0x4000_0000 => out.extend_from_slice(&(n as u32 | 2 << 30).to_be_bytes()),
        n => out.extend_from_slice(&(n | 3 << 62).to_be_bytes()),
    }
}

fn frame(ty: u64, fields: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, ty);
    fields.iter().for_each(|field| varint(&mut out, *field));
    out
}

/// Asks for an acknowledgement.
#[must_use]
pub fn ping() -> Vec<u8> {
    frame(0x01, &[])
}

/// Acknowledges `largest` and the `first` numbers below it, then what `ranges` of gap and length say.
#[must_use]
pub fn ack(path: u64, largest: u64, first: u64, ranges: &[(u64, u64)]) -> Vec<u8> {
    let mut out = frame(0x3e, &[path, largest, 0, ranges.len() as u64, first]);
    for (gap, len) in ranges {
        varint(&mut out, *gap);
        varint(&mut out, *len);
    }
    out
}

/// The same without further ranges, with the counts of ECT(0), ECT(1) and CE.
#[must_use]
pub fn ack_ecn(path: u64, largest: u64, first: u64, counts: [u64; 3]) -> Vec<u8> {
    frame(0x3f, &[path, largest, 0, 0, first, counts[0], counts[1], counts[2]])
}

/// Data of a stream, from an offset on, and whether it ends there.
#[must_use]
pub fn stream(id: u64, offset: u64, data: &[u8], fin: bool) -> Vec<u8> {
    let mut out = frame(0x0e | u64::from(fin), &[id, offset, data.len() as u64]);
    out.extend_from_slice(data);
    out
}

/// Gives up a stream that ends at `size`.
#[must_use]
pub fn reset_stream(id: u64, code: u64, size: u64) -> Vec<u8> {
    frame(0x04, &[id, code, size])
}

/// Wants no more of a stream.
#[must_use]
pub fn stop_sending(id: u64, code: u64) -> Vec<u8> {
    frame(0x05, &[id, code])
}

/// Lets the peer send so many bytes in all.
#[must_use]
pub fn max_data(max: u64) -> Vec<u8> {
    frame(0x10, &[max])
}

/// Lets the peer send so many bytes of a stream.
#[must_use]
pub fn max_stream_data(id: u64, max: u64) -> Vec<u8> {
    frame(0x11, &[id, max])
}

/// Lets the peer open so many streams of a kind.
#[must_use]
pub fn max_streams(uni: bool, max: u64) -> Vec<u8> {
    frame(0x12 | u64::from(uni), &[max])
}

/// Asks for these bytes back.
#[must_use]
pub fn path_challenge(data: [u8; 8]) -> Vec<u8> {
    core::iter::once(0x1a).chain(data).collect()
}

/// Brings them back.
#[must_use]
pub fn path_response(data: [u8; 8]) -> Vec<u8> {
    core::iter::once(0x1b).chain(data).collect()
}

/// An unreliable datagram.
#[must_use]
pub fn datagram(data: &[u8]) -> Vec<u8> {
    let mut out = frame(0x31, &[data.len() as u64]);
    out.extend_from_slice(data);
    out
}

/// A CLOSE of the transport, or of the application.
#[must_use]
pub fn close(application: bool, code: u64, reason: &[u8]) -> Vec<u8> {
    let len = reason.len() as u64;
    let mut out = if application { frame(0x1d, &[code, len]) } else { frame(0x1c, &[code, 0, len]) };
    out.extend_from_slice(reason);
    out
}

/// A connection id for the peer to write to, with the token of its stateless reset.
#[must_use]
pub fn new_connection_id(sequence: u64, id: [u8; 8], token: [u8; 16]) -> Vec<u8> {
    let mut out = frame(0x18, &[sequence]);
    out.extend_from_slice(&id);
    out.extend_from_slice(&token);
    out
}

/// Gives back an id of the peer's.
#[must_use]
pub fn retire_connection_id(sequence: u64) -> Vec<u8> {
    frame(0x19, &[sequence])
}

/// Wants this generation of a path to be used, or to be kept for bad times.
#[must_use]
pub fn path_status(backup: bool, path: u64, generation: u64, sequence: u64) -> Vec<u8> {
    frame(if backup { 0x22 } else { 0x21 }, &[path, generation, sequence])
}

/// Ends this generation of a path.
#[must_use]
pub fn path_abandon(path: u64, generation: u64, code: u64) -> Vec<u8> {
    frame(0x23, &[path, generation, code])
}
