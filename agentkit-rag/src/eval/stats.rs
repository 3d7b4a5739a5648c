//! How far a mean can be trusted, and whether one run is better than another.

use agentkit_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Differences of means closer than this are the same: sums in another order.
const ROUNDING: f64 = 1e-12;

/// Statistics by drawing again from what was measured, the same for the same seed.
///
/// # Examples
/// ```
/// use agentkit_rag::eval::Resampling;
///
/// let (ours, theirs) = ([0.9, 0.8, 1.0, 0.7, 0.9, 1.0], [0.5, 0.4, 0.9, 0.3, 0.6, 0.8]);
/// let resampling = Resampling::default();
/// let interval = resampling.interval(&ours);
/// assert!(interval.low < interval.mean && interval.mean < interval.high);
/// let test = resampling.paired(&ours, &theirs).unwrap();
/// // Six wins of six: only 2 of the 64 ways to swap the pairs are as far apart.
/// assert_eq!((test.better, test.worse, test.p), (6, 0, 2.0 / 64.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Resampling {
    /// Where chance begins.
    pub seed: u64,
    /// How often is drawn.
    pub rounds: u32,
    /// Share of the means that an interval covers, between 0 and 1.
    pub level: f64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self { seed: 42, rounds: 10_000, level: 0.95 }
    }
}

/// A mean or a rate with the interval that covers most of what it could have been on other queries of the kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean, or the rate.
    pub mean: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// What two runs over the same queries say about each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PairedTest {
    /// By how much the first is better in the mean, with its interval.
    pub difference: Interval,
    /// How probable a difference at least as large would be, in either direction, if the runs were equally good.
    pub p: f64,
    /// Queries on which the first is better.
    pub better: usize,
    /// Queries on which the first is worse.
    pub worse: usize,
}

impl Resampling {
    /// Chance begins here; 42 by default.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Draws so often, at least once; 10,000 times by default.
    #[must_use]
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds.max(1);
        self
    }

    /// The mean of `values` and its percentile interval by the bootstrap (Efron and Tibshirani 1993; for retrieval
    /// Sakai, SIGIR 2006). Zeros for no values.
    #[must_use]
    pub fn interval(&self, values: &[f64]) -> Interval {
        let counted: Vec<(f64, f64)> = values.iter().map(|value| (*value, 1.0)).collect();
        self.ratio(&counted)
    }

    /// The sum of the first of each pair over the sum of the second, and its interval by drawing whole pairs: a rate over groups
    /// of unequal size, such as dialogs and their words. Zeros for no pairs, and 0 where nothing is to be divided by.
    ///
    /// # Examples
    /// ```
    /// use agentkit_rag::eval::Resampling;
    ///
    /// let hits_of_words = [(1.0, 2.0), (3.0, 4.0), (0.0, 2.0)];
    /// let rate = Resampling::default().ratio(&hits_of_words);
    /// assert_eq!(rate.mean, 0.5);
    /// assert!(rate.low < 0.5 && 0.5 < rate.high);
    /// ```
    #[must_use]
    pub fn ratio(&self, pairs: &[(f64, f64)]) -> Interval {
        if pairs.is_empty() {
            return Interval::default();
        }
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut draw = || pairs.get(random.usize(..pairs.len())).copied().unwrap_or_default();
        let mut ratios: Vec<f64> =
            (0..self.rounds).map(|_| ratio_of_sums((0..pairs.len()).map(|_| draw()))).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let outside = (1.0 - self.level.clamp(0.0, 1.0)) / 2.0;
        Interval {
            mean: ratio_of_sums(pairs.iter().copied()),
            low: quantile(&ratios, outside),
            high: quantile(&ratios, 1.0 - outside),
        }
    }

    /// Compares paired values by Fisher's randomisation test, two-sided on the difference of means (Smucker, Allan
    /// and Carterette, CIKM 2007): if both runs were equally good, the values of each pair could as well be swapped.
    ///
    /// Few pairs are swapped in every way there is; else `rounds` ways are drawn, and the observed one counts as drawn
    /// (Phipson and Smyth 2010), so that `p` is never 0.
    ///
    /// # Errors
    /// Invalid input, if the lengths differ.
    pub fn paired(&self, values: &[f64], baseline: &[f64]) -> Result<PairedTest> {
        if values.len() != baseline.len() {
            return Err(Error::invalid_input(format!(
                "compare {} values with {}; they must be pairs",
                values.len(),
                baseline.len()
            )));
        }
        let differences: Vec<f64> = values.iter().zip(baseline).map(|(a, b)| a - b).collect();
        Ok(PairedTest {
            difference: self.interval(&differences),
            p: self.randomised(&differences),
            better: differences.iter().filter(|difference| **difference > ROUNDING).count(),
            worse: differences.iter().filter(|difference| **difference < -ROUNDING).count(),
        })
    }

    fn randomised(&self, differences: &[f64]) -> f64 {
        // Swapping equal values changes nothing.
        let differences: Vec<f64> = differences.iter().copied().filter(|d| d.abs() > ROUNDING).collect();
        let observed = differences.iter().sum::<f64>().abs() - ROUNDING;
        let ways = u32::try_from(differences.len()).ok().and_then(|pairs| 1_u32.checked_shl(pairs));
        if let Some(ways) = ways.filter(|ways| *ways <= self.rounds.max(2)) {
            let swapped = |way| signed_sum(&differences, |pair| way >> pair & 1 == 1).abs();
            return share((0..ways).filter(|way| swapped(*way) >= observed).count(), ways);
        }
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut swapped = || signed_sum(&differences, |_| random.bool()).abs();
        share((0..self.rounds).filter(|_| swapped() >= observed).count() + 1, self.rounds.saturating_add(1))
    }
}

