//! Why a hit was found: how its score came about, so that it can be computed again.

use serde::{Deserialize, Serialize};

use super::plan::{Fusion, Scale};

/// How a hit's score came about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What each leg of the search thought of this chunk; a leg that did not find it is absent.
    pub legs: Vec<LegExplanation>,
    /// How the legs were combined, if there were several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fusion: Option<Fusion>,
    /// The reranker's score, if one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranked: Option<f32>,
    /// What each of several queries for one question thought of this chunk; the score is the sum of their
    /// contributions, and `legs` and `fusion` are those of the query that contributed most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<QueryExplanation>,
    /// The whole computation; absent if the retriever does not give it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derivation: Option<Derivation>,
}

impl Explanation {
    /// Explains a score by its legs.
    #[must_use]
    pub fn new(legs: Vec<LegExplanation>, fusion: Option<Fusion>) -> Self {
        Self { legs, fusion, ..Self::default() }
    }

    /// Explains a score by its legs and its whole computation.
    #[must_use]
    pub fn derived(legs: Vec<LegExplanation>, derivation: Derivation) -> Self {
        let (fusion, reranked) = (derivation.fusion(), derivation.reranked());
        Self { legs, fusion, reranked, derivation: Some(derivation), ..Self::default() }
    }

    /// The score computed again; `None` if the retriever did not say how.
    #[must_use]
    pub fn recomputed(&self) -> Option<f32> {
        self.derivation.as_ref().map(Derivation::value)
    }
}

/// One leg's view of a hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegExplanation {
    /// Which leg.
    pub leg: Leg,
    /// The chunk's rank in the leg, counted from 1.
    pub rank: usize,
    /// The leg's own score: cosine for dense, BM25 for lexical.
    pub score: f32,
    /// What the leg added to the final score.
    pub contribution: f32,
}

/// The view that one of several queries for a question has of a hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryExplanation {
    /// What was searched for.
    pub query: String,
    /// The chunk's rank for this query, counted from 1.
    pub rank: usize,
    /// Its score for this query.
    pub score: f32,
    /// What the query added to the final score.
    pub contribution: f32,
}

/// A way of finding chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Leg {
    /// By the meaning of the text: nearest vectors.
    Dense,
    /// By the words of the text: BM25.
    Lexical,
}

/// The computation of a score, as a tree like the plan's: [`Derivation::value`] carries it out again.
///
/// # Examples
/// ```
/// use agentkit_core::{Derivation, FusedPart, Fusion, Leg};
///
/// let found = Derivation::Found { leg: Leg::Lexical, rank: 2, score: 7.5 };
/// let part = FusedPart { input: 0, rank: 2, weight: 1.0, scale: None, from: found };
/// let fused = Derivation::Fused { method: Fusion::Rrf { k: 60.0 }, parts: vec![part] };
/// assert_eq!(fused.value(), 1.0 / 62.0);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Derivation {
    /// A leg found it.
    Found {
        /// Which leg.
        leg: Leg,
        /// Its rank there, counted from 1.
        rank: usize,
        /// Its score there.
        score: f32,
    },
    /// A retriever gave the score without saying how.
    Given {
        /// The retriever's name.
        by: String,
        /// Its rank there, counted from 1.
        rank: usize,
        /// Its score there.
        score: f32,
    },
    /// The sum of the parts.
    Fused {
        /// How shares are made.
        method: Fusion,
        /// The inputs that found it.
        parts: Vec<FusedPart>,
    },
    /// A reranker gave the score.
    Reranked {
        /// The reranker's name.
        reranker: String,
        /// Its score.
        score: f32,
        /// What it was before.
        from: Box<Derivation>,
    },
    /// `lambda * relevance - (1 - lambda) * likeness`.
    Diversified {
        /// How much relevance counts.
        lambda: f32,
        /// How the score before becomes the relevance.
        scale: Scale,
        /// How like it is to the one most like it among those before it, 0 to 1.
        likeness: f32,
        /// What it was before.
        from: Box<Derivation>,
    },
}

/// What one input of a fusion adds: its weight times the share of the hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FusedPart {
    /// Which input, counted from 0.
    pub input: usize,
    /// The hit's rank in it, counted from 1.
    pub rank: usize,
    /// How much the input counts.
    pub weight: f32,
    /// How its scores become shares; absent where ranks do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// The hit's score in the input.
    pub from: Derivation,
}

impl FusedPart {
    /// What the input adds.
    #[must_use]
    pub fn value(&self, method: Fusion) -> f32 {
        self.weight * method.share(self.rank, self.from.value(), self.scale)
    }
}

impl Derivation {
    /// The score that comes out.
    #[must_use]
    pub fn value(&self) -> f32 {
        match self {
            Self::Found { score, .. } | Self::Given { score, .. } | Self::Reranked { score, .. } => *score,
            Self::Fused { method, parts } => parts.iter().map(|part| part.value(*method)).sum(),
            Self::Diversified { lambda, scale, likeness, from } => {
                marginal(*lambda, scale.share(from.value()), *likeness)
            }
        }
    }

    /// How the hit was combined last, if it was.
    fn fusion(&self) -> Option<Fusion> {
        match self {
            Self::Found { .. } | Self::Given { .. } => None,
            Self::Fused { method, .. } => Some(*method),
            Self::Reranked { from, .. } | Self::Diversified { from, .. } => from.fusion(),
        }
    }

    /// The score of the last reranker, if there was one.
    fn reranked(&self) -> Option<f32> {
        match self {
            Self::Reranked { score, .. } => Some(*score),
            Self::Diversified { from, .. } => from.reranked(),
            Self::Found { .. } | Self::Given { .. } | Self::Fused { .. } => None,
        }
    }
}

/// Maximal marginal relevance.
pub(super) fn marginal(lambda: f32, relevance: f32, likeness: f32) -> f32 {
    lambda * relevance - (1.0 - lambda) * likeness
}
