//! What `eval` measures: an index made for the purpose, or a running server.

use std::sync::Arc;

use agentkit_core::{Agent, Error, Result, Retriever, TenantScope};
use agentkit_rag::SourceDocument;
use agentkit_rag::answer::Support;
use agentkit_rag::eval::Dataset;
use agentkit_rag::ingest::IngestTarget;

use super::arguments::Where;
use crate::cli::Session;
use crate::cli::output::Unit;
use crate::cli::remote::Remote;
use crate::config::Config;
use crate::engine::{Access, Engine};

/// Documents in one commit.
const BATCH: usize = 256;

/// Where the questions go.
pub(super) struct Target {
    pub(super) retriever: Arc<dyn Retriever>,
    pub(super) agent: Arc<dyn Agent>,
    pub(super) scope: TenantScope,
    /// Judges what was found; a running server is not asked for it.
    pub(super) support: Option<Support>,
    own: Option<Own>,
}

/// An index that disappears with the evaluation.
struct Own {
    engine: Engine,
    _folder: tempfile::TempDir,
}

impl Target {
    /// Connects to the server, or indexes the data set.
    pub(super) async fn open(session: &Session, place: &Where, dataset: &Dataset) -> Result<Self> {
        let scope = place.collection.scope()?;
        let Some(url) = &place.server else { return Self::index(session, scope, dataset).await };
        let remote = Remote::new(url, session.api_key.as_ref())?;
        if place.upload {
            store(session, Store::Server(&remote), dataset, &scope).await?;
        }
        let remote = Arc::new(remote);
        Ok(Self { retriever: remote.clone(), agent: remote, scope, support: None, own: None })
    }

    async fn index(session: &Session, scope: TenantScope, dataset: &Dataset) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| Error::io("create a temporary folder", error))?;
        let config = Config { data_dir: folder.path().to_owned(), ..session.config.clone() };
        let opening = session.out.progress("opening", Unit::Bytes);
        let engine = Engine::open(&config, Access::ReadWrite, &opening, &session.ctx).await?;
        drop(opening);
        if store(session, Store::Index(&engine), dataset, &scope).await? == 0 {
            return Err(Error::invalid_input(
                "there is nothing to search; name a data set with documents, or a server that has them with --server",
            ));
        }
        let (retriever, agent, support) = (engine.retriever(), engine.agent(), engine.support());
        Ok(Self { retriever, agent, scope, support, own: Some(Own { engine, _folder: folder }) })
    }

    /// Closes the index, if there is one.
    pub(super) async fn close(self) -> Result<()> {
        let Self { retriever, agent, own, .. } = self;
        drop((retriever, agent));
        match own {
            Some(own) => own.engine.close().await,
            None => Ok(()),
        }
    }
}

/// Where documents go.
#[derive(Clone, Copy)]
enum Store<'s> {
    Index(&'s Engine),
    Server(&'s Remote),
}

impl Store<'_> {
    async fn upsert(self, session: &Session, scope: &TenantScope, batch: Vec<SourceDocument>) -> Result<u64> {
        let stored = match self {
            Self::Index(engine) => engine.index().upsert(scope, batch, &session.ctx).await?,
            Self::Server(remote) => remote.upsert(scope, batch, &session.ctx).await?,
        };
        Ok(stored.documents + stored.unchanged)
    }
}

/// Stores every document of the data set and counts them.
async fn store(session: &Session, place: Store<'_>, dataset: &Dataset, scope: &TenantScope) -> Result<u64> {
    let progress = session.out.progress("indexing", Unit::Items);
    let mut documents = dataset.documents()?;
    let mut done = 0;
    loop {
        let batch: Vec<_> = documents.by_ref().take(BATCH).collect::<Result<_>>()?;
        if batch.is_empty() {
            return Ok(done);
        }
        done += place.upsert(session, scope, batch).await?;
        progress.set(done, None);
    }
}
