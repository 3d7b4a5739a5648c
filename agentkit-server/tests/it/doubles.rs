//! Stand-ins for what the service serves, small enough to be read at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use agentkit_core::testing::{HashingEmbedder, WindowMemory};
use agentkit_core::{
    Agent, AgentEventKind, AgentInput, AgentStream, ChunkId, Citation, CollectionName, DocumentId, Emitter,
    Error, ErrorKind, Explanation, Filter, Hit, Leg, LegExplanation, Locator, Memory, MemoryState, Message,
    Outcome, Part, Passage, Result, Retriever, RunContext, SearchRequest, SearchResponse, SessionKey, Source,
    Span, TenantScope, ToolCall, Usage,
};
use agentkit_rag::SourceDocument;
use agentkit_server::{Document, DocumentEntry, DocumentStore, Services, StoreStats, StoreTotals, Upserted};
use async_trait::async_trait;
use tokio::sync::Semaphore;

pub(crate) fn passage() -> Passage {
    Passage {
        chunk_id: ChunkId::new("tea#0").unwrap(),
        document_id: DocumentId::new("tea").unwrap(),
        title: Some("Tea".into()),
        text: "Größte Vorsicht: 80 degrees.".into(),
        span: Span::new(0, 30),
        locator: Locator::default(),
    }
}

/// Answers by the message: `hang` never ends, `fail` fails midway, `panic` panics, `refuse` refuses to start. Who
/// asks for the `weather` has their tools called.
pub(crate) struct DoubleAgent {
    /// Runs that hold their producer at this moment.
    pub(crate) running: Arc<AtomicUsize>,
    /// A permit comes whenever a run begins or ends.
    pub(crate) changed: Arc<Semaphore>,
    /// What it was asked.
    pub(crate) asked: Mutex<Vec<AgentInput>>,
    /// Where turns go.
    memory: Arc<WindowMemory>,
}

struct Held(Arc<AtomicUsize>, Arc<Semaphore>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        self.1.add_permits(1);
    }
}

impl DoubleAgent {
    /// Waits until a run began or ended.
    pub(crate) async fn change(&self) {
        self.changed.acquire().await.unwrap().forget();
    }

    fn hold(&self) -> Held {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.changed.add_permits(1);
        Held(self.running.clone(), self.changed.clone())
    }
}

#[async_trait]
impl Agent for DoubleAgent {
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream> {
        input.validate()?;
        if !asks_weather(&input) {
            input.without_tools()?;
        }
        self.asked.lock().unwrap().push(input.clone());
        match input.message.as_str() {
            "refuse" => return Err(Error::new(ErrorKind::Unavailable, "the model is away")),
            "panic" => panic!("the double was told to panic"),
            _ => {}
        }
        let (held, ctx, memory) = (self.hold(), ctx.clone(), self.memory.clone());
        Ok(AgentStream::generate(move |out| async move {
            let _held = held;
            let trace_id = ctx.trace().trace_id();
            out.emit(AgentEventKind::Started { trace_id, session_id: input.session.clone() }).await?;
            let source = Source { number: 1, passage: passage(), score: 0.5 };
            out.emit(AgentEventKind::Retrieved { query: input.message.clone(), sources: vec![source] })
                .await?;
            for text in ["At 80\n", "degrees [1]"] {
                out.emit(AgentEventKind::Delta { text: text.into() }).await?;
            }
            match input.message.as_str() {
                _ if asks_weather(&input) => return weather(&input, &out).await,
                "hang" => ctx.stopped().await,
                "deaf" => std::future::pending().await,
                "fail" => return Err(Error::new(ErrorKind::Unavailable, "the model went away")),
                _ => {
                    remember(&memory, input, &ctx).await?;
                    return finish(&out).await;
                }
            };
            Err(ctx.stopped().await)
        }))
    }
}

/// Whether the question is one that the double calls tools for, and there are any.
fn asks_weather(input: &AgentInput) -> bool {
    input.message.contains("weather") && input.without_tools().is_err()
}

