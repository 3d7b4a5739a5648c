//! The documents that the retriever suite searches.

use crate::error::Result;
use crate::id::{ChunkId, CollectionName, DocumentId, TenantId};
use crate::retrieve::{Locator, Metadata, Passage, Span};
use crate::scope::TenantScope;
use crate::testing::MemoryRetriever;
use crate::testing::conformance::succeeds;

/// A document to be put into the retriever before its suite runs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FixtureDocument {
    /// Where it belongs.
    pub scope: TenantScope,
    /// Its id; the same id is used in more than one scope.
    pub id: DocumentId,
    /// Its title.
    pub title: Option<String>,
    /// Its source text; plain text that the retriever may cut into chunks as it likes.
    pub text: String,
    /// Its metadata.
    pub metadata: Metadata,
}

/// The documents the suite asks for, of several tenants and collections.
///
/// # Panics
/// Never, as all names are well formed.
#[must_use]
pub fn fixture_documents() -> Vec<FixtureDocument> {
    let manual = |lang: &str, kind: &str, year: i32| {
        Metadata::new().with("lang", lang).with("kind", kind).with("year", year)
    };
    let twin = "The twin lighthouses blink together every seven seconds.";
    let home = |id, text, metadata| document(fixture_scope(), id, text, metadata);
    vec![
        home("manual/router", ROUTER, manual("en", "network", 2024)),
        FixtureDocument {
            title: Some("Kettle".into()),
            ..home(
                "manual/kettle",
                KETTLE,
                manual("en", "appliance", 2022).with("tags", vec!["hot", "kitchen"]),
            )
        },
        home("manual/teekanne", TEEKANNE, manual("de", "crockery", 2025).with("draft", true)),
        home("notes/tokyo", "東京は日本の首都です。🙂 人口は多い。", manual("ja", "note", 2020)),
        home("notes/bicycle", "Oil the chain of the bicycle after every ride in the rain.", Metadata::new()),
        home("twin/a", twin, manual("en", "light", 2021)),
        home("twin/b", twin, manual("en", "light", 2021)),
        document(other_scope(), "secret", "The falcon code word is zanzibar.", manual("en", "network", 2024)),
        document(other_scope(), "manual/router", "Another tenant never resets a router.", Metadata::new()),
        document(collection_scope(), "animals", "Quokkas are small marsupials.", manual("en", "note", 2024)),
    ]
}

const ROUTER: &str =
    "To reset the router, hold the recessed button for ten seconds until the light turns amber.";
const KETTLE: &str = "Descale the kettle with vinegar once a month. Rinse the kettle twice before boiling.";
const TEEKANNE: &str =
    "Die Größe der Teekanne richtet sich nach der Zahl der Gäste: für vier genügt ein Liter.";

/// The scope most documents of the suite belong to.
///
/// # Panics
/// Never, as its name is well formed.
#[must_use]
pub fn fixture_scope() -> TenantScope {
    tenant("conformance-home")
}

pub(super) fn other_scope() -> TenantScope {
    tenant("conformance-other")
}

pub(super) fn collection_scope() -> TenantScope {
    fixture_scope().in_collection(valid(CollectionName::new("elsewhere")))
}

/// A tenant that has no documents.
pub(super) fn stranger_scope() -> TenantScope {
    tenant("conformance-stranger")
}

pub(super) fn document_of(scope: &TenantScope, id: &DocumentId) -> Option<FixtureDocument> {
    fixture_documents().into_iter().find(|document| document.scope == *scope && document.id == *id)
}

/// Puts the suite's documents into a [`MemoryRetriever`], one passage each.
///
/// # Errors
/// None, as all names are well formed.
pub fn ingest_fixture(retriever: &MemoryRetriever) -> Result<()> {
    for document in fixture_documents() {
        let passage = Passage {
            chunk_id: ChunkId::new(format!("{}#0", document.id))?,
            document_id: document.id,
            title: document.title,
            span: Span::new(0, document.text.len()),
            text: document.text,
            locator: Locator::default(),
        };
        retriever.add(&document.scope, [passage], &document.metadata)?;
    }
    Ok(())
}

fn document(scope: TenantScope, id: &str, text: &str, metadata: Metadata) -> FixtureDocument {
    FixtureDocument { scope, id: valid(DocumentId::new(id)), title: None, text: text.into(), metadata }
}

fn tenant(name: &str) -> TenantScope {
    TenantScope::for_tenant(valid(TenantId::new(name)))
}

fn valid<T>(name: Result<T>) -> T {
    succeeds("making a name of the fixture", name)
}
