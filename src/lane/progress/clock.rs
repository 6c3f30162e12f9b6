//! Says when a lane is to look after its progress. In: whether the lane has anything to write. Out: ticks, a few a second while it has and
//! one every so often while it has not, because ten thousand idle lanes must not keep a machine awake.

use std::pin::Pin;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep_until;

/// A lane's clock.
#[derive(Debug)]
pub struct Clock {
    sleep: Pin<Box<Sleep>>,
    /// The next tick is that of a lane that has nothing to write.
    is_idle: bool,
    slot: u8,
}

/// How often a busy lane writes its cursor. Events that were acknowledged since may be delivered twice after a crash.
pub(super) const CHECKPOINT: Duration = Duration::from_millis(500);
/// How often an idle lane looks whether the log has gone on without it, and closes connections that nobody uses.
const IDLE: Duration = Duration::from_secs(15);
/// At how many different moments of a period the lanes' clocks tick, however many lanes there are.
const SLOTS: u8 = 8;

impl Clock {
    /// Ticks when a checkpoint may be due. Many lanes share a moment, so that they do not keep an idle machine awake; not all lanes do, so
    /// that live events need not wait until all of them have written.
    pub(super) fn new() -> Clock {
        let slot = rand::random::<u8>() % SLOTS;
        Clock { sleep: Box::pin(sleep_until(next(CHECKPOINT, slot))), is_idle: false, slot }
    }

    /// Waits for the next tick. `is_busy` says whether the lane has anything to write. Dropping the future loses nothing.
    pub async fn tick(&mut self, is_busy: bool) {
        if self.is_idle && is_busy {
            self.is_idle = false;
            self.sleep.as_mut().reset(next(CHECKPOINT, self.slot));
        }
        self.sleep.as_mut().await;
        self.is_idle = !is_busy;
        self.sleep.as_mut().reset(next(if is_busy { CHECKPOINT } else { IDLE }, self.slot));
    }
}

/// Returns the next moment of this slot of the period.
fn next(period: Duration, slot: u8) -> Instant {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let (period, slot) = (period.as_micros(), u128::from(slot));
    let wait = (period + slot * (period / u128::from(SLOTS)) - since_epoch % period) % period;
    // Now would be the tick that has just been.
    let wait = if wait == 0 { period } else { wait };
    Instant::now() + Duration::from_micros(u64::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_moment_is_within_a_period_and_lanes_of_one_slot_share_it() {
        for slot in 0..SLOTS {
            let now = Instant::now();
            let (one, other) = (next(CHECKPOINT, slot), next(CHECKPOINT, slot));

            assert!(one > now && one <= Instant::now() + CHECKPOINT);
            let apart = other.saturating_duration_since(one);
            assert!(apart < Duration::from_millis(5) || apart > CHECKPOINT / 2, "{apart:?}");
        }
    }

    #[tokio::test]
    async fn an_idle_lane_that_has_something_to_write_need_not_wait_for_its_next_idle_tick() {
        let mut clock = Clock::new();
        clock.tick(false).await;
        let idle_until = clock.sleep.deadline();

        // The lane looks at its clock again after each thing that happens.
        drop(tokio::time::timeout(Duration::ZERO, clock.tick(true)).await);

        assert!(clock.sleep.deadline() <= Instant::now() + CHECKPOINT);
        assert!(clock.sleep.deadline() < idle_until || idle_until <= Instant::now() + CHECKPOINT);
    }
}
