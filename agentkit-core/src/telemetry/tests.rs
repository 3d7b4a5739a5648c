//! What spans a call leaves behind, and what they must never hold.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::*;
use crate::agent::{Agent, AgentEventKind, AgentInput, AgentStream, Outcome};
use crate::embed::{EmbedSide, Embedder};
use crate::model::{ChatEvent, ChatModel, ChatRequest, ChatStream, FinishReason, ModelInfo, Usage, complete};
use crate::retrieve::{Metadata, Retriever, SearchRequest};
use crate::testing::{HashingEmbedder, MemoryRetriever};
use crate::{Message, Result, RunContext, TenantScope};

const QUESTION: &str = "canary question";
const ANSWER: &str = "canary answer";

/// Writes down every span with its fields, a line for each record.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<String>>);

struct Line<'n>(&'n mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Notes {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let mut notes = self.0.lock().unwrap();
        let span = ctx.span(id).unwrap();
        let above = span.parent().map_or("", |parent| parent.name());
        let _ = write!(notes, "\n{above}>{}", span.name());
        attributes.record(&mut Line(&mut notes));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let mut notes = self.0.lock().unwrap();
        let _ = write!(notes, "\n{}:", ctx.span(id).unwrap().name());
        values.record(&mut Line(&mut notes));
    }
}

/// A model that answers, or fails midway.
struct Model(ModelInfo, bool);

#[async_trait::async_trait]
impl ChatModel for Model {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    async fn stream(&self, _request: ChatRequest, _ctx: &RunContext) -> Result<ChatStream> {
        let fails = self.1;
        Ok(ChatStream::generate(move |out| async move {
            leg("within", || ());
            out.emit(ChatEvent::Delta { text: ANSWER.into() }).await?;
            if fails {
                return Err(Error::invalid_input(QUESTION));
            }
            out.emit(ChatEvent::Usage(Usage { input_tokens: 3, output_tokens: 4 })).await?;
            out.emit(ChatEvent::Finished { reason: FinishReason::Length }).await
        }))
    }
}

/// An agent that only says something.
struct Parrot;

#[async_trait::async_trait]
impl Agent for Parrot {
    async fn run(&self, input: AgentInput, _ctx: &RunContext) -> Result<AgentStream> {
        Ok(AgentStream::generate(move |out| async move {
            leg("within", || ());
            out.emit(AgentEventKind::Delta { text: input.message }).await?;
            out.emit(AgentEventKind::Usage(Usage { input_tokens: 5, output_tokens: 6 })).await?;
            out.emit(AgentEventKind::Done { outcome: Outcome::Answered }).await
        }))
    }
}

async fn told(work: impl Future<Output = ()>) -> String {
    let notes = Notes::default();
    let subscriber = tracing_subscriber::registry().with(notes.clone());
    let guard = tracing::subscriber::set_default(subscriber);
    work.await;
    drop(guard);
    let told = notes.0.lock().unwrap().clone();
    assert!(!told.contains("canary"), "text of a question or an answer was told: {told}");
    told
}

#[track_caller]
fn all_in(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is missing in {told}");
    }
}

#[tokio::test]
async fn a_call_of_a_model_tells_model_tokens_and_how_it_ended() {
    let request = || ChatRequest::new(vec![Message::user(QUESTION)]);
    let told = told(async {
        for fails in [false, true] {
            let model = Traced::new(Arc::new(Model(ModelInfo::new("maker", "m-1", 100), fails)));
            assert_eq!(complete(&model, request(), &RunContext::new()).await.is_err(), fails);
        }
    })
    .await;
    all_in(
        &told,
        &[
            ">chat otel.name=chat m-1 otel.kind=\"client\" gen_ai.operation.name=\"chat\"",
            "gen_ai.provider.name=\"maker\" gen_ai.request.model=\"m-1\"",
            "chat>leg",
            "chat: gen_ai.response.time_to_first_chunk=",
            "chat: gen_ai.usage.input_tokens=3\nchat: gen_ai.usage.output_tokens=4",
            "chat: agentkit.finish_reason=\"length\"",
            "chat: error.type=\"invalid_input\"\nchat: otel.status_code=\"ERROR\"",
        ],
    );
}

#[tokio::test]
async fn a_run_of_an_agent_holds_the_spans_of_what_it_calls() {
    let told = told(async {
        let agent = Traced::new(Arc::new(Parrot)).name("parrot");
        let input = AgentInput::new(TenantScope::local(), QUESTION);
        let reply = agent.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap();
        assert_eq!(reply.answer, QUESTION);
    })
    .await;
    all_in(
        &told,
        &[
            ">invoke_agent otel.name=invoke_agent parrot",
            "invoke_agent>leg",
            "invoke_agent: agentkit.time_to_first_token=",
            "invoke_agent: gen_ai.usage.output_tokens=6",
            "invoke_agent: agentkit.outcome=\"answered\"",
        ],
    );
}

#[tokio::test]
async fn searches_and_embeddings_tell_what_they_worked_on_but_no_text() {
    let told = told(async {
        let (scope, ctx) = (TenantScope::local(), RunContext::new());
        let passages = MemoryRetriever::new();
        passages.add_text(&scope, "a", QUESTION, &Metadata::new()).unwrap();
        let found = Traced::new(Arc::new(passages)).search(&SearchRequest::new(scope, QUESTION), &ctx).await;
        assert_eq!(found.unwrap().hits.len(), 1);
        let embedder = Traced::new(Arc::new(HashingEmbedder::new()));
        assert_eq!(embedder.embed(EmbedSide::Query, vec![QUESTION.into()], &ctx).await.unwrap().len(), 1);
        let inside = ctx.run_blocking(|_| Ok(leg("blocking", || 1)));
        tracing::Instrument::instrument(inside, tracing::info_span!("above")).await.unwrap();
    })
    .await;
    all_in(
        &told,
        &[
            ">retrieval otel.name=retrieval default gen_ai.operation.name=\"retrieval\" gen_ai.data_source.id=default",
            "retrieval: agentkit.hits=1",
            ">embeddings otel.name=embeddings",
            "agentkit.side=\"query\" agentkit.texts=1",
        ],
    );
}
