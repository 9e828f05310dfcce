//! `keygen` and `key`.

use crate::args::{KeyArgs, KeygenArgs};
use crate::failure::Failure;
use crate::folder::Existing;
use crate::keyfile;

/// Makes a key file and prints its public key.
pub(crate) fn keygen(args: &KeygenArgs) -> Result<(), Failure> {
    let secret = match &args.seed {
        Some(seed) => {
            eprintln!(
                "dunlin: warning: whoever knows or guesses this seed has the key, and every user of this machine sees it with `ps`; for a key of your own leave --seed out"
            );
            keyfile::secret_from_seed(seed)
        }
        None => keyfile::random_secret()?,
    };
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let identity = keyfile::write(&args.out, &secret, existing)?;
    println!("{}", identity.public());
    Ok(())
}

/// Prints the public key of a key file.
pub(crate) fn key(args: &KeyArgs) -> Result<(), Failure> {
    println!("{}", keyfile::read(&args.file)?.public());
    Ok(())
}
