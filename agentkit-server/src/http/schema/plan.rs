//! The schemas of search plans, and of how scores come about.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{FilterSchema, LegSchema};

/// A search as a tree: leaves find passages, the nodes above choose, order or widen them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[serde(rename_all = "snake_case")]
#[schema(as = SearchPlan)]
pub(in crate::http) enum PlanSchema {
    /// Nearest vectors.
    Dense {
        /// How many to take, 1 to 10,000; 100 if left out.
        #[schema(minimum = 1, maximum = 10_000, nullable = false)]
        candidates: Option<usize>,
        /// Whether all vectors are compared, so that no nearer one is missed; false if left out.
        #[schema(nullable = false)]
        exact: Option<bool>,
    },
    /// Best BM25 scores.
    Lexical {
        /// How many to take, 1 to 10,000; 100 if left out.
        #[schema(minimum = 1, maximum = 10_000, nullable = false)]
        candidates: Option<usize>,
        /// What of a passage counts as a word of the query; `terms` if left out.
        #[schema(nullable = false)]
        matching: Option<MatchingSchema>,
        /// How much words count where they stand; 1 everywhere if left out.
        #[schema(nullable = false)]
        boosts: Option<BoostsSchema>,
    },
    /// What a retriever finds that was added by name; a server of this build has none.
    Custom {
        /// Its name.
        #[schema(min_length = 1)]
        name: String,
        /// How many to take, 1 to 10,000; 100 if left out.
        #[schema(minimum = 1, maximum = 10_000, nullable = false)]
        candidates: Option<usize>,
    },
    /// Finds only what matches, everywhere below.
    Filter {
        /// What must match.
        filter: FilterSchema,
        /// Where it holds.
        #[schema(no_recursion)]
        input: Box<PlanSchema>,
    },
    /// Several plans' results combined.
    Fuse {
        /// Reciprocal rank fusion if left out.
        #[schema(nullable = false)]
        method: Option<FusionSchema>,
        /// How much each input counts; 1 each if left out.
        #[schema(nullable = false)]
        weights: Option<Vec<f32>>,
        /// What to combine.
        #[schema(no_recursion)]
        #[schema(min_items = 1, max_items = 16)]
        inputs: Vec<PlanSchema>,
    },
    /// The best in the order of a reranker that was added by name.
    Rerank {
        /// Its name.
        #[schema(min_length = 1)]
        reranker: String,
        /// How many it looks at, 1 to 1000; 30 if left out.
        #[schema(minimum = 1, maximum = 1000, nullable = false)]
        candidates: Option<usize>,
        /// What it looks at.
        #[schema(no_recursion)]
        input: Box<PlanSchema>,
    },
    /// The best chosen so that they do not repeat each other.
    Diversify {
        /// How much relevance counts beside novelty, 0 to 1; 0.7 if left out.
        #[schema(minimum = 0, maximum = 1, nullable = false)]
        lambda: Option<f32>,
        /// How many to choose among, 1 to 1000; 50 if left out.
        #[schema(minimum = 1, maximum = 1000, nullable = false)]
        candidates: Option<usize>,
        /// What to choose from.
        #[schema(no_recursion)]
        input: Box<PlanSchema>,
    },
    /// Passages with what stands around them; one that is part of a better one is dropped.
    Expand {
        /// How far.
        to: ExpansionSchema,
        /// What to widen.
        #[schema(no_recursion)]
        input: Box<PlanSchema>,
    },
    /// Only what scores at least this.
    Threshold {
        /// The lowest score that stays.
        score: f32,
        /// What to choose from.
        #[schema(no_recursion)]
        input: Box<PlanSchema>,
    },
    /// Only the best.
    Limit {
        /// How many at most.
        #[schema(minimum = 1, maximum = 10_000)]
        hits: usize,
        /// What to choose from.
        #[schema(no_recursion)]
        input: Box<PlanSchema>,
    },
}

