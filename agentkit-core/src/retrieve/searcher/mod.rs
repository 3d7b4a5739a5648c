//! Plans carried out over any retriever: what it cannot do itself is done here, with rerankers and retrievers of one's own.
//!
//! How: the largest parts of a plan that need nothing but the base retriever are given to it whole. Above them, rankings of
//! hits are combined, reranked, diversified and widened here.

mod diversify;
mod found;
mod widen;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, try_join_all};

use self::found::Found;
use super::filter::Filter;
use super::plan::{Expansion, SearchPlan};
use super::{Hit, MAX_TOP_K, Retriever, SearchRequest, SearchResponse};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::rerank::Reranker;

/// A retriever with names for rerankers and other retrievers, which plans then use.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::{MemoryRetriever, OverlapReranker};
/// use agentkit_core::{Metadata, Retriever, RunContext, SearchPlan, SearchRequest, Searcher, TenantScope};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let passages = MemoryRetriever::new();
/// passages.add_text(&TenantScope::local(), "tea", "Green tea wants 80 degrees.", &Metadata::new()).unwrap();
/// let searcher = Searcher::new(Arc::new(passages)).reranker("closer look", Arc::new(OverlapReranker::new()));
/// let request = SearchRequest::new(TenantScope::local(), "how hot for green tea?")
///     .plan(SearchPlan::hybrid().rerank("closer look"));
/// let found = searcher.search(&request, &RunContext::new()).await.unwrap();
/// assert_eq!(found.hits[0].explanation.reranked, Some(found.hits[0].score));
/// # });
/// ```
#[derive(Clone)]
pub struct Searcher {
    base: Arc<dyn Retriever>,
    retrievers: BTreeMap<String, Arc<dyn Retriever>>,
    rerankers: BTreeMap<String, Arc<dyn Reranker>>,
}

impl Searcher {
    /// Carries out plans over `base`, which finds what the legs of a plan ask for.
    #[must_use]
    pub fn new(base: Arc<dyn Retriever>) -> Self {
        Self { base, retrievers: BTreeMap::new(), rerankers: BTreeMap::new() }
    }

    /// Plans may say [`SearchPlan::Custom`] with this name; the retriever is asked with the default plan.
    #[must_use]
    pub fn retriever(mut self, name: impl Into<String>, retriever: Arc<dyn Retriever>) -> Self {
        self.retrievers.insert(name.into(), retriever);
        self
    }

    /// Plans may say [`SearchPlan::Rerank`] with this name.
    #[must_use]
    pub fn reranker(mut self, name: impl Into<String>, reranker: Arc<dyn Reranker>) -> Self {
        self.rerankers.insert(name.into(), reranker);
        self
    }
}

impl fmt::Debug for Searcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Searcher")
            .field("retrievers", &self.retrievers.keys())
            .field("rerankers", &self.rerankers.keys())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Retriever for Searcher {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        request.validate()?;
        ctx.check()?;
        let run =
            Run { base: &*self.base, retrievers: &self.retrievers, rerankers: &self.rerankers, request, ctx };
        run.respond().await
    }

    async fn expand(
        &self,
        request: &SearchRequest,
        hits: Vec<Hit>,
        to: Expansion,
        ctx: &RunContext,
    ) -> Result<Vec<Hit>> {
        self.base.expand(request, hits, to, ctx).await
    }
}

/// Carries out a plan over a retriever that does [plain](SearchPlan::is_plain) plans itself: for implementations of
/// [`Retriever::search`].
///
/// # Cancel safety
/// Cancel safe: searching changes nothing.
///
/// # Errors
/// What the retriever fails with, and invalid input if the plan names rerankers or other retrievers.
pub async fn search_by_parts(
    base: &dyn Retriever,
    request: &SearchRequest,
    ctx: &RunContext,
) -> Result<SearchResponse> {
    let run = Run { base, retrievers: &BTreeMap::new(), rerankers: &BTreeMap::new(), request, ctx };
    run.respond().await
}

impl SearchPlan {
    /// Whether it is made of legs, filters, fusions, thresholds and limits alone, which a retriever does itself.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.any(|node| {
            matches!(
                node,
                Self::Custom { .. } | Self::Rerank { .. } | Self::Diversify { .. } | Self::Expand { .. }
            )
        })
    }

    /// How many hits a plain plan has to offer before its limits.
    fn depth(&self) -> usize {
        match self {
            Self::Dense { candidates, .. }
            | Self::Lexical { candidates, .. }
            | Self::Custom { candidates, .. } => *candidates,
            Self::Limit { hits, input } => input.depth().min(*hits),
            _ => self.inputs().map(Self::depth).max().unwrap_or(0),
        }
    }
}

/// One search.
struct Run<'r> {
    base: &'r dyn Retriever,
    retrievers: &'r BTreeMap<String, Arc<dyn Retriever>>,
    rerankers: &'r BTreeMap<String, Arc<dyn Reranker>>,
    request: &'r SearchRequest,
    ctx: &'r RunContext,
}