/// The sum with the sign of some turned.
fn signed_sum(differences: &[f64], mut turned: impl FnMut(usize) -> bool) -> f64 {
    differences.iter().enumerate().map(|(pair, d)| if turned(pair) { -d } else { *d }).sum()
}

fn ratio_of_sums(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (part, whole) = pairs.fold((0.0, 0.0), |(part, whole), pair| (part + pair.0, whole + pair.1));
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[expect(clippy::cast_precision_loss, reason = "rounds are at most 2^32")]
fn share(part: usize, whole: u32) -> f64 {
    part as f64 / f64::from(whole)
}

/// The value below which this share of the sorted values lies, between neighbours in proportion.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions lie between 0 and the number of rounds"
)]
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * sorted.len().saturating_sub(1) as f64;
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or_default();
    let (below, above) = (at(position.floor() as usize), at(position.ceil() as usize));
    below + (above - below) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `scipy.stats.permutation_test(permutation_type="samples")`, all ways.
    #[test]
    fn few_pairs_are_swapped_in_every_way() {
        let ours = [0.61, 0.55, 0.90, 0.32, 0.78, 0.44, 0.83, 0.50];
        let theirs = [0.58, 0.60, 0.71, 0.30, 0.66, 0.45, 0.70, 0.50];
        let test = Resampling::default().paired(&ours, &theirs).unwrap();
        assert!((test.p - 0.156_25).abs() < 1e-12, "{test:?}");
        assert_eq!((test.better, test.worse), (5, 2));
        let turned = Resampling::default().paired(&theirs, &ours).unwrap();
        assert!(
            (turned.p - test.p).abs() < 1e-12
                && (turned.difference.mean + test.difference.mean).abs() < 1e-12
        );
    }

    #[test]
    fn the_same_run_twice_is_never_better() {
        let values: Vec<f64> = (0..50).map(|n| f64::from(n) / 50.0).collect();
        let test = Resampling::default().paired(&values, &values).unwrap();
        assert!((test.p - 1.0).abs() < 1e-12, "{test:?}");
        assert_eq!((test.better, test.worse, test.difference), (0, 0, Interval::default()));
        assert!(Resampling::default().paired(&values, &values[1..]).unwrap_err().is_invalid_input());
    }

    #[test]
    fn the_interval_is_the_same_for_the_same_seed_and_narrows_with_more_values() {
        let values = |count: u32| -> Vec<f64> { (0..count).map(|n| f64::from(n % 10) / 10.0).collect() };
        let resampling = Resampling::default();
        let (few, many) = (resampling.interval(&values(40)), resampling.interval(&values(4000)));
        assert_eq!(few, resampling.interval(&values(40)));
        assert_ne!(few, resampling.seed(7).interval(&values(40)));
        // The standard deviation of the values is 0.2872; a mean of n has that over the root of n.
        let half_width = 1.96 * 0.2872 / 40_f64.sqrt();
        assert!((few.high - few.mean - half_width).abs() < 0.05 * half_width, "{few:?}");
        assert!(((few.high - few.low) / (many.high - many.low) - 10.0).abs() < 0.5, "{many:?}");
        assert_eq!(resampling.interval(&[]), Interval::default());
        assert_eq!(resampling.ratio(&[(1.0, 0.0); 3]), Interval::default());
        assert_eq!(resampling.interval(&[0.5; 9]), Interval { mean: 0.5, low: 0.5, high: 0.5 });
    }

    #[test]
    fn many_pairs_are_judged_as_the_normal_approximation_does() {
        // Differences of +0.1 and -0.1; 60 against 40 of 100 is two standard deviations: p = 0.057 by the binomial.
        let ours: Vec<f64> = (0..100).map(|n| if n < 60 { 0.6 } else { 0.4 }).collect();
        let test = Resampling::default().paired(&ours, &[0.5; 100]).unwrap();
        assert!((test.p - 0.0569).abs() < 0.01, "{test:?}");
        assert!(test.difference.low < 0.0005 && test.difference.high > 0.035, "{test:?}");
    }
}
