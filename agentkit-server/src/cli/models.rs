//! `models pull` and `models list`.

use std::path::Path;

use agentkit_core::{Error, Result};
use agentkit_rag::models::{ModelSpec, ModelStore};
use clap::Subcommand;
use indicatif::HumanBytes;
use serde_json::json;

use super::output::Unit;
use super::{Session, signals};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Fetch a model, so that later commands need no network
    Pull {
        /// The model: `minilm`, `smollm2`, or a repository of the hub
        #[arg(default_value = "minilm")]
        name: String,
    },
    /// List the models that are there
    List,
}

pub(super) async fn run(session: Session, action: Action) -> Result<()> {
    let store = ModelStore::from_env()?;
    match action {
        Action::List => list(&session, &store),
        Action::Pull { name } => pull(&session, &store, &name).await,
    }
}

async fn pull(session: &Session, store: &ModelStore, name: &str) -> Result<()> {
    signals::cancel_when_stopped(&session.ctx);
    let spec = spec(name)?;
    let progress = session.out.progress("fetching", Unit::Bytes);
    let folder = store.fetch(&spec, &progress, &session.ctx).await?;
    drop(progress);
    session.out.line(format_args!("{} is in {}", spec.name(), folder.display()));
    session.out.object(&json!({"name": spec.name(), "path": folder}));
    Ok(())
}

fn spec(name: &str) -> Result<ModelSpec> {
    if name == "minilm" || name == ModelSpec::minilm().name() {
        return Ok(ModelSpec::minilm());
    }
    if name == "smollm2" || name == ModelSpec::smollm2().name() {
        return Ok(ModelSpec::smollm2());
    }
    if Path::new(name).exists() {
        return Err(Error::invalid_input(format!("{name:?} is a folder already; use it with --model")));
    }
    // Anything else is taken for a repository of the hub.
    Ok(ModelSpec::new(name))
}

fn list(session: &Session, store: &ModelStore) -> Result<()> {
    let models = store.list()?;
    if models.is_empty() {
        session.out.note("no model is there yet; `models pull` fetches one");
    }
    for model in models {
        let (name, path, size) = (&model.name, model.path.display(), HumanBytes(model.bytes));
        session.out.line(format_args!("{name}  {size}  {path}  from {}", model.source));
        let object = json!({"name": name, "path": model.path, "bytes": model.bytes, "source": model.source});
        session.out.object(&object);
    }
    Ok(())
}
