//! A reranker that reads question and passage together: BERT with a classification head.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use agentkit_core::{Error, Reranker, Result, RunContext};
use async_trait::async_trait;

use super::config::{Precision, Settings};
use super::encoder::Encoder;
use super::engine::{Engine, Reading, Text, Texts, batches};
use super::tokens::Tokens;
use super::weights::{Head, Weights};
use super::{TOKENIZER, WEIGHTS, read};
use crate::models::{ModelSpec, ModelStore, NoProgress};

/// A [`Reranker`] that runs a BERT cross-encoder on the CPU, such as `cross-encoder/ms-marco-MiniLM-L6-v2`.
///
/// A score is the logit of the head: of one label as it is, of two the difference between second and first. It has no fixed
/// range. Question and passage are cut to what the model takes together, the longer one first. Every passage is a
/// forward pass with the question, so twenty passages take a noticeable part of a second.
///
/// Cheap to clone; clones share weights and queues.
///
/// # Examples
/// ```no_run
/// use agentkit_core::{Reranker, RunContext};
/// use agentkit_rag::embed::CrossEncoder;
///
/// # async fn example() -> agentkit_core::Result<()> {
/// let reranker = CrossEncoder::load("models/ms-marco-MiniLM-L6-v2").await?;
/// let passages = vec!["Green tea is best at 80 degrees.".into(), "Change the oil.".into()];
/// let scores = reranker.rerank("how hot is green tea?", passages, &RunContext::new()).await?;
/// assert!(scores[0] > scores[1]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CrossEncoder {
    shared: Arc<Shared>,
    threads: usize,
}

struct Shared {
    name: String,
    tokens: Tokens,
    head: Head,
    engine: Arc<Engine>,
}

impl CrossEncoder {
    /// Loads the model in `folder`: `config.json`, `tokenizer.json` and `model.safetensors` with `pooler` and `classifier`.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the loading.
    ///
    /// # Errors
    /// Not found (naming the missing file), corrupt (naming the damaged one), or unsupported: another architecture, or a head of
    /// more than two labels.
    pub async fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).get();
        let shared = RunContext::new().run_blocking(move |_| Shared::load(&folder, threads)).await?;
        Ok(Self { shared: Arc::new(shared), threads })
    }

    /// Loads the model that `spec` names, fetching its files once if they are not in the cache.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the loading; a model half fetched is not kept.
    ///
    /// # Errors
    /// As [`ModelStore::fetch`] and [`CrossEncoder::load`].
    pub async fn fetch(spec: &ModelSpec) -> Result<Self> {
        let store = ModelStore::from_env()?;
        Self::load(store.fetch(spec, &NoProgress, &RunContext::new()).await?).await
    }
}

impl Shared {
    fn load(folder: &Path, threads: usize) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::not_found(format!("model folder {} does not exist", folder.display())));
        }
        let settings = Settings::read(folder)?;
        let (path, vocabulary) = read(folder, TOKENIZER)?;
        let tokens = Tokens::new(&path, &vocabulary, settings.max_tokens)?;
        let (path, bytes) = read(folder, WEIGHTS)?;
        let head = Head::new(&path, &bytes, &settings.architecture)?;
        let weights = Weights::new(&path, &bytes, &settings.architecture, Precision::Single)?;
        let last = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let name =
            crate::models::recorded_name(folder).or_else(last).unwrap_or_else(|| "cross-encoder".into());
        let engine = Arc::new(Engine::new(Encoder::new(weights, settings), threads));
        Ok(Self { name, tokens, head, engine })
    }

    fn batches(&self, query: &str, passages: &[String], ctx: &RunContext) -> Result<Vec<Texts>> {
        batches(passages.iter().map(|passage| -> Result<Text> {
            let (ids, second) = self.tokens.encode_pair(query, passage, ctx)?;
            Ok(Text { ids, second, reading: Reading::First })
        }))
    }
}

#[async_trait]
impl Reranker for CrossEncoder {
    fn name(&self) -> &str {
        &self.shared.name
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        ctx.check()?;
        let (shared, query) = (Arc::clone(&self.shared), query.to_owned());
        let batches = ctx.run_blocking(move |ctx| shared.batches(&query, &passages, ctx)).await?;
        let states = self.shared.engine.run_all(batches, self.threads, ctx).await?;
        Ok(states.iter().map(|state| self.shared.head.score(state)).collect())
    }
}

impl fmt::Debug for CrossEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossEncoder").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
