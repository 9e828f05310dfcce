//! Noise's HKDF over HMAC-BLAKE2s (The Noise Protocol Framework, revision 34, section 4.3).

use blake2::Blake2s256;
use blake2::digest::{FixedOutput, KeyInit, Update};
use hmac::SimpleHmac;
use zeroize::Zeroizing;

use super::Secret;

/// HMAC-BLAKE2s (RFC 2104) over the joined `parts`.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Secret {
    // RFC 2104 pads a short key with zeros to the block size, 64 bytes.
    let mut block = Zeroizing::new([0; 64]);
    let (start, _) = block.split_at_mut(key.len());
    start.copy_from_slice(key);
    let mut mac = SimpleHmac::<Blake2s256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    Secret::new(mac.finalize_fixed().into())
}

/// `KDF(chaining_key, input, N)`: N independent secrets, `input` being the joined `parts`.
pub(super) fn kdf<const N: usize>(chaining_key: &[u8; 32], parts: &[&[u8]]) -> [Secret; N] {
    let temporary = hmac(chaining_key, parts);
    let mut counter = 0_u8;
    let mut previous: Option<Secret> = None;
    core::array::from_fn(|_| {
        counter = counter.wrapping_add(1);
        let output = match &previous {
            None => hmac(&temporary, &[&[counter]]),
            Some(previous) => hmac(&temporary, &[&previous[..], &[counter]]),
        };
        previous = Some(output.clone());
        output
    })
}
