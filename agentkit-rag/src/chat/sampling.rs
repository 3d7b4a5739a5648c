//! Choosing the next token from what the model says of each.

use agentkit_core::{Error, Result};

/// How tokens are chosen where a request does not say.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Sampling {
    /// 0 takes the likeliest token; larger ones take less likely tokens more often.
    pub temperature: f32,
    /// The likeliest tokens that together have this share of the probability, from 0 to 1, are chosen from.
    pub top_p: f32,
    /// At most this many of the likeliest tokens are chosen from; 0 stands for all.
    pub top_k: usize,
    /// By what the score of a token is divided that the answer has had lately; 1 leaves it.
    pub repetition_penalty: f32,
    /// How many of the answer's last tokens count as lately.
    pub repetition_window: usize,
}

impl Default for Sampling {
    /// Temperature 0.2, top-p 0.9, top-k 40, and a penalty of 1.1 over 64 tokens: small models repeat themselves.
    fn default() -> Self {
        Self { temperature: 0.2, top_p: 0.9, top_k: 40, repetition_penalty: 1.1, repetition_window: 64 }
    }
}

impl Sampling {
    /// The likeliest token each time, whatever came before.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temperature: 0.0, repetition_penalty: 1.0, ..Self::default() }
    }

    /// Sets the temperature.
    #[must_use]
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets top-p.
    #[must_use]
    pub fn top_p(mut self, top_p: f32) -> Self {
        self.top_p = top_p;
        self
    }

    /// Sets top-k.
    #[must_use]
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Sets the penalty for repetition and its window.
    #[must_use]
    pub fn repetition(mut self, penalty: f32, window: usize) -> Self {
        (self.repetition_penalty, self.repetition_window) = (penalty, window);
        self
    }

    /// Refuses numbers that choose nothing.
    pub(super) fn check(&self) -> Result<()> {
        let sane = (0.0..=100.0).contains(&self.temperature)
            && (0.0..=1.0).contains(&self.top_p)
            && (0.1..=10.0).contains(&self.repetition_penalty);
        if sane {
            return Ok(());
        }
        Err(Error::invalid_input(format!(
            "the temperature must be from 0 to 100, top_p from 0 to 1 and the penalty for repetition from 0.1 to 10, \
             got {self:?}"
        )))
    }
}

/// Chooses tokens; the same seed and the same scores give the same tokens.
#[derive(Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    chance: fastrand::Rng,
    /// Candidates and their scores.
    likely: Vec<(u32, f32)>,
}

impl Sampler {
    pub(super) fn new(sampling: Sampling, seed: Option<u64>) -> Self {
        let chance = seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self { sampling, chance, likely: Vec::new() }
    }

