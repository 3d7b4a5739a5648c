//! Every suite catches implementations that break its contract, and says which rule it was.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use agentkit_core::testing::conformance::{self, ingest_fixture};
use agentkit_core::testing::{
    HashingEmbedder, MemoryRetriever, OverlapReranker, ScriptedModel, ScriptedTurn, WindowMemory,
};
use agentkit_core::{
    ChatEvent, ChatModel, ChatRequest, ChatStream, CollectionName, EmbedSide, Embedder, EmbedderIdentity,
    Embedding, Error, FinishReason, Memory, Message, ModelInfo, PassageCitation, Reranker, Result, Retriever,
    RunContext, SearchRequest, SearchResponse, SessionId, SessionKey, SessionSummary, Span, TenantId,
    TenantScope, Tool, ToolPolicy, ToolSpec, Usage,
};
use async_trait::async_trait;
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::agents::Flaw;
use crate::conformance::agent_fixture;

/// Runs a suite that must fail, and checks that it says why.
pub(crate) async fn caught(suite: impl Future<Output = ()>, expected: &str) {
    let panic = std::panic::AssertUnwindSafe(suite).catch_unwind().await.expect_err("the suite saw no fault");
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
    assert!(text.contains(expected), "the suite should have said {expected:?}, but said {text:?}");
}

fn finished() -> ChatEvent {
    ChatEvent::Finished { reason: FinishReason::Stop }
}

#[tokio::test]
async fn a_model_whose_stream_is_malformed_is_caught() {
    let delta = || ChatEvent::Delta { text: "hello".into() };
    let usage = || ChatEvent::Usage(Usage::default());
    let beyond = ChatEvent::Citation(PassageCitation { number: 3, span: Span::new(0, 1) });
    for (events, expected) in [
        (vec![delta(), finished(), finished()], "finish once, not 2 times"),
        (vec![delta()], "finish once, not 0 times"),
        (vec![finished(), delta()], "something follows the finish"),
        (vec![usage(), usage(), finished()], "at most once, not 2 times"),
        (vec![beyond, finished()], "passage 3 of 0 is cited"),
    ] {
        let model = ScriptedModel::new([ScriptedTurn::events(events)]);
        caught(conformance::chat_model(&model), expected).await;
    }
}

/// Answers whatever happens.
struct StubbornModel(ModelInfo);

#[async_trait]
impl ChatModel for StubbornModel {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    async fn stream(&self, request: ChatRequest, _ctx: &RunContext) -> Result<ChatStream> {
        if request.messages.is_empty() {
            return Err(Error::invalid_input("no messages"));
        }
        Ok(ChatStream::generate(|out| async move { out.emit(finished()).await }))
    }
}

#[tokio::test]
async fn a_model_that_ignores_tools_or_its_context_is_caught() {
    let without_tools = ModelInfo::new("test", "stubborn", 10);
    let with_tools = without_tools.clone().capabilities(agentkit_core::Capabilities::default().with_tools());
    caught(conformance::chat_model(&StubbornModel(without_tools)), "says it has no tools must refuse them")
        .await;
    caught(conformance::chat_model(&StubbornModel(with_tools)), "succeeded although its context was stopped")
        .await;
}

#[derive(Debug, Clone, Copy)]
enum EmbedderFlaw {
    LosesOne,
    Unnormalised,
    DependsOnTheBatch,
    Reorders,
    IgnoresItsContext,
    FailsOnEmptyText,
}

struct BrokenEmbedder(HashingEmbedder, EmbedderFlaw);

#[async_trait]
impl Embedder for BrokenEmbedder {
    fn identity(&self) -> &EmbedderIdentity {
        self.0.identity()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.0.count_tokens(text)
    }

