//! Engines, as all adapters make them.

use dunlin_core::{Config, Endpoint, Identity};

use crate::transports::Transports;

use super::hardware::has_aes;

/// An engine with a fresh seed. What [`Config::aes_hardware`] says is completed by what this machine's processor says, and
/// [`Config::transports`] by the profiles of these.
///
/// # Errors
/// The system's random generator does not answer.
pub fn engine(
    mut config: Config,
    identity: Identity,
    transports: &Transports,
) -> Result<Endpoint, getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    config.aes_hardware |= has_aes();
    config.transports.extend(transports.profiles());
    Ok(Endpoint::new(config, identity, seed))
}
