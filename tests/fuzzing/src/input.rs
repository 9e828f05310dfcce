//! Numbers, frames and datagrams made from a fuzzer's bytes: mostly such as mean something, so that they get further.

use arbitrary::{Error, Result, Unstructured};

use crate::frames;

/// Frames that one payload has at most.
const MAX_FRAMES: usize = 64;

/// A byte that chooses what comes next. Unlike other values, which are zero behind the end of the bytes, there is none then.
///
/// # Errors
/// The bytes are used up.
pub fn choice(input: &mut Unstructured<'_>) -> Result<u8> {
    if input.is_empty() { Err(Error::NotEnoughData) } else { input.arbitrary() }
}

/// A number that is likely to mean something, or to overflow something.
///
/// # Errors
/// None but what [`choice`] says, as everywhere here.
pub fn number(input: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match input.arbitrary::<u8>()? {
        small @ 0..=127 => u64::from(small % 16),
        128..=175 => u64::from(input.arbitrary::<u16>()? % 400),
        176..=207 => input.arbitrary::<u16>()?.into(),
        208..=223 => input.arbitrary::<u32>()?.into(),
        edge @ 224..=239 => (1 << 62) - 1 - u64::from(edge % 4),
        240..=255 => input.arbitrary()?,
    })
}

/// At most `most` bytes, whose number comes first.
///
/// # Errors
/// As everywhere here.
pub fn bytes<'a>(input: &mut Unstructured<'a>, most: usize) -> Result<&'a [u8]> {
    let len = usize::from(input.arbitrary::<u16>()?) % (most + 1);
    input.bytes(len.min(input.len()))
}

/// A frame of the native wire that parses, unless a number is out of its range.
///
/// # Errors
/// As everywhere here.
pub fn frame(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let kind = choice(input)?;
    let mut next = || number(input);
    Ok(match kind {
        0..=9 => frames::ping(),
        10..=29 => {
            let (path, largest, first) = (next()?, next()?, next()?);
            let count = usize::from(input.arbitrary::<u8>()? % 8);
            let ranges: Result<Vec<_>> = (0..count).map(|_| Ok((number(input)?, number(input)?))).collect();
            frames::ack(path, largest, first, &ranges?)
        }
        30..=39 => frames::ack_ecn(next()?, next()?, next()?, [next()?, next()?, next()?]),
        40..=89 => {
            let (id, offset) = (next()?, next()?);
            frames::stream(id, offset, bytes(input, 300)?, input.arbitrary()?)
        }
        90..=99 => frames::reset_stream(next()?, next()?, next()?),
        100..=109 => frames::stop_sending(next()?, next()?),
        110..=114 => frames::max_data(next()?),
        115..=124 => frames::max_stream_data(next()?, next()?),
        125..=129 => frames::max_streams(next()? & 1 == 0, next()?),
        130..=139 => frames::path_challenge(input.arbitrary()?),
        140..=149 => frames::path_response(input.arbitrary()?),
        150..=159 => frames::datagram(bytes(input, 300)?),
        160..=169 => frames::new_connection_id(next()?, input.arbitrary()?, input.arbitrary()?),
        170..=179 => frames::retire_connection_id(next()?),
        180..=189 => frames::path_status(next()? & 1 == 0, next()?, next()?, next()?),
        190..=199 => frames::path_abandon(next()?, next()?, next()?),
        // Now and then: it is the end of most that could follow.
        200..=202 => frames::close(input.arbitrary()?, number(input)?, bytes(input, 700)?),
        // Room for what will be there one day; until then padding.
        203..=239 => vec![0; usize::from(kind - 202)],
        240..=255 => bytes(input, 60)?.to_vec(),
    })
}

/// Frames of one packet, each by itself; none once the bytes are used up.
pub fn frames(input: &mut Unstructured<'_>) -> Vec<Vec<u8>> {
    let count = usize::from(choice(input).unwrap_or(0)) % MAX_FRAMES + 1;
    core::iter::from_fn(|| frame(input).ok()).take(count).collect()
}

/// A payload of QOTP: any first byte, an acknowledgement, a part of a stream, which mostly fit together.
///
/// # Errors
/// As everywhere here.
pub fn qotp_payload(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let kind = match choice(input)? {
        kind @ 0..=199 => (kind % 4) << 5,
        kind @ 200..=239 => (kind % 4) << 5 | 0x80,
        240..=255 => input.arbitrary()?,
    };
    let width = if kind & 0x80 == 0 { 3 } else { 6 };
    let mut out = vec![kind];
    let place = |input: &mut Unstructured<'_>, out: &mut Vec<u8>| {
        out.extend_from_slice(&(number(input)? as u32).to_le_bytes());
        out.extend_from_slice(&number(input)?.to_le_bytes()[..width]);
        Ok(())
    };
    if kind & 0x20 == 0 {
        place(input, &mut out)?;
        out.extend_from_slice(&input.arbitrary::<[u8; 3]>()?);
    }
    place(input, &mut out)?;
    out.extend_from_slice(bytes(input, 300)?);
    Ok(out)
}

/// A datagram that nobody made: a first byte that means something, and a length that is enough or nearly.
///
/// # Errors
/// As everywhere here.
pub fn garbage(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let first = match input.arbitrary::<u8>()? {
        known @ 0..=127 => (known % 8) << 5 | if known & 64 == 0 { 16 } else { 0 },
        128..=255 => input.arbitrary()?,
    };
    let len = match input.arbitrary::<u8>()? {
        long @ 0..=63 => 1_190 + usize::from(long),
        64..=255 => 0,
    };
    let mut out = vec![first];
    out.extend_from_slice(bytes(input, 1_400)?);
    out.resize(out.len().max(len), 3);
    Ok(out)
}
