//! Plugs the embedded implementations into the service: index, agent, conversations.

use std::sync::Arc;

use agentkit_core::model::openai::{OpenAiModel, OpenAiOptions};
use agentkit_core::telemetry::Traced;
use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{
    Agent, ChatModel, CollectionName, DocumentId, Embedder, Error, ErrorKind, Filter, Memory, Reranker,
    Result, Retriever, RunContext, Searcher, TenantScope,
};
use agentkit_rag::answer::{ExtractiveModel, QueryResolver, RagAgent, Support};
use agentkit_rag::chat::{LocalChat, LocalOptions};
use agentkit_rag::embed::{BertEmbedder, BertOptions, LateInteraction, Precision};
use agentkit_rag::models::{ModelSpec, ModelStore, Progress};
use agentkit_rag::sqlite::SqliteMemory;
use agentkit_rag::{DocumentSummary, Index, IndexStats, SourceDocument, StoredDocument, UpsertReport, load};
use async_trait::async_trait;

use crate::Services;
use crate::config::{ChatConfig, Config, EmbedderChoice, HostedChat, LocalChatConfig};
use crate::documents::{Document, DocumentEntry, DocumentStore, StoreStats, StoreTotals, Upserted};
use crate::renewable::Renewable;

/// The index within the data directory.
pub(crate) const INDEX: &str = "index";
/// The conversations within the data directory.
pub(crate) const SESSIONS: &str = "sessions.sqlite";

/// The name by which plans ask for the embedding model's token vectors, compared one by one.
pub(crate) const MAXSIM: &str = "maxsim";

/// What a command wants to do with the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Everything; only one process at a time.
    ReadWrite,
    /// Search the last committed state, also while another process writes.
    ReadOnly,
}

/// The embedded parts of a data directory, opened.
pub struct Engine {
    index: Index,
    embedder: Arc<dyn Embedder>,
    agent: Arc<dyn Agent>,
    chat: Arc<Renewable>,
    memory: Option<SqliteMemory>,
    support: Option<Support>,
    reranker: Option<Arc<dyn Reranker>>,
}

impl Engine {
    /// Opens the data directory of `config`, fetching the embedding model first if it is not there.
    ///
    /// # Cancel safety
    /// If dropped, nothing stays open; a half-fetched model is removed.
    ///
    /// # Errors
    /// Conflict if another process writes, mismatch if the index has another model, not found if there is nothing to
    /// read, unavailable, corrupt, or stopped.
    pub async fn open(
        config: &Config,
        access: Access,
        progress: &dyn Progress,
        ctx: &RunContext,
    ) -> Result<Self> {
        let folder = config.data_dir.join(INDEX);
        if access == Access::ReadOnly && !folder.is_dir() {
            return Err(nothing_there(config));
        }
        let bert = bert(config, progress, ctx).await?;
        let resolver = resolver(bert.as_ref()).await?;
        let reranker = bert.clone().map(|bert| Arc::new(LateInteraction::new(bert)) as Arc<dyn Reranker>);
        let embedder: Arc<dyn Embedder> = Arc::new(Traced::new(or_hashing(bert)));
        let support = judge(config, &embedder);
        let chat = Arc::new(Renewable::new(chat_model(config.chat.as_ref(), progress, ctx).await?));
        let model = Arc::new(Traced::new(chat.clone()));
        let (index, memory) = match access {
            Access::ReadOnly => (Index::open_read_only(&folder, embedder.clone()).await?, None),
            Access::ReadWrite => {
                let index = Index::open(&folder, embedder.clone()).await?;
                (index, Some(SqliteMemory::open(&config.data_dir.join(SESSIONS)).await?))
            }
        };
        let mut agent = RagAgent::new(traced(&index), model);
        if let Some(memory) = &memory {
            agent = agent.memory(Arc::new(memory.clone()));
        }
        if let Some(resolver) = resolver {
            agent = agent.rewriter(Arc::new(resolver));
        }
        // A chat model reads and judges for itself; the extractive one cannot.
        if let (Some(judge), None) = (&support, &config.chat) {
            agent = agent.support(judge.clone());
        }
        let agent = Arc::new(Traced::new(Arc::new(agent)));
        Ok(Self { index, embedder, agent, chat, memory, support, reranker })
    }

