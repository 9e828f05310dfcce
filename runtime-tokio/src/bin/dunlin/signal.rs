//! Being stopped by the user or the system.

/// Waits until the program is asked to stop (Ctrl-C, or SIGTERM where there is such a thing).
pub(crate) async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a way to hear of it, the system stops the program itself.
        core::future::pending::<()>().await;
    }
}
