//! Measures a retriever of one's own with the metrics, intervals and gate of the built-in evaluation.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::collections::BTreeSet;

use agentkit_core::{
    ChunkId, Explanation, Hit, Locator, Metadata, Passage, Result, Retriever, RunContext, SearchPlan,
    SearchRequest, SearchResponse, Span, TenantScope,
};
use agentkit_rag::eval::{Dataset, EvalOptions, Gate, Judgements, NamedPlan, Query, evaluate};
use async_trait::async_trait;

/// Ranks texts by the share of the question's words that they have, whatever the plan says.
struct SharedWords(Vec<(&'static str, &'static str)>);

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

impl SharedWords {
    fn hit(&self, at: usize, wanted: &BTreeSet<String>) -> Option<Hit> {
        let (id, text) = *self.0.get(at)?;
        let shared =
            u16::try_from(words(text).intersection(wanted).count()).ok().filter(|shared| *shared > 0)?;
        let passage = Passage {
            chunk_id: ChunkId::new(id).ok()?,
            document_id: id.try_into().ok()?,
            title: None,
            text: text.to_owned(),
            span: Span::new(0, text.len()),
            locator: Locator::default(),
        };
        let (score, metadata, explanation) = (f32::from(shared), Metadata::new(), Explanation::default());
        Some(Hit { passage, score, metadata, explanation })
    }
}

#[async_trait]
impl Retriever for SharedWords {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        request.validate()?;
        ctx.check()?;
        let wanted = words(&request.text);
        let mut hits: Vec<Hit> = (0..self.0.len()).filter_map(|at| self.hit(at, &wanted)).collect();
        let id = |hit: &Hit| hit.passage.chunk_id.clone();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| id(a).cmp(&id(b))));
        hits.truncate(request.top_k);
        Ok(SearchResponse::new(hits, self.0.len() as u64, 1))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let retriever = SharedWords(vec![
        ("cocoa", "Cocoa was drunk cold by the Maya, spiced with chilli."),
        ("coffee", "Espresso is pressed through the grounds at nine bar."),
        ("tea", "Green tea is best at 80 degrees. Black tea needs 95 degrees."),
    ]);
    let asked = [
        ("q1", "How hot is green tea best?", "tea"),
        ("q2", "Which pressure has espresso?", "coffee"),
        ("q3", "Is the drink of the Maya spiced?", "cocoa"),
    ];
    let queries = asked.map(|(id, text, _)| Query { id: id.into(), text: text.into() });
    let judged = asked.map(|(id, _, document)| (id.to_owned(), Judgements::from([(document.to_owned(), 1)])));
    let dataset = Dataset::new(queries.into(), judged)?;

    let plans = [NamedPlan::new("shared words", SearchPlan::default())];
    let options = EvalOptions::new(TenantScope::local()).plans(plans);
    let report = evaluate(&retriever, &dataset, &options, &RunContext::new()).await?;
    println!("{}", report.to_markdown());
    for miss in Gate::new("shared words").minimum("ndcg@10=0.7".parse()?).check(&report)? {
        println!("{miss}");
    }
    Ok(())
}
