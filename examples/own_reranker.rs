//! A reranker of one's own: one implementation, and one line that names it for plans.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use agentkit_core::testing::{MemoryRetriever, conformance};
use agentkit_core::{
    Metadata, Reranker, Result, Retriever, RunContext, SearchPlan, SearchRequest, Searcher, TenantScope,
};
use async_trait::async_trait;

/// Prefers passages with numbers to questions that ask for one.
struct Numbers;

#[async_trait]
impl Reranker for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        ctx.check()?;
        let wants_number = ["how many", "how hot", "how long"].iter().any(|words| query.contains(words));
        let has_number = |text: &String| text.contains(|c: char| c.is_ascii_digit());
        Ok(passages.iter().map(|text| f32::from(u8::from(wants_number && has_number(text)))).collect())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    conformance::reranker(&Numbers).await;

    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let passages = MemoryRetriever::new();
    for (id, text) in [
        ("myth", "how hot is green tea, one may ask"),
        ("fact", "green tea wants 80 degrees"),
        ("other", "oil"),
    ] {
        passages.add_text(&scope, id, text, &Metadata::new())?;
    }
    let searcher = Searcher::new(Arc::new(passages)).reranker("numbers", Arc::new(Numbers));

    let plan: SearchPlan = SearchPlan::hybrid().rerank("numbers").limit(2);
    println!("{}", serde_json::to_string(&plan).unwrap_or_default());
    let found = searcher.search(&SearchRequest::new(scope, "how hot is green tea").plan(plan), &ctx).await?;
    for hit in &found.hits {
        println!("{:.1} {}", hit.score, hit.passage.text);
    }
    let best = found.hits.first().map(|hit| hit.passage.document_id.as_str());
    assert_eq!(best, Some("fact"), "the reranker has the last word");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_does_what_it_says() -> agentkit_core::Result<()> {
        super::main()
    }
}
