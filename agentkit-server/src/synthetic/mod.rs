//! Made-up collections of any size, to measure an index at size without a model.
//!
//! Why: a million real passages are gigabytes to fetch and days to embed, but the cost of an index depends only on
//! the shape of texts and vectors. How: every text follows from the collection's seed and its number, and every
//! vector from its text, so nothing is stored and two processes see the same collection.

mod texts;
mod vectors;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use agentkit_core::{
    DocumentId, EmbedSide, Embedder, EmbedderIdentity, Embedding, Error, ErrorKind, Result, RunContext,
};
use agentkit_rag::SourceDocument;
use async_trait::async_trait;

use self::texts::{Random, text};
pub use self::vectors::DIMENSION;
use self::vectors::{Origin, Rows, perturbed};

/// Deviation of each component of a chunk's vector from the row it is made of; the norm of a row is 1.
const CHUNK_NOISE: f32 = 0.02;
/// Deviation of each component of a query's vector from its source's.
const QUERY_NOISE: f32 = 0.03;
/// Words of a query.
const QUERY_WORDS: usize = 8;
/// Longest text of a collection in words, with room to spare.
const MAX_WORDS: usize = 256;

/// A collection of numbered documents of one chunk each.
///
/// Texts have 60 to 120 words of a vocabulary with a long tail. Vectors are real ones perturbed, or points
/// around generated centres.
///
/// # Examples
/// ```
/// use agentkit_server::synthetic::Collection;
///
/// # fn main() -> agentkit_core::Result<()> {
/// let collection = Collection::new(1000, None)?;
/// let query = collection.query(3)?;
/// assert!(collection.text(query.source).contains(&query.text));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Collection {
    chunks: u64,
    rows: Rows,
}

/// A question about one document of a collection.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Query {
    /// Eight words out of the document.
    pub text: String,
    /// The document's vector, perturbed.
    pub vector: Vec<f32>,
    /// The document's number.
    pub source: u64,
}

impl Collection {
    /// A collection of `chunks` documents; `vectors` is a file of row-major little-endian `f32` of
    /// [`DIMENSION`] columns, without which vectors are generated.
    ///
    /// # Errors
    /// Invalid input if there are no chunks or the file does not hold whole rows, or not found or unavailable.
    pub fn new(chunks: u64, vectors: Option<&Path>) -> Result<Self> {
        if chunks == 0 {
            return Err(Error::invalid_input("a collection needs at least one chunk"));
        }
        Ok(Self { chunks, rows: vectors.map_or_else(|| Ok(Rows::generated()), Rows::open)? })
    }

    /// Number of documents.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Whether the vectors are real ones, perturbed.
    #[must_use]
    pub fn has_real_vectors(&self) -> bool {
        self.rows.origin() == Origin::File
    }

    /// The text of a document.
    #[must_use]
    pub fn text(&self, number: u64) -> String {
        text(number)
    }

    /// A document as an index takes it.
    ///
    /// # Errors
    /// None in practice: its id is valid by construction.
    pub fn document(&self, number: u64) -> Result<SourceDocument> {
        SourceDocument::text(format!("c{number}"), text(number))
    }

    /// The number of the document of this id, if it is one of a collection.
    #[must_use]
    pub fn number(id: &DocumentId) -> Option<u64> {
        id.as_str().strip_prefix('c')?.parse().ok()
    }

    /// The unit vector of a text.
    ///
    /// # Errors
    /// Invalid input naming the row that has no direction, or unavailable if the file cannot be read.
    pub fn vector(&self, text: &str) -> Result<Vec<f32>> {
        let hash = fnv1a(text.as_bytes());
        perturbed(self.rows.row(hash)?, CHUNK_NOISE, &mut Random::new(hash))
            .ok_or_else(|| self.rows.without_direction(hash))
    }

    /// A query by number; its source is any document.
    ///
    /// # Errors
    /// As of [`vector`](Self::vector).
    pub fn query(&self, number: u64) -> Result<Query> {
        let mut random = Random::new(!number);
        let source = random.below(self.chunks);
        let text = text(source);
        let vector = perturbed(self.vector(&text)?, QUERY_NOISE, &mut random);
        let words: Vec<&str> = text.split(' ').collect();
        let start = random.below((words.len() - QUERY_WORDS.min(words.len())) as u64 + 1);
        let skipped = usize::try_from(start).unwrap_or(0);
        let words: Vec<&str> = words.into_iter().skip(skipped).take(QUERY_WORDS).collect();
        let vector = vector.ok_or_else(|| Error::internal("a query's vector has no direction"))?;
        Ok(Query { text: words.join(" "), vector, source })
    }
}

/// Gives the texts of a collection their vectors, without any model work.
#[derive(Debug, Clone)]
pub struct CollectionEmbedder {
    collection: Arc<Collection>,
    queries: Arc<HashMap<String, Vec<f32>>>,
    identity: EmbedderIdentity,
}

impl CollectionEmbedder {
    /// An embedder that gives `queries` the vectors they were made with.
    #[must_use]
    pub fn new(collection: Arc<Collection>, queries: &[Query]) -> Self {
        let mut identity = EmbedderIdentity::new("agentkit/synthetic", DIMENSION, MAX_WORDS);
        identity.pooling = "none".into();
        identity.revision = format!("1-{}", collection.rows.origin());
        let queries = queries.iter().map(|query| (query.text.clone(), query.vector.clone())).collect();
        Self { collection, queries: Arc::new(queries), identity }
    }
}

#[async_trait]
impl Embedder for CollectionEmbedder {
    fn identity(&self) -> &EmbedderIdentity {
        &self.identity
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn familiarity(&self, _text: &str) -> f32 {
        1.0
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        ctx.check()?;
        let embed = |text: &String| {
            ctx.check()?;
            let known = self.queries.get(text).filter(|_| side == EmbedSide::Query);
            Embedding::new(known.cloned().map_or_else(|| self.collection.vector(text), Ok)?)
        };
        texts.iter().map(embed).collect()
    }
}

/// The 64-bit FNV-1a hash of Fowler, Noll and Vo.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Translates a failed read of the file of vectors.
fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("read vectors from {}", path.display()), error)
}

fn unusable(path: &Path, problem: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the vectors in {} are unusable: {problem}", path.display()))
}

#[cfg(test)]
mod tests;
