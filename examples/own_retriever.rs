//! A retriever of one's own beside the index: one implementation, and one line that names it for plans.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{
    Explanation, Fusion, Hit, Result, Retriever, RunContext, SearchPlan, SearchRequest, SearchResponse,
    Searcher, TenantScope,
};
use agentkit_rag::{Index, SourceDocument};
use async_trait::async_trait;

/// Finds the shortest passages first: whatever you research goes here. It takes its passages from the index, so that a hit is
/// the same chunk to both.
struct ShortestFirst(Index);

#[async_trait]
impl Retriever for ShortestFirst {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        let everything = request.clone().plan(SearchPlan::dense_exact());
        let mut response = self.0.search(&everything, ctx).await?;
        for hit in &mut response.hits {
            hit.score = 1.0 / f32::from(u16::try_from(hit.passage.text.len()).unwrap_or(u16::MAX));
            hit.explanation = Explanation::default();
        }
        let id = |hit: &Hit| hit.passage.chunk_id.clone();
        response.hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| id(a).cmp(&id(b))));
        Ok(response)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("agentkit-own-retriever-{}", std::process::id()));
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let index = Index::open(&folder, Arc::new(HashingEmbedder::default())).await?;
    let documents = vec![
        SourceDocument::text("long", "Green tea is best at 80 degrees, and it is steeped for two minutes.")?,
        SourceDocument::text("short", "Green tea: 80 degrees.")?,
    ];
    index.upsert(&scope, documents, &ctx).await?;

    let searcher = Searcher::new(Arc::new(index.clone()))
        .retriever("shortest first", Arc::new(ShortestFirst(index.clone())));

    let inputs = [SearchPlan::hybrid(), SearchPlan::custom("shortest first")];
    let plan = SearchPlan::fuse(Fusion::Rrf { k: 60.0 }, inputs);
    let found = searcher.search(&SearchRequest::new(scope, "how hot is green tea?").plan(plan), &ctx).await?;
    for hit in &found.hits {
        println!("{:.4} {}", hit.score, hit.passage.text);
        println!("       {}", serde_json::to_string(&hit.explanation.derivation).unwrap_or_default());
        assert_eq!(hit.explanation.recomputed(), Some(hit.score), "a score can be computed again");
    }
    assert_eq!(found.hits.len(), 2, "both passages are found");
    index.close().await?;
    // What cannot be removed from a folder of temporary files is no failure of the example.
    let _ = std::fs::remove_dir_all(folder);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_does_what_it_says() -> agentkit_core::Result<()> {
        super::main()
    }
}
