//! Engines, as all adapters make them.

use dunlin_core::{Config, EarlyData, Endpoint, Identity, Secret};

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

/// Settings for all engines of a port, which are to know each other's early tokens: draws what those are made with
/// ([`Config::early_secret`]) where it is needed and not there. To be called at every start, for all of them at once.
///
/// # Errors
/// The system's random generator does not answer.
pub fn settings_of_a_port(mut config: Config) -> Result<Config, getrandom::Error> {
    if config.early_data != EarlyData::Hold && config.early_secret.is_none() {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        config.early_secret = Some(Secret::new(secret));
    }
    Ok(config)
}