/// What of a passage counts as a word of the query.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[serde(rename_all = "snake_case")]
#[schema(as = Matching)]
pub(in crate::http) enum MatchingSchema {
    /// Any of the words.
    Terms,
    /// All of the words, next to each other and in order.
    Phrase,
    /// Any of the words, and of the last one also what begins with it.
    Prefix,
    /// Any of the words, and what is written nearly like one of more than four letters.
    Fuzzy {
        /// How many letters may differ, 1 or 2; 1 if left out.
        #[schema(minimum = 1, maximum = 2, nullable = false)]
        edits: Option<u8>,
    },
}

/// How much words count in the parts of a passage.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Boosts)]
pub(in crate::http) struct BoostsSchema {
    /// In its text, 0 to 100.
    #[schema(minimum = 0, maximum = 100, nullable = false)]
    text: Option<f32>,
    /// In its title and headings, 0 to 100.
    #[schema(minimum = 0, maximum = 100, nullable = false)]
    context: Option<f32>,
}

/// How far a passage is widened.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[serde(rename_all = "snake_case")]
#[schema(as = Expansion)]
pub(in crate::http) enum ExpansionSchema {
    /// To chunks before and after it, at most 200 together.
    Neighbours {
        /// How many before it; 0 if left out.
        #[schema(minimum = 0, maximum = 200, nullable = false)]
        before: Option<usize>,
        /// How many after it; 0 if left out.
        #[schema(minimum = 0, maximum = 200, nullable = false)]
        after: Option<usize>,
    },
    /// To the section it stands in.
    Parent,
}

/// How rankings are combined: what an input adds to a hit is its weight times the hit's share in it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[serde(rename_all = "snake_case")]
#[schema(as = Fusion)]
pub(in crate::http) enum FusionSchema {
    /// The share is `1 / (k + rank)`.
    Rrf {
        /// Damps the difference between the first ranks; 60 if left out.
        #[schema(minimum = 0, nullable = false)]
        k: Option<f32>,
    },
    /// Scores relative to the input's best, from the lowest its method can give.
    Relative,
    /// Scores from the lowest to the highest of the input's candidates.
    MinMax,
    /// Scores within three standard deviations of the mean of the input's candidates.
    Distribution,
}

/// The computation of a score, as a tree like the plan's.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[serde(rename_all = "snake_case")]
#[schema(as = Derivation)]
pub(in crate::http) enum DerivationSchema {
    /// A leg found it.
    Found {
        /// Which leg.
        leg: LegSchema,
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
        method: FusionSchema,
        /// The inputs that found it.
        parts: Vec<FusedPartSchema>,
    },
    /// A reranker gave the score.
    Reranked {
        /// The reranker's name.
        reranker: String,
        /// Its score.
        score: f32,
        /// What it was before.
        #[schema(no_recursion)]
        from: Box<DerivationSchema>,
    },
    /// `lambda * relevance - (1 - lambda) * likeness`.
    Diversified {
        /// How much relevance counts.
        lambda: f32,
        /// How the score before becomes the relevance.
        scale: ScaleSchema,
        /// How like it is to the one most like it among those before it.
        likeness: f32,
        /// What it was before.
        #[schema(no_recursion)]
        from: Box<DerivationSchema>,
    },
}

/// What one input of a fusion adds: its weight times the share of the hit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FusedPart)]
pub(in crate::http) struct FusedPartSchema {
    /// Which input, counted from 0.
    input: usize,
    /// The hit's rank in it, counted from 1.
    rank: usize,
    /// How much the input counts.
    weight: f32,
    /// How its scores become shares; absent where ranks do.
    scale: Option<ScaleSchema>,
    /// The hit's score in the input.
    #[schema(no_recursion)]
    from: DerivationSchema,
}

/// How scores become shares: a hit's is its score above `zero`, divided by `span`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Scale)]
pub(in crate::http) struct ScaleSchema {
    /// The score that counts as nothing.
    zero: f32,
    /// The difference of scores that counts as 1.
    span: f32,
}
