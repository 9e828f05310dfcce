//! The receive window in one byte: a floating-point number with 3 bits behind the leading one (QOTP v0.2.19).

/// Bits behind the leading one.
const FRACTION_BITS: u32 = 3;
/// The code of 256 bytes, the smallest window with a fraction.
const FIRST: u8 = 2;
/// The exponent of [`FIRST`].
const FIRST_EXPONENT: u32 = 8;
/// What code 1 stands for, in bytes.
const SMALL: u64 = 128;

/// The code for a window of `bytes`: rounded down, except that 1 to 127 bytes become 128; at most 255, which stands for
/// 893,353,197,568 bytes.
pub(crate) fn encode(bytes: u64) -> u8 {
    match bytes.checked_ilog2() {
        None => 0,
        Some(exponent) => match exponent.checked_sub(FIRST_EXPONENT) {
            None => 1,
            Some(above) => {
                let fraction = bytes >> exponent.saturating_sub(FRACTION_BITS) & ((1 << FRACTION_BITS) - 1);
                let code = (u64::from(above) << FRACTION_BITS)
                    .saturating_add(u64::from(FIRST))
                    .saturating_add(fraction);
                u8::try_from(code).unwrap_or(u8::MAX)
            }
        },
    }
}

/// The window that `code` stands for, in bytes.
pub(crate) fn decode(code: u8) -> u64 {
    match code.checked_sub(FIRST) {
        None => u64::from(code) * SMALL,
        Some(code) => {
            let exponent = FIRST_EXPONENT + u32::from(code >> FRACTION_BITS);
            let mantissa = 1 << FRACTION_BITS | u64::from(code) & ((1 << FRACTION_BITS) - 1);
            mantissa << exponent.saturating_sub(FRACTION_BITS)
        }
    }
}
