//! Carrying out a plain plan over one snapshot: legs, fusion, explained hits.

use agentkit_core::{
    Error, ErrorKind, Explanation, Filter, Hit, Leg, Ranked, Ranking, Result, RunContext, SearchPlan,
    SearchRequest, SearchResponse, telemetry,
};
use tantivy::DocAddress;

use super::filter::Bitmap;
use super::ranking::{LegSearch, Scored};
use super::snapshot::Snapshot;
use super::{dense, lexical};

/// A chunk by the first bits of its id, which order equal scores, and where its record is.
type Key = (u64, DocAddress);

/// A search over one snapshot.
pub(super) struct Search<'s> {
    pub(super) snapshot: &'s Snapshot,
    /// The query's unit vector, if the plan needs one.
    pub(super) vector: Option<&'s [f32]>,
    /// How well the model knows the query's words.
    pub(super) familiarity: f32,
    pub(super) request: &'s SearchRequest,
    pub(super) ctx: &'s RunContext,
}

impl Search<'_> {
    /// Runs the plan and reads the records of the page.
    pub(super) fn run(&self) -> Result<SearchResponse> {
        let request = self.request;
        request.check_generation(self.snapshot.generation)?;
        let allowed = self.snapshot.matching(request.filter.as_ref())?;
        let matches = allowed.iter().map(Bitmap::count).sum();
        let scope = Scope { filter: request.filter.clone(), allowed };
        let ranking = self.rank(&request.plan, &scope)?;
        let page = ranking.entries.into_iter().skip(request.offset).take(request.top_k);
        let hits = page.map(|found| self.hit(found)).collect::<Result<_>>()?;
        Ok(SearchResponse::new(hits, matches, self.snapshot.generation))
    }

    fn rank(&self, plan: &SearchPlan, scope: &Scope) -> Result<Ranking<Key>> {
        match plan {
            SearchPlan::Dense { candidates, exact } => {
                let vector =
                    self.vector.ok_or_else(|| Error::internal("the plan needs the query's vector"))?;
                let leg = self.leg(scope, *candidates);
                let found = telemetry::leg("dense", || dense::search(leg, vector, *exact))?;
                Ok(as_ranking(Leg::Dense, found, leg.limit).trusted(self.familiarity))
            }
            SearchPlan::Lexical { candidates, matching, boosts } => {
                let leg = self.leg(scope, *candidates);
                let query = lexical::Query { text: &self.request.text, matching: *matching, boosts: *boosts };
                let found = telemetry::leg("lexical", || lexical::search(leg, query))?;
                Ok(as_ranking(Leg::Lexical, found, leg.limit))
            }
            SearchPlan::Filter { filter, input } => {
                let filter = match &scope.filter {
                    Some(above) => Filter::And(vec![above.clone(), filter.clone()]),
                    None => filter.clone(),
                };
                let allowed = self.snapshot.matching(Some(&filter))?;
                self.rank(input, &Scope { filter: Some(filter), allowed })
            }
            SearchPlan::Fuse { method, weights, inputs } => {
                let inputs = inputs.iter().map(|input| self.rank(input, scope)).collect::<Result<_>>()?;
                Ok(Ranking::fuse(*method, weights, inputs))
            }
            SearchPlan::Threshold { score, input } => Ok(self.rank(input, scope)?.threshold(*score)),
            SearchPlan::Limit { hits, input } => Ok(self.rank(input, scope)?.limit(*hits)),
            _ => {
                let message = "the embedded index does not know this node of the plan";
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    fn leg<'l>(&'l self, scope: &'l Scope, candidates: usize) -> LegSearch<'l> {
        let limit = candidates.max(self.request.top_k);
        LegSearch { snapshot: self.snapshot, allowed: &scope.allowed, limit, ctx: self.ctx }
    }

    fn hit(&self, found: Ranked<Key>) -> Result<Hit> {
        let (_, address) = found.key;
        let mut record = self.snapshot.chunk(address)?;
        let metadata = std::mem::take(&mut record.metadata);
        Ok(Hit {
            passage: record.into_passage(),
            score: found.score,
            metadata,
            explanation: Explanation::derived(found.legs, found.derivation),
        })
    }
}

/// What a part of a plan may find.
struct Scope {
    /// The filters above it.
    filter: Option<Filter>,
    /// What they let through, by segment.
    allowed: Vec<Bitmap>,
}

fn as_ranking(leg: Leg, found: Vec<Scored>, limit: usize) -> Ranking<Key> {
    let found = found.into_iter().map(|Scored { address, key, score }| ((key, address), score));
    Ranking::of_leg(leg, found, limit)
}
