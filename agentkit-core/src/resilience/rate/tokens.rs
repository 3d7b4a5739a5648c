//! A token bucket on its own, for those who refuse instead of waiting.

use std::time::Duration;

use tokio::time::Instant;

use super::bucket::{Bucket, Rate};

/// Counts what was taken against a [`Rate`], and says what may be taken now and when there is more.
///
/// # Examples
/// ```
/// use agentkit_core::resilience::{Rate, TokenBucket};
///
/// let mut requests = TokenBucket::new(Rate::per_minute(60).burst(2));
/// assert!(requests.wait(1).is_zero());
/// requests.take(2);
/// assert_eq!(requests.available(), 0);
/// assert!(requests.wait(1).as_secs_f64() > 0.9);
/// ```
#[derive(Debug)]
pub struct TokenBucket {
    bucket: Bucket,
    rate: Rate,
}

impl TokenBucket {
    /// A bucket that is full.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { bucket: Bucket::new(rate, Instant::now()), rate }
    }

    /// The rate it keeps.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// How long until `amount` can be taken; more than the bucket holds can be taken when it is full.
    #[must_use]
    pub fn wait(&self, amount: u64) -> Duration {
        self.bucket.wait(amount, Instant::now())
    }

    /// Takes `amount`, even if it is not there: then everybody waits until it would have been.
    pub fn take(&mut self, amount: u64) {
        self.bucket.take(amount, Instant::now());
    }

    /// How many can be taken now.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.bucket.available(Instant::now())
    }

    /// How long until it is full, if nobody takes anything.
    #[must_use]
    pub fn full_in(&self) -> Duration {
        self.bucket.full_in(Instant::now())
    }
}
