//! `search` and `ask`: one question to the last committed state of the index.

use std::path::{Path, PathBuf};

use agentkit_core::{
    AgentEventKind, AgentInput, AgentReply, AgentStream, Citation, Error, Hit, Outcome, Result, SearchPlan,
    SearchRequest,
};
use clap::Args;

use super::output::{Output, Unit};
use super::{Collection, Session, signals};
use crate::engine::{Access, Engine};

/// Characters of a passage shown in a list.
const SHOWN: usize = 300;

#[derive(Debug, Args)]
pub(super) struct SearchArguments {
    /// The question, as plain text
    question: String,
    /// Most passages to show
    #[arg(long, short = 'k', value_name = "N", default_value_t = 10)]
    top_k: usize,
    /// Leave out so many of the best, for the pages after the first
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,
    /// Search by the plan in this file (JSON), as `POST /search` takes it
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    collection: Collection,
}

#[derive(Debug, Args)]
pub(super) struct AskArguments {
    /// The question, as plain text
    question: String,
    #[command(flatten)]
    collection: Collection,
}

pub(super) async fn search(session: Session, arguments: SearchArguments) -> Result<()> {
    let mut request = SearchRequest::new(arguments.collection.scope()?, arguments.question)
        .top_k(arguments.top_k)
        .offset(arguments.offset);
    if let Some(path) = &arguments.plan {
        request.plan = read_plan(path)?;
    }
    request.validate()?;
    let engine = open(&session).await?;
    let found = engine.retriever().search(&request, &session.ctx).await?;
    session.out.object(&found);
    if found.hits.is_empty() {
        session.out.line("nothing was found");
    }
    for (rank, hit) in (arguments.offset + 1..).zip(&found.hits) {
        show_hit(session.out, rank, hit);
    }
    engine.close().await
}

pub(super) async fn ask(session: Session, arguments: AskArguments) -> Result<()> {
    let input = AgentInput::new(arguments.collection.scope()?, arguments.question);
    input.validate()?;
    let engine = open(&session).await?;
    let events = engine.agent().run(input, &session.ctx).await?;
    if session.out.is_json() {
        let reply: AgentReply = events.collect().await?;
        session.out.object(&reply);
    } else {
        tell(session.out, events).await?;
    }
    engine.close().await
}

fn read_plan(path: &Path) -> Result<SearchPlan> {
    let json = std::fs::read(path);
    let json = json.map_err(|error| Error::io(format!("read the plan {}", path.display()), error))?;
    serde_json::from_slice(&json).map_err(|error| {
        Error::invalid_input(format!("{} is not a search plan", path.display())).with_source(error)
    })
}

async fn open(session: &Session) -> Result<Engine> {
    signals::cancel_when_stopped(&session.ctx);
    let progress = session.out.progress("opening", Unit::Bytes);
    Engine::open(&session.config, Access::ReadOnly, &progress, &session.ctx).await
}

/// Writes the answer as it comes, and then what it rests on.
async fn tell(out: Output, mut events: AgentStream) -> Result<()> {
    let mut citations: Vec<Citation> = Vec::new();
    while let Some(event) = events.next().await {
        match event.kind {
            AgentEventKind::Delta { text } => out.part(&text),
            AgentEventKind::Citation(citation) => citations.push(citation),
            AgentEventKind::Error { kind, message } => return Err(Error::new(kind, message)),
            AgentEventKind::Done { outcome } => {
                out.line("");
                if outcome == Outcome::Truncated {
                    out.note("the answer was cut off at the model's token limit");
                }
                show_citations(out, &citations);
                return Ok(());
            }
            _ => {}
        }
    }
    Err(Error::internal("the answer ended without saying how"))
}

fn show_citations(out: Output, citations: &[Citation]) {
    for citation in citations {
        let title = citation.title.as_deref().unwrap_or(citation.document_id.as_str());
        let place = format!("{}:{}-{}", citation.document_id, citation.span.start, citation.span.end);
        out.line(format_args!(
            "\n[{}] {title} ({place})\n    {}",
            citation.number,
            one_line(&citation.quote)
        ));
    }
}

fn show_hit(out: Output, rank: usize, hit: &Hit) {
    let passage = &hit.passage;
    let title = passage.title.as_deref().unwrap_or(passage.document_id.as_str());
    let place = format!("{}:{}-{}", passage.document_id, passage.span.start, passage.span.end);
    out.line(format_args!(
        "{rank:>3}. {title} ({place}, score {:.4})\n     {}",
        hit.score,
        one_line(&passage.text)
    ));
}

/// A text on one line, cut off where it gets long.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN) {
        None => line,
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or(&line).trim_end()),
    }
}
