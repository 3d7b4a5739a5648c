//! How to search: a small tree of legs and their fusion, the same in Rust and JSON.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Most candidates a leg may be asked for.
const MAX_CANDIDATES: usize = 10_000;
/// Most inputs of a fusion.
const MAX_INPUTS: usize = 16;
/// Deepest nesting of a plan.
const MAX_DEPTH: usize = 8;
/// The constant of Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
/// Rank Learning Methods" (SIGIR 2009).
const RRF_K: f32 = 60.0;
/// Candidates of each leg before fusion.
const CANDIDATES: usize = 100;

/// A search as a tree. The default is hybrid: both legs, fused by reciprocal rank.
///
/// # Examples
/// ```
/// use agentkit_core::SearchPlan;
///
/// let plan: SearchPlan = serde_json::from_str(r#"{"lexical": {}}"#).unwrap();
/// assert_eq!(plan, SearchPlan::lexical());
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
        #[serde(default, skip_serializing_if = "is_false")]
        exact: bool,
    },
    /// Best BM25 scores.
    Lexical {
        /// How many to take.
        #[serde(default = "candidates")]
        candidates: usize,
    },
    /// Several plans' results combined into one ranking.
    Fuse {
        /// How to combine.
        #[serde(default)]
        method: Fusion,
        /// What to combine.
        inputs: Vec<SearchPlan>,
    },
}

/// How rankings are combined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fusion {
    /// Reciprocal rank fusion: the sum of `1 / (k + rank)` over the inputs, ranks counted from 1.
    Rrf {
        /// Damps the difference between the first ranks; 60 in the literature.
        #[serde(default = "rrf_k")]
        k: f32,
    },
}

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
        Self::Lexical { candidates: CANDIDATES }
    }

    /// Both legs, fused by reciprocal rank.
    #[must_use]
    pub fn hybrid() -> Self {
        Self::Fuse { method: Fusion::default(), inputs: vec![Self::dense(), Self::lexical()] }
    }

    /// Whether any part of the plan needs the query's embedding.
    #[must_use]
    pub fn needs_embedding(&self) -> bool {
        match self {
            Self::Dense { .. } => true,
            Self::Lexical { .. } => false,
            Self::Fuse { inputs, .. } => inputs.iter().any(Self::needs_embedding),
        }
    }

    /// Checks the limits of the tree.
    ///
    /// # Errors
    /// Invalid input, naming what breaks a limit.
    pub fn validate(&self) -> Result<()> {
        self.validate_at(0)
    }

    fn validate_at(&self, depth: usize) -> Result<()> {
        match self {
            Self::Dense { candidates, .. } | Self::Lexical { candidates } => {
                check(*candidates, MAX_CANDIDATES, "candidates of a leg")
            }
            Self::Fuse { method: Fusion::Rrf { k }, inputs } => {
                check(inputs.len(), MAX_INPUTS, "inputs of a fusion")?;
                check(depth + 1, MAX_DEPTH, "levels of a plan")?;
                if !(k.is_finite() && *k >= 0.0) {
                    return Err(Error::invalid_input(format!(
                        "the k of rrf must be a number from 0 up, got {k}"
                    )));
                }
                inputs.iter().try_for_each(|input| input.validate_at(depth + 1))
            }
        }
    }
}

fn check(value: usize, most: usize, what: &str) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid_input(format!("the number of {what} must be between 1 and {most}, got {value}")))
}

impl Default for SearchPlan {
    fn default() -> Self {
        Self::hybrid()
    }
}

impl Default for Fusion {
    fn default() -> Self {
        Self::Rrf { k: RRF_K }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn candidates() -> usize {
    CANDIDATES
}

fn rrf_k() -> f32 {
    RRF_K
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_plan_survives_json() {
        let json = serde_json::to_string(&SearchPlan::default()).expect("plans serialise");
        assert_eq!(serde_json::from_str::<SearchPlan>(&json).expect("and come back"), SearchPlan::default());
    }

    #[test]
    fn only_an_exact_search_says_so_in_json() {
        let json = |plan| serde_json::to_string(&plan).expect("plans serialise");
        assert_eq!(json(SearchPlan::dense()), r#"{"dense":{"candidates":100}}"#);
        assert_eq!(json(SearchPlan::dense_exact()), r#"{"dense":{"candidates":100,"exact":true}}"#);
    }

    #[test]
    fn plans_out_of_bounds_are_refused() {
        for json in [
            r#"{"dense":{"candidates":0}}"#,
            r#"{"lexical":{"candidates":1000000}}"#,
            r#"{"fuse":{"inputs":[]}}"#,
            r#"{"fuse":{"method":{"rrf":{"k":-1}},"inputs":[{"dense":{}}]}}"#,
        ] {
            let plan: SearchPlan = serde_json::from_str(json).expect(json);
            assert!(plan.validate().unwrap_err().is_invalid_input(), "{json}");
        }
    }
}
