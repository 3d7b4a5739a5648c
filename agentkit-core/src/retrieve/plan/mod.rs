//! How to search: a tree of nodes, the same in Rust and in JSON.

mod build;
mod check;
mod fusion;
mod lexical;

use serde::{Deserialize, Serialize};

pub use self::fusion::{Fusion, InputRange, Scale};
pub use self::lexical::{Boosts, Matching};
use super::filter::Filter;

/// Candidates of each leg before fusion.
const CANDIDATES: usize = 100;
/// Passages a reranker looks at.
const RERANKED: usize = 30;
/// Passages among which diversity is made.
const DIVERSIFIED: usize = 50;
/// How much relevance counts beside novelty.
const LAMBDA: f32 = 0.7;

/// A search as a tree: leaves find passages, the nodes above choose, order or widen them.
///
/// The default is [`SearchPlan::hybrid`]. A plan is made by methods, outermost last, or read from JSON; both are the
/// same tree.
///
/// # Examples
/// ```
/// use agentkit_core::{Filter, SearchPlan};
///
/// let plan = SearchPlan::hybrid().filter(Filter::eq("lang", "en")).diversify(0.7).limit(5);
/// let json = serde_json::to_string(&plan).unwrap();
/// assert_eq!(serde_json::from_str::<SearchPlan>(&json).unwrap(), plan);
///
/// let plan: SearchPlan = serde_json::from_str(
///     r#"{"rerank": {"reranker": "closer look", "input": {"fuse": {"inputs": [{"dense": {}}, {"lexical": {}}]}}}}"#,
/// ).unwrap();
/// assert_eq!(plan, SearchPlan::rrf().rerank("closer look"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SearchPlan {
    /// Nearest vectors by cosine.
    Dense {
        /// How many to take.
        #[serde(default = "candidates")]
        candidates: usize,
        /// Whether they must be the nearest: a retriever that would search approximately looks at all instead, which
        /// takes longer.
        #[serde(default, skip_serializing_if = "is_default")]
        exact: bool,
    },
    /// Best BM25 scores.
    Lexical {
        /// How many to take.
        #[serde(default = "candidates")]
        candidates: usize,
        /// What of a passage counts as a word of the query.
        #[serde(default, skip_serializing_if = "is_default")]
        matching: Matching,
        /// How much words count where they stand.
        #[serde(default, skip_serializing_if = "is_default")]
        boosts: Boosts,
    },
    /// What a retriever of one's own finds, see [`Searcher::retriever`](super::Searcher::retriever).
    Custom {
        /// The name it was given.
        name: String,
        /// How many to take.
        #[serde(default = "candidates")]
        candidates: usize,
    },
    /// Finds only what matches, everywhere below; filters above hold as well.
    Filter {
        /// What must match.
        filter: Filter,
        /// Where it holds.
        input: Box<SearchPlan>,
    },
    /// Several plans' results combined into one ranking.
    Fuse {
        /// How to combine.
        #[serde(default)]
        method: Fusion,
        /// How much each input counts; 1 each if there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weights: Vec<f32>,
        /// What to combine.
        inputs: Vec<SearchPlan>,
    },
    /// The best of `input` in the order of a reranker, see [`Searcher::reranker`](super::Searcher::reranker); the rest is
    /// dropped, as scores of different origin have no order.
    Rerank {
        /// The name it was given.
        reranker: String,
        /// How many it looks at.
        #[serde(default = "reranked")]
        candidates: usize,
        /// What it looks at.
        input: Box<SearchPlan>,
    },
    /// The best of `input` chosen so that they do not repeat each other, by maximal marginal relevance (Carbonell and
    /// Goldstein, SIGIR 1998). Two passages are alike as far as they share their words (Jaccard).
    Diversify {
        /// How much relevance counts beside novelty, 0 to 1.
        #[serde(default = "lambda")]
        lambda: f32,
        /// How many to choose among.
        #[serde(default = "diversified")]
        candidates: usize,
        /// What to choose from.
        input: Box<SearchPlan>,
    },
    /// Passages with what stands around them in their documents; one that is part of a better one is dropped.
    Expand {
        /// How far.
        to: Expansion,
        /// What to widen.
        input: Box<SearchPlan>,
    },
    /// Only what scores at least this, by the scores of `input`.
    Threshold {
        /// The lowest score that stays.
        score: f32,
        /// What to choose from.
        input: Box<SearchPlan>,
    },
    /// Only the best.
    Limit {
        /// How many at most.
        hits: usize,
        /// What to choose from.
        input: Box<SearchPlan>,
    },
}

/// How far a passage is widened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Expansion {
    /// To chunks of its document before and after it, at most 100 each.
    Neighbours {
        /// How many before it.
        #[serde(default)]
        before: usize,
        /// How many after it.
        #[serde(default)]
        after: usize,
    },
    /// To the whole section it stands in: all chunks around it with the same headings, at most 100 on each side.
    Parent,
}

impl SearchPlan {
    /// The only input of a node above, if it is one with a single input.
    #[must_use]
    pub fn input(&self) -> Option<&SearchPlan> {
        match self {
            Self::Filter { input, .. }
            | Self::Rerank { input, .. }
            | Self::Diversify { input, .. }
            | Self::Expand { input, .. }
            | Self::Threshold { input, .. }
            | Self::Limit { input, .. } => Some(input),
            Self::Dense { .. } | Self::Lexical { .. } | Self::Custom { .. } | Self::Fuse { .. } => None,
        }
    }

    /// The plans right below this node, in order.
    pub fn inputs(&self) -> impl Iterator<Item = &SearchPlan> {
        let several = if let Self::Fuse { inputs, .. } = self { inputs.as_slice() } else { &[] };
        self.input().into_iter().chain(several)
    }

    /// Whether this node or one below it fulfils `condition`.
    #[must_use]
    pub fn any(&self, condition: impl Fn(&SearchPlan) -> bool + Copy) -> bool {
        condition(self) || self.inputs().any(|input| input.any(condition))
    }

    /// Whether any part of the plan needs the query's embedding.
    #[must_use]
    pub fn needs_embedding(&self) -> bool {
        self.any(|node| matches!(node, Self::Dense { .. }))
    }

    /// How the hits were combined last, if they were.
    #[must_use]
    pub fn fusion(&self) -> Option<Fusion> {
        match self {
            Self::Fuse { method, .. } => Some(*method),
            other => other.input().and_then(Self::fusion),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn candidates() -> usize {
    CANDIDATES
}

fn reranked() -> usize {
    RERANKED
}

fn diversified() -> usize {
    DIVERSIFIED
}

fn lambda() -> f32 {
    LAMBDA
}

#[cfg(test)]
mod tests;