    fn familiarity(&self, _text: &str) -> f32 {
        1.0
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        let many = texts.len() > 1;
        let empty = texts.iter().any(String::is_empty);
        let fresh = RunContext::new();
        let ctx = if matches!(self.1, EmbedderFlaw::IgnoresItsContext) { &fresh } else { ctx };
        let mut vectors = self.0.embed(side, texts, ctx).await?;
        match self.1 {
            EmbedderFlaw::LosesOne if many => drop(vectors.pop()),
            EmbedderFlaw::Unnormalised => vectors = scaled(vectors, 2.0)?,
            EmbedderFlaw::DependsOnTheBatch if many => vectors = scaled(vectors, 1.0005)?,
            EmbedderFlaw::Reorders if many => vectors.reverse(),
            EmbedderFlaw::FailsOnEmptyText if empty => return Err(Error::invalid_input("empty text")),
            _ => {}
        }
        Ok(vectors)
    }
}

fn scaled(vectors: Vec<Embedding>, factor: f32) -> Result<Vec<Embedding>> {
    let scale = |vector: Embedding| Embedding::new(vector.into_vec().iter().map(|c| c * factor).collect());
    vectors.into_iter().map(scale).collect()
}

#[tokio::test]
async fn a_broken_embedder_is_caught() {
    for (flaw, expected) in [
        (EmbedderFlaw::LosesOne, "texts gave"),
        (EmbedderFlaw::Unnormalised, "instead of 1"),
        (EmbedderFlaw::DependsOnTheBatch, "in a batch differs"),
        (EmbedderFlaw::Reorders, "in a batch differs"),
        (EmbedderFlaw::IgnoresItsContext, "succeeded although its context was stopped"),
        (EmbedderFlaw::FailsOnEmptyText, "empty text"),
    ] {
        let broken = BrokenEmbedder(HashingEmbedder::new(), flaw);
        caught(conformance::embedder(&broken), expected).await;
    }
}

/// Scores by the place in the list.
struct PlaceReranker;

#[async_trait]
impl Reranker for PlaceReranker {
    fn name(&self) -> &'static str {
        "place"
    }

    async fn rerank(&self, _query: &str, passages: Vec<String>, _ctx: &RunContext) -> Result<Vec<f32>> {
        Ok((0..u8::try_from(passages.len()).unwrap()).map(f32::from).collect())
    }
}

/// Leaves out passages that share no word with the query.
struct ChoosyReranker;

#[async_trait]
impl Reranker for ChoosyReranker {
    fn name(&self) -> &'static str {
        "choosy"
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        let scores = OverlapReranker::new().rerank(query, passages, ctx).await?;
        Ok(scores.into_iter().filter(|score| *score > 0.0).collect())
    }
}

#[tokio::test]
async fn a_broken_reranker_is_caught() {
    caught(conformance::reranker(&PlaceReranker), "passage 1 scores 1 among others").await;
    caught(conformance::reranker(&ChoosyReranker), "passages got").await;
}

#[derive(Debug, Clone, Copy)]
enum RetrieverFlaw {
    LeaksTenants,
    LeaksCollections,
    IgnoresTheFilter,
    FiltersAfterTheCut,
    Unexplained,
    WrongContribution,
    ReversesTies,
    AcceptsTopKZero,
    TakesSyntax,
    TrimsText,
    IgnoresItsContext,
}

struct BrokenRetriever(MemoryRetriever, RetrieverFlaw);

