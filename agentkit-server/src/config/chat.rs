//! The settings of the chat model.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Secret;
use super::reader::Reader;

/// The local model that is used if none is named.
const SMOLLM2: &str = "smollm2";
/// Longest context that can be asked for.
const MAX_CONTEXT: u64 = 1 << 20;
/// Most answers at the same time.
const MAX_PARALLEL: u64 = 256;

/// A chat model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChatConfig {
    /// Behind an OpenAI-compatible interface.
    Hosted(HostedChat),
    /// In this process.
    Local(LocalChatConfig),
}

/// An OpenAI-compatible chat model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostedChat {
    /// Where its API begins, for example `http://localhost:11434/v1`.
    pub base_url: String,
    /// The model's name.
    pub model: String,
    /// The key, if the service needs one.
    pub api_key: Option<Secret>,
    /// Most tokens a request and its answer have together.
    pub context_tokens: Option<usize>,
}

/// A chat model of the llama family on the CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalChatConfig {
    /// A GGUF file or a folder that holds one; SmolLM2-135M-Instruct if there is none.
    pub file: Option<PathBuf>,
    /// Most tokens a request and its answer have together.
    pub context_tokens: Option<usize>,
    /// How many answers are made at the same time.
    pub parallel: NonZeroUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    OpenAi,
    Local,
}

impl ChatConfig {
    /// The settings as pairs of key and value, secrets redacted.
    pub(super) fn entries(&self) -> Vec<(&'static str, serde_json::Value)> {
        match self {
            Self::Hosted(HostedChat { base_url, model, api_key, context_tokens }) => {
                let mut entries =
                    vec![("chat.base_url", base_url.clone().into()), ("chat.model", model.clone().into())];
                entries.extend(api_key.as_ref().map(|key| ("chat.api_key", key.to_string().into())));
                entries.extend(context_tokens.map(|tokens| ("chat.context_tokens", tokens.into())));
                entries
            }
            Self::Local(LocalChatConfig { file, context_tokens, parallel }) => {
                let model = file.as_ref().map_or_else(|| SMOLLM2.into(), |file| file.display().to_string());
                let mut entries = vec![("chat.kind", "local".into()), ("chat.model", model.into())];
                entries.extend(context_tokens.map(|tokens| ("chat.context_tokens", tokens.into())));
                entries.push(("chat.parallel", parallel.get().into()));
                entries
            }
        }
    }
}

/// Reads the section; `None` if nothing in it is set.
pub(super) fn read(reader: &mut Reader) -> Option<ChatConfig> {
    let kind: Option<Kind> = reader.value("chat.kind");
    let base_url = reader.parsed("chat.base_url", super::parse_url);
    let model: Option<String> = reader.value("chat.model");
    let api_key: Option<Secret> = reader.secret_or_file("chat.api_key", "chat.api_key_file");
    let context = reader.within("chat.context_tokens", 64, MAX_CONTEXT);
    let parallel = reader.within("chat.parallel", 1, MAX_PARALLEL);
    let count = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
    if kind == Some(Kind::Local) {
        if base_url.is_some() || api_key.is_some() {
            reader.problem("chat: a local model has neither chat.base_url nor chat.api_key");
        }
        let file = model.filter(|model| model != SMOLLM2).map(PathBuf::from);
        let parallel = count(parallel).and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN);
        return Some(ChatConfig::Local(LocalChatConfig { file, context_tokens: count(context), parallel }));
    }
    if parallel.is_some() {
        reader.problem("chat: chat.parallel needs chat.kind = \"local\"");
    }
    match (base_url, model) {
        (Some(base_url), Some(model)) => {
            let context_tokens = count(context);
            Some(ChatConfig::Hosted(HostedChat { base_url, model, api_key, context_tokens }))
        }
        (base_url, model) => {
            let some = base_url.is_some() || model.is_some() || api_key.is_some() || context.is_some();
            if kind.is_some() || some {
                reader.problem("chat: a hosted model needs both chat.base_url and chat.model");
            }
            None
        }
    }
}
