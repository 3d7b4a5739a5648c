//! How long to wait between two tries: exponentially longer, and never in step with others.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Doublings after which any wait has reached its cap.
const MAX_DOUBLINGS: u32 = 31;

/// The longest wait before try `tried + 1`: `base`, doubled with every try, never more than `cap`.
pub(super) fn bound(base: Duration, cap: Duration, tried: u32) -> Duration {
    let doublings = tried.saturating_sub(1).min(MAX_DOUBLINGS);
    base.saturating_mul(1 << doublings).min(cap)
}

/// A source of chance that a seed makes repeatable: `SplitMix64` of Steele, Lea and Flood (OOPSLA 2014).
#[derive(Debug)]
pub(super) struct Jitter(AtomicU64);

impl Jitter {
    /// Draws the same numbers for the same seed; without one, others in every process.
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self(AtomicU64::new(seed.unwrap_or_else(|| RandomState::new().build_hasher().finish())))
    }

    /// A wait of at most `bound`, every one as likely ("full jitter").
    pub(super) fn within(&self, bound: Duration) -> Duration {
        bound.mul_f64(self.fraction())
    }

    /// A number from 0 to 1, without 1.
    fn fraction(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "32 bits fit")]
        let high = (self.draw() >> 32) as f64;
        high / (f64::from(u32::MAX) + 1.0)
    }

    fn draw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        let jitter = Jitter::new(Some(1_234_567));
        let first = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([jitter.draw(), jitter.draw(), jitter.draw()], first);
    }

    proptest! {
        #[test]
        fn waits_grow_up_to_the_cap_and_jitter_stays_within_them(
            base in 0_u64..10_000, cap in 0_u64..1_000_000, tried in 0_u32..200, seed: u64,
        ) {
            let (base, cap) = (Duration::from_millis(base), Duration::from_millis(cap));
            let (now, next) = (bound(base, cap, tried), bound(base, cap, tried + 1));
            prop_assert!(now <= next && next <= cap);
            prop_assert!(tried > 1 || now == base.min(cap));
            let jitter = Jitter::new(Some(seed));
            for _ in 0..20 {
                prop_assert!(jitter.within(now) <= now);
            }
        }

        #[test]
        fn a_seed_makes_the_waits_repeatable(seed: u64) {
            let waits = |seed| {
                let jitter = Jitter::new(Some(seed));
                (0..8).map(|_| jitter.within(Duration::from_secs(1))).collect::<Vec<_>>()
            };
            prop_assert_eq!(waits(seed), waits(seed));
            prop_assert_ne!(waits(seed), waits(seed.wrapping_add(1)));
        }
    }
}
