//! The two AEADs that protect Data packets, and how long a key of each may be used.

/// Length of every AEAD tag, in bytes (RFC 8439 section 2.8, NIST SP 800-38D with full tags).
pub(crate) const TAG_LEN: usize = 16;

/// Length of every AEAD nonce, in bytes.
pub(crate) const NONCE_LEN: usize = 12;

/// A data AEAD. There are these two and no others, ever (docs/PROTOCOL.md, "Keys and protection").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Suite {
    /// ChaCha20-Poly1305 (RFC 8439): always offered.
    ChaCha20Poly1305,
    /// AES-256-GCM (NIST SP 800-38D): used where both ends have it in hardware.
    Aes256Gcm,
}

impl Suite {
    /// The number of the suite in HELLO and in the key schedule.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::ChaCha20Poly1305 => 1,
            Self::Aes256Gcm => 2,
        }
    }

    /// The suite with this number, if there is one.
    #[must_use]
    pub const fn from_id(id: u64) -> Option<Self> {
        match id {
            1 => Some(Self::ChaCha20Poly1305),
            2 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }
}