    /// Chooses by `scores`, one a token, which it changes; `said` are the tokens of the answer so far.
    ///
    /// # Errors
    /// Corrupt, if no token has a score: the weights are such that the numbers overflow.
    pub(super) fn choose(&mut self, scores: &mut [f32], said: &[u32]) -> Result<u32> {
        self.penalise(scores, said);
        let best = (0_u32..).zip(scores.iter()).filter(|(_, score)| score.is_finite());
        let best =
            best.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).map(|(token, score)| (token, *score));
        let (best, top) = best.ok_or_else(|| Error::corrupt("the model's weights give no token a score"))?;
        if self.sampling.temperature <= 0.0 {
            return Ok(best);
        }
        self.gather(scores, top);
        Ok(self.draw().unwrap_or(best))
    }

    fn penalise(&self, scores: &mut [f32], said: &[u32]) {
        let Sampling { repetition_penalty: penalty, repetition_window: window, .. } = self.sampling;
        if (penalty - 1.0).abs() < f32::EPSILON {
            return;
        }
        let mut lately = said.get(said.len().saturating_sub(window)..).unwrap_or_default().to_vec();
        lately.sort_unstable();
        lately.dedup();
        for token in lately {
            let score = usize::try_from(token).ok().and_then(|token| scores.get_mut(token));
            if let Some(score) = score {
                *score = if *score > 0.0 { *score / penalty } else { *score * penalty };
            }
        }
    }

    /// Collects the tokens to choose from, the likeliest first, with their shares of the best one's probability.
    fn gather(&mut self, scores: &[f32], top: f32) {
        let temperature = self.sampling.temperature;
        // What is further below has less than a millionth of a millionth of the probability.
        let least = top - 30.0 * temperature;
        let near = (0_u32..).zip(scores).filter(|(_, score)| **score >= least);
        self.likely.clear();
        self.likely.extend(near.map(|(token, score)| (token, *score)));
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let most = match self.sampling.top_k {
            0 => self.likely.len(),
            most => most.min(self.likely.len()),
        };
        if most < self.likely.len() {
            self.likely.select_nth_unstable_by(most, order);
            self.likely.truncate(most);
        }
        self.likely.sort_unstable_by(order);
        for (_, score) in &mut self.likely {
            *score = ((*score - top) / temperature).exp();
        }
        let all: f32 = self.likely.iter().map(|(_, share)| share).sum();
        let mut above = 0.0;
        let keep = self.likely.iter().take_while(|(_, share)| {
            let taken = above < self.sampling.top_p * all;
            above += share;
            taken
        });
        let keep = keep.count().max(1);
        self.likely.truncate(keep);
    }

    fn draw(&mut self) -> Option<u32> {
        let all: f32 = self.likely.iter().map(|(_, share)| share).sum();
        let mut left = self.chance.f32() * all;
        for (token, share) in &self.likely {
            left -= share;
            if left < 0.0 {
                return Some(*token);
            }
        }
        self.likely.first().map(|(token, _)| *token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(sampling: Sampling, seed: u64, scores: &[f32], times: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling, Some(seed));
        (0..times).map(|_| sampler.choose(&mut scores.to_vec(), &[]).unwrap()).collect()
    }

    fn plain() -> Sampling {
        Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, repetition_penalty: 1.0, repetition_window: 0 }
    }

    #[test]
    fn without_temperature_the_best_is_taken_and_of_equals_the_first() {
        let scores = [0.0, 3.0, f32::NAN, 3.0, f32::NEG_INFINITY];
        assert_eq!(drawn(Sampling::greedy(), 1, &scores, 3), [1, 1, 1]);
    }

    #[test]
    fn shares_are_those_of_the_softmax() {
        let scores = [2_f32.ln(), 1_f32.ln(), f32::NEG_INFINITY, 5_f32.ln()];
        let drawn = drawn(plain(), 7, &scores, 8000);
        let count = |token| drawn.iter().filter(|drawn| **drawn == token).count();
        for (token, expected) in [(0, 2000_usize), (1, 1000), (2, 0), (3, 5000)] {
            assert!(count(token).abs_diff(expected) <= 250, "{token}: {}", count(token));
        }
    }

    #[test]
    fn the_seed_decides() {
        let scores: Vec<f32> = (0..100_u8).map(|n| f32::from(n) / 50.0).collect();
        assert_eq!(drawn(plain(), 3, &scores, 50), drawn(plain(), 3, &scores, 50));
        assert_ne!(drawn(plain(), 3, &scores, 50), drawn(plain(), 4, &scores, 50));
    }

    #[test]
    fn top_k_and_top_p_cut_off_what_is_less_likely() {
        let scores = [4_f32.ln(), 3_f32.ln(), 2_f32.ln(), 1_f32.ln()];
        let seen = |sampling| {
            let mut seen = drawn(sampling, 5, &scores, 500);
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        assert_eq!(seen(plain().top_k(2)), [0, 1]);
        assert_eq!(seen(plain().top_p(0.75)), [0, 1, 2]);
        assert_eq!(seen(plain().top_p(0.0)), [0]);
        assert_eq!(seen(plain()), [0, 1, 2, 3]);
    }

    #[test]
    fn what_was_said_lately_is_less_likely() {
        let sampling = Sampling::greedy().repetition(2.0, 2);
        let mut sampler = Sampler::new(sampling, Some(0));
        assert_eq!(sampler.choose(&mut [3.0, 2.0, -1.0], &[0]).unwrap(), 1);
        assert_eq!(sampler.choose(&mut [3.0, 2.0, -1.0], &[0, 1, 1]).unwrap(), 0, "too long ago");
        assert_eq!(sampler.choose(&mut [-3.0, -2.0], &[1, 1]).unwrap(), 0);
    }

    #[test]
    fn numbers_that_choose_nothing_are_refused() {
        for bad in [
            plain().temperature(-1.0),
            plain().temperature(f32::NAN),
            plain().top_p(1.5),
            plain().repetition(0.0, 1),
        ] {
            assert!(bad.check().unwrap_err().is_invalid_input());
        }
        assert!(Sampler::new(plain(), None).choose(&mut [f32::NAN], &[]).is_err());
    }
}
