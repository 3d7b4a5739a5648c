//! Bytes as they come to the server from the network, and its configuration file.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use agentkit_core::testing::{HashingEmbedder, MemoryRetriever, WindowMemory};
use agentkit_core::{
    CollectionName, DocumentId, ErrorKind, Filter, MemoryState, Result, RunContext, TenantScope,
};
use agentkit_rag::SourceDocument;
use agentkit_rag::answer::{ExtractiveModel, RagAgent};
use agentkit_server::config::{Config, Flags};
use agentkit_server::http::{AppState, Limits, serve};
use agentkit_server::identity::Authenticator;
use agentkit_server::{Document, DocumentEntry, DocumentStore, Services, StoreStats, StoreTotals, Upserted};
use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::run;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Takes every document and keeps none.
struct NoDocuments;

#[async_trait]
impl DocumentStore for NoDocuments {
    async fn upsert(
        &self,
        _: &TenantScope,
        documents: Vec<SourceDocument>,
        _: &RunContext,
    ) -> Result<Upserted> {
        Ok(Upserted { documents: documents.len() as u64, ..Upserted::default() })
    }

    async fn delete(&self, _: &TenantScope, _: &[DocumentId], _: &RunContext) -> Result<u64> {
        Ok(0)
    }

    async fn forget(&self, _: &TenantScope, _: &[DocumentId], _: &RunContext) -> Result<u64> {
        Ok(0)
    }

    async fn get(&self, _: &TenantScope, _: &DocumentId, _: &RunContext) -> Result<Option<Document>> {
        Ok(None)
    }

    async fn list(
        &self,
        _: &TenantScope,
        _: Option<&DocumentId>,
        _: usize,
        _: &RunContext,
    ) -> Result<Vec<DocumentEntry>> {
        Ok(Vec::new())
    }

    async fn matching(&self, _: &TenantScope, _: &Filter, _: &RunContext) -> Result<Vec<DocumentId>> {
        Ok(Vec::new())
    }

    async fn collections(&self, _: &TenantScope, _: &RunContext) -> Result<Vec<CollectionName>> {
        Ok(Vec::new())
    }

    async fn stats(&self, _: &TenantScope, _: &RunContext) -> Result<StoreStats> {
        Ok(StoreStats::default())
    }

    async fn totals(&self, _: &RunContext) -> Result<StoreTotals> {
        Ok(StoreTotals::default())
    }
}

/// Where a service listens for as long as the process lives.
static ADDRESS: LazyLock<std::net::SocketAddr> = LazyLock::new(|| {
    run(async {
        let retriever = Arc::new(MemoryRetriever::new());
        let services = Services {
            agent: Arc::new(RagAgent::new(retriever.clone(), Arc::new(ExtractiveModel::new()))),
            retriever,
            memory: Arc::new(WindowMemory::new()),
            embedder: Arc::new(HashingEmbedder::new()),
            documents: Arc::new(NoDocuments),
            state: Arc::new(MemoryState::new()),
        };
        let mut limits = Limits::default();
        limits.header_timeout = Duration::from_secs(5);
        limits.request_timeout = Duration::from_secs(5);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = AppState::new(services, Authenticator::insecure_dev(), limits);
        tokio::spawn(serve(listener, state, std::future::pending()));
        address
    })
});

/// What one connection sends until it says no more: requests one after the other, frames of a WebSocket behind an upgrade.
/// Nothing of it is a defect of the service, and all of it comes to an end.
pub fn connection(data: &[u8]) {
    let address = *LazyLock::force(&ADDRESS);
    let answered = run(async { tokio::time::timeout(PATIENCE, said(address, data)).await });
    let answered = answered.expect("the service comes to an end");
    let text = String::from_utf8_lossy(&answered);
    for status in text.split("HTTP/1.1 ").skip(1).filter_map(|head| head.get(..3)) {
        assert!(!status.starts_with('5') || status == "504" || status == "501", "{text}");
    }
    assert!(!text.contains("urn:agentkit:problem:internal"), "{text}");
}

async fn said(address: std::net::SocketAddr, data: &[u8]) -> Vec<u8> {
    let stream = TcpStream::connect(address).await.expect("the service listens");
    let (mut reading, mut writing) = stream.into_split();
    let mut answered = Vec::new();
    let send = async {
        // Who is refused is not listened to any more.
        let _ = writing.write_all(data).await;
        let _ = writing.shutdown().await;
    };
    let ((), _) = tokio::join!(send, reading.read_to_end(&mut answered));
    answered
}

/// A configuration file: a problem with it is one of its author's.
pub fn config(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("agentkit.toml");
    std::fs::write(&path, data).expect("room for a file");
    if let Err(error) = Config::load(Some(&path), &Flags::default()) {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", error.chain());
    }
}
