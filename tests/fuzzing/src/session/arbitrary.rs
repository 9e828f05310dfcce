//! Actions out of a fuzzer's bytes. A choice is a whole range of a byte's values, so that a new one can be put in without
//! changing what inputs of old mean.

use arbitrary::{Result, Unstructured};
use dunlin_core::{Direction, Duration, TrainLimit};

use super::{Action, Decision, Dial, Fate, Jump, Verb};
use crate::input;

/// One of the two sides.
fn side(input: &mut Unstructured<'_>) -> Result<usize> {
    Ok(usize::from(input.arbitrary::<bool>()?))
}

fn direction(input: &mut Unstructured<'_>) -> Result<Direction> {
    Ok(if input.arbitrary()? { Direction::Bidirectional } else { Direction::Unidirectional })
}

impl Action {
    /// The next action that the bytes describe.
    ///
    /// # Errors
    /// The bytes are used up.
    pub fn take(input: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match input::choice(input)? {
            0..=3 => Self::Connect(side(input)?, Dial::take(input)?),
            4..=7 => Self::Decide(side(input)?, input.arbitrary()?, Decision::take(input)?),
            8..=99 => Self::On(side(input)?, input.arbitrary()?, Verb::take(input)?),
            100..=127 => Self::Network(input.arbitrary()?, Fate::take(input)?),
            128..=131 => Self::Garbage(side(input)?, input::garbage(input)?),
            132..=159 => {
                let (side, which) = (side(input)?, input.arbitrary()?);
                let frames = match input.arbitrary::<u8>()? {
                    0..=199 => input::frames(input).concat(),
                    200..=255 => input::qotp_payload(input)?,
                };
                Self::Sealed(side, which, frames)
            }
            160..=175 => Self::Time(Jump::take(input)?),
            176..=181 => Self::Fire(side(input)?),
            182..=199 => Self::Drain(side(input)?, limit(input)?),
            200..=203 => {
                let wait = [None, Some(Duration::ZERO), Some(Duration::from_secs(3600))];
                Self::Poll(side(input)?, wait[usize::from(input.arbitrary::<u8>()? % 3)])
            }
            204..=208 => Self::Events(side(input)?),
            209..=210 => Self::RotateKeys(side(input)?, input.arbitrary()?),
            211 => Self::AbandonAll(side(input)?, input.arbitrary()?),
            212..=215 => Self::NetworkChanged(side(input)?),
            216..=219 => Self::Addresses(side(input)?, input.arbitrary()?),
            220..=223 => Self::Sockets(side(input)?, input.arbitrary()?),
            224..=255 => {
                let span = Duration::from_millis(u64::from(input.arbitrary::<u16>()? % 300) + 1);
                Self::Run(span, input.arbitrary::<u8>()? % 60)
            }
        })
    }
}

impl Dial {
    pub(crate) fn take(input: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match input.arbitrary::<u8>()? {
            0..=79 => Self::Known,
            80..=99 => Self::Unknown,
            100..=119 => Self::AnyKey,
            120..=129 => Self::WrongKey,
            130..=139 => Self::NoAddress,
            140..=149 => Self::NoAlpn,
            150..=199 => Self::QotpKey,
            200..=219 => Self::Qotp,
            220..=229 => Self::QotpWrongKey,
            230..=255 => Self::WrongWire,
        })
    }
}

impl Decision {
    pub(crate) fn take(input: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match input.arbitrary::<u8>()? {
            0..=159 => Self::Accept,
            160..=207 => Self::Refuse,
            208..=231 => Self::Ignore,
            232..=255 => Self::Retry,
        })
    }
}

impl Fate {
    pub(crate) fn take(input: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match input.arbitrary::<u8>()? {
            0..=79 => Self::Deliver,
            80..=127 => Self::DeliverAll,
            128..=151 => Self::Drop,
            152..=175 => Self::Duplicate,
            176..=199 => Self::Delay,
            200..=215 => Self::Corrupt(input.arbitrary()?),
            216..=231 => Self::Cut(input.arbitrary()?),
            232..=255 => Self::Move(input.arbitrary()?),
        })
    }
}

impl Jump {
    pub(crate) fn take(input: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match input.arbitrary::<u8>()? {
            0..=15 => Self::None,
            16..=31 => Self::Nanosecond,
            32..=127 => Self::Millisecond,
            128..=135 => Self::Hour,
            136..=145 => Self::Back(Duration::from_nanos(1)),
            146..=155 => Self::Back(Duration::from_secs(7200)),
            156..=255 => Self::Due(side(input)?, input.arbitrary()?),
        })
    }
}

impl Verb {
    /// The next verb that the bytes describe.
    pub(crate) fn take(input: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match input.arbitrary::<u8>()? {
            0..=31 => Self::Open(direction(input)?),
            32..=35 => Self::OpenId(input::number(input)? as u32),
            36..=55 => Self::Accept(direction(input)?),
            56..=99 => Self::Write(input.arbitrary()?, (input::number(input)? % 200_000) as u32),
            100..=115 => Self::Finish(input.arbitrary()?),
            116..=125 => Self::Reset(input.arbitrary()?),
            126..=135 => Self::Stop(input.arbitrary()?),
            136..=139 => Self::Abandon(input.arbitrary()?),
            140..=171 => Self::Read(input.arbitrary()?, input.arbitrary()?),
            172..=183 => Self::ReadChunk(input.arbitrary()?, input::number(input)? as usize),
            184..=191 => Self::Priority(input.arbitrary()?, input.arbitrary()?),
            192..=207 => Self::SendDatagram(input.arbitrary()?),
            208..=211 => Self::ReadDatagram,
            212..=214 => Self::OpenPath(input.arbitrary()?),
            215 => Self::ClosePath(input.arbitrary()?),
            216..=219 => Self::Trust,
            220..=221 => Self::PathStatus(input.arbitrary()?, input.arbitrary()?),
            222..=223 => Self::SelectPath(input.arbitrary()?),
            224..=239 => Self::Look,
            240..=243 => Self::Close,
            244..=247 => {
                let span = [Duration::ZERO, Duration::from_secs(1), Duration::MAX];
                Self::CloseGraceful(span[usize::from(input.arbitrary::<u8>()? % 3)])
            }
            248..=255 => Self::Forget,
        })
    }
}

fn limit(input: &mut Unstructured<'_>) -> Result<TrainLimit> {
    Ok(match input.arbitrary::<u8>()? {
        0..=99 => TrainLimit::OFFLOAD,
        100..=179 => TrainLimit::SINGLE,
        180..=255 => TrainLimit {
            segments: usize::from(input.arbitrary::<u8>()? % 100),
            bytes: input::number(input)? as usize,
        },
    })
}
