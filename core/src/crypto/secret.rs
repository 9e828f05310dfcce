//! Secret bytes.

use core::fmt;
use core::ops::Deref;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// 32 secret bytes: wiped when dropped, compared in a time that does not depend on them, shown by nobody.
///
/// ```
/// use dunlin_core::Secret;
/// let secret = Secret::new([7; 32]);
/// assert_eq!(format!("{secret:?}"), "Secret(…)");
/// assert!(secret == Secret::new(*secret));
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// The secret with these bytes. The copy given here is wiped; other copies are the caller's to wipe.
    #[must_use]
    pub fn new(mut bytes: [u8; 32]) -> Self {
        let secret = Self(Zeroizing::new(bytes));
        bytes.zeroize();
        secret
    }

    /// Takes the secret away and leaves zeros.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self(Zeroizing::new([0; 32])))
    }
}

/// The bytes. What is copied out of here is not wiped.
impl Deref for Secret {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
