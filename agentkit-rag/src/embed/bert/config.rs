//! What a model folder says about itself: architecture, pooling, normalisation, prompts, longest text.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use agentkit_core::{EmbedSide, Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Configuration files are small; a larger one is not a configuration.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// The architecture, as `config.json` of the BERT family states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Architecture {
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) vocab_size: usize,
    #[serde(default = "default_epsilon")]
    pub(super) layer_norm_eps: f64,
    #[serde(default)]
    pub(super) hidden_act: Activation,
    #[serde(default, skip_serializing)]
    model_type: Option<String>,
    #[serde(default, skip_serializing)]
    position_embedding_type: Option<String>,
}

fn default_epsilon() -> f64 {
    1e-12
}

/// The function between the two feed-forward layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Activation {
    /// Exact GELU, by the error function.
    #[default]
    Gelu,
    /// GELU by its tanh approximation.
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_approximate")]
    GeluNew,
    Relu,
}

/// How token vectors become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pooling {
    Mean,
    Cls,
}

/// In what numbers a model computes.
///
/// The two give different vectors of the same text, so an index made with one refuses the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// Single precision throughout: the vectors of the reference implementation.
    #[default]
    Single,
    /// Eight-bit integers in the linear layers, everything else in single precision: several times faster, with
    /// vectors that differ a little (`docs/adr/0015-int8-embedding.md`).
    Int8,
}

/// Everything beside weights and vocabulary that decides what vector a text gets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Settings {
    pub(super) architecture: Architecture,
    pub(super) pooling: Pooling,
    pub(super) normalize: bool,
    pub(super) max_tokens: usize,
    query_prompt: String,
    document_prompt: String,
}

impl Settings {
    /// Reads the configuration files of `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let architecture: Architecture = required(folder, "config.json")?;
        architecture.check(&folder.join("config.json"))?;
        let limits: Limits = optional(folder, "sentence_bert_config.json")?.unwrap_or_default();
        let modules: Option<Vec<Module>> = optional(folder, "modules.json")?;
        let normalize = normalizes(folder, modules.as_deref())?;
        let prompts: Prompts = optional(folder, "config_sentence_transformers.json")?.unwrap_or_default();
        let pooling = pooling(folder, modules.as_deref())?;
        let most = architecture.max_position_embeddings;
        let max_tokens = limits.max_seq_length.map_or(most, |limit| limit.min(most));
        if max_tokens < 8 {
            let file = folder.join("sentence_bert_config.json");
            return Err(wrong(&file, &format!("max_seq_length {max_tokens} leaves no room for text")));
        }
        Ok(Self {
            pooling: pooling.choose(folder, &prompts)?,
            query_prompt: prompts.of(&["query"]),
            document_prompt: prompts.of(&["document", "passage"]),
            architecture,
            normalize,
            max_tokens,
        })
    }

    pub(super) fn prompt(&self, side: EmbedSide) -> &str {
        match side {
            EmbedSide::Query => &self.query_prompt,
            EmbedSide::Document => &self.document_prompt,
        }
    }
}

impl Architecture {
    fn check(&self, file: &Path) -> Result<()> {
        let kind = self.model_type.as_deref().unwrap_or("bert");
        let positions = self.position_embedding_type.as_deref().unwrap_or("absolute");
        if kind != "bert" || positions != "absolute" {
            let message = format!(
                "{}: model type {kind:?} with {positions} positions is not supported; use a BERT model",
                file.display()
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let sizes = [
            self.hidden_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.intermediate_size,
            self.max_position_embeddings,
            self.vocab_size,
        ];
        let sane = sizes.iter().all(|size| (1..=1 << 24).contains(size));
        if !sane || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(wrong(file, "the sizes of the layers do not fit each other"));
        }
        Ok(())
    }

    pub(super) fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }
}

