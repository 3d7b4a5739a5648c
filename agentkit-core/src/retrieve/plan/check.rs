//! The limits of a plan, so that one from outside can ask for no more than a search is worth.

use super::{Boosts, Expansion, Fusion, Matching, SearchPlan};
use crate::error::{Error, Result};

/// Most candidates a leg may be asked for.
const MAX_CANDIDATES: usize = 10_000;
/// Most passages a reranker or diversity may look at.
const MAX_LOOKED_AT: usize = 1_000;
/// Most inputs of a fusion.
const MAX_INPUTS: usize = 16;
/// Deepest nesting of a plan.
const MAX_DEPTH: usize = 16;
/// Most nodes of a plan.
const MAX_NODES: usize = 64;
/// Longest name of a retriever or reranker in bytes.
const MAX_NAME: usize = 128;
/// Most chunks on either side of a passage.
const MAX_NEIGHBOURS: usize = 100;

impl SearchPlan {
    /// Checks the limits of the tree: at most 64 nodes, 16 deep, and each within its own limits.
    ///
    /// # Errors
    /// Invalid input, naming what breaks a limit.
    ///
    /// # Examples
    /// ```
    /// use agentkit_core::SearchPlan;
    ///
    /// assert!(SearchPlan::hybrid().limit(10).validate().is_ok());
    /// assert!(SearchPlan::hybrid().limit(0).validate().unwrap_err().is_invalid_input());
    /// ```
    pub fn validate(&self) -> Result<()> {
        let mut nodes = 0;
        self.validate_at(1, &mut nodes)
    }

    fn validate_at(&self, depth: usize, nodes: &mut usize) -> Result<()> {
        *nodes += 1;
        check(depth, MAX_DEPTH, "levels of a plan")?;
        check(*nodes, MAX_NODES, "nodes of a plan")?;
        self.validate_node()?;
        self.inputs().try_for_each(|input| input.validate_at(depth + 1, nodes))
    }

    fn validate_node(&self) -> Result<()> {
        match self {
            Self::Dense { candidates, .. } => check(*candidates, MAX_CANDIDATES, "candidates of a leg"),
            Self::Lexical { candidates, matching, boosts } => {
                check(*candidates, MAX_CANDIDATES, "candidates of a leg")?;
                check_matching(*matching)?;
                check_boosts(*boosts)
            }
            Self::Custom { name, candidates } => {
                check(*candidates, MAX_CANDIDATES, "candidates of a retriever")?;
                check(name.len(), MAX_NAME, "bytes of a retriever's name")
            }
            Self::Filter { filter, .. } => filter.validate(),
            Self::Fuse { method, weights, inputs } => {
                check(inputs.len(), MAX_INPUTS, "inputs of a fusion")?;
                check_fusion(*method, weights, inputs.len())
            }
            Self::Rerank { reranker, candidates, .. } => {
                check(*candidates, MAX_LOOKED_AT, "candidates of a reranker")?;
                check(reranker.len(), MAX_NAME, "bytes of a reranker's name")
            }
            Self::Diversify { lambda, candidates, .. } => {
                check(*candidates, MAX_LOOKED_AT, "candidates of diversity")?;
                within("the lambda of diversity", *lambda, 1.0)
            }
            Self::Expand { to: Expansion::Neighbours { before, after }, .. } => check(
                before.saturating_add(*after).saturating_add(1),
                2 * MAX_NEIGHBOURS + 1,
                "chunks of a widened passage",
            ),
            Self::Threshold { score, .. } if !score.is_finite() => {
                Err(Error::invalid_input(format!("a threshold must be a number, got {score}")))
            }
            Self::Limit { hits, .. } => check(*hits, MAX_CANDIDATES, "hits of a limit"),
            Self::Expand { .. } | Self::Threshold { .. } => Ok(()),
        }
    }
}

fn check_matching(matching: Matching) -> Result<()> {
    match matching {
        Matching::Fuzzy { edits } => check(edits.into(), 2, "edits of a fuzzy match"),
        Matching::Terms | Matching::Phrase | Matching::Prefix => Ok(()),
    }
}

fn check_boosts(boosts: Boosts) -> Result<()> {
    within("the boost of the text", boosts.text, 100.0)?;
    within("the boost of the context", boosts.context, 100.0)?;
    if boosts.text + boosts.context > 0.0 {
        return Ok(());
    }
    Err(Error::invalid_input("a lexical search needs a boost above 0 for the text or the context"))
}

fn check_fusion(method: Fusion, weights: &[f32], inputs: usize) -> Result<()> {
    if let Fusion::Rrf { k } = method {
        within("the k of rrf", k, f32::MAX)?;
    }
    if !weights.is_empty() && weights.len() != inputs {
        return Err(Error::invalid_input(format!(
            "a fusion of {inputs} inputs needs {inputs} weights or none, got {}",
            weights.len()
        )));
    }
    weights.iter().try_for_each(|weight| within("the weight of an input", *weight, 1000.0))
}

fn within(what: &str, value: f32, most: f32) -> Result<()> {
    if value.is_finite() && (0.0..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid_input(format!("{what} must be a number from 0 to {most}, got {value}")))
}

fn check(value: usize, most: usize, what: &str) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid_input(format!("the number of {what} must be between 1 and {most}, got {value}")))
}
