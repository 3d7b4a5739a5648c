//! Carrying out a search plan over one snapshot: legs, fusion, explained hits.

use std::collections::HashMap;

use agentkit_core::{
    Error, ErrorKind, Explanation, Fusion, Hit, Leg, LegExplanation, Result, RunContext, SearchPlan,
    SearchRequest, SearchResponse,
};
use tantivy::DocAddress;
use tantivy::tokenizer::TextAnalyzer;

use super::filter::Bitmap;
use super::ranking::{Candidate, LegSearch, Scored, best_first};
use super::snapshot::Snapshot;
use super::{dense, lexical};

/// A search over one snapshot.
pub(super) struct Search<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) analyzer: &'s TextAnalyzer,
    /// The query's unit vector, if the plan needs one.
    pub(super) vector: Option<&'s [f32]>,
    pub(super) request: &'s SearchRequest,
    pub(super) ctx: &'s RunContext,
}

impl Search<'_> {
    /// Runs the plan and reads the records of the best.
    pub(super) fn run(&self) -> Result<SearchResponse> {
        let allowed = self.snapshot.matching(self.request.filter.as_ref())?;
        let matches = allowed.iter().map(Bitmap::count).sum();
        let mut ranking = self.rank(&self.request.plan, &allowed)?;
        ranking.truncate(self.request.top_k);
        let fusion = match self.request.plan {
            SearchPlan::Fuse { method, .. } => Some(method),
            _ => None,
        };
        let hits = ranking.into_iter().map(|candidate| self.hit(candidate, fusion)).collect::<Result<_>>()?;
        Ok(SearchResponse::new(hits, matches, self.snapshot.generation))
    }

    fn rank(&self, plan: &SearchPlan, allowed: &[Bitmap]) -> Result<Vec<Candidate>> {
        match plan {
            SearchPlan::Dense { candidates, exact } => {
                let vector =
                    self.vector.ok_or_else(|| Error::internal("the plan needs the query's vector"))?;
                Ok(as_leg(Leg::Dense, dense::search(self.leg(allowed, *candidates), vector, *exact)?))
            }
            SearchPlan::Lexical { candidates } => {
                let leg = self.leg(allowed, *candidates);
                Ok(as_leg(Leg::Lexical, lexical::search(leg, self.analyzer, &self.request.text)?))
            }
            SearchPlan::Fuse { method, inputs } => {
                let rankings = inputs.iter().map(|input| self.rank(input, allowed)).collect::<Result<_>>()?;
                fuse(*method, rankings)
            }
            _ => Err(Error::new(
                ErrorKind::Unsupported,
                "the embedded index does not know this node of the plan",
            )),
        }
    }

    fn leg<'l>(&'l self, allowed: &'l [Bitmap], candidates: usize) -> LegSearch<'l> {
        let limit = candidates.max(self.request.top_k);
        LegSearch { snapshot: self.snapshot, allowed, limit, ctx: self.ctx }
    }

    fn hit(&self, candidate: Candidate, fusion: Option<Fusion>) -> Result<Hit> {
        let mut record = self.snapshot.chunk(candidate.address)?;
        let metadata = std::mem::take(&mut record.metadata);
        Ok(Hit {
            passage: record.into_passage(),
            score: candidate.score,
            metadata,
            explanation: Explanation::new(candidate.legs, fusion),
        })
    }
}

fn as_leg(leg: Leg, found: Vec<Scored>) -> Vec<Candidate> {
    let candidates = found.into_iter().zip(1..).map(|(Scored { address, key, score }, rank)| Candidate {
        address,
        key,
        score,
        legs: vec![LegExplanation { leg, rank, score, contribution: score }],
    });
    candidates.collect()
}

/// Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009); equal sums are ordered by chunk id.
///
/// A leg's contribution is scaled so that the contributions of a candidate add up to its score.
fn fuse(method: Fusion, rankings: Vec<Vec<Candidate>>) -> Result<Vec<Candidate>> {
    let Fusion::Rrf { k } = method else {
        return Err(Error::new(ErrorKind::Unsupported, "the embedded index does not know this fusion"));
    };
    let mut fused: HashMap<DocAddress, Candidate> = HashMap::new();
    for ranking in rankings {
        for (candidate, rank) in ranking.into_iter().zip(1_u16..) {
            let share = 1.0 / (k + f32::from(rank));
            let legs = scaled(candidate.legs, candidate.score, share);
            let sum = fused.entry(candidate.address).or_insert(Candidate {
                score: 0.0,
                legs: Vec::new(),
                ..candidate
            });
            sum.score += share;
            sum.legs.extend(legs);
        }
    }
    let mut ranking: Vec<Candidate> = fused.into_values().collect();
    ranking.sort_unstable_by(|a, b| best_first((a.score, a.key), (b.score, b.key)));
    Ok(ranking)
}

fn scaled(mut legs: Vec<LegExplanation>, score: f32, share: f32) -> Vec<LegExplanation> {
    let single = legs.len() == 1;
    for leg in &mut legs {
        leg.contribution = if single { share } else { share * leg.contribution / score };
    }
    legs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(leg: Leg, docs: &[u32]) -> Vec<Candidate> {
        let scored = docs.iter().zip(0_u8..).map(|(doc, n)| Scored {
            address: DocAddress::new(0, *doc),
            key: u64::from(*doc),
            score: 9.0 - f32::from(n),
        });
        as_leg(leg, scored.collect())
    }

    #[test]
    fn rrf_adds_reciprocal_ranks_and_breaks_ties_by_id() {
        let fused = fuse(
            Fusion::Rrf { k: 60.0 },
            vec![ranking(Leg::Dense, &[3, 1, 2]), ranking(Leg::Lexical, &[2, 1, 3])],
        )
        .unwrap();
        let docs: Vec<u32> = fused.iter().map(|c| c.address.doc_id).collect();
        assert_eq!(docs, [2, 3, 1], "2 and 3 tie and 2 has the lower id");
        assert!((fused[0].score - (1.0 / 61.0 + 1.0 / 63.0)).abs() < 1e-7);
        for candidate in &fused {
            let sum: f32 = candidate.legs.iter().map(|leg| leg.contribution).sum();
            assert!((sum - candidate.score).abs() < 1e-6);
        }
    }

    #[test]
    fn contributions_add_up_in_nested_fusions_too() {
        let rrf = Fusion::Rrf { k: 1.0 };
        let inner = fuse(rrf, vec![ranking(Leg::Dense, &[1, 2]), ranking(Leg::Lexical, &[2])]).unwrap();
        let outer = fuse(rrf, vec![inner, ranking(Leg::Lexical, &[1])]).unwrap();
        for candidate in &outer {
            let sum: f32 = candidate.legs.iter().map(|leg| leg.contribution).sum();
            assert!((sum - candidate.score).abs() < 1e-6, "{candidate:?}");
        }
    }
}
