//! BM25 top 10 against plain Tantivy, in turns, with one client and with two.
//!
//! Plain Tantivy is what a user would write with it: the query's words in one `BooleanQuery`, `TopDocs`, the stored
//! record of what is found, everything in memory. It searches the very segments of agentkit's index, and once more an
//! index of its own that is merged into one segment, which no index that is written to stays for long. The vectors
//! are all equal, so that no graph is built beside the measurement.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkit_core::{
    EmbedSide, Embedder, EmbedderIdentity, Embedding, Result, Retriever as _, RunContext, SearchPlan,
    SearchRequest, TenantScope,
};
use async_trait::async_trait;
use benches::{Data, Figures, build, is_measuring, size};
use tantivy::collector::TopDocs;
use tantivy::directory::{Directory as _, RamDirectory};
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions, Value as _};
use tantivy::tokenizer::{
    Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer,
};
use tantivy::{Searcher, TantivyDocument, Term, doc};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const TOP_K: usize = 10;
/// What comes before the checksum of a small file.
const SEAL: &[u8] = b"\n#crc32:";
/// Times that each side answers all queries, in turns; of each query the fastest counts, since other programs use
/// the machine as well.
const ROUNDS: usize = 9;

/// Gives every text the same vector.
struct Constant(EmbedderIdentity);

#[async_trait]
impl Embedder for Constant {
    fn identity(&self) -> &EmbedderIdentity {
        &self.0
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn familiarity(&self, _text: &str) -> f32 {
        1.0
    }

    async fn embed(&self, _: EmbedSide, texts: Vec<String>, _: &RunContext) -> Result<Vec<Embedding>> {
        texts.iter().map(|_| Embedding::new(vec![1.0, 0.0])).collect()
    }
}

/// An index as a user of Tantivy would search it.
#[derive(Clone)]
struct Plain {
    searcher: Searcher,
    analyzer: TextAnalyzer,
    text: Field,
    /// What is read of a hit.
    stored: Field,
}

impl Plain {
    #[expect(clippy::disallowed_methods, reason = "nothing else runs on this thread")]
    /// As `same`, begun anew where a merge under way removed a file before it was copied.
    fn settled(folder: &Path) -> tantivy::Result<Self> {
        let again = |_| {
            std::thread::sleep(Duration::from_millis(200));
            Self::same(folder)
        };
        (0..50).map(again).find(Result::is_ok).unwrap_or_else(|| Self::same(folder))
    }

    /// The segments of agentkit's index, copied into memory as they are.
    fn same(folder: &Path) -> tantivy::Result<Self> {
        let meta = find(folder, "meta.json").expect("the index has a text index");
        let memory = RamDirectory::create();
        for entry in meta.parent().expect("a file has a folder").read_dir()? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "lock") {
                continue;
            }
            let bytes = std::fs::read(&path)?;
            // Agentkit puts a checksum behind the content of small files.
            let content = bytes.windows(SEAL.len()).rposition(|part| part == SEAL);
            let content = content.filter(|_| path.extension().is_some_and(|end| end == "json"));
            let content = bytes.get(..content.unwrap_or(bytes.len())).expect("a part of it");
            memory.atomic_write(path.file_name().expect("a file has a name").as_ref(), content)?;
        }
        let index = tantivy::Index::open(memory)?;
        let field = |name| index.schema().get_field(name);
        Self::new(&index, field("text")?, field("stored")?)
    }

    /// An index of its own in one segment.
    fn merged(passages: &[String]) -> tantivy::Result<Self> {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("english")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let text =
            schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing).set_stored());
        let index = tantivy::Index::create_in_ram(schema.build());
        index.tokenizers().register("english", analyzer());
        let mut writer = index.writer_with_num_threads(1, 64 << 20)?;
        for passage in passages {
            writer.add_document(doc!(text => passage.as_str()))?;
        }
        writer.commit()?;
        let segments = index.searchable_segment_ids()?;
        if segments.len() > 1 {
            writer.merge(&segments).wait()?;
        }
        writer.wait_merging_threads()?;
        Self::new(&index, text, text)
    }

    fn new(index: &tantivy::Index, text: Field, stored: Field) -> tantivy::Result<Self> {
        Ok(Self { searcher: index.reader()?.searcher(), analyzer: analyzer(), text, stored })
    }

    fn search(&self, query: &str) -> tantivy::Result<Vec<Vec<u8>>> {
        let mut analyzer = self.analyzer.clone();
        let mut seen = HashSet::new();
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        analyzer.token_stream(query).process(&mut |token| {
            if seen.insert(token.text.clone()) {
                let term = Term::from_field_text(self.text, &token.text);
                let clause = TermQuery::new(term, IndexRecordOption::WithFreqs);
                clauses.push((Occur::Should, Box::new(clause)));
            }
        });
        let best = TopDocs::with_limit(TOP_K).order_by_score();
        let found = self.searcher.search(&BooleanQuery::new(clauses), &best)?;
        let read = |(_, address)| {
            let stored: TantivyDocument = self.searcher.doc(address)?;
            let value = stored.get_first(self.stored);
            let bytes = value.and_then(|v| v.as_bytes().or_else(|| v.as_str().map(str::as_bytes)));
            Ok(bytes.unwrap_or_default().to_vec())
        };
        found.into_iter().map(read).collect()
    }
}