#[async_trait]
impl Retriever for BrokenRetriever {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        let mut request = request.clone();
        let filter = request.filter.clone();
        let fresh = RunContext::new();
        let mut ctx = ctx;
        let other = TenantScope::for_tenant(TenantId::new("conformance-other")?);
        match self.1 {
            RetrieverFlaw::LeaksTenants if request.text.contains("falcon") => request.scope = other,
            RetrieverFlaw::LeaksCollections if request.text.contains("quokkas") => {
                request.scope = request.scope.in_collection(CollectionName::new("elsewhere")?);
            }
            RetrieverFlaw::IgnoresTheFilter | RetrieverFlaw::FiltersAfterTheCut => {
                request.validate()?;
                request.filter = None;
            }
            RetrieverFlaw::AcceptsTopKZero => request.top_k = request.top_k.max(1),
            RetrieverFlaw::TakesSyntax if request.text.contains(":(") => {
                return Err(Error::invalid_input("syntax error in query"));
            }
            RetrieverFlaw::IgnoresItsContext => ctx = &fresh,
            _ => {}
        }
        let mut found = self.0.search(&request, ctx).await?;
        match self.1 {
            RetrieverFlaw::FiltersAfterTheCut => {
                if let Some(filter) = &filter {
                    let filtered = request.clone().filter(filter.clone());
                    found.matches = self.0.search(&filtered, ctx).await?.matches;
                }
                found.hits.retain(|hit| filter.as_ref().is_none_or(|filter| filter.matches(&hit.metadata)));
            }
            RetrieverFlaw::Unexplained => found.hits.iter_mut().for_each(|hit| hit.explanation.legs.clear()),
            RetrieverFlaw::WrongContribution => found.hits.iter_mut().for_each(|hit| {
                hit.explanation.legs.iter_mut().for_each(|leg| leg.contribution *= 2.0);
            }),
            RetrieverFlaw::ReversesTies => {
                found.hits.reverse();
                found.hits.sort_by(|a, b| b.score.total_cmp(&a.score));
            }
            RetrieverFlaw::TrimsText => found.hits.iter_mut().for_each(|hit| {
                hit.passage.text.pop();
            }),
            _ => {}
        }
        Ok(found)
    }
}

