//! What the tests of several files need.

use core::time::Duration;

use dunlin_mio::Config;

/// Nothing takes this long.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(600);

/// Settings with which a connection lasts as long as a test, whatever the machine is doing.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.alpns = vec![b"test".to_vec()];
    config.connect_timeout = TOO_LONG;
    config.idle_timeout = Some(TOO_LONG);
    config.keep_alive = Some(Duration::from_millis(20));
    config
}
