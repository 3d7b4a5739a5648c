//! Passages, vectors and queries: read from files that the peers read too, or made up.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use agentkit_core::{EmbedSide, Embedder, EmbedderIdentity, Embedding, Error, Result, RunContext};
use agentkit_server::synthetic::{Collection, CollectionEmbedder, DIMENSION};
use async_trait::async_trait;

/// Names the folder that `benches/peers/prepare.py` has filled.
const FOLDER: &str = "AGENTKIT_BENCH_DATA";
/// Queries where none are given.
const QUERIES: u64 = 500;

/// A query and the passage it was made of.
#[derive(Debug, Clone)]
pub struct Query {
    /// Its words.
    pub text: String,
    /// The passage's number.
    pub source: u64,
}

/// What is indexed and asked.
pub struct Data {
    /// Texts, by number.
    pub passages: Vec<String>,
    /// What is asked for.
    pub queries: Vec<Query>,
    /// Gives passages and queries their vectors.
    pub embedder: Arc<dyn Embedder>,
    /// The folder of files, if the data are not made up.
    pub folder: Option<PathBuf>,
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data").field("passages", &self.passages.len()).finish_non_exhaustive()
    }
}

impl Data {
    /// The first `size` passages of the folder named by `AGENTKIT_BENCH_DATA`, or made-up ones.
    pub fn load(size: usize) -> Result<Self> {
        match std::env::var_os(FOLDER) {
            Some(folder) => Self::read(folder, size),
            None => Self::made_up(size),
        }
    }

    fn made_up(size: usize) -> Result<Self> {
        let collection = Arc::new(Collection::new(size as u64, None)?);
        let queries = (0..QUERIES).map(|n| collection.query(n)).collect::<Result<Vec<_>>>()?;
        let embedder = CollectionEmbedder::new(collection.clone(), &queries);
        Ok(Self {
            passages: (0..collection.chunks()).map(|n| collection.text(n)).collect(),
            queries: queries.into_iter().map(|q| Query { text: q.text, source: q.source }).collect(),
            embedder: Arc::new(embedder),
            folder: None,
        })
    }

    fn read(folder: OsString, size: usize) -> Result<Self> {
        let folder = PathBuf::from(folder);
        let passages = lines(&folder.join("passages.txt"), size)?;
        let texts = lines(&folder.join("queries.txt"), usize::MAX)?;
        let sources = lines(&folder.join("sources.txt"), usize::MAX)?;
        let embedder = FileEmbedder::open(&folder, &passages, &texts)?;
        let query = |(text, source): (String, String)| {
            let source = source.parse().map_err(|_| Error::invalid_input("sources.txt holds numbers"))?;
            Ok(Query { text, source })
        };
        let queries = texts.into_iter().zip(sources).map(query).collect::<Result<_>>()?;
        Ok(Self { passages, queries, embedder: Arc::new(embedder), folder: Some(folder) })
    }
}

/// Looks prepared vectors up by text. The rows stay in their files, so that they do not count as memory.
struct FileEmbedder {
    identity: EmbedderIdentity,
    numbers: HashMap<[u8; 16], u64>,
    passages: Mutex<File>,
    queries: HashMap<String, Vec<f32>>,
}

impl FileEmbedder {
    fn open(folder: &Path, passages: &[String], queries: &[String]) -> Result<Self> {
        let open = |name: &str| {
            let path = folder.join(name);
            File::open(&path).map_err(|error| Error::io(format!("read {}", path.display()), error))
        };
        let mut rows = open("queries.f32")?;
        let queries = (0..).zip(queries).map(|(n, text)| Ok((text.clone(), row(&mut rows, n)?)));
        Ok(Self {
            identity: EmbedderIdentity::new("agentkit/prepared", DIMENSION, 512),
            numbers: passages.iter().map(|text| key(text)).zip(0..).collect(),
            passages: Mutex::new(open("vectors.f32")?),
            queries: queries.collect::<Result<_>>()?,
        })
    }
}

#[async_trait]
impl Embedder for FileEmbedder {
    fn identity(&self) -> &EmbedderIdentity {
        &self.identity
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn familiarity(&self, _text: &str) -> f32 {
        1.0
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, _: &RunContext) -> Result<Vec<Embedding>> {
        let embed = |text: &String| {
            if side == EmbedSide::Query {
                let vector = self.queries.get(text).cloned();
                return Embedding::new(vector.ok_or_else(|| Error::not_found("no such query"))?);
            }
            let number = self.numbers.get(&key(text)).ok_or_else(|| Error::not_found("no such passage"))?;
            Embedding::new(row(&mut self.passages.lock().unwrap_or_else(PoisonError::into_inner), *number)?)
        };
        texts.iter().map(embed).collect()
    }
}

/// Tells passages apart by two of their hashes: keeping the texts would count as memory.
fn key(text: &str) -> [u8; 16] {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        hasher.finish().to_le_bytes()
    };
    let mut key = [0; 16];
    for (place, byte) in key.iter_mut().zip(hash(0).into_iter().chain(hash(1))) {
        *place = byte;
    }
    key
}

fn row(file: &mut File, number: u64) -> Result<Vec<f32>> {
    let mut bytes = [0; DIMENSION * size_of::<f32>()];
    let at = SeekFrom::Start(number * bytes.len() as u64);
    file.seek(at)
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|error| Error::io(format!("read row {number} of the prepared vectors"), error))?;
    Ok(bytes.as_chunks().0.iter().map(|component| f32::from_le_bytes(*component)).collect())
}

/// The first `most` lines of a file.
fn lines(path: &Path, most: usize) -> Result<Vec<String>> {
    let failed = |error| Error::io(format!("read {}", path.display()), error);
    let file = File::open(path).map_err(failed)?;
    BufReader::new(file).lines().take(most).collect::<Result<_, _>>().map_err(failed)
}
