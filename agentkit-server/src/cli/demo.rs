//! `demo`: agentkit's own documentation, indexed into a temporary folder and served.

use std::path::{Path, PathBuf};

use agentkit_core::{Error, Result, TenantScope};
use agentkit_rag::SourceDocument;
use agentkit_rag::load::{FileOutcome, LoadOptions, walk};

use super::output::{Output, Unit};
use super::{Session, serve, signals};
use crate::config::Config;
use crate::engine::{Access, Engine};

pub(super) async fn run(mut session: Session) -> Result<()> {
    session.config.check_loopback()?;
    signals::cancel_when_stopped(&session.ctx);
    let folder = tempfile::tempdir().map_err(|error| Error::io("create a temporary folder", error))?;
    session.config = Config { data_dir: folder.path().to_owned(), ..session.config };
    let progress = session.out.progress("opening", Unit::Bytes);
    let engine = Engine::open(&session.config, Access::ReadWrite, &progress, &session.ctx).await?;
    drop(progress);

    let documents = documents(session.out)?;
    let progress = session.out.progress("indexing the documentation", Unit::Items);
    let total = documents.len() as u64;
    for (done, document) in (1..).zip(documents) {
        engine.documents().upsert(&TenantScope::local(), vec![document], &session.ctx).await?;
        progress.set(done, Some(total));
    }
    drop(progress);
    session.out.line(format_args!("{total} documents are indexed; open the page and ask"));
    let arguments = serve::Arguments { insecure_dev: true };
    serve::until_stopped(&session, engine, folder.path(), &arguments).await
}

/// The documentation of the checkout this runs in, else the copies in the binary.
fn documents(out: Output) -> Result<Vec<SourceDocument>> {
    let found = match checkout() {
        Some(root) => load(&root, out)?,
        None => crate::embedded::documents()?,
    };
    if found.is_empty() {
        return Err(Error::not_found(
            "this binary was built without its documentation; use ingest and serve",
        ));
    }
    Ok(found)
}

/// The root of agentkit's own checkout, if the process runs in it.
fn checkout() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let is_ours = |folder: &&Path| {
        folder.join("agentkit-server").join("Cargo.toml").is_file() && folder.join("README.md").is_file()
    };
    here.ancestors().find(is_ours).map(Path::to_owned)
}

fn load(root: &Path, out: Output) -> Result<Vec<SourceDocument>> {
    let mut documents = Vec::new();
    for (path, prefix) in [("README.md", ""), ("docs", "docs/")] {
        let mut options = LoadOptions::default();
        prefix.clone_into(&mut options.id_prefix);
        let path = root.join(path);
        if !path.exists() {
            continue;
        }
        for outcome in walk(&path, &options)? {
            match outcome {
                FileOutcome::Loaded { documents: loaded, .. } => documents.extend(loaded),
                FileOutcome::Skipped { error, .. } => out.note(format_args!("skipped: {}", error.chain())),
                _ => {}
            }
        }
    }
    Ok(documents)
}
