//! A token bucket as one moment in time.
//!
//! The generic cell rate algorithm of ITU-T I.371 keeps no level: it keeps the moment at which the bucket will be
//! full again. Taking something moves that moment on; there is enough in the bucket as long as the moment is no
//! further away than filling the whole bucket takes. All of it is whole nanoseconds, so nothing drifts.

use std::time::Duration;

use tokio::time::Instant;

use crate::resilience::NEVER;

/// So many in a span of time, and so many at once.
///
/// # Examples
/// ```
/// use agentkit_core::resilience::Rate;
///
/// let rate = Rate::per_minute(60).burst(10);
/// assert_eq!((rate.amount, rate.burst), (60, 10));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// How many there may be in `per` in the long run; 0 counts as 1.
    pub amount: u32,
    /// The span of time.
    pub per: Duration,
    /// How many there may be at once after a pause; 0 counts as 1.
    pub burst: u32,
}

impl Rate {
    /// So many in a second, and as many at once.
    #[must_use]
    pub fn per_second(amount: u32) -> Self {
        Self { amount, per: Duration::from_secs(1), burst: amount }
    }

    /// So many in a minute, and as many at once.
    #[must_use]
    pub fn per_minute(amount: u32) -> Self {
        Self { amount, per: Duration::from_secs(60), burst: amount }
    }

    /// Allows so many at once.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    interval: Duration,
    size: Duration,
    full_at: Instant,
}

impl Bucket {
    /// A bucket that is full.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        // Rounded up, so that the rate is not exceeded by rounding.
        let nanos = rate.per.as_nanos().div_ceil(u128::from(rate.amount.max(1)));
        let interval = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(NEVER);
        let size = interval.saturating_mul(rate.burst.max(1)).min(NEVER);
        Self { interval, size, full_at: now }
    }

    /// How long until `amount` can be taken; more than the bucket holds can be taken when it is full.
    pub(super) fn wait(&self, amount: u64, now: Instant) -> Duration {
        let cost = self.cost(amount).min(self.size);
        (self.full_at.max(now) + cost).saturating_duration_since(now + self.size)
    }

    /// How long until each of `calls` that take one can have taken it, if nobody else takes anything.
    pub(super) fn wait_in_line(&self, calls: usize, now: Instant) -> Duration {
        let cost = self.cost(calls as u64);
        (self.full_at.max(now) + cost).saturating_duration_since(now + self.size)
    }

    /// Takes `amount`, even if it is not there: then all wait until it would have been.
    pub(super) fn take(&mut self, amount: u64, now: Instant) {
        let full_at = self.full_at.max(now) + self.cost(amount);
        self.full_at = full_at.min(now + NEVER);
    }

    /// How many are in the bucket.
    pub(super) fn available(&self, now: Instant) -> u64 {
        let level = self.size.saturating_sub(self.full_in(now));
        u64::try_from(level.as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    /// How long until the bucket is full, if nobody takes anything.
    pub(super) fn full_in(&self, now: Instant) -> Duration {
        self.full_at.saturating_duration_since(now)
    }

    fn cost(&self, amount: u64) -> Duration {
        self.interval.saturating_mul(u32::try_from(amount).unwrap_or(u32::MAX)).min(NEVER)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_of_time_ever_gets_more_than_the_burst_and_the_rate(
            amount in 1_u32..50, per in 1_u64..5_000, burst in 1_u32..20,
            steps in proptest::collection::vec((0_u64..400, 1_u64..20), 1..60),
        ) {
            let rate = Rate { amount, per: Duration::from_millis(per), burst };
            let begin = Instant::now();
            let (mut now, mut bucket) = (begin, Bucket::new(rate, begin));
            let mut granted: Vec<(Duration, u64)> = Vec::new();
            for (pause, wanted) in steps {
                now += Duration::from_millis(pause);
                let wanted = wanted.min(u64::from(burst));
                if bucket.wait(wanted, now).is_zero() {
                    bucket.take(wanted, now);
                    granted.push((now - begin, wanted));
                }
            }
            for (first, (start, _)) in granted.iter().enumerate() {
                let mut total = 0_u128;
                for (end, got) in &granted[first..] {
                    total += u128::from(*got);
                    let window = end.saturating_sub(*start);
                    let refilled = window.as_nanos() * u128::from(amount) / rate.per.as_nanos();
                    prop_assert!(total <= u128::from(burst) + refilled, "{total} in {window:?}");
                }
            }
        }

        #[test]
        fn the_wait_is_enough_and_not_more_than_enough(
            amount in 1_u32..50, burst in 1_u32..20, taken in 0_u64..100, wanted in 1_u64..100,
        ) {
            let now = Instant::now();
            let mut bucket = Bucket::new(Rate::per_second(amount).burst(burst), now);
            bucket.take(taken, now);
            let wait = bucket.wait(wanted, now);
            prop_assert!(bucket.wait(wanted, now + wait).is_zero());
            if let Some(less) = wait.checked_sub(Duration::from_nanos(1)) {
                prop_assert!(!bucket.wait(wanted, now + less).is_zero());
            }
        }

        #[test]
        fn no_rate_and_no_amount_is_too_large(amount: u32, per: u64, burst: u32, taken: u64, wanted: u64) {
            let now = Instant::now();
            let mut bucket = Bucket::new(Rate { amount, per: Duration::from_secs(per), burst }, now);
            bucket.take(taken, now);
            bucket.take(taken, now);
            prop_assert!(bucket.wait(wanted, now) <= NEVER);
        }
    }
}