#[tokio::test]
async fn a_broken_retriever_is_caught() {
    for (flaw, expected) in [
        (RetrieverFlaw::LeaksTenants, "but not theirs"),
        (RetrieverFlaw::LeaksCollections, "but not theirs"),
        (RetrieverFlaw::IgnoresTheFilter, "does not match"),
        (RetrieverFlaw::FiltersAfterTheCut, "the filter was applied after the best hit was taken"),
        (RetrieverFlaw::Unexplained, "is not explained"),
        (RetrieverFlaw::WrongContribution, "is not the sum"),
        (RetrieverFlaw::ReversesTies, "equal scores are not ordered by chunk id"),
        (RetrieverFlaw::AcceptsTopKZero, "top_k 0 was accepted"),
        (RetrieverFlaw::TakesSyntax, "syntax error in query"),
        (RetrieverFlaw::TrimsText, "is not the source text"),
        (RetrieverFlaw::IgnoresItsContext, "succeeded although its context was stopped"),
    ] {
        let retriever = MemoryRetriever::new();
        ingest_fixture(&retriever).unwrap();
        caught(conformance::retriever(&BrokenRetriever(retriever, flaw)), expected).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum MemoryFlaw {
    NewestFirst,
    OldestMessages,
    SharesTenants,
    NeverForgets,
    TearsTurns,
    UnorderedPages,
    IgnoresItsContext,
}

struct BrokenMemory(WindowMemory, MemoryFlaw);

impl BrokenMemory {
    fn key(&self, key: &SessionKey) -> SessionKey {
        SessionKey::new(self.scope(key.scope()), key.session().clone())
    }

    fn scope(&self, scope: &TenantScope) -> TenantScope {
        if self.1 == MemoryFlaw::SharesTenants { TenantScope::local() } else { scope.clone() }
    }

    fn ctx(&self, ctx: &RunContext) -> RunContext {
        if self.1 == MemoryFlaw::IgnoresItsContext { RunContext::new() } else { ctx.clone() }
    }
}

#[async_trait]
impl Memory for BrokenMemory {
    async fn append(&self, key: &SessionKey, turn: Vec<Message>, ctx: &RunContext) -> Result<()> {
        if self.1 != MemoryFlaw::TearsTurns {
            return self.0.append(&self.key(key), turn, &self.ctx(ctx)).await;
        }
        for message in turn {
            self.0.append(key, vec![message], ctx).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn recall(&self, key: &SessionKey, limit: usize, ctx: &RunContext) -> Result<Vec<Message>> {
        let all = if self.1 == MemoryFlaw::OldestMessages { usize::MAX } else { limit };
        let mut messages = self.0.recall(&self.key(key), all, &self.ctx(ctx)).await?;
        if self.1 == MemoryFlaw::NewestFirst {
            messages.reverse();
        }
        messages.truncate(limit);
        Ok(messages)
    }

    async fn sessions(
        &self,
        scope: &TenantScope,
        after: Option<&SessionId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<SessionSummary>> {
        let mut page = self.0.sessions(&self.scope(scope), after, limit, &self.ctx(ctx)).await?;
        if self.1 == MemoryFlaw::UnorderedPages {
            page.reverse();
        }
        Ok(page)
    }

    async fn forget(&self, key: &SessionKey, ctx: &RunContext) -> Result<bool> {
        if self.1 == MemoryFlaw::NeverForgets {
            return Ok(!self.0.recall(key, 1, ctx).await?.is_empty());
        }
        self.0.forget(&self.key(key), &self.ctx(ctx)).await
    }
}

#[tokio::test]
async fn a_broken_memory_is_caught() {
    for (flaw, expected) in [
        (MemoryFlaw::NewestFirst, "did not come back as they were appended"),
        (MemoryFlaw::OldestMessages, "the newest 1 of"),
        (MemoryFlaw::SharesTenants, "a tenant reads another tenant's session"),
        (MemoryFlaw::NeverForgets, "a forgotten session still has messages"),
        (MemoryFlaw::TearsTurns, "are mixed up"),
        (MemoryFlaw::UnorderedPages, "not listed by id"),
        (MemoryFlaw::IgnoresItsContext, "succeeded although its context was stopped"),
    ] {
        let suite = conformance::memory(|| async move { BrokenMemory(WindowMemory::new(), flaw) });
        caught(suite, expected).await;
    }
}

/// Accepts whatever a model makes up, and may be in two minds about its policy.
struct GullibleTool(ToolSpec, Option<AtomicBool>);

#[async_trait]
impl Tool for GullibleTool {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    fn policy(&self) -> &ToolPolicy {
        const PLAIN: &ToolPolicy = &ToolPolicy::new();
        static TELLING: LazyLock<ToolPolicy> = LazyLock::new(|| ToolPolicy::new().telling_failures());
        let undecided = self.1.as_ref().is_some_and(|flag| flag.fetch_not(Ordering::SeqCst));
        if undecided { &TELLING } else { PLAIN }
    }

    async fn call(&self, arguments: Value, ctx: &RunContext) -> Result<Value> {
        ctx.check()?;
        Ok(arguments)
    }
}

#[tokio::test]
async fn a_broken_tool_is_caught() {
    let spec = |name: &str| ToolSpec {
        name: name.into(),
        description: "Takes anything.".into(),
        parameters: json!({"type": "object"}),
    };
    let misnamed = GullibleTool(spec("two words"), None);
    caught(conformance::tool(&misnamed, json!({})), "is not of letters").await;
    let gullible = GullibleTool(spec("gullible"), None);
    caught(conformance::tool(&gullible, json!({})), "was accepted instead of refused").await;
    let undecided = GullibleTool(spec("undecided"), Some(AtomicBool::new(false)));
    caught(conformance::tool(&undecided, json!({})), "the policy changed").await;
}

#[tokio::test]
async fn a_broken_agent_is_caught() {
    for (flaw, expected) in [
        (Flaw::EndsTwice, "end once, not 2 times"),
        (Flaw::StartsLate, "a run begins with"),
        (Flaw::Misquotes, "quotes \"something else\""),
        (Flaw::ForgetsTurns, "with 0 messages in memory"),
        (Flaw::IgnoresItsContext, "succeeded although its context was stopped"),
        (Flaw::AcceptsBlankMessages, "an empty message was accepted"),
        (Flaw::LeavesACallOpen, "the calls [\"1\"] have no result"),
        (Flaw::AnswersNoCall, "answers no call"),
    ] {
        caught(conformance::agent(&agent_fixture(flaw)), expected).await;
    }
}