    /// Answers messages.
    #[must_use]
    pub fn agent(&self) -> Arc<dyn Agent> {
        self.agent.clone()
    }

    /// Finds passages, by plans that may name the reranker `maxsim`, the embedding model's token vectors.
    #[must_use]
    pub fn retriever(&self) -> Arc<dyn Retriever> {
        let searcher = Searcher::new(traced(&self.index));
        match &self.reranker {
            Some(reranker) => Arc::new(searcher.reranker(MAXSIM, reranker.clone())),
            None => Arc::new(searcher),
        }
    }

    /// The chat model, to be replaced.
    pub(crate) fn chat(&self) -> Arc<Renewable> {
        self.chat.clone()
    }

    /// The index itself.
    pub(crate) fn index(&self) -> Index {
        self.index.clone()
    }

    /// Judges what was found, if the embedding model is one whose threshold is known.
    pub(crate) fn support(&self) -> Option<Support> {
        self.support.clone()
    }

    /// Keeps documents.
    #[must_use]
    pub fn documents(&self) -> Arc<dyn DocumentStore> {
        Arc::new(IndexedDocuments { index: self.index.clone(), judge: self.support.clone() })
    }

    /// Everything the service needs.
    ///
    /// # Errors
    /// Unsupported, if the data directory was opened to be read only.
    pub fn services(&self) -> Result<Services> {
        let memory = self.memory.clone().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "serve a data directory that was opened to be read only")
        })?;
        Ok(Services {
            agent: self.agent(),
            retriever: self.retriever(),
            embedder: self.embedder.clone(),
            state: Arc::new(memory.state()),
            memory: Arc::new(memory) as Arc<dyn Memory>,
            documents: self.documents(),
        })
    }

    /// Ends all work and closes every file.
    ///
    /// # Cancel safety
    /// If dropped, the files are closed when the last user of the engine's parts is gone.
    ///
    /// # Errors
    /// Unavailable, if the index cannot be closed in order; what was acknowledged is safe all the same.
    pub async fn close(self) -> Result<()> {
        if let Some(memory) = &self.memory {
            memory.close().await;
        }
        self.index.close().await
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("read_only", &self.memory.is_none()).finish_non_exhaustive()
    }
}

fn traced(index: &Index) -> Arc<dyn Retriever> {
    Arc::new(Traced::new(Arc::new(index.clone())))
}

/// The index of the data directory, whatever model it was made with; what needs that model is refused.
pub(crate) async fn index_of_any_model(config: &Config) -> Result<Index> {
    let opened = Index::open_without_model(config.data_dir.join(INDEX)).await;
    opened.map_err(|error| if error.is_not_found() { nothing_there(config) } else { error })
}

fn nothing_there(config: &Config) -> Error {
    Error::not_found(format!(
        "there is no index in {}; add documents with ingest, or name the folder with --data-dir",
        config.data_dir.display()
    ))
}

/// The embedding model of `config`, fetched first if it is not there.
pub(crate) async fn embedder(
    config: &Config,
    progress: &dyn Progress,
    ctx: &RunContext,
) -> Result<Arc<dyn Embedder>> {
    Ok(or_hashing(bert(config, progress, ctx).await?))
}

fn or_hashing(bert: Option<BertEmbedder>) -> Arc<dyn Embedder> {
    match bert {
        Some(bert) => Arc::new(bert),
        None => Arc::new(HashingEmbedder::new()),
    }
}

/// The embedding model of `config`, unless it only hashes.
async fn bert(config: &Config, progress: &dyn Progress, ctx: &RunContext) -> Result<Option<BertEmbedder>> {
    let precision = match config.embedder {
        EmbedderChoice::Hashing => return Ok(None),
        EmbedderChoice::Minilm => Precision::Single,
        EmbedderChoice::MinilmInt8 => Precision::Int8,
    };
    let folder = match &config.model {
        Some(folder) => folder.clone(),
        None => ModelStore::from_env()?.fetch(&ModelSpec::minilm(), progress, ctx).await?,
    };
    let options = BertOptions::default().precision(precision);
    Ok(Some(BertEmbedder::load_with(folder, options).await?))
}

