//! Chat on this machine: models of the llama family from GGUF files, on the CPU.

mod engine;
#[doc(hidden)]
pub mod fuzz_support;
mod generate;
mod gguf;
mod llama;
mod options;
mod prompt;
mod sampling;
mod schema;
mod template;
mod text;
mod vocabulary;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkit_core::model::wire::check_request;
use agentkit_core::{
    Capabilities, ChatModel, ChatRequest, ChatStream, Error, ErrorKind, ModelInfo, Result, RunContext,
};
use async_trait::async_trait;

use self::engine::Engine;
use self::generate::Job;
use self::gguf::Gguf;
use self::llama::Llama;
pub use self::options::LocalOptions;
pub use self::sampling::Sampling;
use self::schema::Constraint;
use self::template::Template;
use self::vocabulary::Vocabulary;
use crate::models::{ModelSpec, ModelStore, NoProgress};

/// A [`ChatModel`] that runs a quantised model of the llama family on the CPU.
///
/// The file brings everything: weights, vocabulary and chat template. Four-bit (`Q4_0`, `Q4_1`) and `Q8_0` weights are
/// computed as they are and take as much memory as the file; every other format is turned into eight bits when it is
/// loaded. Messages cannot contain control tokens: what reads like one is taken as plain text.
///
/// An answer runs on one blocking thread, stops between two tokens and between two layers of a prompt, and starts from
/// what the model has already read of the conversation, which it keeps for a few of them. Of a
/// [request](ChatRequest), temperature, seed, stop sequences and limit of tokens are kept; a request without a seed is
/// answered differently each time, unless the temperature is 0. With an [output schema](agentkit_core::OutputSchema) no token is
/// chosen that the schema does not allow, so an answer that ends with `Stop` is valid; what of JSON Schema is not kept is
/// refused as unsupported, and stop sequences beside a schema as invalid. Tools are refused: small models are not made for them. A request that leaves no room for an answer is an
/// invalid-input error. Usage counts the tokens of the prompt and all tokens that were generated, the one that ends the
/// answer included.
///
/// Cheap to clone; clones share everything.
///
/// # Examples
/// ```no_run
/// use agentkit_core::{ChatRequest, Message, RunContext, complete};
/// use agentkit_rag::chat::LocalChat;
///
/// # async fn example() -> agentkit_core::Result<()> {
/// let model = LocalChat::load("models/SmolLM2-135M-Instruct.Q4_1.gguf").await?;
/// let request = ChatRequest::new(vec![Message::user("What is the capital of France?")]);
/// println!("{}", complete(&model, request, &RunContext::new()).await?.text);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LocalChat {
    shared: Arc<Shared>,
}

struct Shared {
    info: ModelInfo,
    options: LocalOptions,
    template: Template,
    engine: Arc<Engine>,
}

/// What a [`LocalChat`] has done since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalStats {
    /// Tokens that went through the model, of prompts and of answers.
    pub evaluated_tokens: u64,
    /// Tokens of prompts that did not have to, because the model had them of an earlier request.
    pub reused_tokens: u64,
}

impl LocalChat {
    /// Loads SmolLM2-135M-Instruct, a small chat model, fetching its file once if it is not in the cache.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the loading; a model half fetched is not kept.
    ///
    /// # Errors
    /// As [`ModelStore::fetch`] and [`LocalChat::load`].
    pub async fn smollm2() -> Result<Self> {
        let store = ModelStore::from_env()?;
        Self::load(store.fetch(&ModelSpec::smollm2(), &NoProgress, &RunContext::new()).await?).await
    }

    /// Loads the model in `path` with [`LocalOptions::default`]; see [`LocalChat::load_with`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the loading.
    ///
    /// # Errors
    /// As [`LocalChat::load_with`].
    pub async fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, LocalOptions::default()).await
    }

    /// Loads the model in `path`, a GGUF file or a folder that holds one.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the loading.
    ///
    /// # Errors
    /// Not found, corrupt (naming what is damaged), unsupported (a model that would be computed wrongly, or that is no
    /// chat model), invalid input (the options), or unavailable.
    pub async fn load_with(path: impl AsRef<Path>, options: LocalOptions) -> Result<Self> {
        options.check()?;
        let path = path.as_ref().to_owned();
        let shared = RunContext::new().run_blocking(move |ctx| Shared::load(&path, options, ctx)).await?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> LocalStats {
        self.shared.engine.stats()
    }

    /// Bytes of the weights in memory.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.shared.engine.llama().bytes()
    }
}

