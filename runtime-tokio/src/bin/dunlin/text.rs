//! Text for people: foreign bytes made harmless, sizes, rates and times made readable.

use core::time::Duration;

/// Whether a character may change how the text around it looks: controls, the marks that turn the direction of writing
/// (Unicode TR 9 section 2), with which a name can pass for another, and the separators that break a line.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Bytes that somebody else chose, fit for a terminal and for one line.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        if is_deceptive(character) {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    text
}

/// A number of bytes: `1.50 GiB`, `17 B`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2} {}", UNITS[unit])
}

/// A rate in bits and in bytes: `4.20 Gbit/s (500.68 MiB/s)`.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let per_second = bytes_per_second(count, time);
    let bits = per_second * 8.0;
    let bits = match bits {
        _ if bits >= 1e9 => format!("{:.2} Gbit/s", bits / 1e9),
        _ if bits >= 1e6 => format!("{:.1} Mbit/s", bits / 1e6),
        _ => format!("{:.1} kbit/s", bits / 1e3),
    };
    format!("{bits} ({}/s)", bytes(per_second as u64))
}

/// Bytes per second; 0 where no time has passed.
pub(crate) fn bytes_per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// A short time: `85 us`, `12.3 ms`, `1.20 s`.
pub(crate) fn time(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// `bytes` as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    // Of a secret's digits the caller wipes what this returns; growing would leave others behind.
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        digits.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
    }
    digits
}

/// `count` and its noun: `1 file`, `3 files`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line_and_moves_no_cursor() {
        assert_eq!(printable(b"a\x1b[2Jb\nc\xff"), "a\\u{1b}[2Jb\\u{a}c\u{fffd}");
        assert_eq!(printable("\u{202e}gpj.exe".as_bytes()), "\\u{202e}gpj.exe");
        for mark in ['\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}'] {
            assert!(printable(mark.to_string().as_bytes()).is_ascii(), "{mark:?}");
        }
        assert_eq!(hex(&[0x00, 0x9a, 0xff]), "009aff");
        assert_eq!(printable("Übung ✓".as_bytes()), "Übung ✓");
    }

    #[test]
    fn sizes_rates_and_times_read_well() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(3 << 29), "1.50 GiB");
        assert_eq!(rate(125_000_000, Duration::from_secs(1)), "1.00 Gbit/s (119.21 MiB/s)");
        assert_eq!(rate(5, Duration::ZERO), "0.0 kbit/s (0 B/s)");
        assert_eq!(time(Duration::from_micros(85)), "85 us");
        assert_eq!(time(Duration::from_micros(12_300)), "12.3 ms");
    }
}
