//! Passages with what stands around them; what is part of a better one is dropped.

use super::found::Found;
use crate::context::RunContext;
use crate::error::Result;
use crate::id::ChunkId;
use crate::retrieve::plan::Expansion;
use crate::retrieve::{Hit, Passage, Retriever, SearchRequest};

pub(super) async fn widen(
    base: &dyn Retriever,
    request: &SearchRequest,
    mut found: Found,
    to: Expansion,
    ctx: &RunContext,
) -> Result<Found> {
    let mut hits = std::mem::take(&mut found.hits);
    let ordered: Vec<Hit> =
        found.ranking.entries.iter().filter_map(|entry| hits.remove(&entry.key)).collect();
    let mut kept: Vec<Hit> = Vec::with_capacity(ordered.len());
    for hit in base.expand(request, ordered, to, ctx).await? {
        if !kept.iter().any(|better| holds(&better.passage, &hit.passage)) {
            kept.push(hit);
        }
    }
    let kept = kept.into_iter().map(|hit| (hit.passage.chunk_id.clone(), hit));
    found.hits = kept.collect::<std::collections::BTreeMap<ChunkId, Hit>>();
    found.ranking.entries.retain(|entry| found.hits.contains_key(&entry.key));
    Ok(found)
}

pub(super) fn holds(whole: &Passage, part: &Passage) -> bool {
    whole.document_id == part.document_id
        && whole.span.start <= part.span.start
        && part.span.end <= whole.span.end
}