/// What makes follow-ups stand alone, if the embedding model of `config` is the one that has learnt it.
pub(crate) async fn resolver_of(
    config: &Config,
    progress: &dyn Progress,
    ctx: &RunContext,
) -> Result<Option<QueryResolver>> {
    resolver(bert(config, progress, ctx).await?.as_ref()).await
}

async fn resolver(bert: Option<&BertEmbedder>) -> Result<Option<QueryResolver>> {
    let Some(bert) = bert else { return Ok(None) };
    match QueryResolver::new(bert).await {
        Ok(resolver) => Ok(Some(resolver)),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}

/// Judges with all-MiniLM-L6-v2, to which the default threshold belongs.
fn judge(config: &Config, embedder: &Arc<dyn Embedder>) -> Option<Support> {
    let is_minilm = config.model.is_none() && config.embedder != EmbedderChoice::Hashing;
    is_minilm.then(|| Support::new(embedder.clone()))
}

/// The chat model of `config`, fetched first if it is local and not there.
pub(crate) async fn chat_model(
    chat: Option<&ChatConfig>,
    progress: &dyn Progress,
    ctx: &RunContext,
) -> Result<Arc<dyn ChatModel>> {
    match chat {
        None => Ok(Arc::new(ExtractiveModel::new())),
        Some(ChatConfig::Hosted(chat)) => hosted(chat),
        Some(ChatConfig::Local(chat)) => local(chat, progress, ctx).await,
    }
}

/// A model behind an OpenAI-compatible interface.
pub(crate) fn hosted(chat: &HostedChat) -> Result<Arc<dyn ChatModel>> {
    let mut options = OpenAiOptions::new(chat.base_url.as_str(), chat.model.as_str());
    if let Some(key) = &chat.api_key {
        options = options.api_key(key.expose());
    }
    if let Some(tokens) = chat.context_tokens {
        options = options.context_tokens(tokens);
    }
    Ok(Arc::new(OpenAiModel::new(options)?))
}

async fn local(
    chat: &LocalChatConfig,
    progress: &dyn Progress,
    ctx: &RunContext,
) -> Result<Arc<dyn ChatModel>> {
    let file = match &chat.file {
        Some(file) => file.clone(),
        None => ModelStore::from_env()?.fetch(&ModelSpec::smollm2(), progress, ctx).await?,
    };
    let mut options = LocalOptions::default().parallel(chat.parallel);
    options.context_tokens = chat.context_tokens;
    Ok(Arc::new(ctx.run(LocalChat::load_with(file, options)).await?))
}

/// The extension of a file of this name, if files of this kind can be read.
pub(crate) fn extension_of(name: &str) -> Option<&str> {
    let (_, extension) = name.rsplit_once('.')?;
    load::Loaders::default().for_format(extension).is_some().then_some(extension)
}

/// Makes a document of the bytes of a file, whose format is an extension or a media type.
pub(crate) fn load_bytes(id: &DocumentId, format: &str, bytes: &[u8]) -> Result<SourceDocument> {
    load::load_bytes(id.as_str(), format, bytes)
}

/// The index as the service sees it.
struct IndexedDocuments {
    index: Index,
    /// Who remembers embeddings of their sentences.
    judge: Option<Support>,
}

#[async_trait]
impl DocumentStore for IndexedDocuments {
    async fn upsert(
        &self,
        scope: &TenantScope,
        documents: Vec<SourceDocument>,
        ctx: &RunContext,
    ) -> Result<Upserted> {
        let UpsertReport { documents, unchanged, chunks, embedded, generation, .. } =
            self.index.upsert(scope, documents, ctx).await?;
        Ok(Upserted { documents, unchanged, chunks, embedded, generation })
    }

    async fn delete(&self, scope: &TenantScope, ids: &[DocumentId], ctx: &RunContext) -> Result<u64> {
        self.index.delete(scope, ids, ctx).await
    }

    async fn forget(&self, scope: &TenantScope, ids: &[DocumentId], ctx: &RunContext) -> Result<u64> {
        let forgotten = self.index.forget(scope, ids, ctx).await?;
        if let Some(judge) = &self.judge {
            judge.forget_sentences();
        }
        Ok(forgotten)
    }

    async fn get(&self, scope: &TenantScope, id: &DocumentId, ctx: &RunContext) -> Result<Option<Document>> {
        Ok(self.index.get(scope, id, ctx).await?.map(document))
    }

    async fn list(
        &self,
        scope: &TenantScope,
        after: Option<&DocumentId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<DocumentEntry>> {
        Ok(self.index.list(scope, after, limit, ctx).await?.into_iter().map(entry).collect())
    }

    async fn matching(
        &self,
        scope: &TenantScope,
        filter: &Filter,
        ctx: &RunContext,
    ) -> Result<Vec<DocumentId>> {
        self.index.matching(scope, filter, ctx).await
    }

    async fn collections(&self, scope: &TenantScope, ctx: &RunContext) -> Result<Vec<CollectionName>> {
        ctx.run(self.index.collections(scope)).await
    }

    async fn stats(&self, scope: &TenantScope, ctx: &RunContext) -> Result<StoreStats> {
        let IndexStats { documents, chunks, generation, .. } = ctx.run(self.index.stats(scope)).await?;
        Ok(StoreStats { documents, chunks, generation })
    }

    async fn totals(&self, ctx: &RunContext) -> Result<StoreTotals> {
        let in_use = ctx.run(async { Ok(self.index.in_use().await) }).await?;
        let sum = |of: fn(&IndexStats) -> u64| in_use.iter().map(of).sum();
        Ok(StoreTotals {
            collections: in_use.len() as u64,
            documents: sum(|stats| stats.documents),
            chunks: sum(|stats| stats.chunks),
            generation: sum(|stats| stats.generation),
        })
    }
}

fn document(stored: StoredDocument) -> Document {
    let StoredDocument { id, title, uri, kind, source_text, source_hash, metadata, chunks, .. } = stored;
    Document { id, title, uri, kind, source_text, source_hash, metadata, chunks }
}

fn entry(listed: DocumentSummary) -> DocumentEntry {
    let DocumentSummary { id, title, uri, bytes, source_hash, chunks, .. } = listed;
    DocumentEntry { id, title, uri, bytes, source_hash, chunks }
}

#[cfg(test)]
mod tests {
    use agentkit_core::SearchRequest;
    use agentkit_core::testing::CountingEmbedder;

    use super::*;

    #[tokio::test]
    async fn erasure_reaches_the_sentences_that_the_judge_remembers() {
        let (folder, scope, ctx) = (tempfile::tempdir().unwrap(), TenantScope::local(), RunContext::new());
        let counting = Arc::new(CountingEmbedder::new(Arc::new(HashingEmbedder::new())));
        let judge = Support::new(counting.clone());
        let index = Index::open(folder.path(), Arc::new(HashingEmbedder::new())).await.unwrap();
        let documents = IndexedDocuments { index: index.clone(), judge: Some(judge.clone()) };
        let tea = SourceDocument::text("tea", "Green tea is best at 80 degrees. Nobody came back.").unwrap();
        documents.upsert(&scope, vec![tea], &ctx).await.unwrap();
        let request = SearchRequest::new(scope.clone(), "How many degrees is tea best at?");
        let found = index.search(&request, &ctx).await.unwrap();
        let embedded_anew = async || {
            let before = counting.documents();
            judge.of(&request, &found, &ctx).await.unwrap().unwrap();
            counting.documents() - before
        };
        assert_eq!((embedded_anew().await, embedded_anew().await), (2, 0), "sentences are remembered");
        let erased = documents.forget(&scope, &[DocumentId::new("tea").unwrap()], &ctx).await.unwrap();
        assert_eq!((erased, embedded_anew().await), (1, 2), "until a document is erased");
    }
}
