//! BM25 top 10 against plain Tantivy over the same passages, in turns, with one client and with two.
//!
//! Both analyse alike and read the text of what they find. Plain Tantivy is what a user would write with it: the
//! query's words in one `BooleanQuery`, `TopDocs`, the stored text, all of it in memory. The vectors are all equal, so
//! that no graph is built beside the measurement.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkit_core::{
    EmbedSide, Embedder, EmbedderIdentity, Embedding, Result, Retriever as _, RunContext, SearchPlan,
    SearchRequest, TenantScope,
};
use async_trait::async_trait;
use benches::{Data, Figures, build, is_measuring, size};
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value as _};
use tantivy::tokenizer::{
    Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer,
};
use tantivy::{Searcher, TantivyDocument, Term, doc};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const TOP_K: usize = 10;
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

    async fn embed(&self, _: EmbedSide, texts: Vec<String>, _: &RunContext) -> Result<Vec<Embedding>> {
        texts.iter().map(|_| Embedding::new(vec![1.0, 0.0])).collect()
    }
}

/// An index as a user of Tantivy would make it.
#[derive(Clone)]
struct Plain {
    searcher: Searcher,
    analyzer: TextAnalyzer,
    number: Field,
    text: Field,
}

impl Plain {
    fn build(passages: &[String]) -> tantivy::Result<Self> {
        let stop_words = StopWordFilter::new(Language::English).expect("English is known");
        let analyzer = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(64))
            .filter(LowerCaser)
            .filter(stop_words)
            .filter(Stemmer::new(Language::English))
            .build();
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("english")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let number = schema.add_u64_field("number", STORED);
        let text =
            schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing).set_stored());
        let index = tantivy::Index::create_in_ram(schema.build());
        index.tokenizers().register("english", analyzer.clone());
        let mut writer = index.writer_with_num_threads(1, 64 << 20)?;
        for (id, passage) in (0_u64..).zip(passages) {
            writer.add_document(doc!(number => id, text => passage.as_str()))?;
        }
        writer.commit()?;
        writer.wait_merging_threads()?;
        Ok(Self { searcher: index.reader()?.searcher(), analyzer, number, text })
    }

    fn search(&self, query: &str) -> tantivy::Result<Vec<(u64, String)>> {
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
            let number = stored.get_first(self.number).and_then(|value| value.as_u64());
            let text = stored.get_first(self.text).and_then(|value| value.as_str().map(str::to_owned));
            Ok((number.unwrap_or_default(), text.unwrap_or_default()))
        };
        found.into_iter().map(read).collect()
    }
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
    let plain = Plain::build(&data.passages).expect("the plain index is built");
    println!(
        "{} passages; plain Tantivy has {} segments, agentkit {}",
        data.passages.len(),
        plain.searcher.segment_readers().len(),
        segments(folder.path())
    );
    let queries: Arc<Vec<String>> = Arc::new(data.queries.iter().map(|query| query.text.clone()).collect());
    let ours = move |query: String| {
        let index = index.clone();
        async move {
            let lexical = SearchPlan::Lexical { candidates: TOP_K };
            let request = SearchRequest::new(TenantScope::local(), query).plan(lexical).top_k(TOP_K);
            let response = index.search(&request, &RunContext::new()).await.expect("the search succeeds");
            let hits = response.hits.into_iter().map(|hit| hit.passage);
            hits.map(|hit| (hit.document_id.as_str().parse().expect("a number"), hit.text)).collect()
        }
    };
    let theirs = move |query: String| {
        let plain = plain.clone();
        async move { plain.search(&query).expect("the search succeeds") }
    };
    runtime.block_on(agreement(&queries, &ours, &theirs));
    for clients in [1, 2_u32] {
        let (mut us, mut them) = (vec![Duration::MAX; queries.len()], vec![Duration::MAX; queries.len()]);
        for _ in 0..ROUNDS {
            fastest(&mut us, runtime.block_on(round(&queries, clients as usize, &ours)));
            fastest(&mut them, runtime.block_on(round(&queries, clients as usize, &theirs)));
        }
        compare(clients, us, them);
    }
}

/// How many of the passages found by one side the other finds too.
async fn agreement<A, B>(queries: &[String], ours: &impl Fn(String) -> A, theirs: &impl Fn(String) -> B)
where
    A: Future<Output = Vec<(u64, String)>>,
    B: Future<Output = Vec<(u64, String)>>,
{
    let (mut both, mut all) = (0_u32, 0_u32);
    for query in queries {
        let us: HashSet<u64> = ours(query.clone()).await.into_iter().map(|(number, _)| number).collect();
        for (number, _) in theirs(query.clone()).await {
            all += 1;
            both += u32::from(us.contains(&number));
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
    F: Future<Output = Vec<(u64, String)>> + Send,
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

/// Prints both sides and their ratio; the rate is that of clients that never wait.
fn compare(clients: u32, ours: Vec<Duration>, theirs: Vec<Duration>) {
    let figures = |times: Vec<Duration>| {
        let elapsed = times.iter().sum::<Duration>() / clients;
        Figures::new(times, elapsed)
    };
    let (us, them) = (figures(ours), figures(theirs));
    println!("{clients} clients, agentkit: {us}");
    println!("{clients} clients, plain Tantivy: {them}");
    println!(
        "{clients} clients, agentkit / plain Tantivy: {:.2} × searches per second",
        us.per_second / them.per_second
    );
}

/// Segments below a folder, told by their files of stored fields.
fn segments(folder: &Path) -> usize {
    let entries = folder.read_dir().expect("the folder is read").map(|entry| entry.expect("an entry").path());
    let count = |path: std::path::PathBuf| {
        if path.is_dir() {
            segments(&path)
        } else {
            usize::from(path.extension().is_some_and(|end| end == "store"))
        }
    };
    entries.map(count).sum()
}