/// Calls the first of the caller's tools twice, and tells the results if there are some.
async fn weather(input: &AgentInput, out: &Emitter<AgentEventKind>) -> Result<()> {
    let results = input.since.iter().flat_map(|said| &said.parts).filter_map(|part| match part {
        Part::ToolResult(result) => Some(result.content.as_str()),
        _ => None,
    });
    let told: Vec<&str> = results.collect();
    if !told.is_empty() {
        out.emit(AgentEventKind::Delta { text: format!("; {}", told.join(", ")) }).await?;
        return finish(out).await;
    }
    let name = input.tools.tools.first().map(|tool| tool.name.clone()).unwrap_or_default();
    for city in ["Oslo", "Bergen"] {
        let arguments = serde_json::json!({ "city": city });
        let call = ToolCall { id: format!("call_{city}"), name: name.clone(), arguments };
        out.emit(AgentEventKind::ToolCalled(call)).await?;
    }
    out.emit(AgentEventKind::Done { outcome: Outcome::Waiting }).await
}

async fn remember(memory: &WindowMemory, input: AgentInput, ctx: &RunContext) -> Result<()> {
    let Some(session) = input.session else { return Ok(()) };
    let turn = vec![Message::user(input.message), Message::assistant("At 80 degrees")];
    memory.append(&SessionKey::new(input.scope, session), turn, ctx).await
}

async fn finish(out: &Emitter<AgentEventKind>) -> Result<()> {
    let Passage { chunk_id, document_id, title, locator, .. } = passage();
    let span = Span::new(19, 30);
    let quote = "80 degrees.".into();
    out.emit(AgentEventKind::Citation(Citation {
        number: 1,
        document_id,
        chunk_id,
        title,
        quote,
        span,
        locator,
    }))
    .await?;
    out.emit(AgentEventKind::Usage(Usage { input_tokens: 3, output_tokens: 4 })).await?;
    out.emit(AgentEventKind::Done { outcome: Outcome::Answered }).await
}

/// Finds one passage, and remembers what was asked.
#[derive(Default)]
pub(crate) struct DoubleRetriever {
    pub(crate) asked: Mutex<Vec<SearchRequest>>,
}

#[async_trait]
impl Retriever for DoubleRetriever {
    async fn search(&self, request: &SearchRequest, _ctx: &RunContext) -> Result<SearchResponse> {
        request.validate()?;
        self.asked.lock().unwrap().push(request.clone());
        let leg = LegExplanation { leg: Leg::Lexical, rank: 1, score: 2.0, contribution: 2.0 };
        let explanation = Explanation::new(vec![leg], None);
        let hit =
            Hit { passage: passage(), score: 2.0, metadata: agentkit_core::Metadata::new(), explanation };
        Ok(SearchResponse::new(vec![hit], 1, 7))
    }
}

/// Keeps documents in a map by tenant, collection and id; one that says `hang` is waited for until it is stopped.
#[derive(Default)]
pub(crate) struct DoubleDocuments {
    kept: Mutex<BTreeMap<(String, DocumentId), SourceDocument>>,
    pub(crate) failure: Mutex<Option<ErrorKind>>,
}

fn partition(scope: &TenantScope) -> String {
    format!("{}/{}", scope.tenant(), scope.collection())
}