/// The analysis that agentkit uses.
fn analyzer() -> TextAnalyzer {
    let stop_words = StopWordFilter::new(Language::English).expect("English is known");
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(64))
        .filter(LowerCaser)
        .filter(stop_words)
        .filter(Stemmer::new(Language::English))
        .build()
}

fn main() {
    if !is_measuring() {
        return;
    }
    let mut data = Data::load(size(100_000)).expect("the data are there");
    data.embedder = Arc::new(Constant(EmbedderIdentity::new("constant", 2, 512)));
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let index = runtime.block_on(build(folder.path(), &data)).expect("the index is built");
    let same = Plain::settled(folder.path()).expect("Tantivy opens the index");
    let merged = Plain::merged(&data.passages).expect("the plain index is built");
    println!("{} passages in {} segments", data.passages.len(), same.searcher.segment_readers().len());
    let queries: Arc<Vec<String>> = Arc::new(data.queries.iter().map(|query| query.text.clone()).collect());
    let ours = move |query: String| {
        let index = index.clone();
        async move {
            let lexical = SearchPlan::lexical().candidates(TOP_K);
            let request = SearchRequest::new(TenantScope::local(), query).plan(lexical).top_k(TOP_K);
            let response = index.search(&request, &RunContext::new()).await.expect("the search succeeds");
            response.hits.into_iter().map(|hit| hit.passage.text.into_bytes()).collect()
        }
    };
    let plain = |plain: Plain| {
        move |query: String| {
            let plain = plain.clone();
            async move { plain.search(&query).expect("the search succeeds") }
        }
    };
    let (same, merged) = (plain(same), plain(merged));
    runtime.block_on(agreement(&queries, &ours, &merged));
    for clients in [1, 2_u32] {
        let mut times = [(); 3].map(|()| vec![Duration::MAX; queries.len()]);
        let [us, on_same, on_merged] = &mut times;
        for _ in 0..ROUNDS {
            fastest(us, runtime.block_on(round(&queries, clients as usize, &ours)));
            fastest(on_same, runtime.block_on(round(&queries, clients as usize, &same)));
            fastest(on_merged, runtime.block_on(round(&queries, clients as usize, &merged)));
        }
        compare(clients, times);
    }
}

/// How many of the passages found by one side the other finds too.
async fn agreement<A, B>(queries: &[String], ours: &impl Fn(String) -> A, theirs: &impl Fn(String) -> B)
where
    A: Future<Output = Vec<Vec<u8>>>,
    B: Future<Output = Vec<Vec<u8>>>,
{
    let (mut both, mut all) = (0_u32, 0_u32);
    for query in queries {
        let us: HashSet<Vec<u8>> = ours(query.clone()).await.into_iter().collect();
        for passage in theirs(query.clone()).await {
            all += 1;
            both += u32::from(us.contains(&passage));
        }
    }
    println!("passages that both find: {:.3}", f64::from(both) / f64::from(all.max(1)));
}

/// Answers all queries once, dealt out to the clients, and tells each query's number and time.
async fn round<F>(
    queries: &Arc<Vec<String>>,
    clients: usize,
    search: &(impl Fn(String) -> F + Clone + Send + 'static),
) -> Vec<(usize, Duration)>
where
    F: Future<Output = Vec<Vec<u8>>> + Send,
{
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (queries, search) = (queries.clone(), search.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            for (number, query) in queries.iter().enumerate().skip(client).step_by(clients) {
                let started = Instant::now();
                std::hint::black_box(search(query.clone()).await);
                times.push((number, started.elapsed()));
            }
            times
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

fn fastest(best: &mut [Duration], times: Vec<(usize, Duration)>) {
    for (number, time) in times {
        if let Some(best) = best.get_mut(number) {
            *best = time.min(*best);
        }
    }
}

/// Prints all sides and their ratios; the rate is that of clients that never wait.
fn compare(clients: u32, times: [Vec<Duration>; 3]) {
    let [us, same, merged] = times.map(|times| {
        let elapsed = times.iter().sum::<Duration>() / clients;
        Figures::new(times, elapsed)
    });
    println!("{clients} clients, agentkit: {us}");
    for (name, plain) in [("on the same segments", same), ("merged into one", merged)] {
        println!("{clients} clients, plain Tantivy {name}: {plain}");
        let ratio = us.per_second / plain.per_second;
        println!("{clients} clients, agentkit / plain Tantivy {name}: {ratio:.2} × searches per second");
    }
}

/// A file of this name somewhere below the folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    folder.read_dir().expect("the folder is read").find_map(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}
