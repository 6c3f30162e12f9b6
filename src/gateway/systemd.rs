//! What systemd is told: ready, still alive, stopping. Without systemd nothing happens.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;

/// The gateway delivers.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The gateway is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog for as long as the tail turns: a gateway that answers but does not read is to be restarted.
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
        tracing::debug!(error = %error, "systemd does not listen");
    }
}
