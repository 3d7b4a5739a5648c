//! Opens an index, adds three documents, asks a question, and prints the answer with its citations.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use agentkit_core::{RunContext, TenantScope};
use agentkit_rag::answer::{ExtractiveModel, RagAgent};
use agentkit_rag::embed::BertEmbedder;
use agentkit_rag::{Index, SourceDocument};

#[tokio::main]
async fn main() -> agentkit_core::Result<()> {
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let index = Index::open("tea-index", Arc::new(BertEmbedder::minilm().await?)).await?;
    let tea = SourceDocument::text("tea", "Green tea is best at 80 degrees. Black tea needs 95 degrees.")?;
    let coffee = SourceDocument::text("coffee", "Espresso is pressed through the grounds at nine bar.")?;
    let cocoa = SourceDocument::text("cocoa", "Cocoa was drunk cold by the Maya, spiced with chilli.")?;
    index.upsert(&scope, vec![tea, coffee, cocoa], &ctx).await?;
    let agent = RagAgent::new(Arc::new(index), Arc::new(ExtractiveModel::new()));
    let reply = agent.ask(&scope, "How hot should the water for green tea be?").await?;
    println!("{}", reply.answer);
    for citation in reply.citations {
        println!("[{}] {} {:?}: {}", citation.number, citation.document_id, citation.span, citation.quote);
    }
    Ok(())
}
