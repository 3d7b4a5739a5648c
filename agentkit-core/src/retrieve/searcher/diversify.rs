//! Maximal marginal relevance over the words of passages.

use std::collections::BTreeSet;

use super::found::Found;
use crate::id::ChunkId;
use crate::retrieve::explain::{Derivation, marginal};
use crate::retrieve::plan::{InputRange, Scale};
use crate::retrieve::ranking::Ranked;

/// Puts each next what is most relevant and least like what is there already. Scores never rise along the way, because
/// likeness only grows.
pub(super) fn diversify(mut found: Found, lambda: f32) -> Found {
    let mut left = std::mem::take(&mut found.ranking.entries);
    let words: Vec<BTreeSet<String>> = left.iter().map(|entry| words(&found, &entry.key)).collect();
    let mut left: Vec<Candidate> =
        left.drain(..).zip(words).map(|(entry, words)| Candidate { entry, words, likeness: 0.0 }).collect();
    let scale = scale(&left);
    while let Some(best) = best(&left, lambda, scale) {
        let mut chosen = left.swap_remove(best);
        for other in &mut left {
            other.likeness = other.likeness.max(jaccard(&chosen.words, &other.words));
        }
        let (score, likeness) = (chosen.value(lambda, scale), chosen.likeness);
        chosen.entry.derive(score, |from| Derivation::Diversified { lambda, scale, likeness, from });
        found.ranking.entries.push(chosen.entry);
    }
    found.ranking.range = InputRange { lowest: lambda - 1.0, is_cut: true, trust: 1.0 };
    found
}

struct Candidate {
    entry: Ranked<ChunkId>,
    words: BTreeSet<String>,
    /// To the one most like it among those chosen.
    likeness: f32,
}

impl Candidate {
    fn value(&self, lambda: f32, scale: Scale) -> f32 {
        marginal(lambda, scale.share(self.entry.score), self.likeness)
    }
}

/// The best score is relevance 1, the lowest 0.
fn scale(candidates: &[Candidate]) -> Scale {
    let scores = || candidates.iter().map(|candidate| candidate.entry.score);
    let (lowest, best) = (scores().fold(f32::INFINITY, f32::min), scores().fold(f32::NEG_INFINITY, f32::max));
    if best > lowest {
        Scale { zero: lowest, span: best - lowest }
    } else {
        Scale { zero: best - 1.0, span: 1.0 }
    }
}

/// Where the next one stands; of equals the one with the lower id.
fn best(left: &[Candidate], lambda: f32, scale: Scale) -> Option<usize> {
    let order = |a: &Candidate, b: &Candidate| {
        let values = a.value(lambda, scale).total_cmp(&b.value(lambda, scale));
        values.then_with(|| b.entry.key.cmp(&a.entry.key))
    };
    left.iter().enumerate().max_by(|(_, a), (_, b)| order(a, b)).map(|(at, _)| at)
}

/// The words of a passage; those of scripts without spaces are their letters.
fn words(found: &Found, key: &ChunkId) -> BTreeSet<String> {
    let text = found.hits.get(key).map(|hit| hit.passage.text.to_lowercase()).unwrap_or_default();
    let mut words = BTreeSet::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if word.chars().any(|c| c >= '\u{2e80}') {
            words.extend(word.chars().map(String::from));
        } else {
            words.insert(word.to_owned());
        }
    }
    words
}

#[expect(clippy::cast_precision_loss, reason = "passages have thousands of words, not millions")]
fn jaccard(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f32 {
    let shared = a.intersection(b).count();
    let all = a.len() + b.len() - shared;
    if all == 0 { 0.0 } else { shared as f32 / all as f32 }
}