#[derive(Debug, Default, Deserialize)]
struct Limits {
    max_seq_length: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Without a list of modules the usual chain is assumed: transformer, mean pooling, normalisation.
fn normalizes(folder: &Path, modules: Option<&[Module]>) -> Result<bool> {
    let Some(modules) = modules else { return Ok(true) };
    let last = |module: &Module| module.kind.rsplit('.').next().unwrap_or_default().to_owned();
    for module in modules {
        if !matches!(last(module).as_str(), "Transformer" | "Pooling" | "Normalize") {
            let file = folder.join("modules.json");
            let message = format!("{}: module {} is not supported", file.display(), module.kind);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    }
    Ok(modules.iter().any(|module| last(module) == "Normalize"))
}

#[derive(Debug, Default, Deserialize)]
struct PoolingModes {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    include_prompt: Option<bool>,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

fn pooling(folder: &Path, modules: Option<&[Module]>) -> Result<PoolingModes> {
    let stated = modules.into_iter().flatten().find(|module| module.kind.ends_with("Pooling"));
    if let Some(module) = stated {
        return required(folder, &format!("{}/config.json", module.path));
    }
    let usual = PoolingModes { pooling_mode_mean_tokens: true, ..PoolingModes::default() };
    Ok(optional(folder, "1_Pooling/config.json")?.unwrap_or(usual))
}

impl PoolingModes {
    fn choose(&self, folder: &Path, prompts: &Prompts) -> Result<Pooling> {
        let unsupported = |what: &str| {
            let message = format!("{}: {what} is not supported; use mean or cls", folder.display());
            Err(Error::new(ErrorKind::Unsupported, message))
        };
        let other = self.others.iter().find(|(name, on)| name.starts_with("pooling_mode") && **on == true);
        if let Some((name, _)) = other {
            return unsupported(name);
        }
        if self.include_prompt == Some(false) && !prompts.prompts.is_empty() {
            return unsupported("pooling without the prompt");
        }
        match (self.pooling_mode_mean_tokens, self.pooling_mode_cls_token) {
            (true, false) => Ok(Pooling::Mean),
            (false, true) => Ok(Pooling::Cls),
            _ => unsupported("a pooling of several modes, or of none,"),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct Prompts {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

impl Prompts {
    fn of(&self, names: &[&str]) -> String {
        let own = names.iter().find_map(|name| self.prompts.get(*name));
        let usual = || self.default_prompt_name.as_ref().and_then(|name| self.prompts.get(name));
        own.or_else(usual).cloned().unwrap_or_default()
    }
}

fn required<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T> {
    optional(folder, name)?.ok_or_else(|| missing(folder, name))
}

/// The error for a file that a model folder lacks.
pub(super) fn missing(folder: &Path, name: &str) -> Error {
    Error::not_found(format!(
        "model folder {} has no file {name}; give the folder of a complete sentence-transformers model with \
         config.json, tokenizer.json and model.safetensors, or fetch the model again",
        folder.display()
    ))
}

fn optional<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path: PathBuf = folder.join(name);
    let failed = |error| Error::io(format!("read {}", path.display()), error);
    match fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.len() > MAX_CONFIG_BYTES => return Err(wrong(&path, "it is too large")),
        Ok(_) => {}
    }
    let text = fs::read(&path).map_err(failed)?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| wrong(&path, "it is not the expected JSON").with_source(error))
}

fn wrong(file: &Path, what: &str) -> Error {
    Error::corrupt(format!("{} cannot be used: {what}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Refused<'a> = (&'a [(&'a str, &'a str)], ErrorKind, &'a str);

    const BERT: &str = r#"{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9,
        "intermediate_size": 16, "max_position_embeddings": 64, "hidden_act": "gelu"}"#;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_bare_bert_folder_means_mean_pooling_and_norm() {
        let folder = folder(&[("config.json", BERT)]);
        let settings = Settings::read(folder.path()).unwrap();
        assert_eq!((settings.pooling, settings.normalize, settings.max_tokens), (Pooling::Mean, true, 64));
        assert_eq!(settings.prompt(EmbedSide::Query), "");
    }

    #[test]
    fn pooling_norm_prompts_and_length_come_from_the_folder() {
        let folder = folder(&[
            ("config.json", BERT),
            ("sentence_bert_config.json", r#"{"max_seq_length": 32}"#),
            ("modules.json", r#"[{"type": "a.Transformer"}, {"type": "a.Pooling", "path": "1_Pooling"}]"#),
            (
                "1_Pooling/config.json",
                r#"{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": false}"#,
            ),
            ("config_sentence_transformers.json", r#"{"prompts": {"query": "q: ", "passage": "p: "}}"#),
        ]);
        let settings = Settings::read(folder.path()).unwrap();
        assert_eq!((settings.pooling, settings.normalize, settings.max_tokens), (Pooling::Cls, false, 32));
        assert_eq!(settings.prompt(EmbedSide::Query), "q: ");
        assert_eq!(settings.prompt(EmbedSide::Document), "p: ");
    }

    #[test]
    fn what_cannot_be_computed_faithfully_is_refused() {
        let cases: [Refused<'_>; 6] = [
            (&[], ErrorKind::NotFound, "config.json"),
            (&[("config.json", "{")], ErrorKind::Corrupt, "config.json"),
            (
                &[("config.json", &BERT.replace("\"hidden_size\": 8", "\"hidden_size\": 9"))],
                ErrorKind::Corrupt,
                "sizes",
            ),
            (
                &[("config.json", &BERT.replace('{', r#"{"model_type": "roberta","#))],
                ErrorKind::Unsupported,
                "roberta",
            ),
            (
                &[("config.json", BERT), ("modules.json", r#"[{"type": "a.Dense"}]"#)],
                ErrorKind::Unsupported,
                "Dense",
            ),
            (
                &[("config.json", BERT), ("1_Pooling/config.json", r#"{"pooling_mode_max_tokens": true}"#)],
                ErrorKind::Unsupported,
                "pooling_mode_max_tokens",
            ),
        ];
        for (files, kind, word) in cases {
            let folder = folder(files);
            let error = Settings::read(folder.path()).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(word), "{error}");
        }
    }
}