impl fmt::Debug for LocalChat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalChat").field("info", &self.shared.info).finish_non_exhaustive()
    }
}

#[async_trait]
impl ChatModel for LocalChat {
    fn info(&self) -> &ModelInfo {
        &self.shared.info
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        ctx.check()?;
        check_request(&request, &self.shared.info.name, self.shared.info.capabilities)?;
        let place = self.shared.engine.place()?;
        let shared = Arc::clone(&self.shared);
        let job = ctx.run_blocking(move |_| shared.job(&request)).await?;
        let (engine, ctx) = (Arc::clone(&self.shared.engine), ctx.clone());
        Ok(ChatStream::generate(move |out| async move { engine.answer(job, place, out, &ctx).await }))
    }
}

impl Shared {
    fn load(path: &Path, options: LocalOptions, ctx: &RunContext) -> Result<Self> {
        let path = file_in(path)?;
        let mut file = Gguf::open(&path)?;
        let template = Template::read(&file)?;
        let vocabulary = Vocabulary::read(&file)?;
        ctx.check()?;
        let llama = Llama::read(&mut file, &|| ctx.check())?;
        if llama.vocabulary() != vocabulary.len() {
            let (rows, tokens) = (llama.vocabulary(), vocabulary.len());
            let message = format!("{} has {tokens} tokens but weights for {rows}", path.display());
            return Err(Error::corrupt(message));
        }
        let name =
            path.file_stem().map_or_else(|| "local".into(), |name| name.to_string_lossy().into_owned());
        let context = options.context(llama.config().context);
        let info = ModelInfo::new("agentkit", name, context)
            .capabilities(Capabilities::default().with_structured_output());
        Ok(Self { info, template, engine: Arc::new(Engine::new(llama, vocabulary, &options)), options })
    }

    /// What has to be done for a request.
    fn job(&self, request: &ChatRequest) -> Result<Job> {
        let vocabulary = self.engine.vocabulary();
        let schema = request.output_schema.as_ref().map(|schema| &schema.schema);
        if schema.is_some() && !request.stop.is_empty() {
            let message =
                "an answer that keeps to a schema ends where the schema ends: leave out the stop sequences";
            return Err(Error::invalid_input(message));
        }
        let constraint = schema.map(Constraint::new).transpose()?;
        let lines = prompt::lines(&request.messages, schema, vocabulary)?;
        let text = self.template.render(&lines)?;
        let context = self.info.context_tokens;
        // Nothing that long can be few enough tokens, and cutting it up would take its time.
        if text.len() > context.saturating_mul(vocabulary.longest()) {
            return Err(too_long(&format!("{} bytes", text.len()), context));
        }
        let prompt = vocabulary.encode(&text)?;
        if prompt.is_empty() {
            return Err(Error::invalid_input("the model's chat template makes nothing of this conversation"));
        }
        if prompt.len() >= context {
            return Err(too_long(&format!("{} tokens", prompt.len()), context));
        }
        let mut sampling = self.options.sampling;
        sampling.temperature = request.temperature.unwrap_or(sampling.temperature);
        sampling.check()?;
        let most = request.max_tokens.unwrap_or(self.options.max_tokens);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(context - prompt.len());
        Ok(Job { prompt, most, stops: request.stop.clone(), sampling, seed: request.seed, constraint })
    }
}

fn too_long(size: &str, context: usize) -> Error {
    Error::invalid_input(format!(
        "the conversation has {size}, which leaves no room for an answer in a context of {context} tokens; shorten it"
    ))
}

/// The GGUF file at `path`, or the one in that folder.
fn file_in(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let failed = |error| Error::io(format!("list {}", path.display()), error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?.path();
        found.extend(Some(entry).filter(|entry| entry.extension().is_some_and(|ending| ending == "gguf")));
    }
    match (found.pop(), found.len()) {
        (Some(file), 0) => Ok(file),
        (None, _) => Err(Error::not_found(format!("{} holds no GGUF file", path.display()))),
        (Some(_), more) => {
            let message = format!("{} holds {} GGUF files; name one of them", path.display(), more + 1);
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
    }
}
