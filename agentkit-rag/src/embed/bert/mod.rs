//! Sentence embeddings by a BERT model from a folder.

mod adapter;
mod bytes;
mod classify;
mod config;
mod counts;
mod cross;
mod encoder;
mod engine;
mod familiar;
mod kernel;
mod kernel8;
mod late;
mod math;
mod panels;
mod tokens;
mod weights;

use std::fmt;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::models::{ModelSpec, ModelStore, NoProgress};
use agentkit_core::{EmbedSide, Embedder, EmbedderIdentity, Embedding, Error, Result, RunContext};
use async_trait::async_trait;

pub(crate) use self::classify::Marked;
pub use self::classify::TermClassifier;
pub use self::config::Precision;
use self::config::{Pooling, Settings, missing};
pub use self::cross::CrossEncoder;
use self::encoder::Encoder;
use self::engine::{Engine, Reading, Text, Texts, batches};
pub use self::late::LateInteraction;
use self::tokens::Tokens;
use self::weights::Weights;

const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
/// What the revision of a model in eight-bit integers begins with; to be changed with how they are computed.
const INT8: &[u8] = b"int8, version 1";
/// Texts up to this size are tokenised where they are; it takes less time than handing them to another thread.
const INLINE_BYTES: usize = 512;
/// Weights above this size are not a model for this runtime, which holds them in memory in single precision.
const MAX_MODEL_BYTES: u64 = 8 << 30;

/// An [`Embedder`] that runs a BERT-family sentence-transformers model on the CPU, in single precision or, if
/// [asked to](BertOptions::precision), in eight-bit integers.
///
/// Pooling (mean or cls), normalisation, prompts for queries and documents, and the longest text come from the
/// model's folder and are part of its [identity](EmbedderIdentity). Longer texts are cut. A text's vector does
/// not depend on the other texts of a call. The work runs on blocking threads, at most one a core, and stops
/// between two layers.
///
/// Cheap to clone; clones share weights and queues.
///
/// # Examples
/// ```no_run
/// use agentkit_core::{EmbedSide, Embedder, RunContext};
/// use agentkit_rag::embed::BertEmbedder;
///
/// # async fn example() -> agentkit_core::Result<()> {
/// let embedder = BertEmbedder::load("models/all-MiniLM-L6-v2").await?;
/// let vectors = embedder.embed(EmbedSide::Query, vec!["a question".into()], &RunContext::new()).await?;
/// assert_eq!(vectors[0].as_slice().len(), embedder.identity().dimension);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BertEmbedder {
    shared: Arc<Shared>,
    threads: usize,
}

/// How a [`BertEmbedder`] computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BertOptions {
    /// See [`BertOptions::precision`].
    pub precision: Precision,
    /// See [`BertOptions::threads`].
    pub threads: Option<NonZeroUsize>,
}

impl BertOptions {
    /// In what numbers to compute: single precision unless said otherwise.
    ///
    /// The weights are the same file for every precision. What is computed in eight-bit integers is another
    /// space: its [identity](EmbedderIdentity) has a revision of its own and a name that ends in `int8`.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// How many threads may compute queries, and as many again passages: as many as the machine has cores unless
    /// said otherwise. A thread computes whole texts.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }
}

struct Shared {
    folder: PathBuf,
    precision: Precision,
    identity: EmbedderIdentity,
    settings: Settings,
    tokens: Tokens,
    engine: Arc<Engine>,
}

impl BertEmbedder {
    /// Loads all-MiniLM-L6-v2, the default model, fetching its files once if they are not in the cache.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the loading; a model half fetched is not kept.
    ///
    /// # Errors
    /// As [`ModelStore::fetch`] and [`BertEmbedder::load`].
    pub async fn minilm() -> Result<Self> {
        let store = ModelStore::from_env()?;
        Self::load(store.fetch(&ModelSpec::minilm(), &NoProgress, &RunContext::new()).await?).await
    }

    /// Loads the model in `folder` with [`BertOptions::default`]; see [`BertEmbedder::load_with`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the loading.
    ///
    /// # Errors
    /// As [`BertEmbedder::load_with`].
    pub async fn load(folder: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(folder, BertOptions::default()).await
    }

    /// Loads the model in `folder`: `config.json`, `tokenizer.json`, `model.safetensors`, and if present
    /// `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json` and
    /// `config_sentence_transformers.json`.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the loading.
    ///
    /// # Errors
    /// Not found (naming the missing file), corrupt (naming the damaged one), unsupported (an architecture or a
    /// pooling this embedder would compute wrongly), or unavailable.
    ///
    /// # Examples
    /// ```no_run
    /// use agentkit_rag::embed::{BertEmbedder, BertOptions, Precision};
    ///
    /// # async fn example() -> agentkit_core::Result<()> {
    /// let options = BertOptions::default().precision(Precision::Int8);
    /// let embedder = BertEmbedder::load_with("models/all-MiniLM-L6-v2", options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn load_with(folder: impl AsRef<Path>, options: BertOptions) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        let machine = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = options.threads.unwrap_or_else(machine).get();
        let load = move |ctx: &RunContext| Shared::load(&folder, options.precision, threads, ctx);
        let shared = RunContext::new().run_blocking(load).await?;
        Ok(Self { shared: Arc::new(shared), threads })
    }
}

