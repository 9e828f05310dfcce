//! Numbers as people write them on a command line: `37M`, `67ms`, `2.5%`, `1bdp`, `200M`.

use core::fmt;
use core::str::FromStr;

use dunlin_sim::{Duration, Ppm, Rate};

/// Why a number was not understood: what was expected.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub(crate) struct UnitError {
    text: String,
    expected: &'static str,
}

/// A number and the unit behind it.
fn split<'a>(text: &'a str, expected: &'static str) -> Result<(f64, &'a str), UnitError> {
    let error = || UnitError { text: text.into(), expected };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| error())?;
    if number.is_finite() { Ok((number, unit)) } else { Err(error()) }
}

/// What the letter of a unit multiplies by.
fn scale(letter: &str) -> Option<f64> {
    match letter {
        "" => Some(1.0),
        "k" | "K" => Some(1e3),
        "M" => Some(1e6),
        "G" => Some(1e9),
        _ => None,
    }
}

/// Bits per second: `37M`, `1G`, `500k`, `100Mbit`.
pub(crate) fn rate(text: &str) -> Result<Rate, UnitError> {
    const EXPECTED: &str = "a rate in bits per second, such as 37M or 1G";
    let (number, unit) = split(text, EXPECTED)?;
    let bits = scale(unit.strip_suffix("bit").unwrap_or(unit)).map(|scale| (number * scale).round());
    match bits {
        Some(bits) if (1_000.0..=1e12).contains(&bits) => Ok(Rate::bits(bits as u64)),
        _ => Err(UnitError { text: text.into(), expected: EXPECTED }),
    }
}

/// A time: `67ms`, `1.5s`, `500us`.
pub(crate) fn time(text: &str) -> Result<Duration, UnitError> {
    const EXPECTED: &str = "a time, such as 67ms, 1.5s or 500us";
    let (number, unit) = split(text, EXPECTED)?;
    let nanos = match unit {
        "s" => Some(number * 1e9),
        "ms" => Some(number * 1e6),
        "us" => Some(number * 1e3),
        _ => None,
    };
    match nanos {
        Some(nanos) if nanos <= 60e9 => Ok(Duration::from_nanos(nanos.round() as u64)),
        _ => Err(UnitError { text: text.into(), expected: EXPECTED }),
    }
}

/// A probability: `2.5%`, or `0`.
pub(crate) fn loss(text: &str) -> Result<Ppm, UnitError> {
    const EXPECTED: &str = "a share, such as 2.5%";
    let (number, unit) = split(text, EXPECTED)?;
    match unit {
        "%" if number <= 100.0 => Ok(Ppm::new((number * 1e4).round() as u32)),
        "" if number == 0.0 => Ok(Ppm::NEVER),
        _ => Err(UnitError { text: text.into(), expected: EXPECTED }),
    }
}

/// Bytes: `200M`, `64k`, `1.5G`.
pub(crate) fn bytes(text: &str) -> Result<u64, UnitError> {
    const EXPECTED: &str = "a number of bytes from 1 to 1T, such as 200M";
    let (number, unit) = split(text, EXPECTED)?;
    match scale(unit.strip_suffix('B').unwrap_or(unit)).map(|scale| (number * scale).round()) {
        Some(bytes) if (1.0..=1e12).contains(&bytes) => Ok(bytes as u64),
        _ => Err(UnitError { text: text.into(), expected: EXPECTED }),
    }
}

/// The size of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum QueueSize {
    /// Thousandths of the product of bandwidth and delay.
    MilliBdp(u32),
    /// Bytes.
    Bytes(u64),
}

impl QueueSize {
    /// So many times the product of bandwidth and delay.
    pub(crate) const fn bdp(times: u32) -> Self {
        Self::MilliBdp(times * 1000)
    }
}

impl FromStr for QueueSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const EXPECTED: &str = "the size of a queue, such as 1bdp, 0.5bdp or 64kB";
        let error = || UnitError { text: text.into(), expected: EXPECTED };
        if let Some(times) = text.strip_suffix("bdp") {
            let times: f64 = times.parse().map_err(|_| error())?;
            return match (0.0..=1000.0).contains(&times) {
                true => Ok(Self::MilliBdp((times * 1000.0).round() as u32)),
                false => Err(error()),
            };
        }
        bytes(text).map(Self::Bytes).map_err(|_| error())
    }
}

impl fmt::Display for QueueSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MilliBdp(times) => write!(f, "{}bdp", f64::from(*times) / 1000.0),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

/// A rate with its unit.
pub(crate) fn show_rate(rate: Rate) -> String {
    let bits = rate.get();
    match bits {
        1_000_000_000.. if bits.is_multiple_of(1_000_000_000) => format!("{}G", bits / 1_000_000_000),
        1_000_000.. => format!("{}M", bits as f64 / 1e6),
        _ => format!("{}k", bits as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_their_units() {
        assert_eq!(rate("37M"), Ok(Rate::mbit(37)));
        assert_eq!(rate("1.5Gbit"), Ok(Rate::mbit(1500)));
        assert_eq!(time("67ms"), Ok(Duration::from_millis(67)));
        assert_eq!(time("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(loss("2.5%"), Ok(Ppm::new(25_000)));
        assert_eq!(loss("0"), Ok(Ppm::NEVER));
        assert_eq!(bytes("200M"), Ok(200_000_000));
        assert_eq!("1bdp".parse(), Ok(QueueSize::bdp(1)));
        assert_eq!("0.5bdp".parse(), Ok(QueueSize::MilliBdp(500)));
        assert_eq!("64kB".parse(), Ok(QueueSize::Bytes(64_000)));
    }

    #[test]
    fn what_is_no_number_says_what_was_expected() {
        for text in ["", "M", "-1M", "37", "1e9", "37X", "inf"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert!(time("67").is_err() && loss("1").is_err() && loss("101%").is_err() && bytes("0").is_err());
        assert!("bdp".parse::<QueueSize>().is_err() && "2x".parse::<QueueSize>().is_err());
        assert_eq!(loss("x").unwrap_err().to_string(), "\"x\" is not a share, such as 2.5%");
    }

    #[test]
    fn rates_are_shown_as_they_are_written() {
        for text in ["1M", "37M", "1G", "500k", "2.5M"] {
            assert_eq!(show_rate(rate(text).unwrap()), text);
        }
    }
}