impl DoubleDocuments {
    fn check(&self) -> Result<()> {
        match *self.failure.lock().unwrap() {
            Some(kind) => Err(Error::new(kind, "the store was told to fail")),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl DocumentStore for DoubleDocuments {
    async fn upsert(
        &self,
        scope: &TenantScope,
        documents: Vec<SourceDocument>,
        ctx: &RunContext,
    ) -> Result<Upserted> {
        self.check()?;
        if documents.iter().any(|document| document.source_text == "hang") {
            return Err(ctx.stopped().await);
        }
        let count = documents.len() as u64;
        for document in documents {
            self.kept.lock().unwrap().insert((partition(scope), document.id.clone()), document);
        }
        Ok(Upserted { documents: count, chunks: count, embedded: count, generation: 1, unchanged: 0 })
    }

    async fn delete(&self, scope: &TenantScope, ids: &[DocumentId], _ctx: &RunContext) -> Result<u64> {
        self.check()?;
        let mut kept = self.kept.lock().unwrap();
        Ok(ids.iter().filter(|id| kept.remove(&(partition(scope), (*id).clone())).is_some()).count() as u64)
    }

    async fn forget(&self, scope: &TenantScope, ids: &[DocumentId], ctx: &RunContext) -> Result<u64> {
        self.delete(scope, ids, ctx).await
    }

    async fn get(&self, scope: &TenantScope, id: &DocumentId, _ctx: &RunContext) -> Result<Option<Document>> {
        self.check()?;
        let found = self.kept.lock().unwrap().get(&(partition(scope), id.clone())).cloned();
        Ok(found.map(|SourceDocument { id, title, uri, kind, source_text, metadata, .. }| {
            let source_hash = "hash".into();
            Document { id, title, uri, kind, source_text, source_hash, metadata, chunks: 1 }
        }))
    }

    async fn list(
        &self,
        scope: &TenantScope,
        after: Option<&DocumentId>,
        limit: usize,
        _ctx: &RunContext,
    ) -> Result<Vec<DocumentEntry>> {
        self.check()?;
        let kept = self.kept.lock().unwrap();
        let here =
            kept.iter().filter(|((place, id), _)| *place == partition(scope) && after.is_none_or(|a| id > a));
        let entry = |document: &SourceDocument| DocumentEntry {
            id: document.id.clone(),
            title: document.title.clone(),
            uri: document.uri.clone(),
            bytes: document.source_text.len() as u64,
            source_hash: "hash".into(),
            chunks: 1,
        };
        Ok(here.map(|(_, document)| entry(document)).take(limit).collect())
    }

    async fn matching(
        &self,
        scope: &TenantScope,
        filter: &Filter,
        _ctx: &RunContext,
    ) -> Result<Vec<DocumentId>> {
        self.check()?;
        filter.validate()?;
        let kept = self.kept.lock().unwrap();
        let here = kept.iter().filter(|((place, _), _)| *place == partition(scope));
        let matching = here.filter(|(_, document)| filter.matches(&document.metadata));
        Ok(matching.map(|((_, id), _)| id.clone()).collect())
    }

    async fn collections(&self, scope: &TenantScope, _ctx: &RunContext) -> Result<Vec<CollectionName>> {
        self.check()?;
        let kept = self.kept.lock().unwrap();
        let home = format!("{}/", scope.tenant());
        let mut names: Vec<_> = kept
            .keys()
            .filter_map(|(place, _)| place.strip_prefix(&home))
            .map(|name| CollectionName::new(name).unwrap())
            .collect();
        names.dedup();
        Ok(names)
    }

    async fn stats(&self, scope: &TenantScope, _ctx: &RunContext) -> Result<StoreStats> {
        self.check()?;
        let kept = self.kept.lock().unwrap();
        let documents = kept.keys().filter(|(place, _)| *place == partition(scope)).count() as u64;
        Ok(StoreStats { documents, chunks: documents, generation: documents.min(1) })
    }

    async fn totals(&self, _ctx: &RunContext) -> Result<StoreTotals> {
        let documents = self.kept.lock().unwrap().len() as u64;
        Ok(StoreTotals { collections: 1, documents, chunks: documents, generation: 1 })
    }
}

/// All doubles, with handles to look into them.
#[derive(Clone)]
pub(crate) struct Doubles {
    pub(crate) agent: Arc<DoubleAgent>,
    pub(crate) retriever: Arc<DoubleRetriever>,
    pub(crate) documents: Arc<DoubleDocuments>,
    pub(crate) state: Arc<MemoryState>,
    memory: Arc<WindowMemory>,
}

impl Default for Doubles {
    fn default() -> Self {
        let memory = Arc::new(WindowMemory::new());
        let changed = Arc::new(Semaphore::new(0));
        let agent =
            DoubleAgent { running: Arc::default(), changed, asked: Mutex::default(), memory: memory.clone() };
        Self {
            agent: Arc::new(agent),
            retriever: Arc::default(),
            documents: Arc::default(),
            state: Arc::default(),
            memory,
        }
    }
}

impl Doubles {
    pub(crate) fn services(&self) -> Services {
        Services {
            agent: self.agent.clone(),
            retriever: self.retriever.clone(),
            memory: self.memory.clone(),
            embedder: Arc::new(HashingEmbedder::new()),
            documents: self.documents.clone(),
            state: self.state.clone(),
        }
    }
}