impl fmt::Debug for BertEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BertEmbedder").field("identity", &self.shared.identity).finish_non_exhaustive()
    }
}

#[async_trait]
impl Embedder for BertEmbedder {
    fn identity(&self) -> &EmbedderIdentity {
        &self.shared.identity
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.shared.tokens.count(text)
    }

    /// Of the text's first eight thousand bytes.
    fn familiarity(&self, text: &str) -> f32 {
        familiar::share(&self.shared.tokens, text)
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let shared = Arc::clone(&self.shared);
        let batches = if texts.iter().map(String::len).sum::<usize>() <= INLINE_BYTES {
            shared.batches(side, &texts, Reading::Vector, ctx)?
        } else {
            ctx.run_blocking(move |ctx| shared.batches(side, &texts, Reading::Vector, ctx)).await?
        };
        let vectors = self.shared.engine.run_all(batches, self.threads, ctx).await?;
        vectors.into_iter().map(embedding).collect()
    }
}

impl Shared {
    fn load(folder: &Path, precision: Precision, threads: usize, ctx: &RunContext) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::not_found(format!("model folder {} does not exist", folder.display())));
        }
        let settings = Settings::read(folder)?;
        let (path, vocabulary) = read(folder, TOKENIZER)?;
        let tokens = Tokens::new(&path, &vocabulary, settings.max_tokens)?;
        if tokens.vocabulary() > settings.architecture.vocab_size {
            let message = format!("{} has more tokens than the model of config.json", path.display());
            return Err(Error::corrupt(message));
        }
        ctx.check()?;
        let (path, bytes) = read(folder, WEIGHTS)?;
        let revision = revision(&settings, precision, &[&vocabulary, &bytes])?;
        ctx.check()?;
        let weights = Weights::new(&path, &bytes, &settings.architecture, precision)?;
        let mut identity = identity(folder, &settings, revision);
        if precision == Precision::Int8 {
            identity.name.push_str(" int8");
        }
        let engine = Arc::new(Engine::new(Encoder::new(weights, settings.clone()), threads));
        Ok(Self { folder: folder.to_owned(), precision, identity, settings, tokens, engine })
    }

    /// Tokenises `texts` and cuts the list where a pass is full; the order stays.
    fn batches(
        &self,
        side: EmbedSide,
        texts: &[String],
        reading: Reading,
        ctx: &RunContext,
    ) -> Result<Vec<Texts>> {
        let prompt = self.settings.prompt(side);
        let text = |text: &String| -> Result<Text> {
            ctx.check()?;
            Ok(Text::single(self.tokens.encode(prompt, text, ctx)?, reading))
        };
        batches(texts.iter().map(text))
    }
}

fn embedding(vector: Vec<f32>) -> Result<Embedding> {
    Embedding::new(vector).map_err(|error| Error::internal("the model computed no vector").with_source(error))
}

fn identity(folder: &Path, settings: &Settings, revision: String) -> EmbedderIdentity {
    let last = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = crate::models::recorded_name(folder).or_else(last).unwrap_or_else(|| "bert".into());
    let mut identity = EmbedderIdentity::new(name, settings.architecture.hidden_size, settings.max_tokens);
    identity.pooling = match settings.pooling {
        Pooling::Mean => "mean".into(),
        Pooling::Cls => "cls".into(),
    };
    identity.normalized = settings.normalize;
    identity.revision = revision;
    identity
}

/// A hash of everything that decides what vector a text gets. The settings are hashed as understood, not as
/// written, so that files which differ in irrelevant keys give the same revision.
fn revision(settings: &Settings, precision: Precision, files: &[&[u8]]) -> Result<String> {
    let settings = serde_json::to_vec(settings)
        .map_err(|error| Error::internal("hash the settings of a model").with_source(error))?;
    let mut hasher = blake3::Hasher::new();
    if precision == Precision::Int8 {
        hasher.update(INT8);
    }
    for part in std::iter::once(settings.as_slice()).chain(files.iter().copied()) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn read(folder: &Path, name: &str) -> Result<(PathBuf, Vec<u8>)> {
    let path = folder.join(name);
    let failed = |error| Error::io(format!("read {}", path.display()), error);
    match fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(folder, name)),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.len() > MAX_MODEL_BYTES => {
            return Err(Error::corrupt(format!("{} is too large for a model", path.display())));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(&path).map_err(failed)?;
    Ok((path, bytes))
}
