//! Plans made by methods: the usual ones, and nodes put on top of a plan.

use super::{Boosts, CANDIDATES, DIVERSIFIED, Expansion, Fusion, Matching, RERANKED, SearchPlan};
use crate::retrieve::filter::Filter;

/// How much the dense and the lexical leg count in the default plan; see `docs/adr/0033-familiar-words.md`.
const HYBRID: [f32; 2] = [0.85, 0.15];

impl SearchPlan {
    /// Nearest vectors only.
    #[must_use]
    pub fn dense() -> Self {
        Self::Dense { candidates: CANDIDATES, exact: false }
    }

    /// Nearest vectors only, and exactly those: nothing is approximated.
    ///
    /// # Examples
    /// ```
    /// use agentkit_core::SearchPlan;
    ///
    /// let plan: SearchPlan = serde_json::from_str(r#"{"dense": {"exact": true}}"#).unwrap();
    /// assert_eq!(plan, SearchPlan::dense_exact());
    /// ```
    #[must_use]
    pub fn dense_exact() -> Self {
        Self::Dense { candidates: CANDIDATES, exact: true }
    }

    /// BM25 only.
    #[must_use]
    pub fn lexical() -> Self {
        Self::matching(Matching::Terms)
    }

    /// BM25 only, of passages that match the query in this way.
    #[must_use]
    pub fn matching(matching: Matching) -> Self {
        Self::Lexical { candidates: CANDIDATES, matching, boosts: Boosts::default() }
    }

    /// Both legs, fused by relative scores: the leg that tells passages apart decides, and vectors count as much as the model
    /// knows the question's words.
    #[must_use]
    pub fn hybrid() -> Self {
        Self::Fuse {
            method: Fusion::Relative,
            weights: HYBRID.to_vec(),
            inputs: vec![Self::dense(), Self::lexical()],
        }
    }

    /// Both legs, fused by reciprocal rank.
    #[must_use]
    pub fn rrf() -> Self {
        Self::fuse(Fusion::default(), [Self::dense(), Self::lexical()])
    }

    /// What the retriever of this name finds.
    #[must_use]
    pub fn custom(name: impl Into<String>) -> Self {
        Self::Custom { name: name.into(), candidates: CANDIDATES }
    }

    /// Several plans combined, all counting the same.
    #[must_use]
    pub fn fuse(method: Fusion, inputs: impl IntoIterator<Item = SearchPlan>) -> Self {
        Self::Fuse { method, weights: Vec::new(), inputs: inputs.into_iter().collect() }
    }

    /// Takes this many candidates in every leg, and in every retriever of one's own.
    #[must_use]
    pub fn candidates(mut self, most: usize) -> Self {
        match &mut self {
            Self::Dense { candidates, .. }
            | Self::Lexical { candidates, .. }
            | Self::Custom { candidates, .. } => *candidates = most,
            Self::Fuse { inputs, .. } => {
                *inputs = std::mem::take(inputs).into_iter().map(|input| input.candidates(most)).collect();
            }
            Self::Filter { input, .. }
            | Self::Rerank { input, .. }
            | Self::Diversify { input, .. }
            | Self::Expand { input, .. }
            | Self::Threshold { input, .. }
            | Self::Limit { input, .. } => **input = std::mem::take(&mut **input).candidates(most),
        }
        self
    }

    /// Finds only what matches.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self::Filter { filter, input: Box::new(self) }
    }

    /// Puts the best thirty in the order of the reranker of this name.
    #[must_use]
    pub fn rerank(self, reranker: impl Into<String>) -> Self {
        Self::Rerank { reranker: reranker.into(), candidates: RERANKED, input: Box::new(self) }
    }

    /// Chooses among the best fifty so that they do not repeat each other; `lambda` is how much relevance counts, 0 to 1.
    #[must_use]
    pub fn diversify(self, lambda: f32) -> Self {
        Self::Diversify { lambda, candidates: DIVERSIFIED, input: Box::new(self) }
    }

    /// Widens the passages.
    #[must_use]
    pub fn expand(self, to: Expansion) -> Self {
        Self::Expand { to, input: Box::new(self) }
    }

    /// Drops what scores lower.
    #[must_use]
    pub fn threshold(self, score: f32) -> Self {
        Self::Threshold { score, input: Box::new(self) }
    }

    /// Keeps the best.
    #[must_use]
    pub fn limit(self, hits: usize) -> Self {
        Self::Limit { hits, input: Box::new(self) }
    }
}

impl Default for SearchPlan {
    fn default() -> Self {
        Self::hybrid()
    }
}