impl Run<'_> {
    async fn respond(&self) -> Result<SearchResponse> {
        if self.request.plan.is_plain() {
            return self.base.search(self.request, self.ctx).await;
        }
        let (plan, filter) = (&self.request.plan, self.request.filter.as_ref());
        let mut found = self.find(plan, filter, self.request.top_k).await?;
        let (matches, generation) = (found.matches, found.generation);
        let queries = std::mem::take(&mut found.queries);
        let hits = found.into_hits().skip(self.request.offset).take(self.request.top_k).collect();
        let mut response = SearchResponse::new(hits, matches, generation);
        response.queries = queries;
        Ok(response)
    }

    /// The best of a plan, at least `want` of them if it has as many.
    fn find<'a>(
        &'a self,
        plan: &'a SearchPlan,
        filter: Option<&'a Filter>,
        want: usize,
    ) -> BoxFuture<'a, Result<Found>> {
        Box::pin(async move {
            if plan.is_plain() {
                return self.ask(self.base, plan, (plan, filter), want).await;
            }
            match plan {
                SearchPlan::Custom { name, candidates } => {
                    let retriever = named(self.retrievers, "retriever", name)?;
                    let found =
                        self.ask(&**retriever, &SearchPlan::default(), (plan, filter), *candidates).await?;
                    Ok(found.given_by(name))
                }
                SearchPlan::Filter { filter: inner, input } => {
                    let both = inherited(filter, inner);
                    self.find(input, Some(&both), want).await
                }
                SearchPlan::Fuse { method, weights, inputs } => {
                    let found = inputs.iter().map(|input| self.find(input, filter, want));
                    Ok(Found::fuse(*method, weights, try_join_all(found).await?))
                }
                SearchPlan::Rerank { reranker, candidates, input } => {
                    let found = self.find(input, filter, *candidates).await?.limit(*candidates);
                    self.rerank(reranker, found).await
                }
                SearchPlan::Diversify { lambda, candidates, input } => {
                    let found = self.find(input, filter, *candidates).await?.limit(*candidates);
                    Ok(diversify::diversify(found, *lambda))
                }
                SearchPlan::Expand { to, input } => {
                    let found = self.find(input, filter, want).await?;
                    widen::widen(self.base, self.request, found, *to, self.ctx).await
                }
                SearchPlan::Threshold { score, input } => {
                    Ok(self.find(input, filter, want).await?.threshold(*score))
                }
                SearchPlan::Limit { hits, input } => {
                    Ok(self.find(input, filter, want.min(*hits)).await?.limit(*hits))
                }
                SearchPlan::Dense { .. } | SearchPlan::Lexical { .. } => {
                    Err(Error::internal("legs are plain plans"))
                }
            }
        })
    }

    /// Asks a retriever for what a part of the plan finds.
    async fn ask(
        &self,
        retriever: &dyn Retriever,
        plan: &SearchPlan,
        (part, filter): (&SearchPlan, Option<&Filter>),
        want: usize,
    ) -> Result<Found> {
        let want = want.max(part.depth()).min(MAX_TOP_K);
        let mut request = SearchRequest::new(self.request.scope.clone(), self.request.text.as_str());
        request.top_k = want;
        request.filter = filter.cloned();
        request.plan = plan.clone();
        request.conversation = self.request.conversation.clone();
        request.generation = self.request.generation;
        let response = retriever.search(&request, self.ctx).await?;
        Ok(Found::new(response, part, want))
    }

    async fn rerank(&self, name: &str, found: Found) -> Result<Found> {
        let reranker = named(self.rerankers, "reranker", name)?;
        let texts = found.texts();
        let count = texts.len();
        let scores = if texts.is_empty() {
            Vec::new()
        } else {
            self.ctx.run(reranker.rerank(&self.request.text, texts, self.ctx)).await?
        };
        if scores.len() != count || scores.iter().any(|score| !score.is_finite()) {
            let problem =
                format!("the reranker {name:?} did not give {count} finite scores for {count} passages");
            return Err(Error::internal(problem));
        }
        Ok(found.reranked(name, scores))
    }
}

/// Both filters, where there are two.
fn inherited(above: Option<&Filter>, here: &Filter) -> Filter {
    match above {
        Some(above) => Filter::And(vec![above.clone(), here.clone()]),
        None => here.clone(),
    }
}

fn named<'n, T: ?Sized>(known: &'n BTreeMap<String, Arc<T>>, what: &str, name: &str) -> Result<&'n Arc<T>> {
    known.get(name).ok_or_else(|| {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let message =
            format!("there is no {what} {name:?}; known are {names:?}, add it to the Searcher by name");
        Error::new(ErrorKind::InvalidInput, message)
    })
}

#[cfg(test)]
mod tests;
