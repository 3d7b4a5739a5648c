//! `reembed`: embeds everything in the data directory anew with another model.

use agentkit_core::Result;

use super::output::Unit;
use super::{Session, signals};
use crate::engine;

pub(super) async fn run(session: Session) -> Result<()> {
    signals::cancel_when_stopped(&session.ctx);
    let opening = session.out.progress("opening", Unit::Bytes);
    let embedder = engine::embedder(&session.config, &opening, &session.ctx).await?;
    drop(opening);
    let index = engine::index_of_any_model(&session.config).await?;
    let progress = session.out.progress("embedding", Unit::Items);
    let told = move |step: agentkit_rag::ReembedProgress| progress.set(step.done, Some(step.total));
    let name = embedder.identity().name.clone();
    let outcome = index.reembed(embedder, told, &session.ctx).await;
    index.close().await?;
    let report = outcome?;
    session
        .out
        .line(format_args!("embedded {} documents, {} chunks, with {name}", report.documents, report.chunks));
    session.out.object(&report);
    Ok(())
}
