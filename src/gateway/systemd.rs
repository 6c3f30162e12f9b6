//! Tells systemd that the gateway is ready, alive or stopping. Without systemd nothing happens.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;

/// Reports that the gateway delivers.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Reports that the gateway is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog as long as the tail's loop turns, because a gateway that is alive but no longer reads the log should be restarted.
pub(super) async fn feed_watchdog(pulse: &AtomicU64) {
    let Some(period) = watchdog() else { return std::future::pending().await };
    let mut last = None;
    loop {
        let now = pulse.load(Ordering::Relaxed);
        if last != Some(now) {
            tell(&[NotifyState::Watchdog]);
        }
        last = Some(now);
        tokio::time::sleep(period / 3).await;
    }
}

fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(error = %error, "cannot notify systemd");
    }
}
