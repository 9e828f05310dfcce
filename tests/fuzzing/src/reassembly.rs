//! Both halves of a stream's data, beside a list of single bytes. The blocks come from a pool that others have used: a byte
//! that was never written must not be read.

use core::iter::zip;

use arbitrary::{Result, Unstructured};
use dunlin_core::fuzzing::{Outgoing, Reassembly};

use crate::input::choice;

/// Bytes of a stream that the model knows: four blocks and a bit.
const UNIVERSE: usize = 55_000;
/// What lies in the blocks before they are used. No byte of a stream has this value.
const DIRT: u8 = 0xaa;
/// Bytes of a block, which memory is counted in (docs/DESIGN.md).
const BLOCK: usize = 16 << 10;
/// Memory limits, in bytes: of the first block, of that and another one, of some, and none.
const LIMITS: [usize; 4] = [2 << 10, 18 << 10, 48 << 10, usize::MAX];

/// Operations on one of the halves, as the bytes say.
///
/// # Panics
/// Something does not hold.
pub fn reassembly(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(kind) = choice(&mut input) else { return };
    let limit = LIMITS[usize::from(kind % 4)];
    // Whoever has used up the bytes is done.
    let _ = match kind {
        0..=127 => receive(&mut input, limit),
        128..=255 => send(&mut input, limit),
    };
}

/// The byte at an offset, which is never [`DIRT`]; `tag` tells writers apart.
const fn byte_at(offset: usize, tag: u8) -> u8 {
    let byte = (offset as u8) ^ ((offset >> 8) as u8).wrapping_mul(29) ^ tag.wrapping_mul(67);
    if byte == DIRT { 0 } else { byte }
}

fn bytes(offset: usize, len: usize, tag: u8) -> Vec<u8> {
    (offset..offset + len).map(|at| byte_at(at, tag)).collect()
}

/// A length: a few bytes, a packet's, or more than a block's.
fn length(input: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match input.arbitrary::<u8>()? {
        short @ 0..=99 => usize::from(short % 40),
        100..=219 => usize::from(input.arbitrary::<u16>()? % 1_500),
        220..=255 => usize::from(input.arbitrary::<u16>()? % 40_000),
    })
}

/// Who wrote each byte first, and how far it was read.
struct Written {
    bytes: Vec<Option<u8>>,
    read: usize,
}

impl Written {
    fn contiguous(&self) -> usize {
        self.read + self.bytes[self.read..].iter().take_while(|byte| byte.is_some()).count()
    }

    fn end(&self) -> usize {
        self.bytes.iter().rposition(Option::is_some).map_or(0, |last| last + 1)
    }

    fn missing(&self, offset: usize, len: usize) -> usize {
        self.bytes[offset..offset + len].iter().filter(|byte| byte.is_none()).count()
    }

    /// Whether bytes may be taken where `max_gaps` ranges may wait behind gaps: they come in order, or make no range more than
    /// there may be.
    fn accepts(&self, offset: usize, len: usize, max_gaps: usize) -> bool {
        let (next, end) = (self.contiguous(), offset + len);
        if offset <= next || len == 0 {
            return true;
        }
        let touches = self.bytes[offset - 1..self.bytes.len().min(end + 1)].iter().any(Option::is_some);
        let ahead = &self.bytes[next..];
        let ranges = ahead.windows(2).filter(|two| two[0].is_none() && two[1].is_some()).count();
        touches || ranges < max_gaps
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        for (slot, byte) in zip(&mut self.bytes[offset..], data) {
            slot.get_or_insert(*byte);
        }
    }

    fn read(&mut self, max: usize) -> Vec<u8> {
        let to = self.contiguous().min(self.read + max);
        let read = self.bytes[self.read..to].iter().flatten().copied().collect();
        self.read = to;
        read
    }
}

