//! Captures: pcap and pcapng files as a sequence of frames.

use core::time::Duration;
use std::fs::File;
use std::path::{Path, PathBuf};

use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

use crate::failure::Failure;

/// The read buffer at first, in bytes: some packets of the largest size.
const BUFFER: usize = 1 << 18;

/// The largest block or record that is read, in bytes. No interface has packets of this size (Wireshark's own limit is a
/// quarter of it); a length beyond it is a damaged one.
const MAX_BLOCK: usize = 1 << 20;

/// A frame that was captured.
pub(crate) struct Frame {
    /// When, since an epoch that is the same for all frames of an interface.
    pub(crate) time: Duration,
    /// What its bytes start with.
    pub(crate) link: Linktype,
    /// Those that were captured.
    pub(crate) bytes: Vec<u8>,
    /// How many there were.
    pub(crate) len: u32,
}

/// A capture that is read from its start to its end.
pub(crate) struct Capture {
    path: PathBuf,
    reader: Box<dyn PcapReaderIterator + Send>,
    /// How large the read buffer is.
    buffer: usize,
    /// The interfaces of the current section; a pcap file has one.
    interfaces: Vec<Interface>,
    /// Frames so far.
    frames: u64,
}

/// Where frames come from.
#[derive(Clone, Copy)]
struct Interface {
    link: Linktype,
    clock: Clock,
}

/// What a timestamp counts.
#[derive(Clone, Copy)]
enum Clock {
    /// So many to the second.
    Decimal(u64),
    /// Two to this power to the second.
    Binary(u32),
}

impl Clock {
    /// pcapng's `if_tsresol` (draft-ietf-opsawg-pcapng, section 4.2): a power of 10, or of 2 with the top bit set. What
    /// no number holds counts as the default, microseconds.
    fn of(resolution: u8) -> Self {
        let power = u32::from(resolution & 0x7f);
        if resolution & 0x80 == 0 {
            Self::Decimal(10_u64.checked_pow(power).unwrap_or(1_000_000))
        } else {
            Self::Binary(power.min(63))
        }
    }

    fn time(self, ticks: u64) -> Duration {
        let second = match self {
            Self::Decimal(second) => u128::from(second),
            Self::Binary(power) => 1 << power,
        };
        let nanos = u128::from(ticks) * 1_000_000_000 / second;
        Duration::new(
            u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX),
            (nanos % 1_000_000_000) as u32,
        )
    }
}

impl Capture {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let file = File::open(path)
            .map_err(|error| Failure::usage(format!("cannot read the capture {name}: {error}")))?;
        let reader = create_reader(BUFFER, file).map_err(|error| match error {
            PcapError::ReadError => Failure::failed(format!("cannot read the capture {name}")),
            PcapError::Eof => Failure::usage(format!("the capture {name} is empty")),
            _ => Failure::usage(format!(
                "{name} is no capture, or a damaged one: name a file in the format pcap or pcapng"
            )),
        })?;
        let path = path.to_owned();
        Ok(Self { path, reader, buffer: BUFFER, interfaces: Vec::new(), frames: 0 })
    }

    /// The next frame; `None` at the end.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, Failure> {
        loop {
            let step = match self.reader.next() {
                Ok((len, block)) => Step::Block(len, take(&mut self.interfaces, &block)),
                Err(PcapError::Eof) => Step::End,
                Err(PcapError::Incomplete(_)) => Step::Refill,
                Err(PcapError::BufferTooSmall) => Step::Grow,
                Err(PcapError::UnexpectedEof) => Step::Fault("ends in the middle of a packet"),
                Err(PcapError::ReadError) => Step::Fault("cannot be read any further"),
                Err(_) => Step::Fault("is damaged"),
            };
            match step {
                Step::Block(len, taken) => {
                    self.reader.consume(len);
                    match taken {
                        Taken::Frame(frame) => {
                            self.frames += 1;
                            return Ok(Some(frame));
                        }
                        Taken::Nothing => {}
                        Taken::NoInterface => {
                            return Err(self.fault("names an interface that it does not describe"));
                        }
                    }
                }
                Step::End => return Ok(None),
                Step::Refill => self.refill()?,
                Step::Grow => {
                    self.grow()?;
                    self.refill()?;
                }
                Step::Fault(what) => return Err(self.fault(what)),
            }
        }
    }

    fn refill(&mut self) -> Result<(), Failure> {
        let before = self.reader.data().len();
        if self.reader.refill().is_err() {
            return Err(self.fault("cannot be read any further"));
        }
        // Every turn of the loop has to get on.
        if self.reader.data().len() == before && !self.reader.reader_exhausted() {
            self.grow()?;
        }
        Ok(())
    }

    fn grow(&mut self) -> Result<(), Failure> {
        if self.buffer >= MAX_BLOCK {
            return Err(self.fault("is damaged: it has a packet of more than a mebibyte"));
        }
        self.buffer *= 2;
        self.reader.grow(self.buffer);
        Ok(())
    }

    fn fault(&self, what: &str) -> Failure {
        Failure::failed(format!("the capture {} {what}, after {} packets", self.path.display(), self.frames))
    }
}

/// What to do next.
enum Step {
    Block(usize, Taken),
    End,
    Refill,
    Grow,
    Fault(&'static str),
}

/// What a block was good for.
enum Taken {
    Frame(Frame),
    Nothing,
    NoInterface,
}

/// Takes what is needed out of a block.
fn take(interfaces: &mut Vec<Interface>, block: &PcapBlockOwned<'_>) -> Taken {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let second = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            // The upper bits say how long the frame check sequence is (draft-ietf-opsawg-pcap, section 4).
            let link = Linktype(header.network.0 & 0xffff);
            *interfaces = vec![Interface { link, clock: Clock::Decimal(second) }];
        }
        PcapBlockOwned::Legacy(record) => {
            let Some(Interface { link, clock }) = interfaces.first() else { return Taken::NoInterface };
            let time = Duration::from_secs(record.ts_sec.into()) + clock.time(record.ts_usec.into());
            let bytes = record.data.to_vec();
            return Taken::Frame(Frame { time, link: *link, bytes, len: record.origlen });
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
            let clock = Clock::of(description.if_tsresol);
            interfaces.push(Interface { link: description.linktype, clock });
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let index = usize::try_from(packet.if_id).unwrap_or(usize::MAX);
            let Some(Interface { link, clock }) = interfaces.get(index) else { return Taken::NoInterface };
            let time = clock.time(u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low));
            let bytes = packet.packet_data().to_vec();
            return Taken::Frame(Frame { time, link: *link, bytes, len: packet.origlen });
        }
        // It has no time, and the first interface.
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let Some(Interface { link, .. }) = interfaces.first() else { return Taken::NoInterface };
            let bytes = packet.packet_data().to_vec();
            return Taken::Frame(Frame { time: Duration::ZERO, link: *link, bytes, len: packet.origlen });
        }
        PcapBlockOwned::NG(_) => {}
    }
    Taken::Nothing
}