fn receive(input: &mut Unstructured<'_>, limit: usize) -> Result<()> {
    let max_gaps = usize::from(input.arbitrary::<u8>()? % 32);
    let mut buffer = Reassembly::new(limit, DIRT);
    let mut model = Written { bytes: vec![None; UNIVERSE], read: 0 };
    for tag in (0..=u8::MAX).cycle() {
        let kind = choice(input)?;
        match kind {
            0..=159 => {
                let offset = match kind {
                    // In order, or overlapping that by a little.
                    0..=69 => model.contiguous().saturating_sub(usize::from(kind % 8)),
                    70..=159 => usize::from(input.arbitrary::<u16>()?) % UNIVERSE,
                    _ => 0,
                };
                let len = length(input)?.min(UNIVERSE - offset);
                let (missing, end) = (model.missing(offset, len), model.end());
                assert_eq!(buffer.missing(offset as u64, len), missing as u64);
                let data = bytes(offset, len, tag);
                let accepts = model.accepts(offset, len, max_gaps);
                match buffer.write(offset as u64, &data, max_gaps) {
                    Some(received) => {
                        assert!(accepts, "{len} bytes at {offset} are one range too many");
                        model.write(offset, &data);
                        assert_eq!(received, (missing, (model.end() - end) as u64));
                    }
                    // Otherwise only memory can be in the way.
                    None => assert!(!accepts || limit < usize::MAX, "{len} bytes at {offset} are refused"),
                }
            }
            160..=199 => {
                let max = length(input)?;
                assert_eq!(buffer.read(max), model.read(max));
            }
            200..=239 => {
                let max = length(input)?;
                assert_eq!(buffer.read_chunk(max).unwrap_or_default(), model.read(max));
            }
            // Beyond all limits of a stream, or of the memory.
            240..=253 => {
                let far = (1u64 << 62) - 1 - u64::from(kind % 4);
                assert_eq!(buffer.write(far, &[1; 8], max_gaps), None);
            }
            254..=255 => {
                buffer.discard();
                assert_eq!((buffer.check(), buffer.read(9)), ((0, 0), Vec::new()));
                return Ok(());
            }
        }
        let ends = (model.read as u64, model.contiguous() - model.read, model.end() as u64);
        assert_eq!(buffer.ends(), ends);
        let (held, beside) = buffer.check();
        // Data that can be read at once may go beyond by two blocks, and by a write's rounding.
        assert!(held <= limit.saturating_add(5 * BLOCK), "{held} bytes of blocks");
        assert!(beside <= 8 << 10, "{beside} bytes beside the blocks");
    }
    Ok(())
}

/// What became of a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Unsent,
    InFlight,
    Lost,
    Acked,
}

fn send(input: &mut Unstructured<'_>, limit: usize) -> Result<()> {
    let mut buffer = Outgoing::new(limit, DIRT);
    let mut model: Vec<Fate> = Vec::new();
    let mut sent: Vec<(u64, usize)> = Vec::new();
    loop {
        let kind = choice(input)?;
        match kind {
            0..=69 => {
                let (len, max) = (length(input)?, length(input)?);
                let written = buffer.write(&bytes(model.len(), len, 0), max);
                assert!(written <= len.min(max));
                assert!(written == len.min(max) || limit < usize::MAX);
                model.resize(model.len() + written, Fate::Unsent);
            }
            70..=149 => {
                let (max, ahead) = (length(input)?, length(input)?);
                let limit = buffer.ends().1 + ahead as u64;
                let next = next_chunk(&model, max, limit as usize);
                assert_eq!(buffer.send(max, limit), next.map(|(at, len)| (at as u64, bytes(at, len, 0))));
                if let Some((at, len)) = next {
                    model[at..at + len].fill(Fate::InFlight);
                    sent.push((at as u64, len));
                }
            }
            150..=239 => {
                // One that was sent, or any at all.
                let (at, len) = match sent.get(usize::from(kind % 32)) {
                    Some(chunk) => *chunk,
                    None => (u64::from(input.arbitrary::<u16>()?), length(input)?),
                };
                let range = (at as usize).min(model.len())..(at as usize + len).min(model.len());
                let hit = model[range].iter_mut();
                if kind < 200 {
                    let news = hit.filter(|fate| [Fate::InFlight, Fate::Lost].contains(fate));
                    let news = news.map(|fate| *fate = Fate::Acked).count();
                    assert_eq!(buffer.on_acked(at, len), news as u64);
                } else {
                    hit.filter(|fate| **fate == Fate::InFlight).for_each(|fate| *fate = Fate::Lost);
                    buffer.on_lost(at, len);
                }
            }
            240..=253 => {
                let by = usize::from(kind % 16).min(sent.len());
                sent.rotate_left(by);
            }
            254..=255 => {
                buffer.discard();
                assert_eq!((buffer.check(), buffer.send(9, u64::MAX)), ((0, 0), None));
                return Ok(());
            }
        }
        compare(&buffer, &model, limit);
        if model.len() > 4 * UNIVERSE {
            return Ok(());
        }
    }
}

fn compare(buffer: &Outgoing, model: &[Fate], limit: usize) {
    let count = |wanted| model.iter().filter(|fate| **fate == wanted).count() as u64;
    let (written, unsent) = (model.len() as u64, count(Fate::Unsent));
    assert_eq!(buffer.ends(), (written, written - unsent, written - count(Fate::Acked)));
    let (held, _) = buffer.check();
    assert!(held <= limit, "{held} bytes of blocks");
}

/// The lowest lost bytes, else unsent ones that flow control lets go.
fn next_chunk(model: &[Fate], max: usize, flow_limit: usize) -> Option<(usize, usize)> {
    let run = |from: usize, fate| model[from..].iter().take_while(|other| **other == fate).count();
    let (at, len) = match model.iter().position(|fate| *fate == Fate::Lost) {
        Some(lost) => (lost, run(lost, Fate::Lost)),
        None => {
            let at = model.iter().position(|fate| *fate == Fate::Unsent)?;
            (at, run(at, Fate::Unsent).min(flow_limit.saturating_sub(at)))
        }
    };
    (len.min(max) > 0).then_some((at, len.min(max)))
}
